"""Devices that appear while the agent runs: counted from then on, or said not to be."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys

import pytest

from evenwatt_agent.inventory import look_again, take_inventory
from evenwatt_agent.settings import AgentSettings, SourceSettings
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from evenwatt_wire import Birth, Event, Ledger, Live
from tests.site import NODE, ZONE, Listener, Site
from tests.support import eventually, process

MS = 1_000_000


def inventory_of(tmp_path, sysfs):
    settings = AgentSettings(
        node="n", state_dir=str(tmp_path / "state"), sources=SourceSettings(sysfs=str(sysfs), idle_w=10.0, max_w=50.0)
    )
    return take_inventory(settings)


def board(sysfs, power_uw=60_000_000, name="amdgpu"):
    """Plug a board in: a hwmon device of amdgpu's shape."""
    folder = sysfs / "class" / "hwmon" / "hwmon7"
    folder.mkdir(parents=True)
    (folder / "power1_average").write_text(f"{power_uw}\n")
    (folder / "name").write_text(f"{name}\n")


def test_a_board_that_appears_is_a_further_term(tmp_path):
    machine = Machine(preset("xeon_2s", "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    sysfs = machine.places.sysfs
    inventory = inventory_of(tmp_path, sysfs)
    assert inventory.take_in(look_again(sysfs, inventory)) == []
    board(sysfs)
    fresh = inventory.take_in(look_again(sysfs, inventory))
    assert [probe.domain.id for probe in fresh] == ["amdgpu"]
    assert inventory.formula == "package-0 + package-0/dram + package-1 + package-1/dram + amdgpu"
    assert inventory.domains[-1].in_total
    assert look_again(sysfs, inventory).probes == []
    inventory.close()
    machine.close()


def test_what_would_replace_the_total_is_shown_and_not_counted(tmp_path):
    sysfs = tmp_path / "sys"
    inventory = inventory_of(tmp_path, sysfs)
    assert inventory.formula == "estimate"
    board(sysfs)
    assert len(inventory.take_in(look_again(sysfs, inventory))) == 1
    assert [(d.id, d.in_total) for d in inventory.domains] == [("estimate", True), ("amdgpu", False)]
    assert inventory.problems[-1].fix == "restart the agent to count it"
    assert inventory.outgrown
    inventory.close()


def test_what_was_wrong_is_not_said_any_more_once_it_is_mended(tmp_path):
    sysfs = tmp_path / "sys"
    board(sysfs)
    sensor = sysfs / "class" / "hwmon" / "hwmon7" / "power1_average"
    sensor.write_text("")
    inventory = inventory_of(tmp_path, sysfs)
    inventory.take_in(look_again(sysfs, inventory))
    assert [problem.path for problem in inventory.problems] == [str(sensor)]
    sensor.write_text("60000000\n")
    assert len(inventory.take_in(look_again(sysfs, inventory))) == 1
    assert [problem.source for problem in inventory.problems] == ["hot-plug"]
    inventory.take_in(look_again(sysfs, inventory))
    assert [problem.source for problem in inventory.problems] == ["hot-plug"]
    inventory.close()


def test_a_further_term_outgrows_nothing(tmp_path):
    machine = Machine(preset("xeon_2s", "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    inventory = inventory_of(tmp_path, machine.places.sysfs)
    board(machine.places.sysfs)
    inventory.take_in(look_again(machine.places.sysfs, inventory))
    assert not inventory.outgrown
    inventory.close()
    machine.close()


async def test_an_estimate_that_is_outgrown_ends_in_order_where_a_service_manager_starts_it_again(tmp_path):
    sysfs, state, told = tmp_path / "sys", tmp_path / "state", tmp_path / "notify"
    sysfs.mkdir()
    text = f'node = "n"\nstate_dir = "{state}"\nruntime_dir = "{tmp_path}"\n[mqtt]\nport = 1\n'
    (tmp_path / "agent.toml").write_text(text + f'[sources]\nsysfs = "{sysfs}"\nrescan_s = 1\n')
    command = [sys.executable, "-m", "evenwatt_agent", "--config", str(tmp_path / "agent.toml")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(told))
        with process(command, tmp_path / "agent.log", NOTIFY_SOCKET=str(told)) as agent:
            await eventually(lambda: b"READY=1" in manager.recv(4096), "it is ready")
            board(sysfs)
            await eventually(lambda: agent.poll() is not None, "it has ended")
    assert agent.returncode == 1
    assert "beginning anew" in (tmp_path / "agent.log").read_text()
    settings = AgentSettings(node="n", state_dir=str(state), sources=SourceSettings(sysfs=str(sysfs)))
    again = take_inventory(settings)
    assert again.formula == "amdgpu"
    again.close()


async def test_a_running_agent_counts_a_board_from_the_moment_it_appears(tmp_path, broker):
    from evenwatt_agent.transport import connect

    site = Site(tmp_path, broker.port)
    text = (tmp_path / "agent.toml").read_text().replace("[report]", "rescan_s = 1\n[report]")
    (tmp_path / "agent.toml").write_text(text)
    with site.twin():
        site.await_twin()
        async with connect(site.mqtt, "listener") as connection, asyncio.TaskGroup() as group:
            await connection.subscribe(f"evenwatt/v1/{ZONE}/{NODE}/#")
            listener = Listener(connection, site.ring)
            task = group.create_task(listener.run())
            with site.agent():
                await eventually(lambda: listener.said[Live], "a window came")
                board(site.sysfs)
                await eventually(lambda: len(listener.said[Birth]) > 1, "a new birth came")
                seen = len(listener.said[Ledger])
                # A reading that a busy machine takes late moves energy over a record's end, and not over most ends.
                await eventually(lambda: counts(listener.said[Ledger][seen + 1 :]), "two records have its energy")
                sources = lambda: {e.subject for e in listener.said[Event] if e.name == "source-found"}  # noqa: E731
                await eventually(lambda: "amdgpu" in sources(), "it is told")
            task.cancel()
    assert listener.said[Birth][-1].total_formula.endswith(" + amdgpu")
    record = listener.said[Ledger][-1]
    energy_j = {row.id: row.energy_j for row in record.domains}
    terms = record.total.energy_j
    assert abs(terms - sum(energy_j[name] for name in TERMS)) < 1e-6


def counts(records):
    """Whether two records in a row have the board's energy, to a third of a second at either end."""

    def counted(pair):
        counted_j = sum(row.energy_j for record in pair for row in record.domains if row.id == "amdgpu")
        return counted_j == pytest.approx(60e-9 * (pair[1].end_mono_ns - pair[0].start_mono_ns), abs=20.0)

    return any(map(counted, itertools.pairwise(records)))


TERMS = ("package-0", "package-0/dram", "package-1", "package-1/dram", "amdgpu")
