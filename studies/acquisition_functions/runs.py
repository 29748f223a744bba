"""One run of the study: the project's loop with one acquisition function and one seed, evaluated.

In: `Material` (pool and features), the name of a function, a seed, `StudySettings`. Out: a `Run`,
a learning curve on held-out prompts and what was bought. Heavy: needs torch.
Two reward models are evaluated. `fresh`: a linear Bradley-Terry model fitted anew to all
comparisons so far; it is convex, so two runs differ by their data alone, and it is what a
preference dataset is for: training another model. `enn`: the mean of the ensemble that selected.
Cost: 6 to 7 CPU-seconds for 1,900 comparisons.
Shapes: P held-out prompts, M completions per prompt (padded), R rows, N pairs, D feature size.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from activeuf_core.acquisition.config import AcquisitionConfig
from activeuf_core.acquisition.registry import ACQUISITION_FUNCTIONS
from activeuf_core.enn.base import RewardUncertainty
from activeuf_core.enn.config import BayesianLinearConfig, ENNConfig
from activeuf_core.enn.registry import build
from activeuf_core.fingerprint import digest_of
from activeuf_core.jobs import Unit
from activeuf_core.loop.config import LoopConfig
from activeuf_core.loop.feature_map import FeatureMap
from activeuf_core.loop.run import Loop
from activeuf_core.paths import UnitFolder
from activeuf_core.seeding import generator
from activeuf_core.stage import StageContext
from studies.acquisition_functions.pool import Deal, JudgedPool, deal

CEILING = "ceiling"
"""Not an acquisition function: `fresh` fitted to many random pairs of each hand."""
FUNCTIONS = tuple(ACQUISITION_FUNCTIONS)
CONSTANT = 30.0
"""A constant feature for the linear model, which scales rows to length 1: so much larger than the
rest that all rows are scaled nearly alike, and rewards stay linear in the features."""

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class StudySettings:
    """What a run depends on beside function, seed and pool; part of its identity."""

    large_model: str = "FuseChat-Llama-3.1-8B-Instruct"
    """With `small_model`, the pair of `deltaqwen`: one maker's largest and smallest of a family."""
    small_model: str = "FuseChat-Llama-3.2-1B-Instruct"
    hand_size: int = 16
    held_out_share: float = 0.2
    batch_size: int = 64
    evaluate_every: int = 2
    """Batches between two points of the learning curve."""
    num_heads: int = 20
    hidden_size: int = 128
    learning_rate: float = 3e-4
    prior_precision: float = 0.03
    """Of the linear model that is fitted anew."""
    ceiling_pairs: int = 10
    """Random pairs of each hand that the ceiling is fitted to."""

    @property
    def anchors(self) -> tuple[str, str]:
        """The models that `deltaqwen` pairs."""
        return self.large_model, self.small_model


@dataclass(frozen=True, eq=False)
class Material:
    """What all runs share."""

    pool: JudgedPool
    features_RD: Floats


@dataclass(frozen=True)
class Point:
    """One point of a learning curve; counts are sums since the beginning, scores log-odds."""

    annotations: int
    comparisons: int
    judgements: int
    fresh_accuracy: float
    enn_accuracy: float
    fresh_best: float
    """Mean score of the completions that `fresh` ranks first, one per held-out prompt."""


@dataclass(frozen=True)
class Run:
    """One line of results.jsonl."""

    key: str
    function: str
    seed: int
    seconds: float
    length_accuracy: float
    """Of the rule that the longer completion wins, on the same held-out pairs."""
    ties: int
    identical: int
    mean_chosen: float
    mean_rejected: float
    chosen_longer: float
    """Share of comparisons whose chosen side has more characters."""
    distinct_models: float
    """Perplexity of the distribution of models over the sides of all comparisons."""
    points: tuple[Point, ...]
    held_out: tuple[str, ...]
    """Ids of held-out prompts, in the order of `fresh_accuracy_P`."""
    fresh_accuracy_P: tuple[tuple[float, ...], ...]
    """Accuracy on each held-out prompt at each point."""


