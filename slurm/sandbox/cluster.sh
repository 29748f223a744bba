# Shared by up.sh and down.sh: which cluster is meant, and its daemons by their pid files.
# shellcheck shell=bash disable=SC2034
ME=$(id -un 2>/dev/null || id -u)
IS_ROOT=0
[[ $(id -u) != 0 ]] || IS_ROOT=1
DIR=${SLURM_SANDBOX_DIR:-/tmp/activeuf-slurm}
((IS_ROOT)) || DIR=${SLURM_SANDBOX_DIR:-/tmp/activeuf-slurm-$ME}

warn() { printf 'slurm sandbox: %s\n' "$*" >&2; }
die() {
    warn "error: $*"
    exit 1
}

# Clients read these before slurm.conf; they may speak of another cluster, or of a job around this one.
forget_other_clusters() {
    unset SLURM_CONF "${!SBATCH_@}" "${!SQUEUE_@}" "${!SACCT_@}" "${!SINFO_@}" "${!SCANCEL_@}"
}

# is_up PIDFILE NAME: the process of that pid file runs under that name. A zombie does not run: where
# PID 1 reaps late, it stays for seconds after the end.
is_up() {
    local pid stat name state
    [[ -s $1 ]] && pid=$(cat "$1" 2>/dev/null) && stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
    name=${stat#*\(} state=${stat##*\) }
    [[ ${name%%)*} == "$2" && $state != [ZX]* ]]
}

# set_hosts_line LINE: make it this cluster's line in /etc/hosts; none when it is empty. A subshell:
# a daemon that inherited the lock would hold it.
set_hosts_line() (
    mark="# slurm-sandbox $DIR"
    exec 7</etc/hosts && flock -w 10 7 || exit 1
    if [[ -z $1 ]]; then
        grep -q "$mark\$" /etc/hosts || exit 0
    elif grep -qxF "$1 $mark" /etc/hosts; then
        exit 0
    fi
    others=$(grep -v "$mark\$" /etc/hosts) || true
    printf '%s\n' "$others" ${1:+"$1 $mark"} >/etc/hosts
)

lock() {
    exec 9>"$DIR/.lock"
    flock -w 120 9 || die "another up.sh or down.sh has held $DIR/.lock for two minutes"
}
unlock() { flock -u 9; }
