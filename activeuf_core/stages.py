"""THE table of assets: what exists, in flow order, what each reads, and which module makes it.

    prompts → completions → annotations → candidate_pool → features → preference_dataset
        → dpo_model, reward_model → scores → leaderboard

The graph, the fingerprints, the code lock and the docs are all made from this table. `version`
enters the fingerprint: raise it when a change can change results (`docs/code-identity.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from activeuf_core.annotations.config import AnnotationsConfig
from activeuf_core.candidate_pool.config import CandidatePoolConfig
from activeuf_core.completions.config import CompletionsConfig
from activeuf_core.config import StrictModel
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.evals.alpaca_config import CONFIGS
from activeuf_core.evals.benchmarks import BENCHMARKS, Benchmark
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.features.config import FeaturesConfig
from activeuf_core.loop.config import LoopConfig
from activeuf_core.prompts.config import PromptsConfig
from activeuf_core.reporting.config import LeaderboardConfig, ScoresConfig, WandbSummaryConfig
from activeuf_core.training.config import DPOConfig, RewardModelConfig

Dimension = Literal["dataset", "member", "experiment", "none"]


@dataclass(frozen=True)
class Check:
    """A fact about an artifact that its stage reports; a failed blocking one stops everything
    downstream.
    """

    name: str
    description: str
    blocking: bool = False


@dataclass(frozen=True)
class Input:
    """An asset that a stage reads: the partition that belongs to its own, or all that do.

    `optional`: the stage works with those that are complete and says which are missing.
    `along_with`: it is read for the partitions of that other, optional input that are there, and
    nobody waits for it or asks for it: whoever made the other one had it.
    """

    asset: str
    optional: bool = False
    along_with: str = ""


@dataclass(frozen=True)
class Stage:
    """One asset.

    `dimension` says what its partitions are; `weight` is how many of a launcher's slots a job of it
    takes (0: it is light enough not to count); `shares_process` lets units that read the same
    inputs run in one process, and units whose config is light share one anyway; `placement` is
    where it runs: on the cluster, or beside the orchestrator because it needs the network or takes
    a moment. `divides`: several processes divide its work among them; any other stage refuses to be
    started as several.
    """

    asset: str
    module: str
    version: str
    config: type[StrictModel]
    inputs: tuple[Input, ...]
    dimension: Dimension
    group: str
    description: str
    kinds: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    weight: int = 1
    shares_process: bool = False
    placement: Literal["cluster", "orchestrator"] = "cluster"
    divides: bool = False

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the assets that it reads."""
        return tuple(item.asset for item in self.inputs)


def _score_stage(row: Benchmark) -> Stage:
    return Stage(
        asset=row.asset,
        module="activeuf_core.evals",
        version="3",
        config=CONFIGS.get(row.name, ScoreConfig),
        inputs=(Input(row.model),),
        dimension="experiment",
        group="07_evals",
        description=(
            f"Score of the {row.model} on {row.title}: {row.metric}, a fraction; predictions "
            "beside it."
        ),
        kinds=("python", "json"),
        checks=(
            Check("score_in_range", "The score is a number in [0, 1].", blocking=True),
            Check("score_covers_benchmark", "Every row of the benchmark was scored."),
            Check("outputs_not_empty", "No output is empty."),
            Check("outputs_not_truncated", "Few outputs stopped at the length limit."),
        ),
        shares_process=True,
        divides=True,
    )


_TRAINED = ("dpo_model", "reward_model")
_TRAINING_CHECKS = (
    Check("training_loss_finite", "Every logged loss is finite.", blocking=True),
    Check("weights_changed", "The trained weights differ from the base model's.", blocking=True),
    Check("training_reduced_loss", "The loss is lower at the end than at the start."),
    Check("pairs_kept", "Most comparisons fit the length limit."),
)

