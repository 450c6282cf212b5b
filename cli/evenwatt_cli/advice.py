"""What a collector advises about a piece of work, and whether that means now. Pure: the time now is an argument.

Work comes first: without usable advice it starts, and it never starts later than its deadline allows. Times are Unix
seconds; grams are CO2 equivalents as the collector expects them, never measured ones.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.jobs.times import duration_s, spelled

if TYPE_CHECKING:
    from datetime import tzinfo

AT_ONCE_S: Final = 60.0
"""A start so near is now."""
LEAST_SAVED_PCT: Final = 1.0
"""What saves less is not waited for."""
_KNOWN: Final = re.compile(r"\bknown for ((?:\d+[dhms] ?)+)|(\ba fallback\b)")
"""How a decision says how far a zone's forecast reaches."""
_FAR_S: Final = 20 * 3600.0
"""From here on a time of day alone could be misread."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Work that waits to be started."""

    name: str
    length_s: float
    deadline_s: float
    earliest_s: float | None = None
    interruptible: bool = False
    zones: tuple[str, ...] = ()
    power_w: float | None = None

    @property
    def latest_start_s(self) -> float:
        """The last moment at which it can start and be done in time."""
        return self.deadline_s - self.length_s

    def job(self) -> dict[str, Any]:
        """Return it as a job, the way ``POST /api/v1/advise`` takes one."""
        asked: dict[str, Any] = {
            "name": self.name,
            "external": f"advise:{self.name}",  # whoever asks runs it
            "length": f"{max(1, round(self.length_s))}s",
            "deadline": _utc(self.deadline_s),
            "interruptible": self.interruptible,
        }
        if self.earliest_s is not None:
            asked["earliest"] = _utc(self.earliest_s)
        if self.zones:
            asked["zones"] = list(self.zones)
        if self.power_w is not None:
            asked["power_w"] = self.power_w
        return asked


