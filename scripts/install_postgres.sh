#!/usr/bin/env bash
# Makes sure that the programs of PostgreSQL are there for the tests of the production instance, where
# this can be done without asking anyone: as root on Debian. Elsewhere it says so and succeeds; the
# tests then skip with a reason. No server is left running: the tests start their own.
set -euo pipefail

say() { printf 'postgres: %s\n' "$*"; }

has_initdb() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }

if has_initdb; then
    exit 0
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    say 'no PostgreSQL found; its tests will be skipped. Debian: apt-get install postgresql'
    exit 0
fi
say 'installing the Debian package postgresql'
# Debian makes a cluster and starts it on installation, unless this file says otherwise.
settings=/etc/postgresql-common/createcluster.conf
if [[ ! -e $settings ]]; then
    mkdir -p "${settings%/*}"
    printf 'create_main_cluster = false\n' >"$settings"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install --yes --no-install-recommends \
    -o Dpkg::Options::=--force-confold postgresql; } >"$log" 2>&1; then
    tail -n 5 "$log"
    say 'it could not be installed (apt-get says why above); its tests will be skipped'
    exit 0
fi
has_initdb || say 'it is installed, but there is no initdb; its tests will be skipped'
