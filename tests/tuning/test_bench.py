"""The benchmark measures what it says: its device is the table's, its sweep is the published one."""

import json

import pytest
from bench.planning import caps
from bench.planning.gpu_plant import Plant, rows
from bench.planning.zeus import PROFILE_STEPS, WARMUP_STEPS, sweep

HEAD = "dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "made.csv"
    lines = [
        f"cifar100,net,64,sgd,{limit},{60 * 250 / (limit - 50):.3f},{0.95 * limit}" for limit in (100, 150, 200, 250)
    ]
    other = [f"own,net,8,sgd,{limit},{100 - limit / 10},60" for limit in (250, 100, 140)]
    few = [f"few,net,8,sgd,{limit},10,60" for limit in (100, 250)]
    path.write_text(HEAD + "\n".join(lines + other + few) + "\n")
    return path


def test_rows_are_read_with_their_limits_ascending_and_those_with_two_left_out(table):
    known, other = rows(table)
    assert known.name == "cifar100/net/sgd/64"
    assert known.limits_w == (100, 150, 200, 250)
    assert known.step_s[250] == pytest.approx(75 / (50_000 / 64))
    assert other.limits_w == (100, 140, 250)
    assert other.step_s[250] == pytest.approx(0.1)
    assert known.regret(min(known.limits_w, key=known.energy_j.__getitem__)) == 0


def test_the_device_takes_the_time_and_energy_of_the_table_in_the_long_run(table):
    for row in rows(table):
        for limit in row.limits_w:
            plant = Plant(row, 1)
            plant.limit_w = limit
            plant.run(20_000)
            began_s, counted_j, steps = plant.now_s, 0.0, 0
            for _ in range(400):
                counted_j += plant.run(200)[1]
                steps += 200
            assert (plant.now_s - began_s) / steps == pytest.approx(row.step_s[limit], rel=0.005)
            assert counted_j / steps == pytest.approx(row.energy_j[limit], rel=0.005)


def test_the_sweep_measures_every_limit_and_weighs_as_published(table):
    row = rows(table)[0]
    plant = Plant(row, 1)
    swept = sweep(plant)
    assert list(swept.energy_j) == [250, 200, 150, 100]
    assert swept.steps == 4 * (WARMUP_STEPS + PROFILE_STEPS)
    assert swept.choose(0.0) == 250
    assert row.regret(swept.choose(1.0)) <= 0.1


def test_a_table_is_measured_whole(table, monkeypatch):
    monkeypatch.setattr(caps, "SEEDS", (1,))
    said = []
    found = caps.measure([table, table.with_name("none.csv")], said.append)
    assert "skipped" in said[-1]
    figures = found["made"]
    assert figures["rows"] == 2
    assert figures["regret_pct"] <= 3
    assert figures["explored_pct"] <= 5
    assert figures["zeus_regret_pct"] >= 0
    assert figures["explored_pct_by_work_s"]["900"] > figures["explored_pct"]
    json.dumps(found)
