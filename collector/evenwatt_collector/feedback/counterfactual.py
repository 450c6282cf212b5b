"""What came of a job, against what would have come of doing nothing. Pure.

The baseline is the same work, begun as soon as it could have been, at home, at full power, on one slot, in one go, with
the intensities that came and not those foreseen::

    actual          G  = sum of E_i x PUE x I(when and where it was used) + transfer x I(when it began)
    counterfactual  G0 = E0 x PUE_home x mean of I_home over [ready, ready + T0)
    saved              = G0 - G

``E0`` is the energy that was used, corrected for what the decision changed: the power cap (by the learned curve, or not
at all), restarts (left out), slots at once (by the stated speed-up), another place (by the ratio that the decision
foresaw). ``counterfactual_how`` says which, and the 90 % range of ``G0`` is as wide as that is unsure. Errors of meters
and of emission factors are the same on both sides and scale the saving; they are not in that range.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, hypot
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec.structs import replace

from evenwatt_collector.feedback.actual import J_PER_KWH, Came, grams, work_s
from evenwatt_collector.jobs.model import JobState, Outcome
from evenwatt_wire.jobs import RunState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_collector.feedback.actual import Used
    from evenwatt_collector.jobs.model import Decision, JobRecord, Run

AT_ONCE_S: Final = 300.0
"""A job that began within so long at home and at full power did what the baseline would have done."""
RUN_TO_RUN: Final = 0.05
"""Half of a 90 % range of the energy of the same work on another occasion; our choice."""
BY_SPEEDUP: Final = 0.15
"""The same, where the energy on one slot follows from the speed-up that the owner states; our choice."""
BY_PLACE: Final = 0.20
"""The same, where the energy at home follows from what was foreseen for there; our choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullPower:
    """What the same work takes at full power, against what it takes under a cap."""

    energy: float
    """Ratio of the energies; above 1 where the cap saves."""
    low: float
    """The 90 % range of that ratio."""
    high: float
    time: float = 1.0
    """Ratio of the times; below 1 where the cap slows."""


class Curve(Protocol):
    """What is learned of joules per unit against power cap, of one workload on one kind of machine."""

    def full_power(self, cap_w: float) -> FullPower | None:
        """Return what full power would take against a cap; None: nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a job besides its record."""

    curve: Curve | None = None
    ready_s: float | None = None
    """When it could have begun; None: submitted, and not before its earliest start."""
    transfer_kwh: float = 0.0
    """Energy of moving its data to where it ran; an estimate, since no meter sees it."""
    units: Mapping[str, float] | None = None
    """Work done, by unit; None: as its runs tell."""
    stated_length_s: float = 0.0
    stated_power_w: float = 0.0
    quality_ok: bool = True
    slo_ok: bool = True
    at_once_s: float = AT_ONCE_S
    """A start that comes no later than this is at once."""


