"""What a score is asked for, and how that travels in a URL. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final, Self

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

SUBJECTS: Final = ("workload", "model", "fleet")
DAYS: Final = 7.0
"""Length of the period where none is named."""
_LATEST_S: Final = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreQuery:
    """One question."""

    subject: str = "workload"
    """``workload``, ``model`` or ``fleet``."""
    name: str | None = None
    """A workload, a model, a class or a pattern; None: all of them."""
    start_s: float
    """Unix time; the period is [start, end)."""
    end_s: float
    unit: str | None = None
    """R; None: the baseline's, else the only one that is reported."""

    def parameters(self) -> dict[str, str]:
        """Return it as the parameters of ``GET /api/v1/score``."""
        said = {"by": self.subject, "name": self.name, "from": repr(self.start_s), "to": repr(self.end_s),
                "per": self.unit}  # fmt: skip
        return {key: value for key, value in said.items() if value is not None}

    @classmethod
    def from_parameters(cls, said: Mapping[str, str], now_s: float) -> Self:
        """Read :meth:`parameters` back; ``by`` is workload, ``to`` is now, ``from`` a week before it.

        Raises:
            Failure: a parameter is unknown or out of its range; it names the parameter.
        """
        known = ("by", "name", "from", "to", "per")
        for key in said:
            if key not in known:
                raise Failure(f"{key}: no such parameter; expected some of {', '.join(known)}")
        subject = said.get("by", "workload")
        if subject not in SUBJECTS:
            raise Failure(f"by: found {subject!r}, expected one of {', '.join(SUBJECTS)}")
        if subject == "fleet" and "name" in said:
            raise Failure(f"name: found {said['name']!r}, expected none: there is one fleet")
        end_s = _seconds("to", said["to"]) if "to" in said else now_s
        start_s = _seconds("from", said["from"]) if "from" in said else end_s - DAYS * 86_400
        if start_s >= end_s:
            raise Failure(f"from: found {start_s:.0f}, expected less than to, which is {end_s:.0f}")
        return cls(subject=subject, name=said.get("name"), start_s=start_s, end_s=end_s, unit=said.get("per"))


def _seconds(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and 0 <= value <= _LATEST_S):
        raise Failure(f"{key}: found {text!r}, expected Unix seconds, e.g. 1798758000")
    return value
