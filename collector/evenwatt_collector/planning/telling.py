"""A job's decisions in words: what was chosen and why, what else there was, and what would change it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.desk import Explanation
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.jobs.times import spelled, stamp
from evenwatt_collector.models.amounts import mass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evenwatt_collector.jobs.model import Decision, JobRecord, Option, Outcome

_SHORT_S: Final = 900.0
"""Where something lasts less, moments are told to the second."""
_SAME_S: Final = 1.0
_SAME: Final = 0.005
"""Figures that differ by less, as a share, read the same."""


def explanation(
    record: JobRecord, decisions: Sequence[Decision], now_s: float, service: Mapping[str, Any] | None = None
) -> Explanation:
    """Return why a job is where and when it is, or why a service runs its variant.

    Args:
        record: The job.
        decisions: The newest first.
        now_s: Unix time.
        service: What the service should run, as the status document has it; None: it is none, or nothing is decided.
    """
    lines = _service(record, service) if record.spec.service is not None else _Teller(record, decisions).lines(now_s)
    return Explanation(job=record, decisions=list(decisions), lines=list(lines))


def _service(record: JobRecord, row: Mapping[str, Any] | None) -> Iterator[str]:
    name = f"{record.spec.name} ({record.id})"
    if row is None:
        yield f"{name} is {record.state.value}, a service: {record.why or 'no variant is chosen yet'}"
        return
    why, _, would_change = str(row["why"]).partition("; ")
    where = f"{row['zone']}, node {row['node']}" if row["node"] else row["zone"]
    since_s = row["since_wall_ms"] / 1e3
    yield f"{name} is a service and should run {row['variant']} in {where}, since {_moment(since_s, fine=True)}"
    yield f"expected: {mass(row['g_per_unit'])} CO2e per {row['unit']}"
    yield f"because {why}"
    if would_change:
        yield "what would change it:"
        yield f"  {would_change}"


class _Teller:
    """Tells of one job, to the second where its stretches are short."""

    def __init__(self, record: JobRecord, decisions: Sequence[Decision]) -> None:
        self._record, self._decisions = record, decisions
        options = [one for each in decisions[:1] for one in (each.chosen, each.baseline)]
        spans = [one.end_s - one.start_s for one in options if one.start_s is not None and one.end_s is not None]
        spans += [piece.end_s - piece.start_s for piece in record.pieces]
        self._fine = any(span < _SHORT_S for span in spans)

    def lines(self, now_s: float) -> Iterator[str]:
        """Yield everything."""
        record, decisions = self._record, self._decisions
        yield f"{record.spec.name} ({record.id}) is {self._state(now_s)}"
        if record.open:
            left = f"{progress.done_share(record):.0%} done, {spelled(progress.left_s(record))} of work left"
            yield f"{left} ({record.estimate})" if record.length_s else record.estimate
        if record.deadline_s is not None and record.open:
            left_s = record.deadline_s - now_s
            over = f"in {spelled(left_s)}" if left_s > 0 else f"{spelled(-left_s)} ago"
            late = ", which it will miss" if record.late else ""
            yield f"to be done by {self._at(record.deadline_s)} ({over}){late}"
        if decisions:
            yield from self._decision(decisions[0])
        if len(decisions) > 1:
            yield f"decided {len(decisions)} times; moved {record.moves} times"
        if record.outcome is not None:
            yield from self._outcome(record.outcome)

    def _state(self, now_s: float) -> str:
        """Return how it stands, and why or since when."""
        record, state = self._record, self._record.state.value
        if record.why and record.why != state:
            return f"{state}: {record.why}"
        if record.ended_s is not None:
            return f"{state} since {self._at(record.ended_s)}"
        run = next((run for run in reversed(record.runs) if run.ended_s is None), None)
        if run is not None and record.state is not JobState.WAITING:
            where = run.node or run.zone
            return f"{state} on {where}" + (f" since {self._at(run.started_s)}" if run.started_s else "")
        coming = next((piece for piece in record.pieces if piece.end_s > now_s), None)
        if coming is not None:
            when = f"at {self._at(coming.start_s)}" if coming.start_s > now_s else "now"
            return f"{state}: to start {when} in {coming.zone}"
        return f"{state}: {'as decided below' if self._decisions else 'nothing is decided yet'}"

    def _decision(self, decision: Decision) -> Iterator[str]:
        chosen, baseline = decision.chosen, decision.baseline
        policy = f"policy {decision.version or '-'} ({decision.policy})"
        yield f"decided {self._at(decision.made_s)} by {policy}: {self._option(chosen)}"
        if why := self._because(decision):
            yield f"  because {why}"
        yield f"instead of at once, at home, at full power: {self._option(baseline)}{_saving(chosen, baseline)}"
        yield from (f"  {one.why}" for one in decision.alternatives if one.name == "chosen" and one.why != "chosen")
        others = [one for one in decision.alternatives if one.name not in {"chosen", "now"}]
        if others:
            yield "what else there was:"
        for one in others:
            yield f"  {one.name}: {self._option(one)}; {one.why}"
        if decision.would_change:
            yield "what would change it:"
        for words in decision.would_change:
            yield f"  {words}"
        if decision.cap_why:
            yield f"power cap {decision.cap_w:.0f} W: {decision.cap_why}" if decision.cap_w else decision.cap_why
        if decision.rests_on:
            yield f"it rests on {decision.rests_on}"

    def _because(self, decision: Decision) -> str:
        """Return why it is then and there, in figures; empty where the decision says nothing of it."""
        chosen, baseline = decision.chosen, decision.baseline
        if chosen.why or chosen.start_s is None or baseline.start_s is None:
            return chosen.why
        level, before = _level(chosen), _level(baseline)
        if level is None or before is None:
            return "nothing is known to be emitted, whenever it runs"
        until = f" until its deadline at {self._at(self._record.deadline_s)}" if self._record.deadline_s else ""
        elsewhere = chosen.zone != baseline.zone
        if abs(chosen.start_s - baseline.start_s) <= _SAME_S and not elsewhere and _alike(chosen.grams, baseline.grams):
            return f"nothing{until} is cleaner than now: {before:.0f} g/kWh"
        if level < before * (1 - _SAME):
            what = "places and hours" if elsewhere else "hours"
            return f"lowest of the {what}{until} with room for it: {level:.0f} g/kWh, at once {before:.0f}"
        return _otherwise(chosen, baseline, f"{level:.0f} g/kWh, at once {before:.0f}")

    def _option(self, one: Option) -> str:
        if one.start_s is None or one.end_s is None:
            return f"not possible: {one.why}" if one.why else "not possible"
        cost = f", cost {one.cost:.3g}" if one.cost else ""
        return (
            f"in {one.zone} from {self._at(one.start_s)} to {self._at(one.end_s)}, "
            f"{one.grams:.4g} g ({one.low_g:.3g} to {one.high_g:.3g}), {one.energy_kwh:.3g} kWh{cost}"
        )

    def _outcome(self, outcome: Outcome) -> Iterator[str]:
        late = ", after its deadline" if outcome.late else ""
        yield (
            f"ended {self._at(outcome.ended_s)}{late}: {outcome.grams:.4g} g, foreseen {outcome.predicted_g:.4g} g "
            f"({outcome.predicted_low_g:.3g} to {outcome.predicted_high_g:.3g})"
        )
        yield (
            f"at once, at home, at full power it would have been {outcome.counterfactual_g:.4g} g with the intensities "
            f"that came: saved {outcome.saved_g:.4g} g (energy at full power: {outcome.counterfactual_how})"
        )

    def _at(self, wall_s: float) -> str:
        return _moment(wall_s, fine=self._fine)


def _otherwise(chosen: Option, baseline: Option, levels: str) -> str:
    """Return why something is chosen that runs at no lower intensity."""
    if chosen.energy_kwh < baseline.energy_kwh * (1 - _SAME):
        return f"it takes {chosen.energy_kwh:.3g} kWh, at once {baseline.energy_kwh:.3g}; {levels}"
    if chosen.cost < baseline.cost:
        return f"it costs {chosen.cost:.3g}, at once {baseline.cost:.3g}; {levels}"
    return f"what others have planned leaves it no better room: {levels}"


def _moment(wall_s: float, *, fine: bool) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M:%S} UTC" if fine else stamp(wall_s)


def _level(one: Option) -> float | None:
    """Return the intensity over the hours of an option, weighted by its energy, g/kWh; None where it emits nothing."""
    return one.grams / one.energy_kwh if one.energy_kwh > 0 and one.grams > 0 else None


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * max(abs(one), abs(other))


def _saving(chosen: Option, baseline: Option) -> str:
    if baseline.grams <= 0:
        return ""
    share = 1 - chosen.grams / baseline.grams
    return f"; {abs(share):.0%} {'less' if share >= 0 else 'more'} is expected"
