#!/usr/bin/env bash
# Runs a command on the cluster of up.sh: `with.sh sbatch job.sh`, `with.sh activeuf demo`.
# SLURM_SANDBOX_DIR is the cluster's folder, as for up.sh.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=cluster.sh
. "$HERE/cluster.sh"
(($#)) || die 'no command given; for example: with.sh squeue'
[[ -r $DIR/env.sh ]] || die "no cluster at $DIR: make slurm-up"
is_up "$DIR/run/slurmctld.pid" slurmctld || die "the controller of $DIR does not run: make slurm-up"
forget_other_clusters
# shellcheck disable=SC1091
. "$DIR/env.sh"
exec "$@"