class FeaturesInMemory(FeatureMap):
    """Features of a deal, where the loop expects its memory map."""

    def __init__(self, rows_RD: Floats) -> None:
        self._rows_RD = rows_RD

    @property
    def size(self) -> int:
        """Size of a feature (D)."""
        return self._rows_RD.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type in memory."""
        return self._rows_RD.dtype

    def digest(self) -> str:
        """Return a digest of all values."""
        return hashlib.sha256(np.ascontiguousarray(self._rows_RD).tobytes()).hexdigest()

    def read(self, rows: Ints) -> Floats:
        """Return the features of some rows."""
        return self._rows_RD[rows]


class HeldOut:
    """Held-out prompts, with all their pairs whose scores differ."""

    def __init__(self, material: Material, rows: Ints) -> None:
        pool = material.pool
        prompts, start_P = np.unique(pool.prompt_R[rows], return_index=True)
        size_P = np.diff(np.append(start_P, len(rows)))
        place_M = np.arange(size_P.max())
        self.mask_PM = place_M < size_P[:, None]
        self.row_PM = rows[np.where(self.mask_PM, start_P[:, None] + place_M, 0)]
        self.prompt_ids = tuple(pool.prompt_ids[prompt] for prompt in prompts)
        self.features_PMD = material.features_RD[self.row_PM]
        self.score_PM = np.where(self.mask_PM, pool.score_R[self.row_PM], np.nan)
        self._first, self._second = np.triu_indices(len(place_M), k=1)
        self._order_PN = np.nan_to_num(np.sign(self._gaps(self.score_PM)))
        self._count_P = np.count_nonzero(self._order_PN, axis=1)

    def accuracy(self, reward_PM: Floats) -> NDArray[np.float64]:
        """Return the share of each prompt's pairs that rewards rank as the judge; equal: half."""
        agreement_PN = np.sign(self._gaps(reward_PM)) * self._order_PN
        return 0.5 + 0.5 * agreement_PN.sum(axis=1) / np.maximum(self._count_P, 1)

    def best(self, reward_PM: Floats) -> float:
        """Return the mean score of the completions with the largest reward."""
        first_P = np.where(self.mask_PM, reward_PM, -np.inf).argmax(axis=1)
        return float(self.score_PM[np.arange(len(first_P)), first_P].mean())

    def _gaps(self, value_PM: Floats) -> Floats:
        return value_PM[:, self._first] - value_PM[:, self._second]


def run_key(function: str, seed: int, settings: StudySettings, material: Material) -> str:
    """Return what identifies a run: it is made again when any of this changes."""
    pool = material.pool
    found = [len(pool.prompt_ids), pool.models, float(material.features_RD.sum(dtype=np.float64))]
    return digest_of([function, seed, asdict(settings), found])[:16]


def run(function: str, seed: int, settings: StudySettings, material: Material) -> Run:
    """Run the loop once, or fit the ceiling, and evaluate it on the held-out prompts."""
    started = time.perf_counter()
    dealt = deal(
        material.pool,
        seed,
        hand_size=settings.hand_size,
        held_out_share=settings.held_out_share,
        anchors=settings.anchors,
        only_anchored=function == "deltaqwen",
    )
    held_out = HeldOut(material, dealt.held_out_R)
    if function == CEILING:
        steps = _ceiling(seed, settings, material, dealt)
    else:
        steps = _loop(function, seed, settings, material, dealt)
    points, accuracies, bought = [], [], None
    for bought in steps:
        reward_PM = _fit(settings, material, dealt.source_R[bought.rows_N2], held_out)
        fresh_P = held_out.accuracy(reward_PM)
        enn = np.nan if bought.enn is None else _enn_accuracy(bought.enn, held_out)
        counts = (bought.annotations, len(bought.rows_N2), bought.judgements)
        points.append(Point(*counts, float(fresh_P.mean()), enn, held_out.best(reward_PM)))
        accuracies.append(tuple(np.round(fresh_P, 5).tolist()))
    assert bought is not None, "a loop has batches"
    length_PM = material.pool.length_R[held_out.row_PM]
    return Run(
        key=run_key(function, seed, settings, material),
        function=function,
        seed=seed,
        seconds=time.perf_counter() - started,
        length_accuracy=float(held_out.accuracy(length_PM).mean()),
        ties=bought.ties,
        identical=bought.identical,
        points=tuple(points),
        held_out=held_out.prompt_ids,
        fresh_accuracy_P=tuple(accuracies),
        **_describe(material.pool, dealt.source_R[bought.rows_N2]),
    )


@dataclass(frozen=True, eq=False)
class _Bought:
    """What has been bought so far."""

    rows_N2: Ints
    """Rows of the deal: chosen, rejected."""
    annotations: int
    judgements: int
    ties: int
    identical: int
    enn: RewardUncertainty | None


