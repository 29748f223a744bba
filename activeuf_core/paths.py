"""The one place that spells a path.

    <home>/artifacts/<asset>/<fingerprint>/   a published artifact: its files and manifest.json
    <home>/runs/<job id>/                     one execution: job.json, stage.log, units/<unit>/
    <home>/checkpoints/<asset>/<fingerprint>/ what a stage goes on from after a crash
    <home>/claims/<asset>/<fingerprint>.lock  locked while a task works on that artifact
    <home>/attempts/<asset>/<fingerprint>/    which job makes the artifact: numbered, written once
    <home>/failures/<asset>/<fingerprint>.json  why the last attempt failed, and how often
    <home>/slurm/<wave>/                      one submission to SLURM: intent, script, what became
    <home>/generations/<asset>/<recipe>.json  how often a recipe was re-run on purpose
    <home>/index/<asset>                      a cache: what is known of manifests that were read
    <home>/trash/                             broken artifacts that were replaced
    <home>/imports/                           copies that are being adopted
    <home>/judgements/<judge>/                what judges answered, by content of the question
    <home>/sweeps/<sweep>/<experiment>.json   a point of a sweep that a W&B agent suggested
    <home>/experiments/<experiment>/          a readable view: links in the layout that people know
    <home>/models/, <home>/dagster/, <home>/tracking/, <home>/digests.json

Standard library only: the task wrapper imports it inside every SLURM task.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

MANIFEST = "manifest.json"
WAVE_SCRIPT = "wave.sbatch"
METRICS = "metrics.jsonl"
SCORE = "score.json"
PREDICTIONS = "predictions.jsonl"
SCORE_PLOT = "score.png"
LENGTH_PLOT = "preference_by_length.png"
LENGTH_CONTROL = "length_control.json"
PROMPTS = "prompts.parquet"
PROMPT_LENGTHS = "prompt_lengths.png"
RAW_SPLIT = "raw_{split}.parquet"
DATASET_REVISION = "revision.json"
DATASET_SPLIT = "{split}.parquet"
DATASET_STATISTICS = "stats.json"
DATASET_CONFIG = "config.json"
DATASET_REPORT = "report.md"
QUESTION_LENGTHS = "question_lengths.png"
ANSWER_LENGTHS = "answer_lengths.png"
COMPLETIONS = "completions.parquet"
COMPLETION_LENGTHS = "completion_lengths.png"
ANNOTATIONS = "annotations.parquet"
SCORE_HISTOGRAM = "overall_scores.png"
DIGIT_PROBABILITIES = "digit_probabilities.parquet"
CANDIDATES = "candidates.parquet"
POOL_PLOT = "models.png"
FEATURES = "features.npy"
FEATURE_INDEX = "index.parquet"
FEATURE_LENGTHS = "token_counts.png"
PREFERENCES = "preferences.parquet"
ENN_WEIGHTS = "enn.safetensors"
LEARNING_CURVE = "learning_curve.png"
COMPARISON_SCORES = "comparison_scores.png"
MODEL_SELECTION = "model_selection.png"
CALIBRATION = "calibration.png"
TRAINING_CONFIG = "training_config.json"
LOSS_CURVE = "loss.png"
ACCURACY_CURVE = "accuracy.png"
REWARDS_CURVE = "rewards.png"
TRAINING_LOG = "training.log"
SCORES = "scores.json"
BASE_MODEL = "base_model.json"
NOTHING_MADE = "nothing.json"
LEADERBOARD_MARKDOWN = "leaderboard.md"
LEADERBOARD_HTML = "leaderboard.html"
LEADERBOARD_JSON = "leaderboard.json"
SAMPLE_EFFICIENCY = "sample_efficiency.png"
LEADERBOARD_PLOT = "leaderboard.png"


@dataclass(frozen=True)
class Layout:
    """Where everything of one ActiveUF home lies."""

    home: Path

    @classmethod
    def default(cls) -> Layout:
        """Return the layout of `$ACTIVEUF_HOME`, or of `.activeuf` in the project's folder."""
        return cls(Path(os.environ.get("ACTIVEUF_HOME") or PROJECT / ".activeuf").absolute())

    @property
    def artifacts(self) -> Path:
        """Folder of all published artifacts."""
        return self.home / "artifacts"

    @property
    def runs(self) -> Path:
        """Folder of all executions."""
        return self.home / "runs"

    @property
    def trash(self) -> Path:
        """Folder that broken artifacts are moved to before they are replaced."""
        return self.home / "trash"

    @property
    def imports(self) -> Path:
        """Folder of copies that are being adopted."""
        return self.home / "imports"

    @property
    def models(self) -> Path:
        """Folder of base models that the project set up itself."""
        return self.home / "models"

    @property
    def dagster(self) -> Path:
        """Folder of the embedded Dagster instance (DAGSTER_HOME)."""
        return self.home / "dagster"

    @property
    def tracking(self) -> Path:
        """Folder of offline W&B runs."""
        return self.home / "tracking"

    @property
    def judgements(self) -> Path:
        """Folder of what judges answered, which all stages share."""
        return self.home / "judgements"

    @property
    def recoveries(self) -> Path:
        """Folder of what recoveries in the foreground are about to make, and of their lock."""
        return self.home / "recoveries"

    @property
    def automation(self) -> Path:
        """Ledger of what automation has launched."""
        return self.home / "automation.jsonl"

    @property
    def digests(self) -> Path:
        """Cache of content digests of source files."""
        return self.home / "digests.json"

    def artifact(self, asset: str, fingerprint: str) -> Path:
        """Folder of one artifact, whether or not it exists."""
        return self.artifacts / asset / fingerprint

    def manifest(self, asset: str, fingerprint: str) -> Path:
        """Manifest of one artifact."""
        return self.artifact(asset, fingerprint) / MANIFEST

    def index(self, asset: str) -> Path:
        """Cache of what is known of one asset's manifests."""
        return self.home / "index" / asset

    def checkpoints(self, asset: str, fingerprint: str) -> Path:
        """Folder that the attempts at one artifact share."""
        return self.home / "checkpoints" / asset / fingerprint

    def claim(self, asset: str, fingerprint: str) -> Path:
        """Lock file of one artifact."""
        return self.home / "claims" / asset / f"{fingerprint}.lock"

    def fence(self, asset: str, fingerprint: str) -> Path:
        """Lock file that orders a publication and a change of owner of one artifact."""
        return self.home / "claims" / asset / f"{fingerprint}.fence"

    @property
    def served(self) -> Path:
        """Folder of what a Dagster that serves this home tells of itself."""
        return self.home / "served"

    def lead(self, backfill: str, dimension: str) -> Path:
        """Lock file of the run that submits for a backfill, of one kind of partitions."""
        return self.home / "claims" / "backfills" / f"{backfill}-{dimension}.lock"

    def slots(self, host: str) -> Path:
        """Folder of the lock files of one machine's slots."""
        return self.home / "claims" / "slots" / host

    def attempts(self, asset: str, fingerprint: str) -> Path:
        """Folder of the numbered attempts at one artifact."""
        return self.home / "attempts" / asset / fingerprint

    def failure(self, asset: str, fingerprint: str) -> Path:
        """File that remembers the failures of one artifact."""
        return self.home / "failures" / asset / f"{fingerprint}.json"

    @property
    def slurm(self) -> Path:
        """Folder of all submissions to SLURM."""
        return self.home / "slurm"

    def wave(self, token: str) -> WaveFolder:
        """Folder of one submission to SLURM."""
        return WaveFolder(self.slurm / token)

    def generation(self, asset: str, recipe: str) -> Path:
        """File that counts the purposeful re-runs of one recipe."""
        return self.home / "generations" / asset / f"{recipe}.json"

    def run(self, job_id: str) -> Path:
        """Folder of one execution."""
        return self.runs / job_id

    @property
    def sweeps(self) -> Path:
        """Folder of the points that agents of sweeps suggested."""
        return self.home / "sweeps"

    def experiment(self, experiment: str) -> Path:
        """Readable view of one experiment."""
        return self.home / "experiments" / experiment


