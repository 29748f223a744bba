"""What a detector says: a fact with its limit, which becomes an asset check or an alert.

In: a measured value and the limit it should keep. Out: a `Finding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One rule applied to a window of a training.

    `value` is None where there was too little to say; that is no alarm, and no all-clear.
    """

    name: str
    value: float | None
    limit: str
    is_alarm: bool
    description: str
    level: Level = "warning"
    n: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong as far as can be seen."""
        return not self.is_alarm

    def as_check(self) -> dict[str, Any]:
        """Return the arguments of `StageContext.check`; no detector stops what comes after, because
        an audit informs and a person decides.
        """
        values = {"limit": self.limit, "level": self.level, "n": self.n}
        known = {} if self.value is None else {"value": self.value}
        return {
            "name": self.name,
            "passed": self.passed,
            "description": self.description,
            **values,
            **known,
        }


def unknown(name: str, n: int, needed: int, what: str, level: Level = "warning") -> Finding:
    """Return the finding of a rule that has too little to go by."""
    text = f"{n} {what}; at least {needed} are needed to say anything."
    return Finding(name, None, f"n >= {needed}", False, text, level, n)


def alarms(findings: Sequence[Finding]) -> list[Finding]:
    """Return what should be told to a person, errors first."""
    return sorted((one for one in findings if one.is_alarm), key=lambda one: one.level != "error")