def _loop(
    function: str, seed: int, settings: StudySettings, material: Material, dealt: Deal
) -> Iterator[_Bought]:
    """Run the project's loop over the training hands, and stop at each point of the curve."""
    features = FeaturesInMemory(material.features_RD[dealt.source_R])
    config = LoopConfig(
        acquisition=acquisition(function, settings),
        enn=ENNConfig(
            num_heads=settings.num_heads,
            hidden_sizes=(settings.hidden_size, settings.hidden_size),
            learning_rate=settings.learning_rate,
        ),
        batch_size=settings.batch_size,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        unit = Unit("preference_dataset", f"{function}-{seed}", "", "1", 0, {}, {}, {})
        context = StageContext(unit, UnitFolder(Path(folder)), Path(folder))
        loop = Loop(context, config, dealt.table, features)
        while not loop.stopped_because():
            loop.state.append(loop.do_batch(loop.state.next_batch))
            if loop.state.next_batch % settings.evaluate_every == 0 or loop.stopped_because():
                yield _so_far(loop)


def _so_far(loop: Loop) -> _Bought:
    comparisons = loop.state.comparisons()
    return _Bought(
        np.stack([comparisons["chosen_row"], comparisons["rejected_row"]], axis=1),
        *(loop.state.total(name) for name in ("annotations", "judgements", "ties", "identical")),
        enn=loop.enn,
    )


def acquisition(function: str, settings: StudySettings) -> Any:
    """Return a function's config: its defaults, and for `deltaqwen` two models of this pool."""
    body: dict[str, Any] = {"method": function}
    if function == "deltaqwen":
        body |= {"chosen_model": settings.large_model, "rejected_model": settings.small_model}
    return TypeAdapter(AcquisitionConfig).validate_python(body)


def _ceiling(
    seed: int, settings: StudySettings, material: Material, dealt: Deal
) -> Iterator[_Bought]:
    """Draw many random pairs of every hand at once: what more of the same could reach."""
    rng = generator(seed, "study", "ceiling")
    start_N = np.repeat(dealt.table.start_P[:-1], settings.ceiling_pairs)
    size = settings.hand_size
    first_N = rng.integers(size, size=len(start_N))
    second_N = (first_N + rng.integers(1, size, size=len(start_N))) % size
    rows_N2 = start_N[:, None] + np.stack([first_N, second_N], axis=1)
    score_N2 = dealt.table.score_R[rows_N2]
    rows_N2 = np.where(score_N2[:, :1] >= score_N2[:, 1:], rows_N2, rows_N2[:, ::-1])
    differs_N = score_N2[:, 0] != score_N2[:, 1]
    num, ties = 2 * len(rows_N2), int(np.count_nonzero(~differs_N))
    yield _Bought(rows_N2[differs_N], num, num, ties, 0, None)


def _fit(settings: StudySettings, material: Material, rows_N2: Ints, held_out: HeldOut) -> Floats:
    """Fit the linear model to comparisons, and return its rewards on held-out prompts."""
    config = BayesianLinearConfig(prior_precision=settings.prior_precision, num_draws=1)
    model = build(config, material.features_RD.shape[1] + 1, 0)
    sides = (_with_constant(material.features_RD[rows_N2[:, side]]) for side in (0, 1))
    model.update(*sides, pair_ids_N=np.arange(len(rows_N2)), progress=1.0)
    return model.bounds(_with_constant(held_out.features_PMD), held_out.mask_PM).mean_PC


def _with_constant(features: Floats) -> Floats:
    constant = np.full((*features.shape[:-1], 1), CONSTANT, dtype=features.dtype)
    return np.concatenate([features, constant], axis=-1)


def _enn_accuracy(enn: RewardUncertainty, held_out: HeldOut) -> float:
    estimate = enn.bounds(held_out.features_PMD, held_out.mask_PM)
    return float(held_out.accuracy(estimate.mean_PC).mean())


def _describe(pool: JudgedPool, rows_N2: Ints) -> dict[str, float]:
    score_N2, length_N2 = pool.score_R[rows_N2], pool.length_R[rows_N2]
    share_M = np.bincount(pool.model_R[rows_N2].ravel()) / rows_N2.size
    entropy = -sum(share * np.log(share) for share in share_M if share > 0.0)
    return {
        "mean_chosen": float(score_N2[:, 0].mean()),
        "mean_rejected": float(score_N2[:, 1].mean()),
        "chosen_longer": float(np.mean(length_N2[:, 0] > length_N2[:, 1])),
        "distinct_models": float(np.exp(entropy)),
    }


def from_json(body: dict[str, Any]) -> Run:
    """Read a line of results.jsonl back. Raises: KeyError, TypeError when it is another thing."""
    points = tuple(Point(**point) for point in body.pop("points"))
    accuracy = tuple(tuple(row) for row in body.pop("fresh_accuracy_P"))
    held_out = tuple(body.pop("held_out"))
    return Run(points=points, held_out=held_out, fresh_accuracy_P=accuracy, **body)
