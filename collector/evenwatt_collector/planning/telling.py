"""A job's decisions in words: what was chosen, what else there was, and what would change it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.desk import Explanation
from evenwatt_collector.jobs.times import in_words, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evenwatt_collector.jobs.model import Decision, JobRecord, Option, Outcome


def explanation(record: JobRecord, decisions: Sequence[Decision], now_s: float) -> Explanation:
    """Return why a job is where and when it is; ``decisions`` are the newest first."""
    return Explanation(job=record, decisions=list(decisions), lines=list(_lines(record, decisions, now_s)))


def _lines(record: JobRecord, decisions: Sequence[Decision], now_s: float) -> Iterator[str]:
    yield f"{record.spec.name} ({record.id}) is {record.state.value}: {record.why or 'nothing is decided yet'}"
    if record.open:
        share = progress.done_share(record)
        left = in_words(progress.left_s(record))
        yield f"{share:.0%} done, {left} of work left ({record.estimate})" if record.length_s else record.estimate
    if record.deadline_s is not None:
        left_s = record.deadline_s - now_s
        over = f"in {in_words(left_s)}" if left_s > 0 else f"{in_words(-left_s)} ago"
        yield f"to be done by {stamp(record.deadline_s)} ({over})" + (", which it will miss" if record.late else "")
    if decisions:
        yield from _decision(decisions[0])
    if len(decisions) > 1:
        yield f"decided {len(decisions)} times; moved {record.moves} times"
    if record.outcome is not None:
        yield from _outcome(record.outcome)


def _decision(decision: Decision) -> Iterator[str]:
    chosen, baseline = decision.chosen, decision.baseline
    yield f"decided {stamp(decision.made_s)} by policy {decision.version or '-'} ({decision.policy}): {_option(chosen)}"
    yield f"  because {chosen.why}"
    yield f"instead of at once, at home, at full power: {_option(baseline)}{_saving(chosen, baseline)}"
    others = [one for one in decision.alternatives if one.name not in {"chosen", "now"}]
    if others:
        yield "what else there was:"
    for one in others:
        yield f"  {one.name}: {_option(one)}; {one.why}"
    if decision.would_change:
        yield "what would change it:"
    for words in decision.would_change:
        yield f"  {words}"
    if decision.cap_why:
        yield f"power cap {decision.cap_w:.0f} W: {decision.cap_why}" if decision.cap_w else decision.cap_why
    if decision.rests_on:
        yield f"it rests on {decision.rests_on}"


def _option(one: Option) -> str:
    if one.start_s is None or one.end_s is None:
        return f"not possible: {one.why}"
    cost = f", cost {one.cost:.3g}" if one.cost else ""
    return (
        f"in {one.zone} from {stamp(one.start_s)} to {stamp(one.end_s)}, "
        f"{one.grams:.4g} g ({one.low_g:.3g} to {one.high_g:.3g}), {one.energy_kwh:.3g} kWh{cost}"
    )


def _saving(chosen: Option, baseline: Option) -> str:
    if baseline.grams <= 0:
        return ""
    share = 1 - chosen.grams / baseline.grams
    return f"; {abs(share):.0%} {'less' if share >= 0 else 'more'} is expected"


def _outcome(outcome: Outcome) -> Iterator[str]:
    late = ", after its deadline" if outcome.late else ""
    yield (
        f"done {stamp(outcome.ended_s)}{late}: {outcome.grams:.4g} g, foreseen {outcome.predicted_g:.4g} g "
        f"({outcome.predicted_low_g:.3g} to {outcome.predicted_high_g:.3g})"
    )
    yield (
        f"at once, at home, at full power it would have been {outcome.counterfactual_g:.4g} g with the intensities "
        f"that came: saved {outcome.saved_g:.4g} g (energy at full power: {outcome.counterfactual_how})"
    )
