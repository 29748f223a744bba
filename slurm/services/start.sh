#!/usr/bin/env bash
# Starts what does not run yet of the production instance: code server, daemon, webserver.
#
#     slurm/services/start.sh                      all
#     slurm/services/start.sh code daemon          some
#
# Calling it again is harmless, so a line in the crontab brings back what died:
#     */5 * * * * /path/to/project/slurm/services/start.sh >/dev/null
# Logs and pids are in $DAGSTER_HOME/services.
set -euo pipefail
set -m # without job control bash starts background processes deaf to SIGINT, and Dagster stays deaf
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
names=("$@")
(( $# )) || names=(code daemon webserver)

folder=$("$here/service.sh" folder)
for name in "${names[@]}"; do
    if ! flock --nonblock "$folder/$name.lock" true; then
        printf '%s: runs already (pid %s)\n' "$name" "$(<"$folder/$name.pid")"
        continue
    fi
    setsid "$here/service.sh" "$name" </dev/null >>"$folder/$name.log" 2>&1 &
    printf '%s: started, log in %s\n' "$name" "$folder/$name.log"
done
