"""The judge of two outputs: asked once per pair, for the probability of each label.

In: comparisons. Out: per comparison what the judge gives to the first and to the second label; None
where it could not be asked. Answers go into the cache that all stages share as soon as they are
there, so that an interrupted scoring pays for each once. The policy's share of the two labels is
its preference; a reply with too little on them has none, and is never a tie.
Source: AlpacaEval 2's weighted win rate: one token, the labels' log-probabilities.
Cost: a forward pass per comparison that the cache does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from activeuf_core import processes
from activeuf_core.annotations.judgement_cache import JudgementCache, Values, key_of
from activeuf_core.annotations.raters import open_cache
from activeuf_core.errors import DataError
from activeuf_core.evals.alpaca_config import PairJudge
from activeuf_core.evals.alpaca_prompt import Comparison, Prompt
from activeuf_core.evals.division import answer_batches
from activeuf_core.stage import StageContext

PROCEDURE = "pair-1"
"""Part of a judge's identity in the cache: raise it when the same question would get another answer
because the code changed."""


class Verdict(NamedTuple):
    """What the judge gave to the label of the first and of the second output shown."""

    first: float
    second: float
    is_shortened: bool = False


Told = Callable[[int, Verdict], None]


class Backend(Protocol):
    """Asks questions, in batches that the processes divide."""

    def batches(self, pairs: Sequence[Comparison]) -> list[list[int]]:
        """Return the batches, as indices into `pairs`."""
        ...

    def ask(self, pairs: Sequence[Comparison], told: Told) -> list[Verdict | None]:
        """Return one verdict per pair, None for one that cannot be asked.

        Args: told: called with place and verdict as soon as it is there.
        """
        ...

    def facts(self) -> dict[str, int]:
        """Return counts of what was out of the ordinary."""
        ...


def preference(verdict: Verdict | None, is_output_first: bool, min_mass: float) -> float | None:
    """Return the probability that the policy's output is better; None when the judge did not say.

    Args: min_mass: with less than this on both labels the reply was something else.
    """
    if verdict is None:
        return None
    mass = verdict.first + verdict.second
    if not mass >= min_mass or mass <= 0.0:
        return None
    return (verdict.first if is_output_first else verdict.second) / mass


def identity_in_cache(config: PairJudge) -> dict[str, object]:
    """Return all that decides what a judge answers to a question."""
    about: dict[str, object] = {
        "procedure": PROCEDURE,
        "model": config.model.identity,
        "labels": list(config.labels),
    }
    if config.server is None:
        return {**about, "max_tokens": config.max_tokens, "dtype": config.dtype}
    server = config.server.model_dump(mode="json", exclude=set(config.server.not_in_recipe))
    return {**about, "min_label_mass": config.min_label_mass, "server": server}


def open_backend(context: StageContext, config: PairJudge, prompt: Prompt) -> Backend:
    """Return the judge: a server's address is checked, a model is loaded when it is first asked.

    Raises: ConfigError without an address.
    """
    location = context.locate(config.model)
    if config.server is None:
        from activeuf_core.evals.alpaca_judge_model import ModelBackend

        return ModelBackend(config, prompt, location)
    from activeuf_core.annotations.server import endpoint
    from activeuf_core.evals.alpaca_judge_server import ServerBackend

    where = endpoint(config.server, config.model, location)
    return ServerBackend(config, config.server, prompt, where)


def compare(
    context: StageContext,
    config: PairJudge,
    prompt: Prompt,
    backend: Backend,
    pairs: Sequence[Comparison],
) -> tuple[list[Verdict | None], dict[str, int]]:
    """Return one verdict per pair, and what judging cost.

    Raises: DataError when no pair gets a judgement; errors of the back end, after what was judged
    is in the cache.
    """
    keys = [key_of(prompt.ask(pair)) for pair in pairs]
    with open_cache(context, identity_in_cache(config)) as cache:
        known = processes.gather(cache.get(keys))[0]  # one view for all: the same batches
        verdicts = [_verdict(values) for values in known]
        wanted = [index for index, found in enumerate(verdicts) if found is None]
        num_known = len(pairs) - len(wanted)
        context.progress(num_known, len(pairs), "judgements")
        if wanted:
            asked = [pairs[index] for index in wanted]
            asking = _Remembering(context, cache, [keys[i] for i in wanted], num_known)
            for place, found in asking.ask_all(backend, asked).items():
                verdicts[wanted[place]] = found
    told = processes.add_up(**backend.facts())  # each process saw its share
    facts = {"judge_calls": len(wanted), "judgements_from_cache": num_known}
    _require_some(verdicts, config, prompt)
    return verdicts, {**facts, **{name: int(count) for name, count in told.items()}}


class _Remembering:
    """Puts every answer into the cache, and says how far the judge is."""

    def __init__(
        self, context: StageContext, cache: JudgementCache, keys: Sequence[bytes], before: int
    ) -> None:
        self._context = context
        self._cache = cache
        self._keys = keys
        self._before = before
        self._done = 0

    def ask_all(self, backend: Backend, pairs: Sequence[Comparison]) -> dict[int, Verdict | None]:
        """Return the verdicts by place; in every process those of all."""

        def answer(batch: Sequence[int]) -> list[Verdict | None]:
            return backend.ask([pairs[i] for i in batch], lambda n, v: self._keep(batch[n], v))

        what = b"".join(self._keys).hex()
        return answer_batches(backend.batches(pairs), answer, lambda done: None, what)

    def _keep(self, place: int, verdict: Verdict) -> None:
        if verdict.first + verdict.second > 0.0:  # "no label at all" is asked again next time
            self._cache.put({self._keys[place]: (*map(float, verdict), 0.0, 0.0)})
        self._done += 1
        total = self._before + len(self._keys)
        done = self._before + self._done * processes.current().count
        self._context.progress(min(done, total), total, "judgements")


def _verdict(values: Values | None) -> Verdict | None:
    return None if values is None else Verdict(values[0], values[1], bool(values[2]))


def _require_some(verdicts: Sequence[Verdict | None], config: PairJudge, prompt: Prompt) -> None:
    """Refuse a judge that never says a label, if it was asked at all."""
    if not verdicts or any(
        preference(found, True, config.min_label_mass) is not None for found in verdicts
    ):
        return
    masses = [found.first + found.second for found in verdicts if found is not None]
    raise DataError(
        f"the judge {config.model.name!r} answered none of {len(verdicts)} comparisons with a "
        f"label ({' or '.join(prompt.labels)}): at most {max(masses, default=0.0):.3g} of its "
        f"probability is on both together, and min_label_mass is {config.min_label_mass:g}. Name a "
        "judge that follows such an instruction, or labels that its prompt asks for."
    )


def judge_settings(config: PairJudge, prompt: Prompt) -> Mapping[str, Any]:
    """Return who judged and how, for the record of a score."""
    return {
        "model": config.model.name,
        "identity": config.model.identity,
        "prompt": prompt.name,
        "prompt_sha256": prompt.sha256,
        "labels": list(config.labels),
        "min_label_mass": config.min_label_mass,
        "dtype": config.dtype if config.server is None else None,
        "server": config.server
        and config.server.model_dump(mode="json", exclude=set(config.server.not_in_recipe)),
    }