def counterfactual(
    record: JobRecord, used: Sequence[Used], came: Mapping[str, Came], facts: Facts | None = None
) -> Outcome:
    """Return what came of a job that has ended.

    Args:
        record: Of the job, with the decision that it was started with.
        used: Its energy by time and zone, all runs, failed ones too (``actual.used_by_runs``, or finer).
        came: Intensities that came, by zone: of every zone in ``used``, and of its home.
        facts: What else is known.

    Raises:
        ValueError: it has not ended, used nothing, or a zone has no intensities; it says which.
    """
    facts = facts or Facts()
    if record.ended_s is None or not used:
        raise ValueError(f"job {record.id} has not ended or used nothing: there is no outcome of it yet")
    home = _home(record, used)
    unknown = ({one.zone for one in used} | {home}) - came.keys()
    if unknown:
        raise ValueError(f"job {record.id}: no intensities are given for zones {', '.join(sorted(unknown))}")
    ready_s = facts.ready_s if facts.ready_s is not None else max(record.submitted_s, record.earliest_s)
    energy_j = fsum(one.energy_j for one in used)
    first = min(used, key=lambda one: one.start_s)
    actual_g = grams(used, came)
    actual_g += facts.transfer_kwh * came[first.zone].mean_g_per_kwh(first.start_s, first.start_s)
    work = _Work.of(record, used, (home, came), facts)
    cf_end_s = ready_s + work.seconds
    cf_g = came[home].grams(work.energy_j, ready_s, cf_end_s)
    last_s = max(one.end_s for one in used)
    if work.untouched and last_s - ready_s <= work.seconds + facts.at_once_s:
        # It did what the baseline would have done. A start some seconds later is not a saving, nor a loss.
        cf_g, half = actual_g, 0.0
    else:
        half = cf_g * work.half_width
    deadline_s = record.deadline_s
    return Outcome(
        job=record.id,
        name=record.spec.name,
        workload=record.workload,
        model=record.spec.model,
        zone=_most(used),
        submitted_s=record.submitted_s,
        ended_s=record.ended_s,
        energy_j=energy_j,
        grams=actual_g,
        counterfactual_g=cf_g,
        counterfactual_energy_j=work.energy_j,
        counterfactual_how=work.how,
        counterfactual_low_g=max(0.0, cf_g - half),
        counterfactual_high_g=cf_g + half,
        late=deadline_s is not None and record.ended_s > deadline_s,
        counterfactual_late=deadline_s is not None and cf_end_s > deadline_s,
        deadline_s=deadline_s,
        units=dict(facts.units if facts.units is not None else _units(record)),
        quality_ok=facts.quality_ok,
        slo_ok=facts.slo_ok,
        pue=fsum(one.energy_j * came[one.zone].pue for one in used) / energy_j if energy_j > 0 else 1.0,
        duration_s=fsum(run.duration_s for run in record.runs),
        length_s=_length_s(record, facts) if record.state is JobState.DONE else 0.0,
        predicted_length_s=record.length_s,
        stated_length_s=facts.stated_length_s,
        stated_power_w=facts.stated_power_w,
        **_foreseen(record.decision),
    )


def unclaimed(outcome: Outcome) -> Outcome:
    """Return the outcome of a job that did not succeed: nothing is saved by work that is of no use, but it can lose.

    What was foreseen was foreseen of the whole job, so that it is no measure of a part.
    """
    most_g = min(outcome.counterfactual_g, outcome.grams)
    nothing = ("predicted_g", "predicted_low_g", "predicted_high_g", "predicted_energy_kwh", "predicted_baseline_g")
    return replace(
        outcome,
        counterfactual_g=most_g,
        counterfactual_low_g=most_g,
        counterfactual_high_g=most_g,
        **dict.fromkeys(nothing, 0.0),
    )