@dataclass(frozen=True, slots=True)
class Advice:
    """What the collector says."""

    start_s: float | None
    """None: it sees no way to be done in time."""
    end_s: float | None
    zone: str
    grams: float
    low_g: float
    high_g: float
    now_g: float
    """At once, at home, at full power."""
    why: str
    rests_on: str
    warnings: tuple[str, ...] = ()

    @property
    def known_s(self) -> float | None:
        """How far ahead the grid is forecast, where it is least; 0: not at all; None: it is not told."""
        try:
            told = [duration_s(match[1]) if match[1] else 0.0 for match in _KNOWN.finditer(self.rests_on)]
        except ValueError:
            return None  # somebody else's words
        return min(told, default=None)

    @property
    def saved_g(self) -> float:
        """Expected to be saved against starting now; negative if it costs."""
        return self.now_g - self.grams

    @property
    def saved_pct(self) -> float | None:
        """The same as a share; None where nothing is known to be emitted."""
        return 100.0 * self.saved_g / self.now_g if self.now_g > 0 else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Now or not."""

    start: bool
    at_s: float
    """When to start; now, if it is now."""
    advice: Advice | None
    note: str = ""
    """Why it is not simply what was advised."""


def read_advice(document: Any) -> Advice:
    """Read an answer of ``POST /api/v1/advise``: a decision, alone or under ``decision``.

    Raises:
        ValueError: it is none.
    """
    try:
        decision = document.get("decision") or document
        chosen, baseline = decision["chosen"], decision["baseline"]
        return Advice(
            start_s=_number(chosen["start_s"]) if chosen["start_s"] is not None else None,
            end_s=_number(chosen["end_s"]) if chosen["end_s"] is not None else None,
            zone=str(chosen["zone"]),
            grams=_number(chosen["grams"]),
            low_g=_number(chosen["low_g"]),
            high_g=_number(chosen["high_g"]),
            now_g=_number(baseline["grams"]),
            why=str(chosen.get("why", "")),
            rests_on=str(decision.get("rests_on", "")),
            warnings=tuple(str(warning) for warning in document.get("warnings", ())),
        )
    except (AttributeError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"the answer is no decision ({type(error).__name__}: {error})") from None


def judge(wish: Wish, advice: Advice | None, now_s: float, *, margin_s: float, trouble: str = "") -> Verdict:
    """Say whether to start now.

    Args:
        wish: The work.
        advice: What was advised; None: nobody advised.
        now_s: Now.
        margin_s: How much later the next question may come: if that could be too late, it is now.
        trouble: Why there is no advice.
    """
    if wish.earliest_s is not None and now_s < wish.earliest_s:
        return Verdict(start=False, at_s=wish.earliest_s, advice=advice, note="not before its earliest start")
    forced = _forced(wish, now_s, margin_s)
    if forced or advice is None:
        return Verdict(start=True, at_s=now_s, advice=advice, note=forced or trouble or "nobody advised")
    if advice.start_s is None or advice.start_s <= now_s + AT_ONCE_S:
        return Verdict(start=True, at_s=now_s, advice=advice, note="" if advice.start_s is not None else advice.why)
    if idle := _not_worth_waiting(wish, advice):
        return Verdict(start=True, at_s=now_s, advice=advice, note=idle)
    if advice.start_s > wish.latest_start_s:
        return Verdict(start=False, at_s=wish.latest_start_s, advice=advice, note="its deadline asks for that start")
    return Verdict(start=False, at_s=advice.start_s, advice=advice)


def _forced(wish: Wish, now_s: float, margin_s: float) -> str:
    """Say why it has to start now whatever is advised; nothing, if it has not."""
    late_s = now_s - wish.latest_start_s
    if late_s > AT_ONCE_S:
        return f"it will be {spelled(late_s)} late"
    if late_s >= 0:
        return "it is the latest start"
    return "by the next time of asking it could be too late" if late_s + margin_s > 0 else ""


def _not_worth_waiting(wish: Wish, advice: Advice) -> str:
    """Say why later is no better than now; nothing, if it is."""
    if advice.known_s is not None and advice.known_s < wish.length_s:
        known = f"for {spelled(advice.known_s)} only" if advice.known_s else "for no hour"
        return f"the grid is forecast {known}, the work takes {spelled(wish.length_s)}"
    if advice.saved_pct is None or advice.saved_pct < LEAST_SAVED_PCT:
        return f"waiting would save less than {LEAST_SAVED_PCT:.0f} %"
    return ""


def describe(wish: Wish, verdict: Verdict, now_s: float, zone: tzinfo | None = None) -> str:
    """Put a verdict into a line, and what it rests on into a second one.

    Args:
        wish: The work.
        verdict: What it says.
        now_s: Now.
        zone: The zone whose clock is shown; default: this machine's.
    """
    advice = verdict.advice
    where = f" in {advice.zone}" if advice and len(wish.zones) > 1 else ""
    if verdict.start:
        line = f"start now{where}"
    else:
        line = f"start at {_clock(verdict.at_s, now_s, zone)} (in {spelled(verdict.at_s - now_s)}){where}"
        if advice and advice.saved_pct is not None and verdict.at_s == advice.start_s:
            line += f": saves {advice.saved_pct:.0f} %, {_grams(advice.saved_g)} of {_grams(advice.now_g)}"
    if verdict.note:
        line += f"; {verdict.note}"
    if advice is None:
        return line
    if verdict.start and advice.start_s is not None and advice.start_s > now_s + AT_ONCE_S:
        return line  # what was expected of waiting is not what will come
    expected = f"expected {_grams(advice.grams)} ({_grams(advice.low_g)} to {_grams(advice.high_g)})"
    if not verdict.start:
        expected += f", now it would be {_grams(advice.now_g)}"
    rests = f"; estimated from {advice.rests_on}" if advice.rests_on else "; an estimate"
    return "\n".join([line, f"  {expected}{rests}", *(f"  note: {warning}" for warning in advice.warnings)])


def as_document(wish: Wish, verdict: Verdict, now_s: float) -> dict[str, Any]:
    """Return a verdict as JSON; times are Unix seconds, grams are expected ones."""
    advice = verdict.advice
    return {
        "start_now": verdict.start,
        "start_s": verdict.at_s,
        "wait_s": max(0.0, verdict.at_s - now_s),
        "latest_start_s": wish.latest_start_s,
        "deadline_s": wish.deadline_s,
        "advised": advice is not None,
        "note": verdict.note,
        "zone": advice.zone if advice else None,
        "advised_start_s": advice.start_s if advice else None,
        "expected_g": advice.grams if advice else None,
        "low_g": advice.low_g if advice else None,
        "high_g": advice.high_g if advice else None,
        "now_g": advice.now_g if advice else None,
        "saved_g": advice.saved_g if advice else None,
        "saved_pct": advice.saved_pct if advice else None,
        "why": advice.why if advice else "",
        "rests_on": advice.rests_on if advice else "",
        "warnings": list(advice.warnings) if advice else [],
    }


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _utc(wall_s: float) -> str:
    return datetime.fromtimestamp(math.floor(wall_s), UTC).isoformat().replace("+00:00", "Z")


def _clock(wall_s: float, now_s: float, zone: tzinfo | None) -> str:
    moment = datetime.fromtimestamp(wall_s, UTC).astimezone(zone)
    return f"{moment:%H:%M}" if wall_s - now_s < _FAR_S else f"{moment:%a %d %b %H:%M}"


def _grams(grams: float) -> str:
    return f"{grams / 1e3:.3g} kg" if abs(grams) >= 1e3 else f"{grams:.3g} g"
