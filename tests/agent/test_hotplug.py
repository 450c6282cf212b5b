"""Devices that appear while the agent runs: counted from then on, or said not to be."""

from __future__ import annotations

import asyncio

import pytest

from evenwatt_agent.inventory import look_again, take_inventory
from evenwatt_agent.settings import AgentSettings, SourceSettings
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from evenwatt_wire import Birth, Event, Ledger, Live
from tests.site import NODE, ZONE, Listener, Site
from tests.support import eventually

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
    inventory.close()


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
                await eventually(lambda: len(listener.said[Ledger]) > seen + 2, "records with it came")
            task.cancel()
    assert listener.said[Birth][-1].total_formula.endswith(" + amdgpu")
    assert "amdgpu" in {event.subject for event in listener.said[Event] if event.name == "source-found"}
    records = listener.said[Ledger][seen + 1 :]
    counted_j = sum(row.energy_j for record in records for row in record.domains if row.id == "amdgpu")
    seconds = (records[-1].end_mono_ns - records[0].start_mono_ns) * 1e-9
    assert counted_j == pytest.approx(60.0 * seconds, abs=20.0), "to a third of a second at either end"
    record = records[-1]
    energy_j = {row.id: row.energy_j for row in record.domains}
    terms = record.total.energy_j
    assert abs(terms - sum(energy_j[name] for name in TERMS)) < 1e-6


TERMS = ("package-0", "package-0/dram", "package-1", "package-1/dram", "amdgpu")
