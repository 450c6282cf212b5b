"""Deadlines that can be met are met: small cases against a program that knows only time, work and room."""

from itertools import pairwise

import highspy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At
from tests.plan.making import SLOT_S, START_S, check, job, place, problem

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def feasible(slots, room, jobs):
    """Whether all can be on time; lengths, starts and deadlines in whole steps of time.

    Args:
        slots: Steps of time.
        room: By place, job slots.
        jobs: (length, earliest, due, places, interruptible).
    """
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)  # as the planner does: a process has one scheduler
    used = {}
    columns = 0
    rows = []
    for length, earliest, due, places, interruptible in jobs:
        ways = []
        for where in places:
            here = columns
            columns += 1
            ways.append(here)
            times = range(earliest, due if interruptible else due - length + 1)
            mine = list(range(columns, columns + len(times)))
            columns += len(times)
            rows.append((0.0, 0.0, {here: -float(length if interruptible else 1), **dict.fromkeys(mine, 1.0)}))
            for column, t in zip(mine, times, strict=True):
                for at in range(t, t + (1 if interruptible else length)):
                    used.setdefault((where, at), []).append(column)
        rows.append((1.0, 1.0, dict.fromkeys(ways, 1.0)))
    rows += [(0.0, float(room[where]), dict.fromkeys(mine, 1.0)) for (where, _), mine in used.items()]
    solver.addVars(columns, np.zeros(columns), np.ones(columns))
    solver.changeColsIntegrality(columns, np.arange(columns, dtype=np.int32), np.ones(columns, dtype=np.uint8))
    for low, high, row in rows:
        solver.addRow(low, high, len(row), np.array(list(row), dtype=np.int32), np.array(list(row.values())))
    solver.run()
    return solver.getModelStatus() == highspy.HighsModelStatus.kOptimal


@st.composite
def small(draw, steps_a_slot=1):
    """Return places' room and jobs in steps of time, and the problem."""
    slots = draw(st.integers(4, 10))
    steps = slots * steps_a_slot
    names = ["here", "there"][: draw(st.integers(1, 2))]
    room = {name: draw(st.integers(1, 2)) for name in names}
    asked, made = [], []
    for i in range(draw(st.integers(2, 12))):
        length = draw(st.integers(1, max(1, steps // 3)))
        earliest = draw(st.integers(0, steps - length))
        due = draw(st.integers(earliest + length, steps))
        places = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        interruptible = draw(st.booleans())
        asked.append((length, earliest, due, places, interruptible))
        made.append(job(f"j{i}", length / steps_a_slot, at={name: At(power_w=1000.0) for name in places},
                        earliest_s=START_S + earliest * SLOT_S / steps_a_slot, due=due / steps_a_slot,
                        interruptible=interruptible, priority=draw(st.integers(0, 9))))  # fmt: skip
    intensity = draw(st.lists(st.floats(1, 900), min_size=slots, max_size=slots))
    places = [place(name, intensity, slots=room[name]) for name in names]
    return (steps, room, asked), problem(places, made)


@FEW
@given(small())
def test_what_can_be_on_time_is(case):
    parts, asked = case
    plan = Planner().plan(asked)
    check(asked, plan)
    if feasible(*parts):
        assert not any(one.late for one in plan.jobs.values())


@FEW
@given(small(steps_a_slot=3))
def test_what_can_be_on_time_within_slots_is(case):
    parts, asked = case
    plan = Planner().plan(asked)
    check(asked, plan)
    if feasible(*parts):
        assert not any(one.late for one in plan.jobs.values())


@pytest.mark.parametrize("interruptible", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_more_jobs_than_a_solver_takes_are_on_time_if_unit_slots_allow_it(interruptible, seed):
    """Drawn so that it can be done: a plan with every slot full, of which only the windows are told."""
    rng = np.random.default_rng(seed)
    jobs = []
    for i in range(3 * 48):
        at = i // 3
        since, until = max(0, at - int(rng.integers(0, 9))), min(48, at + 1 + int(rng.integers(0, 9)))
        jobs.append(job(f"j{i}", 1, earliest_s=START_S + since * SLOT_S, due=until, interruptible=interruptible,
                        priority=int(rng.integers(0, 10))))  # fmt: skip
    asked = problem([place(intensity=rng.uniform(50, 500, 48), slots=3)], jobs)
    plan = Planner().plan(asked)
    check(asked, plan)
    assert not any(one.late for one in plan.jobs.values())


@pytest.mark.parametrize("interruptible", [False, True])
def test_many_short_jobs_share_long_slots(interruptible):
    jobs = [job(f"j{i}", 1 / 6, due=8, interruptible=interruptible) for i in range(40)]
    asked = problem([place(intensity=[300, 100, 200, 400, 250, 150, 350, 120, 90, 80], slots=1)], jobs)
    planner = Planner()
    plan = planner.plan(asked)
    check(asked, plan)
    assert not any(one.late for one in plan.jobs.values())
    spans = sorted((s.start_s, s.end_s) for one in plan.jobs.values() for s in one.segments)
    assert all(before[1] <= after[0] + 1e-5 for before, after in pairwise(spans))


def test_short_jobs_that_come_later_share_slots_too():
    at_first = [job(f"j{i}", 1 / 6, due=2) for i in range(2)]
    places = [place(intensity=[300, 100, 200, 400], slots=1)]
    planner = Planner()
    planner.plan(problem(places, at_first))
    asked = problem(places, [*at_first, *(job(f"k{i}", 1 / 6, due=2) for i in range(8))])
    plan = planner.replan(asked)
    check(asked, plan)
    assert not any(one.late for one in plan.jobs.values())