def _foreseen(decision: Decision | None) -> dict[str, Any]:
    if decision is None:
        nothing = ("predicted_g", "predicted_low_g", "predicted_high_g", "predicted_energy_kwh")
        return {"policy": "baseline", **dict.fromkeys(nothing, 0.0)}
    return {
        "policy": decision.policy,
        "version": decision.version,
        "pressed": decision.pressed,
        "predicted_g": decision.chosen.grams,
        "predicted_low_g": decision.chosen.low_g,
        "predicted_high_g": decision.chosen.high_g,
        "predicted_energy_kwh": decision.chosen.energy_kwh,
        "predicted_baseline_g": decision.baseline.grams,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The same work at home, at full power, on one slot, in one go."""

    energy_j: float
    seconds: float
    half_width: float
    """Half of the 90 % range of the energy, relative."""
    how: str
    untouched: bool
    """Nothing was changed but, maybe, when it ran."""

    @classmethod
    def of(cls, record: JobRecord, used: Sequence[Used], at: tuple[str, Mapping[str, Came]], facts: Facts) -> _Work:
        home, came = at
        powers = [_at_full_power(one.cap_w, facts.curve) for one in used]
        capped = [one.cap_w is not None for one in used]
        place = _place_ratio(record.decision, came, facts)
        moved = [one.zone != home for one in used]
        energies = [
            one.energy_j * power.energy * (place if elsewhere else 1.0)
            for one, power, elsewhere in zip(used, powers, moved, strict=True)
        ]
        whole_j = fsum(energies)
        slot_s = fsum(one.end_s - one.start_s for one in used)
        speedup = record.spec.speedup
        alone_s = work_s([(one.start_s, one.end_s) for one in used], speedup)
        restarts_s = min(0.5 * alone_s, _restarts(record.runs) * record.spec.checkpoint_s)
        share = (alone_s - restarts_s) / slot_s if slot_s > 0 else 1.0
        time = fsum((one.end_s - one.start_s) * p.time for one, p in zip(used, powers, strict=True))
        wide = alone_s < slot_s * (1 - 1e-9) and len(used) > 1
        terms = [
            RUN_TO_RUN,
            BY_SPEEDUP if wide else 0.0,
            BY_PLACE if any(moved) else 0.0,
            fsum(e * (p.high - p.low) / 2 / p.energy for e, p in zip(energies, powers, strict=True)) / whole_j
            if whole_j > 0
            else 0.0,
        ]
        learned = any(p is not _SAME for p in powers)
        how = "learned" if learned else "foreseen" if any(moved) else "stated" if wide else "same"
        return cls(
            energy_j=whole_j * share,
            seconds=time * share,
            half_width=hypot(*terms),
            how=how,
            untouched=not (any(moved) or any(capped) or wide or restarts_s),
        )


_SAME: Final = FullPower(energy=1.0, low=1.0, high=1.0)


def _at_full_power(cap_w: float | None, curve: Curve | None) -> FullPower:
    if cap_w is None or curve is None:
        return _SAME
    return curve.full_power(cap_w) or _SAME


def _place_ratio(decision: Decision | None, came: Mapping[str, Came], facts: Facts) -> float:
    """Return a machine's energy at home to that where it ran, as foreseen; 1 where nothing was."""
    if decision is None or decision.chosen.zone == decision.baseline.zone:
        return 1.0
    there_kwh = decision.chosen.energy_kwh - facts.transfer_kwh
    here_kwh = decision.baseline.energy_kwh
    if min(here_kwh, there_kwh) <= 0 or not {decision.chosen.zone, decision.baseline.zone} <= came.keys():
        return 1.0
    # Options count at the site: PUE is taken out, since the grams put it in.
    return here_kwh / there_kwh * came[decision.chosen.zone].pue / came[decision.baseline.zone].pue


def _length_s(record: JobRecord, facts: Facts) -> float:
    """Return the work of the runs that served, at full power on one slot; 0 where a cap hides how long that takes."""
    served = [run for run in record.runs if run.state is RunState.ENDED or (run.state is RunState.STOPPED and run.kept)]
    spans = []
    for run in served:
        start_s = run.started_s if run.started_s is not None else run.asked_s
        power = _at_full_power(run.cap_w, facts.curve)
        if run.cap_w is not None and power is _SAME:
            return 0.0
        spans.append((start_s, start_s + run.duration_s * power.time))
    return max(0.0, work_s(spans, record.spec.speedup) - _restarts(record.runs) * record.spec.checkpoint_s)


def _restarts(runs: Sequence[Run]) -> int:
    return sum(1 for run in runs if run.state is RunState.STOPPED and run.kept)


def _units(record: JobRecord) -> dict[str, float]:
    total: dict[str, float] = {}
    for run in record.runs:
        for unit, amount in run.units.items():
            total[unit] = total.get(unit, 0.0) + amount
    return total


def _home(record: JobRecord, used: Sequence[Used]) -> str:
    if record.decision is not None and record.decision.baseline.zone:
        return record.decision.baseline.zone
    return record.spec.home or (record.spec.zones[0] if record.spec.zones else used[0].zone)


def _most(used: Sequence[Used]) -> str:
    by_zone: dict[str, float] = {}
    for one in used:
        by_zone[one.zone] = by_zone.get(one.zone, 0.0) + one.energy_j
    return max(by_zone, key=lambda zone: (by_zone[zone], zone))


def intensity_g_per_kwh(outcome: Outcome) -> float:
    """Return what a kilowatt-hour of the site weighed for a job."""
    site_kwh = outcome.energy_j / J_PER_KWH * outcome.pue
    return outcome.grams / site_kwh if site_kwh > 0 else 0.0
