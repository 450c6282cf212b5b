"""``evenwatt improvement``: what was saved week by week, and whether predictions get better."""

from __future__ import annotations

import json
from itertools import dropwhile
from typing import TYPE_CHECKING, Final

from evenwatt_cli.exits import Exit
from evenwatt_cli.reporting import words
from evenwatt_cli.score.asking import ask, made
from evenwatt_cli.score.lines import console, put, table
from evenwatt_collector.feedback.asking import ImprovementQuery, from_document, to_document
from evenwatt_collector.feedback.learned import TRUSTED
from evenwatt_collector.feedback.trend import ENOUGH
from evenwatt_collector.score.desk import open_and_improve
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from evenwatt_collector.feedback.asking import Improvements
    from evenwatt_collector.feedback.trend import Trend
    from evenwatt_collector.feedback.weeks import Improvement, Predicted, Saved, Week

_WIDE: Final = 116
_NARROW: Final = (0, 1, 2, 4, 5, 6, 7, 11)
"""Columns that are left where there is little room."""
_SHOWN: Final = ("grams", "energy", "length", "intensity")


def show_improvement(
    weeks: int, workload: str | None, by: str | None, *, as_json: bool, database: str | None, config: Path | None
) -> Exit:
    """Print it.

    Returns:
        OK; DEGRADED where a policy was rolled back, or no job has ended.

    Raises:
        Failure: the call is wrong, or the collector or database cannot be read.
    """
    if by not in {None, "workload"}:
        raise Failure(f"--by {by!r}: expected workload")
    query = ImprovementQuery(weeks=weeks, workload=workload, by=by)
    if database is not None:
        found = open_and_improve(database, query, made(config))
    else:
        found = from_document(ask("/api/v1/improvement", query.parameters(), config))
    if as_json:
        print(json.dumps(to_document(found)))
    else:
        _print(console(), found)
    alarm = found.policy is not None and found.policy.alarm is not None
    return Exit.DEGRADED if alarm or not found.whole.total.saved.jobs else Exit.OK


def _print(out: Console, found: Improvements) -> None:
    whole = found.whole
    what = f"workload {whole.workload}" if whole.workload else "all jobs"
    count = len(whole.weeks)
    put(out, f"{found.fleet}: {what}, {_weeks(count)} to {whole.weeks[-1].week} (ISO, UTC)", "bold")
    if not whole.total.saved.jobs:
        put(out, "no job with an outcome ended in these weeks")
    else:
        put(out, _claim(whole.total.saved))
        shown = list(dropwhile(lambda week: not week.saved.jobs, whole.weeks))
        _table(out, "WEEK", [_row(week.week, week) for week in shown])
        if len(shown) < count:
            put(out, f"no job had an outcome in the {_weeks(count - len(shown))} before")
        put(out, "ERROR: mean error of what was foreseen (MAPE); IN RANGE: grams within their 90 % range")
        _ranges(out, whole.total.predicted)
        _what_it_rests_on(out, whole)
    if found.workloads:
        _table(out, "WORKLOAD", [_row(one.workload or "", one.total) for one in found.workloads])
    if found.policy is not None:
        policy = found.policy
        whose = f" of shard {policy.shard}" if policy.shard else ""
        put(out, f"policy {policy.active}{whose}: {policy.jobs} jobs and {policy.controls} controls under test")
        if policy.alarm:
            put(out, f"! {policy.alarm}", "yellow")


def _table(out: Console, first: str, rows: list[list[str]]) -> None:
    errors = [f"ERROR OF\n{measure.upper()}" for measure in _SHOWN]
    heads = [first, "JOBS", "CO2e", "AT ONCE", "SAVED", "90 %", "LATE", *errors, "IN RANGE"]
    kept = range(len(heads)) if out.width >= _WIDE else _NARROW
    out.print(table([heads[i] for i in kept], [[row[i] for i in kept] for row in rows]))


