"""Small problems, and what must hold of every plan."""

from dataclasses import replace
from math import inf

import numpy as np
from hypothesis import strategies as st

from evenwatt_collector.plan.problem import At, Clock, Job, Objective, Place, Problem

START_S = 1_800_000_000.0
SLOT_S = 1800.0


def place(name="here", intensity=(100.0,), *, slots=None, power=None, pue=1.0, spread=0.0, price=None, known=2**31):
    values = np.asarray(intensity, dtype=np.float64)
    return Place(
        name=name,
        intensity_g_per_kwh=values,
        low_g_per_kwh=values * (1 - spread),
        high_g_per_kwh=values * (1 + spread),
        pue=pue,
        slots_free=None if slots is None else np.broadcast_to(np.asarray(slots, dtype=np.float64), values.shape),
        power_free_w=None if power is None else np.broadcast_to(np.asarray(power, dtype=np.float64), values.shape),
        price_per_kwh=None if price is None else np.asarray(price, dtype=np.float64),
        known_slots=known,
    )


def job(name="a", length=1.0, **kwargs):
    """A job of so many slots at 1 kW, at ``here``."""
    kwargs.setdefault("at", {"here": At(power_w=1000.0)})
    kwargs.setdefault("earliest_s", START_S)
    if "due" in kwargs:
        kwargs["deadline_s"] = START_S + kwargs.pop("due") * SLOT_S
    return Job(id=name, length_s=length * SLOT_S, **kwargs)


def problem(places, jobs, objective=None, now=0.0):
    places, jobs = list(places), list(jobs)
    slots = max(len(one.intensity_g_per_kwh) for one in places)
    return Problem(
        clock=Clock(start_s=START_S, slot_s=SLOT_S, slots=slots, now_s=START_S + now),
        places={one.name: one for one in places},
        jobs={one.id: one for one in jobs},
        objective=objective or Objective(),
    )


def spans(planned):
    """Segments in slots from the start."""
    return [((s.start_s - START_S) / SLOT_S, (s.end_s - START_S) / SLOT_S) for s in planned.segments]


def check(asked, plan, *, kept=False):
    """Assert what must hold of every plan: work is done, once, in its time, where it may, in what room there is."""
    assert set(plan.jobs) == set(asked.jobs)
    loads = {}
    for name, planned in plan.jobs.items():
        one = asked.jobs[name]
        assert np.isfinite([planned.grams, planned.low_g, planned.high_g, planned.cost, planned.energy_kwh]).all()
        if not planned.segments:
            assert planned.late or one.length_s <= 0
            continue
        assert planned.low_g <= planned.grams * (1 + 1e-9) + 1e-9
        assert planned.grams <= planned.high_g * (1 + 1e-9) + 1e-9
        work_s, before = 0.0, None
        for segment in planned.segments:
            at = one.at[segment.place]
            start_s = max(segment.start_s, asked.clock.now_s)
            assert segment.end_s > start_s
            assert segment.start_s >= (before.end_s if before else -inf) - 1e-5
            assert 1 <= segment.width <= len(one.speedup)
            assert before is None or before.place == segment.place
            work_s += (segment.end_s - start_s) * at.speed * one.speedup[segment.width - 1]
            if before is not None and segment.start_s > before.end_s + 1e-5:
                assert one.interruptible
                work_s -= max(0.0, one.restart_s) * at.speed * one.speedup[segment.width - 1]
            loads.setdefault(segment.place, []).append((start_s, segment.end_s, segment.width, one, at))
            before = segment
        if one.running is None:
            moving_s = 0.0 if kept else at.transfer_s  # of a kept plan the transfer may be under way
            assert planned.start_s >= max(one.earliest_s, asked.clock.now_s) + moving_s - 1e-5
            assert abs(work_s - one.length_s) < 1e-3 + 1e-9 * one.length_s
        assert planned.late == (planned.end_s > one.deadline_s + 1e-5)
        for other in one.after:
            if other in plan.jobs and plan.jobs[other].segments:
                assert planned.start_s >= plan.jobs[other].end_s - 1e-5
    for name, parts in loads.items():
        _check_room(asked, name, parts)


def _check_room(asked, name, parts):
    """At every moment at which something begins, what runs is within what is free."""
    where, clock = asked.places[name], asked.clock
    for moment, *_ in parts:
        slot = int((moment + 1e-5 - clock.start_s) // clock.slot_s)
        if slot >= clock.slots:
            continue
        inside = [p for p in parts if p[0] <= moment + 1e-5 and p[1] > moment + 1e-5]
        if where.slots_free is not None:
            assert sum(p[3].slots * p[2] for p in inside) <= where.slots_free[slot] * (1 + 1e-6) + 1e-6
        if where.power_free_w is not None:
            assert sum(p[4].power_w * p[2] for p in inside) <= where.power_free_w[slot] * (1 + 1e-6) + 1e-6


@st.composite
def problems(draw, jobs=6, room=True):
    """Problems of all kinds."""
    slots = draw(st.integers(3, 20))
    names = ["here", "there"][: draw(st.integers(1, 2))]
    level = st.floats(0, 900)
    places = [
        place(
            name,
            draw(st.lists(level, min_size=slots, max_size=slots)),
            slots=draw(st.none() | st.lists(st.floats(0, 4), min_size=slots, max_size=slots)) if room else None,
            power=draw(st.none() | st.floats(500, 5000)) if room else None,
            pue=draw(st.floats(1, 2)),
            spread=draw(st.floats(0, 0.3)),
            price=draw(st.none() | st.lists(st.floats(0, 1), min_size=slots, max_size=slots)),
            known=draw(st.integers(1, 2 * slots)),
        )
        for name in names
    ]
    made = [draw(one_job(f"j{i}", names, slots, i)) for i in range(draw(st.integers(0, jobs)))]
    objective = Objective(price_per_g=draw(st.sampled_from((0.0, 0.01))), risk=draw(st.sampled_from((0.0, 0.5, 1.0))))
    return problem(places, made, objective, now=draw(st.floats(0, SLOT_S - 1)))


@st.composite
def one_job(draw, name, places, slots, number=0):
    earliest = draw(st.floats(0, slots))
    at = {
        where: At(
            power_w=draw(st.floats(50, 1500)),
            speed=draw(st.floats(0.5, 2)),
            transfer_kwh=draw(st.sampled_from((0.0, 0.2))),
            transfer_s=draw(st.sampled_from((0.0, 700.0))),
        )
        for where in draw(st.lists(st.sampled_from(places), min_size=1, unique=True))
    }
    kind = draw(st.sampled_from(("run", "fill", "restart", "elastic", "wide", "least")))
    one = job(
        name,
        draw(st.floats(0.05, slots)),
        at=at,
        earliest_s=START_S + earliest * SLOT_S,
        deadline_s=draw(st.just(inf) | st.floats(START_S, START_S + 2 * slots * SLOT_S)),
        interruptible=kind in {"fill", "restart", "elastic", "least"},
        priority=draw(st.integers(0, 9)),
        slots=draw(st.sampled_from((0.5, 1.0, 2.0))),
        reserve=draw(st.sampled_from((0.0, 0.3))),
        after=tuple(f"j{i}" for i in range(number) if draw(st.integers(0, 5)) == 0),
    )
    if kind in {"restart", "least"}:
        one = replace(one, restart_s=draw(st.floats(1, 900)))
    if kind == "least":
        one = replace(one, least_run_s=draw(st.floats(1, 3 * SLOT_S)))
    if kind in {"elastic", "wide"}:
        one = replace(one, speedup=(1.0, 1.8, 2.3))
    return one
