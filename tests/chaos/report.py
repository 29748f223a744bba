"""What came of the cells: a line each as they end, and the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tests.chaos.lanes import Outcome

STYLES = {"held": "green", "skipped": "yellow", "BROKEN": "bold red"}
SHOWN = 240


def show(console: Console, outcome: Outcome, number: int, seconds: float) -> None:
    """Print one outcome."""
    head = f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d} {number:>3} "
    verdict = (f"{outcome.verdict:<8}", STYLES[outcome.verdict])
    console.print(
        Text.assemble((head, "dim"), verdict, f"{outcome.name} ({outcome.seconds:.0f} s)")
    )
    if outcome.detail:
        console.print(Text(f"      {outcome.detail[-8 * SHOWN :]}", "dim"))


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return the table as Markdown, in the order of the actors."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.name, []).append(outcome)
    held = sum(outcome.verdict == "held" for outcome in outcomes)
    lines = [
        f"{len(outcomes)} plays, {held} held, in {seconds / 60:.1f} minutes.",
        "",
        "| actor | fault | tried | proof that it fired | outcome |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(by_name, key=_order):
        plays = by_name[name]
        actor, _, fault = name.partition(": ")
        proof = next((", ".join(dict.fromkeys(play.proofs)) for play in plays if play.proofs), "–")
        lines.append(f"| {actor} | {fault} | {len(plays)} | {proof} | {_verdict(plays)} |")
    return "\n".join(lines) + "\n"


def storm_table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return storms as Markdown: how often each fault struck, and which storms broke a promise."""
    struck = Counter(proof for outcome in outcomes for proof in outcome.proofs)
    held = sum(outcome.verdict == "held" for outcome in outcomes)
    lines = [
        f"{len(outcomes)} storms, {held} held, in {seconds / 60:.1f} minutes.",
        "",
        "| fault | times struck | in storms that held |",
        "|---|---|---|",
    ]
    for fault, count in sorted(struck.items()):
        good = [one for one in outcomes if one.verdict == "held" and fault in one.proofs]
        lines.append(f"| {fault} | {count} | {sum(one.proofs.count(fault) for one in good)} |")
    for outcome in outcomes:
        if outcome.verdict != "held":
            lines += ["", f"**{outcome.name}** ({', '.join(outcome.proofs)}): "]
            lines[-1] += _last_words(outcome.detail)
    return "\n".join(lines) + "\n"


def _order(name: str) -> int:
    from tests.chaos.cells import CELLS

    names = [cell.name for cell in CELLS]
    return names.index(name) if name in names else len(names)


def _verdict(plays: Sequence[Outcome]) -> str:
    broken = [play for play in plays if play.verdict == "BROKEN"]
    if broken:
        return f"**{len(broken)} broken**: {_last_words(broken[0].detail)}"
    skipped = [play for play in plays if play.verdict == "skipped"]
    if skipped:
        return f"skipped: {skipped[0].detail}"
    return "held" if len(plays) == 1 else f"{len(plays)} held"


def _last_words(detail: str) -> str:
    """Return the end of a traceback, or the beginning of a message, on one line."""
    lines = detail.splitlines() or [""]
    text = lines[-1] if lines[0].startswith("Traceback") else " ".join(lines)
    return text[:SHOWN].replace("|", "/")