@dataclass(frozen=True)
class RunFolder:
    """The files of one execution: what the launcher reads and the task writes."""

    path: Path

    @property
    def job(self) -> Path:
        """What to run."""
        return self.path / "job.json"

    @property
    def node_job(self) -> Path:
        """What to run, as the nodes see it; only where their paths are not the orchestrator's."""
        return self.path / "node-job.json"

    @property
    def stage(self) -> Path:
        """The `--config` of the stage: those units of the job that are still open."""
        return self.path / "stage.json"

    @property
    def log(self) -> Path:
        """Standard output and error of the stage."""
        return self.path / "stage.log"

    @property
    def task_log(self) -> Path:
        """Standard output and error of the task wrapper: empty unless the wrapper itself failed."""
        return self.path / "task.log"

    @property
    def status(self) -> Path:
        """State of the execution as the task wrapper saw it last."""
        return self.path / "status.json"

    @property
    def starts(self) -> Path:
        """Folder of the numbered starts: SLURM starts a job again after it was requeued."""
        return self.path / "starts"

    @property
    def ended(self) -> Path:
        """How the job ended without all of its artifacts, written by whoever saw it first."""
        return self.path / "ended.json"

    def start(self, number: int) -> RunFolder:
        """Folder of one start: the run folder itself for the first, one inside it for others, so
        that two processes of one job never write the same file.
        """
        return self if number <= 1 else RunFolder(self.path / f"start-{number}")

    def start_numbers(self) -> list[int]:
        """Return the numbers of the starts that were registered, in order."""
        try:
            return sorted(
                int(Path(name).stem) for name in os.listdir(self.starts) if name[0] != "."
            )
        except FileNotFoundError:
            return []

    def latest_start(self) -> RunFolder:
        """Return the folder of the newest start, the run folder itself when there was none."""
        return self.start(max(self.start_numbers(), default=1))

    def unit(self, name: str) -> UnitFolder:
        """Folder of one unit."""
        return UnitFolder(self.path / "units" / name)