STAGES: tuple[Stage, ...] = (
    Stage(
        asset="prompts",
        module="activeuf_core.prompts",
        version="1",
        config=PromptsConfig,
        inputs=(),
        dimension="dataset",
        group="01_prompts",
        description=(
            "Prompts of a data set: read from a file or the hub, cleaned, each with a unique id."
        ),
        kinds=("python", "parquet"),
        checks=(
            Check(
                "prompts_not_empty", "At least one prompt is left after cleaning.", blocking=True
            ),
            Check("prompts_unique", "No two prompts have the same text."),
            Check("prompts_length", "Few prompts were dropped for their length."),
        ),
        weight=0,
    ),
    Stage(
        asset="completions",
        module="activeuf_core.completions",
        version="1",
        config=CompletionsConfig,
        inputs=(Input("prompts"),),
        dimension="member",
        group="02_completions",
        description="What one member of the model pool answered to every prompt.",
        kinds=("python", "parquet"),
        checks=(
            Check("completions_cover_prompts", "Every prompt has a completion of this member."),
            Check("completions_not_blank", "Few completions are blank."),
        ),
        divides=True,
    ),
    Stage(
        asset="annotations",
        module="activeuf_core.annotations",
        version="2",
        config=AnnotationsConfig,
        inputs=(Input("prompts"), Input("completions")),
        dimension="member",
        group="03_annotations",
        description="The judge's ratings of one member's completions, and their overall score.",
        kinds=("python", "parquet"),
        checks=(
            Check("annotations_complete", "Few completions could not be rated."),
            Check(
                "ratings_within_scale",
                "Every rating lies within the judge's scale.",
                blocking=True,
            ),
            Check("ratings_vary", "The judge does not give every completion the same score."),
        ),
        divides=True,
    ),
    Stage(
        asset="candidate_pool",
        module="activeuf_core.candidate_pool",
        version="1",
        config=CandidatePoolConfig,
        inputs=(Input("prompts"), Input("completions"), Input("annotations")),
        dimension="dataset",
        group="03_annotations",
        description=(
            "Per prompt, the completions of all members with their annotations: what the loop "
            "chooses from."
        ),
        kinds=("python", "parquet"),
        checks=(
            Check(
                "pool_not_empty", "At least one prompt has two or more candidates.", blocking=True
            ),
            Check("every_model_present", "Every member of the pool has candidates."),
            Check("length_bias", "The longer completion does not win nearly always."),
        ),
    ),
    Stage(
        asset="features",
        module="activeuf_core.features",
        version="1",
        config=FeaturesConfig,
        inputs=(Input("candidate_pool"),),
        dimension="dataset",
        group="04_features",
        description=(
            "A frozen model's last hidden state for every (prompt, completion), as one memory map."
        ),
        kinds=("python", "pytorch", "numpy"),
        checks=(
            Check("features_finite", "No feature is NaN or infinite.", blocking=True),
            Check("features_not_truncated", "Few conversations were cut at the length limit."),
        ),
        divides=True,
    ),
    Stage(
        asset="preference_dataset",
        module="activeuf_core.loop",
        version="2",
        config=LoopConfig,
        inputs=(Input("candidate_pool"), Input("features")),
        dimension="experiment",
        group="05_loop",
        description=(
            "The comparisons that the active-learning loop bought, with the loop's ENN and its "
            "metrics."
        ),
        kinds=("python", "pytorch", "parquet"),
        checks=(
            Check("preferences_not_empty", "At least one comparison was labelled.", blocking=True),
            Check("chosen_differs_from_rejected", "No comparison has equal sides.", blocking=True),
            Check(
                "chosen_scores_higher", "Chosen never has the lower overall score.", blocking=True
            ),
            Check("budget_respected", "No more annotations were bought than allowed."),
            Check("length_bias", "Chosen is not nearly always the longer side."),
        ),
    ),
    Stage(
        asset="dpo_model",
        module="activeuf_core.training",
        version="1",
        config=DPOConfig,
        inputs=(Input("preference_dataset"),),
        dimension="experiment",
        group="06_training",
        description=(
            "The policy: the base model trained with DPO on the experiment's preference dataset."
        ),
        kinds=("python", "pytorch", "huggingface"),
        checks=_TRAINING_CHECKS,
        divides=True,
    ),
    Stage(
        asset="reward_model",
        module="activeuf_core.training",
        version="1",
        config=RewardModelConfig,
        inputs=(Input("preference_dataset"),),
        dimension="experiment",
        group="06_training",
        description=(
            "The reward model: the base model with a scalar head, trained on the same comparisons."
        ),
        kinds=("python", "pytorch", "huggingface"),
        checks=_TRAINING_CHECKS,
        divides=True,
    ),
    *(_score_stage(row) for row in BENCHMARKS),
    Stage(
        asset="scores",
        module="activeuf_core.reporting",
        version="1",
        config=ScoresConfig,
        inputs=tuple(Input(row.asset, optional=True) for row in BENCHMARKS),
        dimension="experiment",
        group="08_reporting",
        description=(
            "All scores of one experiment and their means; a missing score is named, never a zero."
        ),
        kinds=("python", "json"),
        checks=(Check("all_benchmarks_present", "No benchmark is missing."),),
        weight=0,
        placement="orchestrator",
    ),
    Stage(
        asset="wandb_summary",
        module="activeuf_dagster.tracking",
        version="2",
        config=WandbSummaryConfig,
        inputs=(
            Input("scores"),
            *(Input(n, optional=True) for n in ("preference_dataset", *_TRAINED)),
        ),
        dimension="experiment",
        group="08_reporting",
        description=(
            "The experiment's W&B run: curves of its loop and trainings, and its scores. Offline "
            "unless a key is present."
        ),
        kinds=("python", "wandb"),
        checks=(Check("wandb_run_written", "The run was written."),),
        weight=0,
        placement="orchestrator",
    ),
    Stage(
        asset="leaderboard",
        module="activeuf_core.reporting",
        version="2",
        config=LeaderboardConfig,
        inputs=(
            Input("scores", optional=True),
            Input("preference_dataset", optional=True, along_with="scores"),
        ),
        dimension="none",
        group="08_reporting",
        description=(
            "All experiments side by side, with deltas to a named baseline, and what their scores "
            "cost in annotations."
        ),
        kinds=("python", "markdown"),
        checks=(Check("leaderboard_not_empty", "At least one experiment has scores."),),
        weight=0,
        placement="orchestrator",
    ),
)

_BY_ASSET = {stage.asset: stage for stage in STAGES}


def stage_of(asset: str) -> Stage:
    """Return a stage by its asset's name. Raises: ConfigError with the names that exist."""
    try:
        return _BY_ASSET[asset]
    except KeyError:
        raise ConfigError(f"unknown asset {asset!r}; {choose_from(asset, _BY_ASSET)}.") from None
