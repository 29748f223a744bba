"""The one place that spells a path.

    <home>/artifacts/<asset>/<fingerprint>/   a published artifact: its files and manifest.json
    <home>/runs/<job id>/                     one execution: job.json, stage.log, units/<unit>/
    <home>/checkpoints/<asset>/<fingerprint>/ what a stage goes on from after a crash
    <home>/claims/<asset>/<fingerprint>.lock  locked while a task works on that artifact
    <home>/generations/<asset>/<recipe>.json  how often a recipe was re-run on purpose
    <home>/trash/                             broken artifacts that were replaced
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
METRICS = "metrics.jsonl"
SCORE = "score.json"
PREDICTIONS = "predictions.jsonl"
SCORE_PLOT = "score.png"
PROMPTS = "prompts.parquet"
PROMPT_LENGTHS = "prompt_lengths.png"
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
TRAINING_CONFIG = "training_config.json"
LOSS_CURVE = "loss.png"
ACCURACY_CURVE = "accuracy.png"
SCORES = "scores.json"
LEADERBOARD_MARKDOWN = "leaderboard.md"
LEADERBOARD_HTML = "leaderboard.html"
LEADERBOARD_JSON = "leaderboard.json"
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
    def digests(self) -> Path:
        """Cache of content digests of source files."""
        return self.home / "digests.json"

    def artifact(self, asset: str, fingerprint: str) -> Path:
        """Folder of one artifact, whether or not it exists."""
        return self.artifacts / asset / fingerprint

    def manifest(self, asset: str, fingerprint: str) -> Path:
        """Manifest of one artifact."""
        return self.artifact(asset, fingerprint) / MANIFEST

    def checkpoints(self, asset: str, fingerprint: str) -> Path:
        """Folder that the attempts at one artifact share."""
        return self.home / "checkpoints" / asset / fingerprint

    def claim(self, asset: str, fingerprint: str) -> Path:
        """Lock file of one artifact."""
        return self.home / "claims" / asset / f"{fingerprint}.lock"

    def generation(self, asset: str, recipe: str) -> Path:
        """File that counts the purposeful re-runs of one recipe."""
        return self.home / "generations" / asset / f"{recipe}.json"

    def run(self, job_id: str) -> Path:
        """Folder of one execution."""
        return self.runs / job_id

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
