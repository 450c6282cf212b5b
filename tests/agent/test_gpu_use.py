"""What drivers say of processes, made weights, whose they are, and the account that comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.attribution import IDLE, SYSTEM, Owner, Pool, attribute
from evenwatt_agent.gpu_use import BoardUse, by_owner, weigh
from tests.agent import test_nvml
from tests.agent.test_nvml import run

library, gpus = test_nvml.library, test_nvml.gpus

A, B = Owner("task", "a"), Owner("unit", "b")
OWNERS = {7: A, 8: A, 9: B}


def test_the_latest_possible_sample_of_each_process_counts():
    rows = [(7, 10, 50), (7, 20, 30), (7, 15, 90), (8, 10, 100), (0, 30, 40), (9, 5, 0), (9, 6, 101), (9, 3, 50)]
    assert weigh(rows, 3) == ({7: 30, 8: 100}, 20)


def test_impossible_rows_do_not_move_the_time_from_which_the_next_look_asks():
    assert weigh([(0, 2**63, 50), (7, 2**63, 2**32 - 1)], 12) == ({}, 12)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(0, 2**32 - 1))), st.integers(0, 50))
def test_weights_are_possible_whatever_comes(rows, since_us):
    weights, until_us = weigh(rows, since_us)
    assert all(0 < weight <= 100 for weight in weights.values())
    assert weights.keys() <= {pid for pid, _, _ in rows} - {0}
    assert until_us >= since_us


def test_processes_of_one_owner_are_added_and_one_that_has_ended_is_in_the_whole():
    share = by_owner(BoardUse({7: 30, 8: 20, 9: 10, 99: 40}, frozenset({7, 8, 9})), OWNERS.get)
    assert (share.use, share.whole, share.alone) == ({A: 50, B: 10}, 100, {})


def test_who_has_a_board_alone_carries_its_idle_energy():
    share = by_owner(BoardUse({7: 30}, frozenset({7, 8})), OWNERS.get)
    assert share.alone == {A: 1.0}
    parts = attribute([Pool(500, 200, share.use, share.whole, share.alone, gpu=True)])
    assert (parts.keys(), parts[A].gpu_uj, parts[A].idle_uj) == ({A}, 300, 200)


def test_a_board_is_nobodys_alone_when_others_have_it_or_may_have_it():
    for holders in (frozenset({7, 9}), frozenset({7, 99}), frozenset[int](), None):
        use = {7: 30} if holders is None else {}
        share = by_owner(BoardUse(use, holders), OWNERS.get)
        assert share.alone == {}
        parts = attribute([Pool(500, 200, share.use, share.whole, share.alone, gpu=True)])
        assert parts[IDLE].idle_uj == 200
        assert parts[A if use else SYSTEM].gpu_uj == 300


def test_who_uses_a_board_is_told_by_process(gpus):
    said = run(
        gpus,
        """
state.set_process(0, 0, 4711, 60); state.set_process(0, 1, 4712, 20); state.set_process(0, 2, 4713, 0)
watch = GpuWatch(library, {"gpu-0": 0, "gpu-1": 1})
first = watch.look()
state.set_process(0, 0, 0, 0)
later = watch.look()
print(json.dumps([first["gpu-0"].use, sorted(first["gpu-0"].holders), first["gpu-1"].use, later["gpu-0"].use]))
""",
    )
    assert said == [{"4711": 60, "4712": 20}, [4711, 4712, 4713], {}, {"4712": 20}]


def test_a_clock_that_is_set_back_hides_nobody(gpus):
    said = run(
        gpus,
        """
state.set_process(0, 0, 4711, 60)
watch = GpuWatch(library, ["gpu-0"])
state.set(0, Field.AHEAD_S, 3600)
ahead = watch.look()["gpu-0"].use
state.set(0, Field.AHEAD_S, 0)
print(json.dumps([ahead, watch.look()["gpu-0"].use]))
""",
    )
    assert said == [{"4711": 60}, {"4711": 60}]


def test_a_board_works_also_between_two_moments_of_being_looked_at(gpus):
    said = run(
        gpus,
        """
state.set(0, Field.UTIL_GPU, 0); state.set_process(0, 0, 4711, 60); state.set_process(0, 1, 4712, 60)
print(json.dumps(GpuWatch(library, ["gpu-0"]).look()["gpu-0"].utilisation))
""",
    )
    assert said == 1.0


@pytest.mark.parametrize(
    ("code", "trouble"), [(0, ""), (3, "Not Supported"), (4, "Insufficient"), (13, "Function"), (999, "Unknown")]
)
def test_a_driver_that_does_not_tell_processes_still_tells_energy(gpus, code, trouble):
    said = run(
        gpus,
        f"""
