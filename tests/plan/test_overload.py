"""What is said to be late for want of room is so, and a fleet with far too much work is planned all the same."""

from hypothesis import HealthCheck, given, settings

from evenwatt_collector.plan import grid as grids
from evenwatt_collector.plan import work as works
from evenwatt_collector.plan.overload import Overload
from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.room import Room
from tests.plan.making import check, job, place, problem
from tests.plan.test_feasible import feasible, small

FEW = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(small())
def test_what_is_proven_late_cannot_be_on_time(case):
    parts, asked = case
    grid = grids.make(asked)
    read = [works.read(grid, one) for one in asked.jobs.values()]
    demand = Overload(grid, read, Room(grid))
    proven = False
    for work in read:
        proven = proven or demand.proven(work)
        demand.add(work)
    if proven:
        assert not feasible(*parts)


def test_too_much_work_is_found_out():
    asked = problem([place(intensity=[100.0] * 8, slots=2)], [job(f"j{i}", 1, due=8) for i in range(17)])
    grid = grids.make(asked)
    read = [works.read(grid, one) for one in asked.jobs.values()]
    demand = Overload(grid, read, Room(grid))
    for work in read[:16]:
        assert not demand.proven(work)
        demand.add(work)
    assert demand.proven(read[16])


def test_of_too_much_work_as_much_is_on_time_as_there_is_room_for():
    asked = problem([place(intensity=[300, 100, 200, 400, 250, 150, 350, 120], slots=10)],
                    [job(f"j{i}", 2, due=8, interruptible=i % 2 == 0) for i in range(300)])  # fmt: skip
    plan = Planner().plan(asked)
    check(asked, plan)
    assert sum(not one.late for one in plan.jobs.values()) == 40
