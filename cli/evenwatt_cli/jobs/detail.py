"""One job in full, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from evenwatt_cli.jobs.words import ended, expected_g, when
from evenwatt_cli.moments import clock
from evenwatt_cli.reporting.words import energy, mass
from evenwatt_cli.units import power
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.times import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from evenwatt_collector.jobs.model import Decision, JobRecord, Run


def detail(record: JobRecord, now_s: float, serving: str | None = None) -> RenderableType:
    """Return how a job stands, what it is, its plan, its runs and what was decided; what a service serves."""
    return Group(*_lines(record, now_s, serving))


def _lines(record: JobRecord, now_s: float, serving: str | None) -> Iterator[RenderableType]:
    yield Text(
        f"job {record.id}  {record.spec.name}: {record.state.value}, {when(record, now_s, serving)}", style="bold"
    )
    if record.late and record.open:
        yield Text("  ! it will be late", style="red")
    if record.why:
        yield Text(f"  {record.why}")
    yield from _stated(record, now_s)
    for piece in record.pieces:
        wide = f", {piece.width} slots" if piece.width > 1 else ""
        yield Text(
            f"  planned {clock(piece.start_s)} for {in_words(piece.end_s - piece.start_s)} in {piece.zone}{wide}"
        )
    for run in record.runs:
        yield Text(f"  {_run(run)}")
    if record.outcome is not None:
        yield Text(f"  {ended(record).partition(': ')[2]}")
    elif (grams := expected_g(record)) is not None:
        yield Text(f"  {mass(grams)} CO2e {'expected in all' if record.open else 'used'}")
    if record.decision is not None and record.open:
        yield from _decision(record.decision)


def _stated(record: JobRecord, now_s: float) -> Iterator[RenderableType]:
    yield Text(f"  submitted {clock(record.submitted_s)} by {record.by}")
    yield Text(f"  {_what(record)}")
    if record.length_s:
        share = 100 * progress.done_share(record)
        left = f", {share:.0f} % done" if record.open else ""
        yield Text(f"  {in_words(record.length_s)} at {power(record.power_w)} ({record.estimate}){left}")
    if record.deadline_s is not None:
        ahead = in_words(record.deadline_s - now_s)
        yield Text(f"  deadline {clock(record.deadline_s)}, {f'in {ahead}' if record.deadline_s > now_s else 'over'}")
    if record.spec.after:
        yield Text(f"  after {', '.join(record.spec.after)}")


def _what(record: JobRecord) -> str:
    spec = record.spec
    if spec.service is not None:
        return f"service: {spec.service.task}, by {spec.service.unit}"
    if spec.external:
        return f"run by others: {spec.external}"
    filled = " ".join(f"{key}={text}" for key, text in sorted(spec.values.items()))
    kind = "interruptible" if spec.interruptible else "in one piece"
    return f"template {spec.template}{f' with {filled}' if filled else ''}, {kind}"


def _run(run: Run) -> str:
    state = run.state.value if run.state else "asked for"
    facts = [f"run {run.id} on {run.node or run.zone}: {state}"]
    if run.duration_s:
        facts.append(f"{in_words(run.duration_s)}, {energy(run.energy_j)}, {mass(run.grams)}")
    if run.exit_code:
        facts.append(f"exit code {run.exit_code}")
    if run.cap_w is not None:
        facts.append(f"cap {power(run.cap_w)}")
    if run.detail:
        facts.append(run.detail)
    return ", ".join(facts)


def _decision(decision: Decision) -> Iterator[RenderableType]:
    chosen, baseline = decision.chosen, decision.baseline
    yield Text(
        f"  expected {mass(chosen.grams)} ({mass(chosen.low_g)} to {mass(chosen.high_g)}); at once, at home: "
        f"{mass(baseline.grams)}"
    )
    for words in decision.would_change:
        yield Text(f"  would change it: {words}")