state.set_process(0, 0, 4711, 60); state.set_process(1, 0, 4712, 60)
state.set(0, Field.PROCESS_ERROR, {code})
watch = GpuWatch(library, ["gpu-0", "gpu-1"])
looked = watch.look()
print(json.dumps([sorted(looked), watch.trouble, [p.read() > 0 for p in nvml.discover(library).probes]]))
""",
    )
    assert said[0] == (["gpu-0", "gpu-1"] if code == 0 else ["gpu-1"])
    assert trouble in said[1]
    assert bool(trouble) == bool(said[1])
    assert said[2] == [True, True]


def test_a_board_that_comes_later_is_watched_too(gpus):
    said = run(
        gpus,
        """
state.inject_error(1, 15)
nvml.discover(library)
watch = GpuWatch(library, ["gpu-0"])
before = sorted(watch.look())
state.inject_error(1, 0)
nvml.discover(library)
print(json.dumps([before, sorted(watch.look())]))
""",
    )
    assert said == [["gpu-0"], ["gpu-0", "gpu-1"]]


def test_a_board_that_nobody_has_is_asked_seldom_unless_somebody_may_come(gpus):
    said = run(
        gpus,
        """
watch = GpuWatch(library, {"gpu-0": 0})
watch.look()
state.set_process(0, 0, 4711, 60)
looks = [len(watch.look()["gpu-0"].use) for _ in range(5)]
state.set_process(0, 0, 0, 0)
watch.look()
state.set_process(0, 0, 4711, 60)
print(json.dumps([looks, len(watch.look(rest=False)["gpu-0"].use)]))
""",
    )
    assert said == [[0, 0, 0, 0, 1], 1]


def test_a_board_that_is_lost_does_not_hide_the_others(gpus):
    said = run(
        gpus,
        """
nvml.discover(library)
state.set_process(1, 0, 4711, 60)
state.inject_error(0, 15)
watch = GpuWatch(library, {"gpu-0": 0, "gpu-1": 1})
print(json.dumps([sorted(watch.look()), watch.trouble]))
""",
    )
    assert said[0] == ["gpu-1"]
    assert said[1].startswith("gpu-0: ")
    assert "GPU is lost" in said[1]


def test_the_account_has_a_boards_energy_by_owner_and_the_systems_while_the_board_does_not_answer(gpus):
    said = run(
        gpus,
        """
import asyncio, os
from evenwatt_agent.accounting import Accounting
from evenwatt_agent.meter import Batch
from evenwatt_agent.settings import AttributionSettings
nvml.discover(library)
pools = {"cpu": 0, "gpu-0": 0}
state.set_process(0, 0, os.getpid(), 60)
watch = GpuWatch(library, ["gpu-0"])
settings = AttributionSettings(gpu_idle_w=1e-3)
accounting = Accounting(settings, lambda: Batch(0, {}, 0, 0), lambda batch: None, lambda: pools, gpus=watch)

async def step(uj):
    pools["gpu-0"] += uj
    await accounting.step()
    rows, _, _ = accounting.take(20)
    rows = [(row.kind, round(row.gpu_j * 1e6), round(row.idle_j * 1e6)) for row in rows if row.gpu_j or row.idle_j]
    return rows, accounting.now()["trouble"]

async def main():
    await step(5)
    alone = await step(10**9)
    state.set_process(0, 1, 1 << 22, 20)  # a pid that nobody can have
    two = await step(10**9)
    state.inject_error(0, 15)
    lost = await step(10**9)
    state.inject_error(0, 0)
    return alone, two, lost, await step(10**9)

print(json.dumps(asyncio.run(main())))
""",
    )
    (alone, quiet), (two, _), (lost, trouble), (again, _) = said
    # No tick of the processors' clock need pass between these looks: boards are divided all the same.
    assert len(alone) == 1, "all of it is the one's who has the board"
    assert alone[0][0] not in {"system", "idle"}
    assert alone[0][1] + alone[0][2] == 10**9
    assert quiet == ""
    assert {kind: gpu for kind, gpu, _ in two if gpu}.keys() == {alone[0][0], "system"}
    shares = {kind: gpu for kind, gpu, _ in two}
    assert shares[alone[0][0]] == pytest.approx(3 * shares["system"], abs=4)
    assert {kind for kind, gpu, _ in lost if gpu} == {"system"}
    assert "GPU is lost" in trouble
    assert {kind for kind, gpu, _ in again if gpu} == {alone[0][0], "system"}
    for rows in (two, lost, again):
        assert sum(gpu + idle for _, gpu, idle in rows) == 10**9
