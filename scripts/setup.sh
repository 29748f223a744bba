#!/usr/bin/env bash
# Makes .venv: a virtual environment with every package of requirements.lock, and this checkout as an
# editable package. Does nothing when that was done before: the stamp holds a digest of what it was
# made from, and is written last.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/complete

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

identity() {
    printf '%s\n' "$PWD"
    cat requirements.lock pyproject.toml scripts/setup.sh scripts/install.py
}

is_usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; }

find_python() {
    local candidate candidates=(python3.11 python3.12 python3)
    if [[ -n ${PYTHON:-} ]]; then
        candidates=("$PYTHON")
    fi
    for candidate in "${candidates[@]}"; do
        if is_usable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or 3.12 among: ${candidates[*]}." \
        'Install one (Debian: apt-get install python3 python3-venv), or name one:' \
        'make setup PYTHON=/path/to/python3.11'
}

wanted=$(identity | sha256sum)
if [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    exit 0
fi
began=$SECONDS
if ! grep -qxF "$PWD" "$venv/made-in" 2>/dev/null || ! is_usable "$venv/bin/python"; then
    python=$(find_python)
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        fail "$python cannot make virtual environments (its message stands above)." \
            'Debian keeps that part apart: apt-get install python3-venv'
    }
    printf '%s\n' "$PWD" >"$venv/made-in"
fi
rm -f "$stamp"
"$venv/bin/python" scripts/install.py
printf '%s\n' "$wanted" >"$stamp"
say "done in $((SECONDS - began)) s"
