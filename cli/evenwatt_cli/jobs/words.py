"""How jobs are told to people. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from evenwatt_cli.reporting.words import mass
from evenwatt_cli.units import power
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.jobs.times import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.jobs.model import JobRecord


NO_SERVICES: Final[Mapping[str, str]] = MappingProxyType({})


def taken(record: JobRecord, *, new: bool, kept: bool) -> str:
    """Return one line about a job that was submitted."""
    what = f"{record.id}  {record.spec.name}"
    if not new:
        return f"{what}: known already, {record.state.value}"
    length = f"{in_words(record.length_s)} at {power(record.power_w)}" if record.length_s else power(record.power_w)
    return f"{what}: {'taken' if kept else 'would be taken'}; {length} ({record.estimate})"


def shortened(text: str, width: int) -> str:
    """Return a text in so many columns, cut in its middle: ends tell render-10 from render-19."""
    if len(text) <= width:
        return text
    if width < 5:
        return text[:width]
    head = (width - 1) // 2 - 1
    return f"{text[:head]}..{text[head + 2 - width :]}"


def when(record: JobRecord, now_s: float, serving: str | None = None) -> str:
    """Return when it runs, or ran, against now; of a service what it serves, if that is known."""
    if record.ended_s is not None:
        return f"ended {in_words(now_s - record.ended_s)} ago"
    if record.spec.service is not None:
        return f"serving {serving}" if serving else "serving" if record.state is JobState.RUNNING else "no variant yet"
    started = [run.started_s or run.asked_s for run in record.runs if run.ended_s is None]
    ends = f", done in {in_words(record.pieces[-1].end_s - now_s)}" if record.pieces else ""
    if started:
        return f"for {in_words(now_s - started[0])}{ends}"
    if record.pieces:
        until_s = record.pieces[0].start_s - now_s
        return f"{'now' if until_s <= 0 else f'in {in_words(until_s)}'}{ends}"
    return "not planned"


def where(record: JobRecord) -> str:
    """Return where it runs, ran or is meant to run."""
    if record.runs:
        return record.runs[-1].node or record.runs[-1].zone
    return record.pieces[0].zone if record.pieces else "-"


def expected_g(record: JobRecord) -> float | None:
    """Return its grams: counted if it has ended, else what is expected in all; None if nothing is known."""
    spent_g = progress.grams(record)
    if record.outcome is not None:
        return record.outcome.grams
    if not record.open:
        return spent_g
    if record.decision is not None:
        return max(spent_g, record.decision.chosen.grams)
    return spent_g or None


def ended(record: JobRecord) -> str:
    """Return one line about a job that has ended."""
    line = f"{record.id}  {record.spec.name}: {record.state.value}"
    outcome = record.outcome
    if outcome is not None:
        line += f"; {mass(outcome.grams)} CO2e"
        if outcome.counterfactual_g > 0:
            share = 100 * outcome.saved_g / outcome.counterfactual_g
            word = "less" if share >= 0 else "more"
            line += f", {abs(share):.0f} % {word} than at once, at home, at full power"
        line += "; late" if outcome.late else ""
    elif record.state is not JobState.DONE and record.why:
        line += f"; {record.why}"
    return line