@dataclass(frozen=True)
class UnitFolder:
    """The files of one unit: one artifact in the making."""

    path: Path

    @property
    def output(self) -> Path:
        """What will be published, without the manifest."""
        return self.path / "output"

    @property
    def progress(self) -> Path:
        """Done, total, unit of work, ETA; rewritten while the stage works."""
        return self.path / "progress.json"

    @property
    def result(self) -> Path:
        """Metadata and checks; written last, so that its existence means that the unit is done."""
        return self.path / "result.json"

    @property
    def failure(self) -> Path:
        """Class, message and traceback of the error that ended the unit."""
        return self.path / "failure.json"

    @property
    def again(self) -> Path:
        """Asks for another start of the stage, and says why."""
        return self.path / "again.json"


@dataclass(frozen=True)
class WaveFolder:
    """The files of one submission to SLURM. Each is written once and never changed, so that whoever
    reads them knows how far the submission came.
    """

    path: Path

    @property
    def intent(self) -> Path:
        """Which jobs are to be submitted, by whom and with what."""
        return self.path / "intent.json"

    @property
    def jobs(self) -> Path:
        """Run folders, one per line: line n is array element n."""
        return self.path / "jobs"

    @property
    def script(self) -> Path:
        """The batch script."""
        return self.path / WAVE_SCRIPT

    @property
    def secrets(self) -> Path:
        """Secret environment variables, readable by their owner only; removed at the end."""
        return self.path / "secrets.json"

    @property
    def submitting(self) -> Path:
        """Written just before sbatch is called: from here on a job may exist."""
        return self.path / "submitting.json"

    @property
    def submitted(self) -> Path:
        """The job id that SLURM gave."""
        return self.path / "submitted.json"

    @property
    def released(self) -> Path:
        """Written when the held job was released: from here on it may run."""
        return self.path / "released.json"

    @property
    def cancellations(self) -> Path:
        """Folder of the jobs that a person wants to be cancelled: one file each, named by job."""
        return self.path / "cancel"

    @property
    def closed(self) -> Path:
        """Written when no job of the wave is left to wait for."""
        return self.path / "closed.json"
