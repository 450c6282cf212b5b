"""Energy events: what a tree offers, and a real event of this kernel read through the real system call."""

from __future__ import annotations

import pytest

from evenwatt_agent.hierarchy import choose_total
from evenwatt_agent.settings import AgentSettings, SourceSettings
from evenwatt_agent.sources import perf
from evenwatt_agent.sources.held import parse_cpus
from evenwatt_agent.sources.perf import find_events
from evenwatt_wire import Quality

SCALE = "2.3283064365386962890625e-10\n"
"""As the kernel writes it: 2^-32 J."""


def tree(sysfs, cpumask="0", events=("energy-pkg",), packages=None, kind=1, scale=SCALE, config="event=0x00"):
    """Write a ``power`` event source. Type 1 is PERF_TYPE_SOFTWARE, whose event 0 is a clock in nanoseconds."""
    folder = sysfs / "bus" / "event_source" / "devices" / "power"
    (folder / "events").mkdir(parents=True)
    (folder / "type").write_text(f"{kind}\n")
    (folder / "cpumask").write_text(f"{cpumask}\n")
    for name in events:
        (folder / "events" / name).write_text(f"{config}\n")
        (folder / "events" / f"{name}.scale").write_text(scale)
        (folder / "events" / f"{name}.unit").write_text("Joules\n")
    for cpu, (package, die) in (packages or {}).items():
        topology = sysfs / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "die_id").write_text(f"{die}\n")
    return sysfs


def permitted():
    """Whether this kernel and user may open a machine-wide event at all."""
    try:
        perf.HeldEvent(perf.Event("clock", "x", "package", None, 1, 0, 0, (1, 1))).close()
    except OSError:
        return False
    return True


needs_perf = pytest.mark.skipif(not permitted(), reason="perf_event_open is refused here: run as root")


def test_two_sockets_are_named_as_powercap_names_them(tmp_path):
    names = ("energy-pkg", "energy-ram", "energy-psys")
    events = find_events(tree(tmp_path, "0,18", names, {0: (0, 0), 18: (1, 0)}))
    assert sorted((e.domain, e.kind, e.parent, e.cpu) for e in events) == [
        ("package-0", "package", None, 0),
        ("package-0/dram", "dram", "package-0", 0),
        ("package-1", "package", None, 18),
        ("package-1/dram", "dram", "package-1", 18),
        ("psys-0", "psys", None, 0),
        ("psys-1", "psys", None, 18),
    ]
    assert {e.uj_per_count for e in events} == {(1_000_000, 2**32)}


def test_dies_that_share_a_package_have_a_name_each(tmp_path):
    events = find_events(tree(tmp_path, "0,8", packages={0: (0, 0), 8: (0, 1)}))
    assert [e.domain for e in events] == ["package-0-die-0", "package-0-die-1"]


@pytest.mark.parametrize(
    "spoilt",
    [{"scale": "0\n"}, {"scale": "nonsense\n"}, {"scale": "1/0\n"}, {"config": "umask=2"}, {"cpumask": "0-"}],
)
def test_what_is_not_understood_is_not_offered(tmp_path, spoilt):
    assert find_events(tree(tmp_path, **spoilt)) == []


@pytest.mark.parametrize(("text", "cpus"), [("0", [0]), ("0-2,8", [0, 1, 2, 8]), ("", []), ("a", []), ("1,", [])])
def test_lists_of_processors(text, cpus):
    assert parse_cpus(text) == cpus


@needs_perf
def test_a_real_event_counts_up_and_begins_anew_when_it_is_opened_again(tmp_path):
    found = perf.discover(tree(tmp_path, scale="1e-6\n"))  # a nanosecond counts as a microjoule: a number that moves
    (probe,) = found.probes
    first = probe.read()
    later = probe.read()
    assert later > first > 0
    probe.reopen()
    assert probe.read() < later + 1_000_000_000
    probe.close()
    with pytest.raises(OSError, match="descriptor"):
        probe.read()


@needs_perf
def test_where_powercap_serves_a_domain_its_event_is_not_opened(tmp_path):
    sysfs = tree(tmp_path, events=("energy-pkg", "energy-ram"))
    found = perf.discover(sysfs, served={"package-0"})
    assert [probe.domain.id for probe in found.probes] == ["package-0/dram"]
    for probe in found.probes:
        probe.close()


@needs_perf
def test_the_agent_takes_events_where_powercap_is_masked(tmp_path):
    from evenwatt_agent.inventory import take_inventory

    settings = AgentSettings(
        node="n", state_dir=str(tmp_path / "state"), sources=SourceSettings(sysfs=str(tree(tmp_path / "sys")))
    )
    inventory = take_inventory(settings)
    assert (inventory.formula, inventory.quality) == ("package-0", Quality.MEASURED)
    assert choose_total(inventory.probes)[0][0].source == "perf"
    inventory.close()


def test_an_event_the_kernel_does_not_know_is_one_problem_with_a_fix(tmp_path):
    sysfs = tree(tmp_path, events=("energy-pkg", "energy-ram"), kind=4242)
    found = perf.discover(sysfs)
    assert (found.probes, len(found.problems)) == ([], 1)
    assert str(sysfs) in found.problems[0].path
    assert found.problems[0].fix
