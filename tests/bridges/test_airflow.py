"""The Airflow sensor against a server that advises.

Airflow is too large to be installed for these tests. Where it is not there, a stand-in of its base class is used, which
keeps what the sensor hands over and has the same attributes; docs/schedulers.md says with which Airflow it was run.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace

import pytest

from tests.bridges.grid_server import NAN, GridServer
from tests.bridges.loading import load
from tests.support import free_port

HAS_AIRFLOW = importlib.util.find_spec("airflow") is not None


class StandIn:
    def __init__(self, *, task_id, mode="poke", poke_interval=60.0, timeout=604800.0, **others):
        assert not others, f"not an argument of a sensor: {others}"
        self.task_id, self.mode, self.poke_interval, self.timeout = task_id, mode, poke_interval, timeout
        self.log = logging.getLogger(task_id)


@pytest.fixture(scope="module")
def sensor():
    if not HAS_AIRFLOW:
        names = ("airflow", "airflow.sensors", "airflow.sensors.base")
        sys.modules.update({name: ModuleType(name) for name in names})
        sys.modules["airflow.sensors.base"].BaseSensorOperator = StandIn
    yield load("airflow/evenwatt_sensor.py").EvenwattCleanHourSensor
    if not HAS_AIRFLOW:
        for name in names:
            del sys.modules[name]


@pytest.fixture
def grid():
    made = GridServer([])
    made.shift_to(6)
    with made.serving():
        yield made


def context(begun=None):
    return {"dag_run": SimpleNamespace(dag_id="nightly", start_date=begun or datetime.now(UTC))}


def wait_of(sensor, grid, **changes):
    values = {
        "task_id": "wait", "length": timedelta(hours=2), "deadline": timedelta(hours=12), "zone": "here",
        "url": grid if isinstance(grid, str) else grid.url,
    }  # fmt: skip
    return sensor(**{**values, **changes})


def test_it_waits_for_the_clean_hour_and_gives_its_slot_back(sensor, grid, caplog):
    caplog.set_level(logging.INFO)
    wait = wait_of(sensor, grid)
    assert wait.mode == "reschedule"
    assert wait.timeout > 12 * 3600
    assert not wait.poke(context())
    assert "75 % less expected" in caplog.text
    grid.shift_to(0)
    assert wait.poke(context())


def test_it_asks_for_what_is_left(sensor, grid):
    begun = datetime.now(UTC) - timedelta(hours=1)
    wait_of(sensor, grid, power_w=300.0).poke(context(begun))
    (asked,) = grid.asked
    assert asked["external"] == "airflow:nightly.wait"
    assert asked["power_w"] == 300.0
    deadline = datetime.fromisoformat(asked["deadline"])
    assert abs(deadline - begun - timedelta(hours=12) + timedelta(minutes=10)) <= timedelta(seconds=1)


@pytest.mark.parametrize("hours", [9.9, 11, 30])
def test_the_latest_start_is_kept_and_nobody_is_asked(sensor, grid, hours):
    assert wait_of(sensor, grid).poke(context(datetime.now(UTC) - timedelta(hours=hours)))
    assert grid.asked == []


def test_the_next_question_may_not_come_too_late(sensor, grid):
    begun = datetime.now(UTC) - timedelta(hours=9, minutes=40)
    assert not wait_of(sensor, grid).poke(context(begun)) or grid.asked
    assert wait_of(sensor, grid, poke_interval=1800.0).poke(context(begun))


@pytest.mark.parametrize("answer", [(500, {"error": "broken"}), (200, b"<html>"), (200, {"decision": {}}), NAN, None])
def test_without_advice_it_is_time(sensor, grid, caplog, answer):
    grid.broken = answer
    url = grid.url if answer else f"http://127.0.0.1:{free_port()}"
    assert wait_of(sensor, url).poke(context())
    assert "work comes first" in caplog.text


def test_a_moment_may_be_text_as_templates_give_it(sensor, grid):
    deadline = (datetime.now(UTC) + timedelta(hours=12)).isoformat()
    assert not wait_of(sensor, grid, deadline=deadline).poke(context())
    assert wait_of(sensor, grid, deadline=(datetime.now(UTC) + timedelta(hours=2)).isoformat()).poke(context())


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"length": timedelta(0)}, "length=0:00:00"), ({"deadline": datetime(2026, 11, 28)}, "no zone")],  # noqa: DTZ001
)
def test_what_makes_no_sense_is_said_when_the_dag_is_read(sensor, grid, changes, said):
    with pytest.raises(ValueError, match=said):
        wait_of(sensor, grid, **changes)
