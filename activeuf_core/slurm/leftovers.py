"""Jobs that a controller brings back after its crash, though everybody is done with them.

slurmctld forgets what it did in its last seconds: a job that was released, ran and published may
stand in the queue again, held, for ever. Its wave is closed and nobody looks for it any more. So
every run asks once, at its end, for the waves that were over before their release was certain.
"""

from __future__ import annotations

import logging
import time

from activeuf_core.errors import LaunchError
from activeuf_core.slurm.disk import FullDisk
from activeuf_core.slurm.scheduler import Scheduler
from activeuf_core.slurm.waves import Ledger

log = logging.getLogger("activeuf.slurm")
CERTAIN_AFTER_S = 60.0
"""How long after its end a wave that is not in the queue stays out of it."""


def cancel_leftovers(scheduler: Scheduler, ledger: Ledger) -> None:
    """Cancel what waits in the queue of waves that are closed. One call of squeue, and none where
    every wave is certain; a scheduler that does not answer is asked by the next run.
    """
    ended = ledger.uncertain_waves()
    if not ended:
        return
    try:
        rows = scheduler.queue(list(ended))
        waiting: dict[str, list[str]] = {}
        for row in rows:
            if row.phase == "queued":
                waiting.setdefault(row.name, []).append(row.task_id)
        for token, task_ids in waiting.items():
            log.warning("%s: cancelled left-overs that nobody waits for: %s", token, task_ids)
            scheduler.cancel(token, task_ids)
    except LaunchError as error:
        log.info("left-overs are looked for by the next run: %s", error)
        return
    present = {row.name for row in rows if row.phase != "ended"}
    with FullDisk().survived():
        for token, closed in ended.items():
            if token not in present and time.time() - closed > CERTAIN_AFTER_S:
                ledger.mark_released(token)
