#!/usr/bin/env bash
# Stops services of the production instance: code server, daemon, webserver.
#
#     slurm/services/stop.sh                       all
#     slurm/services/stop.sh code                  some
#
# Runs go on: their workers are processes of their own, and the jobs on the cluster all the more. To end a
# run, cancel it in the UI while the services are up.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
names=("$@")
(( $# )) || names=(webserver daemon code)
patience_s=10

folder=$("$here/service.sh" folder)
for name in "${names[@]}"; do
    lock=$folder/$name.lock
    if flock --nonblock "$lock" true; then
        printf '%s: does not run\n' "$name"
        continue
    fi
    pid=$(<"$folder/$name.pid")
    if [[ $name == code ]]; then
        # Asked kindly it would serve old code until its last run has ended. It holds no state.
        kill -KILL "$pid"
    else
        kill -TERM "$pid"
    fi
    flock --timeout "$patience_s" "$lock" true || kill -KILL "$pid"
    printf '%s: stopped\n' "$name"
done
