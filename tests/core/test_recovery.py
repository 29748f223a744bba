"""Which nodes run: nothing more, nothing less."""

from __future__ import annotations

import random

import pytest

from activeuf_core.plan import TO_RUN, State
from activeuf_core.recipes import Node
from activeuf_core.recovery import Fact, Recovery, Wish, decide

LOOP: Node = ("preference_dataset", "e")
DPO: Node = ("dpo_model", "e")
RM: Node = ("reward_model", "e")
GSM: Node = ("gsm8k_score", "e")
BENCH: Node = ("rewardbench2_score", "e")
SCORES: Node = ("scores", "e")
SUMMARY: Node = ("wandb_summary", "e")
NEEDS = {
    LOOP: (),
    DPO: (LOOP,),
    RM: (LOOP,),
    GSM: (DPO,),
    BENCH: (RM,),
    SCORES: (),
    SUMMARY: (SCORES,),
}
MAY_READ: dict[Node, tuple[Node, ...]] = {SCORES: (GSM, BENCH)}


def decided(wish: Wish | None = None, /, **states: str) -> Recovery:
    """Return the decision for one experiment; assets that are not named are fresh. A trailing
    `!` is a complete artifact.
    """
    facts = {}
    for node, needs in NEEDS.items():
        state = states.get(node[0], "fresh")
        is_complete = state in ("fresh", "unrecorded") or state.endswith("!")
        facts[node] = Fact(
            state=state.rstrip("!"),  # type: ignore[arg-type]
            reason="why",
            is_complete=is_complete,
            is_recorded=is_complete and state != "unrecorded",
            needs=needs,
            may_read=MAY_READ.get(node, ()),
            reads_something=is_complete or node != SCORES or _is_there(states),
        )
    return decide(facts, wish or Wish())


def _is_there(states: dict[str, str]) -> bool:
    return any(states.get(asset, "fresh") == "fresh" for asset, _ in MAY_READ[SCORES])


def only(*states: str) -> Wish:
    return Wish(frozenset(states))  # type: ignore[arg-type]


def test_nothing_runs_when_all_is_fresh() -> None:
    assert decided() == Recovery({}, (), {})


def test_what_is_complete_has_only_to_be_recorded() -> None:
    found = decided(preference_dataset="unrecorded", dpo_model="unrecorded")
    assert (found.to_run, found.to_record) == ({}, (LOOP, DPO))


def test_a_failure_runs_with_what_waits_for_it() -> None:
    found = decided(dpo_model="failed", gsm8k_score="missing", scores="stale!")
    assert found.to_run == {
        DPO: "failed: why",
        GSM: "missing: why",
        SCORES: "reads gsm8k_score[e], which is made",
        SUMMARY: "reads scores[e], which is made",
    }


def test_a_broken_artifact_is_made_alone() -> None:
    found = decided(preference_dataset="broken", dpo_model="stale!", gsm8k_score="stale!")
    assert set(found.to_run) == {LOOP}
    assert found.left_out[DPO].startswith("complete, made from what exists")


def test_failures_that_were_not_asked_for_wait_with_all_that_needs_them() -> None:
    states = {"dpo_model": "failed", "gsm8k_score": "missing", "rewardbench2_score": "missing"}
    found = decided(only("missing"), **states, scores="stale!")
    assert set(found.to_run) == {BENCH, SCORES, SUMMARY}
    assert found.left_out[GSM].startswith("needs dpo_model[e]: failed, and failures were not")


def test_only_failed_leaves_alone_what_was_never_tried() -> None:
    states = {"dpo_model": "failed", "gsm8k_score": "missing", "rewardbench2_score": "missing"}
    found = decided(only("failed"), **states, scores="missing")
    assert set(found.to_run) == {DPO, GSM, SCORES, SUMMARY}


def test_a_table_of_what_exists_is_left_alone_while_nothing_that_it_reads_is_made() -> None:
    found = decided(only("stale"), rewardbench2_score="failed", scores="stale!")
    assert found.to_run == {}
    assert set(found.left_out) == {BENCH, SCORES}


