"""Settings of the acquisition functions: one strict section per method, light to import.

In: the `acquisition` section of an experiment file, told apart by its `method`. Out: one frozen
config. A setting that a method would not use is an unknown key there, hence an error.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from activeuf_core.config import StrictModel

Width = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class MethodConfig(StrictModel):
    """What all methods share: which inputs they read. Said here, so that planning stays light."""

    method: str = ""

    @property
    def needs_bounds(self) -> bool:
        """True when the rule reads rewards, so that a reward model must be trained."""
        return True

    @property
    def needs_heads(self) -> bool:
        """True when the rule reads posterior draws."""
        return False

    @property
    def needs_scores(self) -> bool:
        """True when the rule reads the judge's overall scores before it selects."""
        return False

    @property
    def needs_models(self) -> bool:
        """True when the rule reads which model wrote a completion."""
        return False


class StaticConfig(MethodConfig):
    """A baseline that uses no reward model."""

    @property
    def needs_bounds(self) -> bool:
        """False: no reward model is trained."""
        return False


class RandomConfig(StaticConfig):
    """Two different completions, uniformly."""

    method: Literal["random"] = "random"


class UltraFeedbackConfig(MethodConfig):
    """The best of a few completions drawn at random, against another of them."""

    method: Literal["ultrafeedback"] = "ultrafeedback"
    num_sampled: int = Field(default=4, ge=2)
    """Completions drawn, fewer where a prompt has fewer."""
    compat: Literal["upstream"] | None = None
    """`upstream`: rank the draw by the reward model's mean, as the research code's loop does, and
    not by the judge's overall score, as its published baseline does."""

    @property
    def needs_bounds(self) -> bool:
        """True under `compat: upstream` only."""
        return self.compat == "upstream"

    @property
    def needs_scores(self) -> bool:
        """True unless the reward model ranks."""
        return self.compat is None


class MaxMinConfig(StaticConfig):
    """Highest against lowest overall score; every completion must be judged."""

    method: Literal["maxmin"] = "maxmin"

    @property
    def needs_scores(self) -> bool:
        """True: of every completion."""
        return True


class DeltaQwenConfig(StaticConfig):
    """A large model's completion against a small one's."""

    method: Literal["deltaqwen"] = "deltaqwen"
    chosen_model: str = "Qwen/Qwen3-32B"
    """Its completion is selected first."""
    rejected_model: str = "Qwen/Qwen3-0.6B"

    @property
    def needs_models(self) -> bool:
        """True: completions are found by the name of their model."""
        return True

    @model_validator(mode="after")
    def _two_models(self) -> Self:
        if self.chosen_model == self.rejected_model:
            raise ValueError(f"chosen_model and rejected_model are both {self.chosen_model!r}")
        return self


class ThompsonConfig(MethodConfig):
    """Settings of the methods that draw rewards from the posterior."""

    noise: Literal["heads", "uniform"] = "heads"
    """`heads`: a draw is one ensemble head, the same for all completions of a prompt. `uniform`:
    each completion's reward is drawn on its own, uniformly between its bounds (the research code).
    """
    ucb_beta: Width = 1.0
    """Scales a draw's distance from the mean; 0 is greedy."""

    @property
    def needs_heads(self) -> bool:
        """True when a draw is a head."""
        return self.noise == "heads"


class RetryingConfig(ThompsonConfig):
    """Thompson methods whose second draw can repeat the first completion."""

    compat: Literal["upstream"] | None = None
    """`upstream`: draw again while the second completion equals the first, then pick at random."""
    max_iterations: int | None = Field(default=None, ge=1)
    """Draws before picking at random; with `compat: upstream` only (30 in the research code)."""

    @model_validator(mode="after")
    def _retries_belong_to_compat(self) -> Self:
        if (self.compat is None) != (self.max_iterations is None):
            raise ValueError(
                f"compat is {self.compat!r} and max_iterations {self.max_iterations!r}: give both "
                "(compat: upstream, max_iterations: 30) or neither"
            )
        return self


class DTSConfig(RetryingConfig):
    """Double Thompson sampling."""

    method: Literal["dts"] = "dts"


class DRTSConfig(RetryingConfig):
    """Double reversed Thompson sampling: a high draw against a low one."""

    method: Literal["drts"] = "drts"


class InfoGainConfig(ThompsonConfig):
    """A Thompson draw against the completion it is least sure to beat or lose to."""

    method: Literal["infogain"] = "infogain"


class InfoMaxConfig(MethodConfig):
    """The pair whose outcome is most uncertain."""

    method: Literal["infomax"] = "infomax"


class IDSConfig(MethodConfig):
    """Information-directed sampling: least squared regret per bit."""

    method: Literal["ids"] = "ids"
    ucb_beta: Width = 1.0
    """Width of the optimistic estimate, in half-widths of the bounds."""
    noise_variance: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """Variance of one comparison's outcome, in squared logits: the unit of information."""
    compat: Literal["upstream"] | None = None
    """`upstream`: the research code's objective, which multiplies by the information instead of
    dividing, measures it by the standard deviation, and thresholds rewards at 0.5."""


class RUCBConfig(MethodConfig):
    """Relative UCB: a possible winner against its strongest possible rival."""

    method: Literal["rucb"] = "rucb"
    ucb_beta: Width = 1.0
    """Width of the optimistic estimate, in half-widths of the bounds."""
    decision_buffer: Width = 0.0
    """Logits by which a completion may miss the condition for a possible winner."""
    compat: Literal["upstream"] | None = None
    """`upstream`: possible winners are those with an upper bound above 0.5, although rewards have
    no scale on which 0.5 means anything."""


class MaxMinLCBConfig(MethodConfig):
    """MaxMinLCB: the completion whose worst case against all others is best."""

    method: Literal["maxminlcb"] = "maxminlcb"
    ucb_beta: Width = 1.0
    """Width of the pessimistic estimate, in half-widths of the bounds."""
    argmax_tol: Width = 1e-4
    """Values this close, in logits, are ties and decided at random."""


class DeltaUCBConfig(MethodConfig):
    """Largest optimistic gap."""

    method: Literal["deltaucb"] = "deltaucb"


class DeltaQuantileConfig(MethodConfig):
    """A large optimistic gap, but not the largest."""

    method: Literal["deltaquantile"] = "deltaquantile"
    quantile: float = Field(default=0.05, ge=0.0, le=1.0)
    """Where to look among a prompt's ordered pairs, sorted by decreasing gap; 0 is DeltaUCB."""
    epsilon: float = Field(default=0.0, ge=0.0, le=1.0)
    """Look at the ranks from quantile - epsilon to quantile + epsilon."""

    @model_validator(mode="after")
    def _window_inside(self) -> Self:
        if not self.epsilon <= self.quantile <= 1.0 - self.epsilon:
            raise ValueError(
                f"quantile {self.quantile} with epsilon {self.epsilon} reaches outside 0 to 1"
            )
        return self


AcquisitionConfig = Annotated[
    RandomConfig
    | UltraFeedbackConfig
    | MaxMinConfig
    | DeltaQwenConfig
    | DTSConfig
    | DRTSConfig
    | InfoGainConfig
    | InfoMaxConfig
    | IDSConfig
    | RUCBConfig
    | MaxMinLCBConfig
    | DeltaUCBConfig
    | DeltaQuantileConfig,
    Field(discriminator="method"),
]
