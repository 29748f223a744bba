#!/usr/bin/env bash
# Runs one service of the production instance in the foreground: code, daemon or webserver.
#
#     slurm/services/service.sh code
#     slurm/services/service.sh folder      print where sockets, locks and logs are
#
# start.sh and the systemd unit call it. Settings (NAME=value lines) are read from $ACTIVEUF_SETTINGS,
# default ~/.config/activeuf/production.env. A lock tells whether a service runs: it is the process's
# own, so that it ends with it however that ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=${1:?service.sh needs a name: code, daemon or webserver}

fail() {
    printf '%s: %s\n' "$name" "$*" >&2
    exit 1
}

settings=${ACTIVEUF_SETTINGS:-$HOME/.config/activeuf/production.env}
if [[ -f $settings ]]; then
    set -a
    # shellcheck source=/dev/null
    source "$settings"
    set +a
fi
exports=$(.venv/bin/activeuf env)
eval "$exports"
# A tick of a backfill that meets a code location which does not load waits for the next one. Without
# this Dagster ends the backfill and cancels all of its runs.
export DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR=1

folder=$DAGSTER_HOME/services
socket=$folder/code.sock
workspace=$folder/workspace.yaml
(( ${#socket} < 104 )) || fail "$socket is longer than a socket's path may be (104 characters):" \
    'set DAGSTER_HOME to a shorter one.'
mkdir -p -m 700 "$folder"
if [[ $name == folder ]]; then
    printf '%s\n' "$folder"
    exit
fi
exec 9>>"$folder/$name.lock"
flock --nonblock 9 || fail "runs already (pid $(<"$folder/$name.pid"))"
printf '%s\n' $$ >"$folder/$name.pid"

write_workspace() {
    printf 'load_from:\n  - grpc_server: {socket: "%s", location_name: activeuf}\n' "$socket" \
        >"$workspace.$name"
    mv "$workspace.$name" "$workspace"
}

wait_for_code() {
    local left
    for (( left = 300; left > 0; left-- )); do
        [[ ! -S $socket ]] || return 0
        sleep 0.2
    done
    printf '%s: the code server does not listen yet; going on without it\n' "$name" >&2
}

case $name in
    code)
        rm -f "$socket"
        exec .venv/bin/dagster api grpc --socket "$socket" \
            --module-name activeuf_dagster.definitions --location-name activeuf
        ;;
    daemon)
        write_workspace
        wait_for_code
        exec .venv/bin/dagster-daemon run --workspace "$workspace"
        ;;
    webserver)
        write_workspace
        wait_for_code
        exec .venv/bin/dagster-webserver --workspace "$workspace" \
            --host "${ACTIVEUF_UI_HOST:-127.0.0.1}" --port "${ACTIVEUF_UI_PORT:-3000}"
        ;;
    *) fail 'is no service; there are: code, daemon, webserver' ;;
esac
