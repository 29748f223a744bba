#!/usr/bin/env bash
# Brings up a real SLURM cluster on this one machine: a controller and several nodes (a slurmd each)
# with made-up CPUs and GPUs. A second call changes nothing; what was killed, drained or declared
# down meanwhile is brought back.
#
#   up.sh [--dbd | --no-dbd] [--reset] [--quiet] [--offline] [--packages-only] [--help]
#
#   --dbd            with accounting (MariaDB and slurmdbd), so that sacct works
#   --no-dbd         without: what is over stands in log/jobcomp.log. The default is what the cluster
#                    had before, and without for a new one
#   --reset          end what runs and forget all jobs first
#   --offline        get no packages: exit status 4 where some are missing
#   --packages-only  get the packages and start nothing
#
# As root: packages by apt-get, jobs of any user. As another user: packages unpacked into a cache
# folder, no munge, jobs of that user. Then `. FOLDER/env.sh`, and sbatch, squeue, … are this cluster's.
#
# Environment, all optional (default):
#   SLURM_SANDBOX_DIR       folder of everything: etc run log state spool
#                           (/tmp/activeuf-slurm; with -USER added when not root)
#   SLURM_SANDBOX_PORT      first of 10 + NODES + 1 TCP ports (16817; of other users 20 for each uid)
#   SLURM_SANDBOX_PREFIX    node names: PREFIX1, PREFIX2, … (node)
#   SLURM_SANDBOX_NODES (4) _CPUS (8) _GPUS (4) _MEM_MB (8000)   number and size of the nodes
#   SLURM_SANDBOX_DBD       1 is --dbd, 0 is --no-dbd
#   SLURM_SANDBOX_CGROUP    auto, 1 or 0: cgroup v1 for process tracking and memory limits (auto)
#   SLURM_SANDBOX_HOSTS     1: as root, let the nodes' names resolve by a line in /etc/hosts (1)
#   SLURM_SANDBOX_EXTRA     lines of slurm.conf, one setting each, instead of the template's or added
#   SLURM_SANDBOX_WAIT      seconds to wait for the nodes (60)
#   SLURM_SANDBOX_PACKAGES  where another user's packages are unpacked (~/.cache/activeuf-slurm)
#   SLURM_SANDBOX_DEBS      a folder of .deb files to use instead of the network
set -Eeuo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=cluster.sh
. "$HERE/cluster.sh"

NODES=${SLURM_SANDBOX_NODES:-4} CPUS=${SLURM_SANDBOX_CPUS:-8} GPUS=${SLURM_SANDBOX_GPUS:-4}
MEMORY=${SLURM_SANDBOX_MEM_MB:-8000} PREFIX=${SLURM_SANDBOX_PREFIX:-node}
PORT=${SLURM_SANDBOX_PORT:-$((16817 + (IS_ROOT ? 0 : 20 * (1 + $(id -u) % 150))))}
DBD=${SLURM_SANDBOX_DBD:-} CGROUP=${SLURM_SANDBOX_CGROUP:-auto} HOSTS=${SLURM_SANDBOX_HOSTS:-1}
WAIT=${SLURM_SANDBOX_WAIT:-60} RESET=0 QUIET=0 OFFLINE=0 PACKAGES_ONLY=0
while (($#)); do
    case $1 in
        --dbd) DBD=1 ;;
        --no-dbd) DBD=0 ;;
        --reset) RESET=1 ;;
        --quiet) QUIET=1 ;;
        --offline) OFFLINE=1 ;;
        --packages-only) PACKAGES_ONLY=1 ;;
        -h | --help) sed -n '2,/^set -E/p' "$0" | sed '$d; s/^# \{0,1\}//' && exit 0 ;;
        *) warn "unknown option $1 (see --help)" && exit 2 ;;
    esac
    shift
done

