#!/usr/bin/env bash
# Makes sure that a Chromium is there for the browser test, where this can be done without asking
# anyone: as root on Debian. Elsewhere it says so and succeeds; the test then skips with a reason.
set -euo pipefail

say() { printf 'browser: %s\n' "$*"; }

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    say 'no Chromium found; the browser test will be skipped. Debian: apt-get install chromium'
    exit 0
fi
say 'installing the Debian package chromium'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install --yes --no-install-recommends chromium; } >"$log" 2>&1; then
    tail -n 5 "$log"
    say 'it could not be installed (apt-get says why above); the browser test will be skipped'
    exit 0
fi
say "$(chromium --version 2>/dev/null || echo 'chromium is installed')"
