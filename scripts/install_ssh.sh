#!/usr/bin/env bash
# Makes sure that OpenSSH and rsync are there for the tests of SLURM over SSH, where this can be done
# without asking anyone: as root on Debian. Elsewhere it says so and succeeds; the tests then skip with
# a reason. No server is left running: the tests start their own, on a port and with keys of its own.
set -euo pipefail

say() { printf 'ssh: %s\n' "$*"; }

has_all() { [[ -x /usr/sbin/sshd ]] && command -v ssh >/dev/null && command -v rsync >/dev/null; }

if has_all; then
    exit 0
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    say 'no sshd, ssh or rsync found; the tests over SSH will be skipped. Debian: apt-get install openssh-server rsync'
    exit 0
fi
say 'installing the Debian packages openssh-server, openssh-client and rsync'
# Debian starts the machine's own SSH server on installation, unless this file is there.
if [[ ! -x /usr/sbin/sshd ]]; then
    mkdir -p /etc/ssh
    : >/etc/ssh/sshd_not_to_be_run
    say 'the machine gets no SSH server by that: remove /etc/ssh/sshd_not_to_be_run to have one'
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install --yes --no-install-recommends \
    openssh-server openssh-client rsync; } >"$log" 2>&1; then
    tail -n 5 "$log"
    say 'they could not be installed (apt-get says why above); the tests over SSH will be skipped'
    exit 0
fi
has_all || say 'they are installed, but sshd, ssh or rsync is missing; the tests over SSH will be skipped'