def test_a_selection_takes_what_it_needs_and_nothing_below_it() -> None:
    states = dict.fromkeys(["preference_dataset", "dpo_model", "reward_model"], "missing")
    states |= dict.fromkeys(["gsm8k_score", "rewardbench2_score", "scores"], "missing")
    found = decided(Wish(assets=frozenset({"dpo_model"})), **states)
    assert found.to_run == {LOOP: "dpo_model[e] needs it", DPO: "missing: why"}
    assert found.left_out == {}
    assert GSM in found.not_asked


def test_what_is_on_its_way_is_left_out_with_what_needs_it() -> None:
    wish = Wish(busy={DPO: "backfill b"})
    found = decided(wish, dpo_model="missing", gsm8k_score="missing", reward_model="missing")
    assert found.to_run == {RM: "missing: why"}
    assert found.left_out[GSM] == "needs dpo_model[e]: on its way in backfill b"


def test_a_running_job_is_waited_for_by_what_needs_it_and_not_started_for_itself() -> None:
    assert decided(dpo_model="running").to_run == {}
    found = decided(dpo_model="running", gsm8k_score="missing")
    assert found.to_run[DPO] == "gsm8k_score[e] needs it"
    assert set(found.to_run) == {DPO, GSM, SCORES, SUMMARY}


def test_a_table_of_nothing_is_not_made() -> None:
    states = dict.fromkeys(["gsm8k_score", "rewardbench2_score", "scores"], "missing")
    found = decided(Wish(assets=frozenset({"scores"})), **states)
    assert found.to_run == {}
    assert found.left_out == {SCORES: "nothing that it reads is there or is made"}


STATES: tuple[State, ...] = (*sorted(TO_RUN), "fresh", "unrecorded", "running", "blocked")


def random_graph(chance: random.Random) -> dict[Node, Fact]:
    """Return twenty nodes in random states, each reading some before it; as in a plan, nothing that
    reads what is not there has failed, and what reads a blocked one is blocked.
    """
    facts: dict[Node, Fact] = {}
    for number in range(20):
        before = list(facts)
        needs = tuple(chance.sample(before, min(len(before), chance.randint(0, 2))))
        state = chance.choice(STATES)
        if any(facts[other].state == "blocked" for other in needs):
            state = "blocked"
        elif state == "failed" and not all(facts[other].is_complete for other in needs):
            state = "missing"
        is_complete = state in ("fresh", "unrecorded")
        facts["asset", f"{number:02d}"] = Fact(
            state, "why", is_complete, state == "fresh", needs=needs
        )
    return facts


def can_be_made(node: Node, facts: dict[Node, Fact], wish: Wish) -> bool:
    """Whether a node can be made by this recovery; written down a second time."""
    one = facts[node]
    if one.is_complete:
        return True
    is_free = node not in wish.busy and one.state != "blocked"
    is_wanted = one.state != "failed" or "failed" in wish.states
    return is_free and is_wanted and all(can_be_made(other, facts, wish) for other in one.needs)


@pytest.mark.parametrize("seed", range(200))
def test_of_any_graph_the_set_is_sufficient_and_minimal(seed: int) -> None:
    chance = random.Random(seed)
    facts = random_graph(chance)
    states: frozenset[State] = frozenset(chance.sample(sorted(TO_RUN), chance.randint(1, 4)))
    busy = dict.fromkeys(chance.sample(list(facts), 2), "backfill b")
    wish = Wish(states, busy=busy)
    chosen = decide(facts, wish).to_run
    asked = {
        node
        for node, one in facts.items()
        if one.state in states and not one.is_complete and can_be_made(node, facts, wish)
    }
    assert asked <= chosen.keys()
    for node in chosen:
        assert not facts[node].is_complete
        assert can_be_made(node, facts, wish)
        assert all(other in chosen or facts[other].is_complete for other in facts[node].needs)
    needed = {other for node in chosen for other in facts[node].needs}
    for node in chosen.keys() - asked - needed:  # then it waits for one that runs
        assert any(other in chosen for other in facts[node].needs)