STARTED=$(date +%s%N)
say() {
    ((!QUIET)) || return 0
    local ms=$((($(date +%s%N) - STARTED) / 1000000))
    printf 'slurm sandbox %2d.%02d s: %s\n' $((ms / 1000)) $((ms % 1000 / 10)) "$*"
}
# die_with LOG MESSAGE: the last lines of a log, then the error.
die_with() {
    tail -n 12 "$1" >&2 || true
    die "$2 (log: $1)"
}
trap 'warn "error: line $LINENO: $BASH_COMMAND (exit status $?)"' ERR
# try_for SECONDS COMMAND...: again every 0.1 s until it succeeds.
try_for() {
    local end=$((SECONDS + $1))
    shift
    until timeout 5 "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}
forget_other_clusters
if [[ -z $DBD ]]; then
    DBD=0
    if grep -qs '=accounting_storage/slurmdbd' "$DIR/etc/slurm.conf"; then DBD=1; fi
fi

# --- packages -------------------------------------------------------------------------------------
# shellcheck source-path=SCRIPTDIR source=packages.sh
. "$HERE/packages.sh"
use_unpacked
mapfile -t missing < <(missing_packages "$DBD")
if ((${#missing[@]})); then
    get_packages "${missing[@]}"
    use_unpacked
    mapfile -t missing < <(missing_packages "$DBD")
    ((!${#missing[@]})) || die "still missing after the packages were fetched: ${missing[*]}"
fi
((!PACKAGES_ONLY)) || exit 0

# --- folder, users, machine -----------------------------------------------------------------------
mkdir -p "$DIR" || die "cannot make $DIR"
[[ -O $DIR ]] || die "$DIR belongs to another user: set SLURM_SANDBOX_DIR"
chmod 755 "$DIR"
DIR=$(cd "$DIR" && pwd -P)
((${#DIR} < 70)) || die "$DIR is too long for the paths of sockets: set a shorter SLURM_SANDBOX_DIR"
mkdir -p "$DIR"/{etc,run,log,state,spool,gpu}
lock
if ((RESET)); then
    unlock
    SLURM_SANDBOX_DIR=$DIR "$HERE/down.sh" --quiet --force
    lock
    rm -rf "$DIR"/{state,spool,log,mysql}
    mkdir -p "$DIR"/{state,spool,log}
fi
if ((IS_ROOT)); then
    SLURM_USER=slurm AUTH=munge MUNGE=$DIR/munge/munge.socket
    AUTH_INFO="AuthInfo=socket=$MUNGE,cred_expire=10"
    mkdir -p "$DIR/munge"
    chown munge:munge "$DIR/munge"
    chmod 711 "$DIR/munge"
    chown slurm:slurm "$DIR"/{run,log,state}
    as_slurm() { setpriv --reuid slurm --regid slurm --clear-groups "$@"; }
    as_slurm test -x "$DIR" || die "the user slurm cannot enter $DIR: one of its parents is private"
else
    SLURM_USER=$ME AUTH=none AUTH_INFO="AuthInfo=cred_expire=10"
    as_slurm() { "$@"; }
fi
chmod 755 "$DIR"/{etc,run,log,spool,gpu}
chmod 700 "$DIR/state"
if [[ $CGROUP == auto ]]; then # version 1 only: SLURM wants systemd for version 2
    CGROUP=0 probe=/sys/fs/cgroup/memory/.slurm-sandbox.$$
    if ((IS_ROOT)) && [[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes && -d /sys/fs/cgroup/freezer ]] &&
        mkdir $probe 2>/dev/null; then
        rmdir $probe
        CGROUP=1
    fi
fi
for ((i = 1; i <= NODES; i++)); do mkdir -p "$DIR/spool/$PREFIX$i"; done
# A GPU must be a character device; a link to one passes.
for ((i = 0; i < GPUS; i++)); do ln -sfn /dev/null "$DIR/gpu/nvidia$i"; done
HOST=$(uname -n)
HOST=${HOST%%.*}
# With no address but loopback's, SLURM cannot resolve even 127.0.0.1 (getaddrinfo's AI_ADDRCONFIG).
if has getent && ! getent ahostsv4 127.0.0.1 >/dev/null; then
    { ((IS_ROOT)) && ip addr add 198.18.0.1/32 dev lo 2>/dev/null; } ||
        die 'this machine has only the loopback interface; as root: ip addr add 198.18.0.1/32 dev lo'
fi

# --- configuration --------------------------------------------------------------------------------
ACCOUNTING='AccountingStorageType=accounting_storage/none'
if ((DBD)); then
    ACCOUNTING="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 2))
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment"
    # sacct and sacctmgr do not read AuthInfo
    ((!IS_ROOT)) || ACCOUNTING+=$'\n'"AccountingStoragePass=socket=$MUNGE"
fi
TRACKING=$'ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill'
if ((CGROUP)); then
    TRACKING=$'ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\nJobAcctGatherParams=NoOverMemoryKill'
fi
[[ -z $PLUGINS ]] || TRACKING+=$'\n'"PluginDir=$PLUGINS"
render() {
    sed -e "s|@HOST@|$HOST|g; s|@DIR@|$DIR|g; s|@CTLDPORT@|$PORT|g; s|@SLURMDPORT@|$((PORT + 1))|g" \
        -e "s|@FIRSTNODEPORT@|$((PORT + 11))|g; s|@LASTNODEPORT@|$((PORT + 10 + NODES))|g" \
        -e "s|@PREFIX@|$PREFIX|g; s|@NODES@|$NODES|g; s|@CPUS@|$CPUS|g; s|@GPUS@|$GPUS|g" \
        -e "s|@MEMORY@|$MEMORY|g; s|@AUTH@|$AUTH|g; s|@SLURMUSER@|$SLURM_USER|g; s|@SLURMDUSER@|$ME|g" \
        "$HERE/slurm.conf.template" |
        ACCOUNTING=$ACCOUNTING TRACKING=$TRACKING AUTH_INFO=$AUTH_INFO GPUS=$GPUS awk '
            /^@ACCOUNTING@$/ { print ENVIRON["ACCOUNTING"]; next }
            /^@TRACKING@$/ { print ENVIRON["TRACKING"]; next }
            /^@AUTHINFO@$/ { print ENVIRON["AUTH_INFO"]; next }
            ENVIRON["GPUS"] == 0 { gsub(/ Gres=gpu:[^ ]*/, "") }
            { print }' |
        EXTRA=${SLURM_SANDBOX_EXTRA:-} awk '
            BEGIN {
                count = split(ENVIRON["EXTRA"], extra, "\n")
                for (i = 1; i <= count; i++) { split(extra[i], pair, "="); given[tolower(pair[1])] = 1 }
                single = "^(nodename|partitionname)$" # several lines each
            }
            { split($0, pair, "="); key = tolower(pair[1]) }
            key in given && key !~ single { next }
            { print }
            END { for (i = 1; i <= count; i++) print extra[i] }'
}
CHANGED=0
# put FILE MODE OWNER: standard input to the file; notes whether that changed it.
put() {
    local new
    new=$(mktemp "$DIR/.put.XXXXXX")
    cat >"$new"
    chmod "$2" "$new"
    ((!IS_ROOT)) || chown "$3" "$new"
    if cmp -s "$new" "$1"; then rm -f "$new"; else CHANGED=1 && mv "$new" "$1"; fi
}
put "$DIR/etc/slurm.conf" 644 root < <(render)
put "$DIR/etc/gres.conf" 644 root < <(
    ((!GPUS)) || echo "NodeName=${PREFIX}[1-$NODES] Name=gpu Type=fake File=$DIR/gpu/nvidia[0-$((GPUS - 1))]"
)
put "$DIR/etc/cgroup.conf" 644 root <<'CONF'
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=no
ConstrainDevices=no
CONF
put "$DIR/etc/slurmdbd.conf" 600 "$SLURM_USER" <<CONF
AuthType=auth/$AUTH
$( ((!IS_ROOT)) || echo "AuthInfo=socket=$MUNGE")
$([[ -z $PLUGINS ]] || echo "PluginDir=$PLUGINS")
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=$((PORT + 2))
SlurmUser=$SLURM_USER
DebugLevel=info
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=$SLURM_USER
StorageLoc=slurm_acct_db
CONF
write_env() {
    local unpacked=$PACKAGES/root/usr
    printf 'export SLURM_CONF=%q\n' "$DIR/etc/slurm.conf"
    [[ -n $PLUGINS ]] || return 0
    # shellcheck disable=SC2016 # the variables are the reader's
    printf 'export PATH=%q:$PATH\nexport LD_LIBRARY_PATH=%q${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n' \
        "$unpacked/bin:$unpacked/sbin" "$PLUGINS:${PLUGINS%/*}"
}
put "$DIR/env.sh" 644 root < <(write_env)
export SLURM_CONF=$DIR/etc/slurm.conf
# Reads the whole configuration, prints the node's GPUs and ends.
checked=$(timeout 20 slurmd -N "${PREFIX}1" -G 2>&1) || true
if [[ $checked == *'Unable to process configuration'* || $checked == *fatal:* ]]; then
    printf '%s\n' "$checked" >&2
    die "slurm.conf is not valid: $DIR/etc/slurm.conf"
fi
running=0
for file in "$DIR"/run/slurmctld.pid "$DIR"/run/slurmd.*.pid; do
    name=${file##*/}
    if is_up "$file" "${name%%.*}"; then running=1; fi
done
if ((running && CHANGED)); then
    say 'the configuration changed: the daemons start anew, jobs go on'
    unlock
    SLURM_SANDBOX_DIR=$DIR "$HERE/down.sh" --quiet --keep-jobs
    lock
fi
if ((IS_ROOT && HOSTS)); then # torchrun's rendezvous looks a node's name up
    names=$(for ((i = 1; i <= NODES; i++)); do printf ' %s%d' "$PREFIX" $i; done)
    set_hosts_line "127.0.0.1$names" || warn "/etc/hosts cannot be written: the nodes' names do not resolve"
fi
# require_free_port PORT NAME: a clear word before a daemon dies of it.
require_free_port() {
    if (exec 6<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
        die "port $1 for $2 is taken by another program or cluster: set SLURM_SANDBOX_PORT"
    fi
}

# --- munge ----------------------------------------------------------------------------------------
if ((IS_ROOT)) && ! { is_up "$DIR/munge/munged.pid" munged && munge -n -S "$MUNGE" >/dev/null 2>&1; }; then
    key=$DIR/munge/munge.key
    if [[ ! -s $key ]]; then
        (umask 077 && head -c 128 /dev/urandom >"$key")
        chown munge:munge "$key"
        chmod 400 "$key"
    fi
    rm -f "$MUNGE" "$MUNGE.lock" "$DIR/munge/munged.pid"
    setpriv --reuid munge --regid munge --clear-groups munged --force --socket="$MUNGE" --key-file="$key" \
        --pid-file="$DIR/munge/munged.pid" --log-file="$DIR/munge/munged.log" \
        --seed-file="$DIR/munge/munged.seed" --origin=127.0.0.1 --num-threads=10 \
        </dev/null >"$DIR/log/munged.out" 2>&1 9>&- || die_with "$DIR/log/munged.out" 'munged did not start'
    try_for 5 sh -c "munge -n -S '$MUNGE' | unmunge -S '$MUNGE'" ||
        die_with "$DIR/munge/munged.log" "munged does not answer on $MUNGE"
    say 'munged is up'
fi

# --- accounting -----------------------------------------------------------------------------------
if ((DBD)); then
    # shellcheck source-path=SCRIPTDIR source=accounting.sh
    . "$HERE/accounting.sh"
    start_accounting
fi

# --- controller -----------------------------------------------------------------------------------
new_controller=0
if ! is_up "$DIR/run/slurmctld.pid" slurmctld; then
    new_controller=1
    require_free_port "$PORT" slurmctld
    rm -f "$DIR/run/slurmctld.pid"
    slurmctld </dev/null >"$DIR/log/slurmctld.out" 2>&1 9>&- ||
        die_with "$DIR/log/slurmctld.out" 'slurmctld did not start'
fi
answers() { [[ $(timeout 5 scontrol ping 2>/dev/null) == *UP* ]]; }
began=$SECONDS
until answers; do
    sleep 0.1
    if ((SECONDS > began + 2)) && ! is_up "$DIR/run/slurmctld.pid" slurmctld; then
        cat "$DIR/log/slurmctld.out" >&2
        die_with "$DIR/log/slurmctld.log" 'slurmctld ended'
    fi
    ((SECONDS < began + 30)) || die_with "$DIR/log/slurmctld.log" "slurmctld does not answer on port $PORT"
done
say 'slurmctld is up'

# --- nodes ----------------------------------------------------------------------------------------
STEPD=$(command -v slurmstepd)
for ((i = 1; i <= NODES; i++)); do
    node=$PREFIX$i
    if is_up "$DIR/run/slurmd.$node.pid" slurmd; then
        # a new controller hears of its nodes after 4 s, unless they register anew
        ((!new_controller)) || kill -HUP "$(<"$DIR/run/slurmd.$node.pid")"
        continue
    fi
    require_free_port $((PORT + 10 + i)) "slurmd of $node"
    rm -f "$DIR/run/slurmd.$node.pid"
    slurmd -N "$node" -d "$STEPD" </dev/null >"$DIR/log/slurmd.$node.out" 2>&1 9>&- || {
        cat "$DIR/log/slurmd.$node.out" >&2
        die_with "$DIR/log/slurmd.$node.log" "slurmd of $node did not start"
    }
done
began=$SECONDS resumed=0
while true; do
    states=$(timeout 10 sinfo -h -N -p normal -o '%N %T' 2>/dev/null) || states=''
    # a state with a '*' is of a node that does not answer yet
    good=$(grep -Ec ' (idle|mixed|allocated|completing)$' <<<"$states") || true
    ((good < NODES)) || break
    bad=$(awk '$2 ~ /^(drain|fail|down)/ { print $1 }' <<<"$states" | paste -sd,)
    if ((!resumed)) && [[ -n $bad ]] && scontrol update "nodename=$bad" state=resume >/dev/null 2>&1; then
        resumed=1
    fi
    if ((SECONDS >= began + WAIT)); then
        sinfo -N -l >&2 || true
        die_with "$DIR/log/slurmctld.log" "only $good of $NODES nodes are up after $WAIT s"
    fi
    sleep 0.1
done
how=$( ((DBD)) && echo 'with accounting' || echo 'no accounting')
say "$NODES nodes are up ($how, memory limits $( ((CGROUP)) && echo by cgroup || echo polled))"
say "now: . $DIR/env.sh"