def _claim(saved: Saved) -> str:
    if saved.saved_pct is None or saved.low_pct is None or saved.high_pct is None:
        return f"{saved.jobs} jobs; nothing would have been emitted at once, so that nothing could be saved"
    verb = "saved" if saved.saved_g >= 0 else "lost"
    return (
        f"{saved.jobs} jobs emitted {words.mass(saved.grams)} CO2e; at once, at home, at full power, with the "
        f"intensities that came, it would have been {words.mass(saved.counterfactual_g)}: {verb} "
        f"{words.mass(abs(saved.saved_g))}, {saved.saved_pct:+.1f} % (90 %: {saved.low_pct:+.1f} to "
        f"{saved.high_pct:+.1f} %); {saved.late} late, {saved.late_anyway} of those at once would have been"
    )


def _row(name: str, week: Week) -> list[str]:
    saved, foreseen = week.saved, week.predicted
    if not saved.jobs:
        return [name, "0", *[words.UNKNOWN] * 10]
    given = saved.saved_pct is not None and saved.low_pct is not None and saved.high_pct is not None
    return [
        name,
        str(saved.jobs),
        words.mass(saved.grams),
        words.mass(saved.counterfactual_g),
        f"{saved.saved_pct:.1f} %" if given else words.UNKNOWN,
        f"{saved.low_pct:.1f} to {saved.high_pct:.1f}" if given else words.UNKNOWN,
        str(saved.late),
        *(_percent(foreseen.mape_pct[measure]) for measure in _SHOWN),
        _inside(foreseen),
    ]


def _weeks(count: int) -> str:
    return f"{count} week{'s' if count != 1 else ''}"


def _ranges(out: Console, foreseen: Predicted) -> None:
    """Say that predicted ranges mean little as long as few outcomes have been held against them."""
    if 0 < foreseen.ranged < TRUSTED:
        said = f"{foreseen.inside} of {foreseen.ranged} inside"
        put(out, f"! predicted ranges are not to be trusted yet: {said} (from {TRUSTED} jobs on)", "yellow")


def _what_it_rests_on(out: Console, whole: Improvement) -> None:
    weeks = sum(week.saved.jobs > 0 for week in whole.weeks)
    for measure in _SHOWN:
        put(out, f"error of {measure}: {_trend(whole.error_trend[measure], weeks)}")
    bias = whole.total.predicted.bias_pct
    off = [f"{measure} {value:+.1f} %" for measure in _SHOWN if (value := bias[measure]) is not None]
    put(out, f"median of actual to foreseen: {', '.join(off) or 'nothing was foreseen'}")
    wrong = ", ".join(f"{part} {count}" for part, count in whole.total.predicted.wrong.items())
    put(out, f"what was wrong the most, by jobs: {wrong or 'nothing'}")
    how = ", ".join(f"{name} {count}" for name, count in whole.how.items())
    put(out, f"energy at full power is known by: {how} (docs/improvement.md)")
    chance = whole.controls
    if chance.saved_pct is None or chance.low_pct is None or chance.high_pct is None:
        put(out, f"controls: {chance.jobs}, too few to tell")
    else:
        put(
            out,
            f"controls: against {chance.jobs} jobs that ran at once by lot, without a model: {chance.saved_pct:+.1f} % "
            f"(90 %: {chance.low_pct:+.1f} to {chance.high_pct:+.1f} %)",
        )


def _trend(trend: Trend, weeks: int) -> str:
    if trend.confidence is None or trend.slope is None:
        return f"{trend.verdict} ({trend.count} of {ENOUGH} jobs)"
    sure = f"(confidence {trend.confidence:.1%}, {trend.count} jobs)"
    if weeks == 1:  # a slope of hours says nothing of a week
        return f"{trend.verdict} within one week {sure}"
    points = 100 * trend.slope
    return f"{trend.verdict}, {'-' if points < 0 else '+'}{words.digits(abs(points))} points a week {sure}"


def _inside(foreseen: Predicted) -> str:
    """Return how many lay in their ranges; of few, no share of a hundred."""
    few = 0 < foreseen.ranged < TRUSTED
    return f"{foreseen.inside} of {foreseen.ranged}" if few else words.share(foreseen.coverage)


def _percent(value: float | None) -> str:
    return words.UNKNOWN if value is None else f"{value:.1f} %"
