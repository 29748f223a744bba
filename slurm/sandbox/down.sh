#!/usr/bin/env bash
# Ends the daemons of a cluster that up.sh started, by their pid files, and no others.
#
#   down.sh [--force | --keep-jobs] [--wipe] [--quiet] [--help]
#
# Refuses (exit status 3) while jobs are queued or running:
#   --force      cancels all of them, and ends what a lost node went on with
#   --keep-jobs  leaves them: running jobs go on, and the next up.sh finds them again
#   --wipe       removes the whole folder afterwards (with --force: without asking the controller)
# SLURM_SANDBOX_DIR is the cluster's folder, as for up.sh.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=cluster.sh
. "$HERE/cluster.sh"
KEEP=0 FORCE=0 WIPE=0 QUIET=0
for option; do
    case $option in
        --keep-jobs) KEEP=1 ;;
        --force) FORCE=1 ;;
        --wipe) WIPE=1 ;;
        --quiet) QUIET=1 ;;
        -h | --help) sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//' && exit 0 ;;
        *) warn "unknown option $option (see --help)" && exit 2 ;;
    esac
done
say() { ((QUIET)) || printf 'slurm sandbox: %s\n' "$*"; }

if [[ ! -d $DIR ]]; then
    say "nothing at $DIR"
    exit 0
fi
[[ -O $DIR ]] || die "$DIR belongs to another user"
DIR=$(cd "$DIR" && pwd -P)
if [[ ! -e $DIR/env.sh ]]; then
    # an up.sh that failed early, or some other folder: nothing here was started by us
    ((!WIPE)) || rmdir "$DIR"/{etc,run,log,state,spool,gpu,.} 2>/dev/null
    say "no cluster at $DIR"
    exit 0
fi
lock
forget_other_clusters
# shellcheck disable=SC1091
. "$DIR/env.sh"

cancel_or_refuse() {
    local ids
    ids=$(timeout 10 squeue -h -o %A 2>/dev/null | sort -un | paste -sd' ')
    [[ -n $ids ]] || return 0
    if ((!FORCE)); then
        warn 'error: jobs are queued or running; --force (make slurm-down FORCE=1) cancels them:'
        timeout 10 squeue -o '%.10i %.24j %.10u %.8T %Z' >&2
        exit 3
    fi
    say "cancelling jobs: $ids"
    # shellcheck disable=SC2086 # ids are words
    timeout 20 scancel $ids 2>/dev/null
    for ((i = 0; i < 100; i++)); do
        [[ -n $(timeout 5 squeue -h -t R,CG,S -o %A 2>/dev/null) ]] || break
        sleep 0.1
    done
}

# stop PIDFILE NAME SECONDS
stop() {
    local pid
    if is_up "$1" "$2"; then
        pid=$(<"$1")
        kill -CONT "$pid" 2>/dev/null
        kill "-$SIGNAL" "$pid" 2>/dev/null
        for ((i = 0; i < $3 * 20; i++)); do
            is_up "$1" "$2" || break
            sleep 0.05
        done
        if is_up "$1" "$2"; then
            say "$2 ($pid) did not end in $3 s: killing it"
            kill -KILL "$pid" 2>/dev/null
        else
            say "$2 ($pid) ended"
        fi
    fi
    rm -f "$1"
}

# Jobs' processes know their cluster by SLURM_CONF and their job by SLURM_JOB_ID; a shell in which
# someone sourced env.sh has only the first, and is left alone.
kill_job_processes() {
    local file pid pids node group
    while read -r file; do
        pid=${file#/proc/} pid=${pid%/environ}
        if grep -qz '^SLURM_JOB_ID=' "$file" 2>/dev/null ||
            [[ $(cat "/proc/$pid/comm" 2>/dev/null) == slurmstepd ]]; then
            kill -KILL "$pid" 2>/dev/null
        fi
    done < <(grep -lzxF "SLURM_CONF=$DIR/etc/slurm.conf" /proc/[0-9]*/environ 2>/dev/null)
    ((IS_ROOT)) || return 0
    for node in "$DIR"/spool/*/; do
        node=$(basename "$node")
        group=/sys/fs/cgroup/freezer/slurm_$node
        [[ -d $group ]] || continue
        mapfile -t pids < <(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null)
        ((!${#pids[@]})) || kill -KILL "${pids[@]}" 2>/dev/null
    done
}

leave_machine_as_it_was() {
    local node group
    ((IS_ROOT)) || return 0
    set_hosts_line ''
    for node in "$DIR"/spool/*/; do
        for group in /sys/fs/cgroup/*/slurm_"$(basename "$node")"; do
            [[ ! -d $group ]] || find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
        done
    done
}

SIGNAL=TERM
if ((FORCE && WIPE)); then
    SIGNAL=KILL # no state will be read again
elif ((!KEEP)) && is_up "$DIR/run/slurmctld.pid" slurmctld; then
    cancel_or_refuse
fi
for file in "$DIR"/run/slurmd.*.pid; do # all at once, then wait for each
    if is_up "$file" slurmd; then kill "-$SIGNAL" "$(<"$file")" 2>/dev/null; fi
done
for file in "$DIR"/run/slurmd.*.pid; do [[ ! -e $file ]] || stop "$file" slurmd 5; done
stop "$DIR/run/slurmctld.pid" slurmctld 20
stop "$DIR/run/slurmdbd.pid" slurmdbd 15
stop "$DIR/run/mariadbd.pid" mariadbd 20
[[ ! -d $DIR/munge ]] || stop "$DIR/munge/munged.pid" munged 5
((!FORCE)) || kill_job_processes
((KEEP)) || leave_machine_as_it_was
if ((WIPE)); then
    for ((i = 0; i < 50; i++)); do # a process that is ending may still write its log
        rm -rf "$DIR" 2>/dev/null && break
        sleep 0.1
    done
fi
exit 0
