# Sourced by up.sh: finds SLURM's programs, or gets Debian's packages. As root by `apt-get install`;
# as another user by `apt-get download` and `dpkg-deb -x` into a folder that all clusters of that
# user share, with no right needed. Sets PLUGINS where the programs are unpacked ones.
# shellcheck shell=bash disable=SC2034,SC2030,SC2031
PLUGINS=
if [[ -w ${HOME:-/nonexistent} ]]; then
    PACKAGES=${SLURM_SANDBOX_PACKAGES:-${XDG_CACHE_HOME:-$HOME/.cache}/activeuf-slurm}
else
    PACKAGES=${SLURM_SANDBOX_PACKAGES:-/tmp/activeuf-slurm-packages-$ME}
fi
DEBS=${SLURM_SANDBOX_DEBS:-}
SEARCHED=$PATH:/usr/sbin:/sbin

has() { command -v "$1" >/dev/null 2>&1; }

# Put unpacked programs first in the paths, if there are any.
use_unpacked() {
    local libraries
    PATH=$SEARCHED
    ((!IS_ROOT)) && [[ -d $PACKAGES/root/usr ]] || return 0
    libraries=$(echo "$PACKAGES"/root/usr/lib/*-linux-gnu)
    export LD_LIBRARY_PATH=$libraries/slurm-wlm:$libraries
    export PATH=$PACKAGES/root/usr/bin:$PACKAGES/root/usr/sbin:$SEARCHED
    if [[ -d $libraries/slurm-wlm ]]; then PLUGINS=$libraries/slurm-wlm; fi
}

# missing_packages DBD: the packages whose programs are not there, one a line.
missing_packages() {
    has slurmctld && has slurmd && has sbatch || echo slurm-wlm
    ((!IS_ROOT)) || has munged || echo munge
    (($1)) || return 0
    has slurmdbd || echo slurmdbd
    has mariadbd || echo mariadb-server-core
    has mariadb || echo mariadb-client-core
    has my_print_defaults || echo mariadb-client
}

# get_packages NAME...: install or unpack them; exit 4 where that cannot be.
get_packages() {
    local log
    if ((OFFLINE)); then
        warn "not installed: $*"
        exit 4
    fi
    if ! has apt-get || ! has dpkg-deb; then
        warn "not installed: $*; only Debian's packages can be fetched, and here is no apt-get"
        exit 4
    fi
    log=$(mktemp)
    say "getting $*"
    if ! if ((IS_ROOT)); then install_as_root "$@"; else unpack_as_user "$@"; fi >"$log" 2>&1; then
        tail -n 8 "$log" >&2
        rm -f "$log"
        warn "apt-get could not get $* (above is why)"
        exit 4
    fi
    rm -f "$log"
}

install_as_root() {
    local policy=/usr/sbin/policy-rc.d made=0 status=0
    local apt=(apt-get -y -q -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
    export DEBIAN_FRONTEND=noninteractive
    # The packages' own services must not start: they know other folders.
    if [[ ! -e $policy ]]; then
        made=1
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    if [[ -n $DEBS ]]; then
        "${apt[@]}" --no-install-recommends install "$DEBS"/*.deb </dev/null || status=1
    else
        "${apt[@]}" --no-install-recommends install "$@" </dev/null ||
            { "${apt[@]}" update && "${apt[@]}" --no-install-recommends install "$@" </dev/null; } || status=1
    fi
    ((!made)) || rm -f $policy
    return $status
}

unpack_as_user() (
    from=${DEBS:-$PACKAGES/debs} options=()
    mkdir -p "$PACKAGES"/{debs,apt/lists/partial,apt/cache/archives/partial} || exit 1
    exec 8>"$PACKAGES/.lock" && flock -w 300 8 || exit 1
    if [[ -z $DEBS ]] && ! download "$@"; then
        # the machine has no package lists, or old ones: fetch some of our own
        options=(-o "Dir::State::lists=$PACKAGES/apt/lists" -o "Dir::Cache=$PACKAGES/apt/cache"
            -o "APT::Sandbox::User=$ME" -o Debug::NoLocking=1)
        { apt-get "${options[@]}" -q update && download "$@"; } || exit 1
    fi
    new=$PACKAGES/root.new # all or nothing: half a package would pass for a whole one later
    rm -rf "$new"
    for deb in "$from"/*.deb; do dpkg-deb -x "$deb" "$new" || exit 1; done
    # The daemons know what they are by their program's name: started under Debian's file name,
    # slurmctld-wlm, slurmctld dies of SIGSEGV at its first start with slurmdbd.
    for program in "$new"/usr/sbin/slurm{ctld,d,stepd}; do
        [[ ! -e $program-wlm || -e $program ]] || ln -s "${program##*/}-wlm" "$program"
    done
    rm -rf "$PACKAGES/root"
    mv "$new" "$PACKAGES/root"
)

# download NAME...: into the folder `from`, with all that installing these would bring.
download() {
    local names
    names=$(apt-get "${options[@]}" -s --no-install-recommends install "$@" | awk '/^Inst /{print $2}') || true
    [[ -n $names ]] || { echo "apt-get does not know: $*" && return 1; }
    # shellcheck disable=SC2086 # names are words
    (cd "$from" && apt-get "${options[@]}" -q download $names)
}
