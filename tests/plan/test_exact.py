"""Plans against all there is: brute force on small problems, and HiGHS formulated anew."""

import itertools
from math import inf

import highspy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenwatt_collector.plan import grid as grids
from evenwatt_collector.plan import work as works
from evenwatt_collector.plan.pieces import Pieces
from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At
from evenwatt_collector.plan.windows import Window
from tests.plan.making import SLOT_S, START_S, check, job, place, problem, spans

FEW = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
levels = st.lists(st.floats(1, 900), min_size=4, max_size=14)


def grams(intensity, start, end):
    """Grams of a kilowatt between two times in slots."""
    total = 0.0
    for t, value in enumerate(intensity):
        total += value * max(0.0, min(end, t + 1) - max(start, t))
    return total * SLOT_S / 3600


@FEW
@given(levels, st.floats(0.1, 6), st.floats(0, 3))
def test_one_piece_is_the_best_of_all_starts(intensity, length, earliest):
    length, earliest = min(length, len(intensity) - earliest), min(earliest, len(intensity) - 1)
    if length < 0.05:
        return
    asked = problem([place(intensity=intensity)], [job(length=length, earliest_s=START_S + earliest * SLOT_S)])
    planned = Planner().plan(asked).jobs["a"]
    tried = np.linspace(earliest, max(earliest, len(intensity) - length), 300)
    assert planned.grams <= min(grams(intensity, s, s + length) for s in tried) * (1 + 1e-6) + 1e-6
    ((start, end),) = spans(planned)
    assert planned.grams == pytest.approx(grams(intensity, start, end), rel=1e-6)


@FEW
@given(levels, st.floats(0.1, 1), st.floats(0, 2))
def test_pieces_are_what_a_linear_program_finds(intensity, share, earliest):
    free_s = (len(intensity) - earliest) * SLOT_S
    one = job(length=share * free_s / SLOT_S, earliest_s=START_S + earliest * SLOT_S, interruptible=True)
    planned = Planner().plan(problem([place(intensity=intensity)], [one])).jobs["a"]
    upper = [max(0.0, min(1.0, t + 1 - earliest)) for t in range(len(intensity))]
    assert planned.grams == pytest.approx(_least(intensity, upper, one.length_s / SLOT_S), rel=1e-6)


def _least(intensity, upper, length):
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)  # as the planner does: a process has one scheduler
    count = len(intensity)
    columns = np.arange(count, dtype=np.int32)
    solver.addVars(count, np.zeros(count), np.array(upper))
    solver.changeColsCost(count, columns, np.array(intensity) * SLOT_S / 3600)
    solver.addRow(length, length, count, columns, np.ones(count))
    solver.run()
    return solver.getInfo().objective_function_value


@FEW
@given(st.lists(st.integers(1, 900), min_size=4, max_size=9), st.integers(1, 4), st.sampled_from((0.25, 0.5, 1.0)))
def test_restarts_are_weighed_as_brute_force_does(intensity, length, restart):
    """Whole slots, so that all ways to run can be listed; a restart takes its time at full power."""
    best = inf
    for chosen in itertools.product((0, 1), repeat=len(intensity)):
        pieces = sum(1 for a, b in itertools.pairwise((0, *chosen)) if b > a)
        on = sum(chosen)
        need = length + restart * (pieces - 1)
        if not pieces or need > on:
            continue
        # What is too much comes off the ends of pieces, the dirtiest first: a lower bound of it is taken off anywhere.
        values = sorted((value for value, bit in zip(intensity, chosen, strict=True) if bit), reverse=True)
        excess, cost = on - need, 0.0
        for value in values:
            took = min(1.0, excess)
            excess -= took
            cost += value * (1 - took)
        best = min(best, cost * SLOT_S / 3600)
    one = job(length=length, interruptible=True, restart_s=restart * SLOT_S, due=len(intensity))
    asked = problem([place(intensity=intensity)], [one])
    if length > len(intensity):
        return
    plan = Planner().plan(asked)
    check(asked, plan)
    assert plan.jobs["a"].grams >= best * (1 - 1e-6) - 1e-6


def test_restarts_without_the_solver_are_near_it():
    rng = np.random.default_rng(3)
    own, exact = 0.0, 0.0
    for _ in range(30):
        intensity = rng.uniform(50, 500, 24)
        asked = problem([place(intensity=intensity)],
                        [job(length=5.3, interruptible=True, restart_s=600, due=24)])  # fmt: skip
        exact += Planner().plan(asked).jobs["a"].grams
        grid = grids.make(asked)
        work = works.read(grid, asked.jobs["a"])
        own += Pieces(grid, [Window(work, work.earliest, work.latest, work.options)]).best(0)[0]
    assert exact <= own * (1 + 1e-6)
    assert own <= exact * 1.01


@FEW
@given(st.lists(st.integers(1, 900), min_size=4, max_size=6), st.lists(st.integers(1, 2), min_size=2, max_size=4))
def test_few_that_compete_are_planned_as_brute_force_does(intensity, lengths):
    slots = len(intensity)
    jobs = [job(f"j{i}", length, due=slots, at={"here": At(power_w=1000.0 * (i + 1))})
            for i, length in enumerate(lengths)]  # fmt: skip
    best = inf
    for starts in itertools.product(range(slots), repeat=len(lengths)):
        busy = np.zeros(slots)
        if any(start + length > slots for start, length in zip(starts, lengths, strict=True)):
            continue
        for start, length in zip(starts, lengths, strict=True):
            busy[start : start + length] += 1
        if busy.max() <= 1:
            best = min(best, sum((i + 1) * grams(intensity, s, s + n)
                                 for i, (s, n) in enumerate(zip(starts, lengths, strict=True))))  # fmt: skip
    asked = problem([place(intensity=intensity, slots=1.0)], jobs)
    plan = Planner().plan(asked)
    check(asked, plan)
    if best < inf:
        assert not any(planned.late for planned in plan.jobs.values())
        assert sum(planned.grams for planned in plan.jobs.values()) == pytest.approx(best, rel=1e-4)


def test_without_the_library_plans_are_made_all_the_same(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "highspy", None)
    asked = problem([place(intensity=[300, 100, 200, 400], slots=1.0)], [job(f"j{i}", 1, due=4) for i in range(3)])
    plan = Planner().plan(asked)
    check(asked, plan)
    assert plan.solver != "exact"
    assert not any(planned.late for planned in plan.jobs.values())


def test_elastic_work_takes_the_cheapest_joule_first():
    """Marginal allocation by hand: speeds 1, 1.8: the second slot adds 0.8 for a kilowatt."""
    intensity = [100.0, 79.0, 300.0, 81.0]
    one = job(length=2.6, interruptible=True, speedup=(1.0, 1.8), due=4)
    planned = Planner().plan(problem([place(intensity=intensity)], [one])).jobs["a"]
    # 79/1 and 81/1 first, then 79/0.8 = 98.75 before 100/1.
    used = 79 + 81 + 79 * 0.6 / 0.8
    assert planned.grams == pytest.approx(used * SLOT_S / 3600)
    assert max(segment.width for segment in planned.segments) == 2
