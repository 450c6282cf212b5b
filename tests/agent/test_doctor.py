"""The doctor on trees that look like hardware: what it finds, what it says is wrong, and the fix it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import msgspec
import pytest

from evenwatt_agent import clocks
from evenwatt_agent.doctor import Verdict, examine
from evenwatt_agent.settings import AgentSettings, ControlSettings, SourceSettings
from evenwatt_daemon.broker import BrokerSettings
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from tests.site import NODE, Site
from tests.support import Mosquitto, free_port, wait_for

MS = 1_000_000


def settings(tmp_path, sysfs, port=None):
    return AgentSettings(
        zone="z",
        node="n",
        state_dir=str(tmp_path / "state"),
        runtime_dir=str(tmp_path / "run"),
        sources=SourceSettings(sysfs=str(sysfs)),
        mqtt=BrokerSettings(port=port or free_port()),
    )


def found(findings):
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize(
    ("name", "source", "total"),
    [
        ("xeon_2s", "powercap", "package-0 + package-0/dram + package-1 + package-1/dram (measured)"),
        ("epyc", "powercap", "package-0 (measured)"),
        ("laptop", "powercap", "psys (measured)"),
        ("edge_ina", "ina", "ina3221/VDD_IN (integrated)"),
        ("apu_box", "hwmon", "amdgpu/PPT (integrated)"),
    ],
)
def test_each_machine_has_its_source_and_one_total(tmp_path, name, source, total):
    machine = Machine(preset(name, "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    try:
        report = found(examine(settings(tmp_path, machine.places.sysfs)))
    finally:
        machine.close()
    assert report[source].verdict is Verdict.FOUND
    assert report["node power"].detail == total
    assert report["agent"].verdict is Verdict.ABSENT


def test_a_machine_with_nothing_is_estimated_and_says_how_to_do_better(tmp_path):
    report = found(examine(settings(tmp_path, tmp_path)))
    assert {report[name].verdict for name in ("powercap", "hwmon", "ina", "power_supply")} == {Verdict.ABSENT}
    assert "sources.idle_w" in report["node power"].fix


@pytest.mark.parametrize(
    ("control", "verdict"),
    [
        (ControlSettings(), Verdict.SKIPPED),
        (ControlSettings(enabled=True), Verdict.BROKEN),
        (ControlSettings(enabled=True, require_synchronised_clock=False), Verdict.SKIPPED),
    ],
)
def test_a_clock_that_nobody_sets_is_a_fault_only_where_commands_need_it(tmp_path, monkeypatch, control, verdict):
    monkeypatch.setattr(clocks, "clock_synchronised", lambda: False)  # the kernel's word, which no test may change
    finding = found(examine(msgspec.structs.replace(settings(tmp_path, tmp_path), control=control)))["clock"]
    assert finding.verdict is verdict
    assert finding.detail.startswith("not synchronised")


def test_a_broken_counter_is_said_with_what_still_works(tmp_path):
    machine = Machine(preset("xeon_2s", "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    counter = machine.places.sysfs / "class" / "powercap" / "intel-rapl:0" / "energy_uj"
    counter.chmod(0o600)
    counter.write_text("nonsense")
    finding = found(examine(settings(tmp_path, machine.places.sysfs)))["powercap"]
    machine.close()
    assert finding.verdict is Verdict.BROKEN
    assert "package-1" in finding.detail
    assert "nonsense" in finding.detail


def test_a_broker_that_is_not_there_is_named_with_the_fix(tmp_path):
    finding = found(examine(settings(tmp_path, tmp_path)))["broker"]
    assert finding.verdict is Verdict.BROKEN
    assert "[mqtt]" in finding.fix


def test_a_message_goes_there_and_back(tmp_path, broker):
    finding = found(examine(settings(tmp_path, tmp_path, broker.port)))["broker"]
    assert (finding.verdict, "there and back" in finding.detail) == (Verdict.FOUND, True)


def test_a_broker_that_takes_and_delivers_nothing_is_found_out(tmp_path):
    """Mosquitto grants subscriptions that its ACL forbids, and then delivers nothing."""
    (tmp_path / "acl").write_text("topic write evenwatt/v1/#\n")
    (tmp_path / "acl").chmod(0o600)
    running = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}\nallow_anonymous true\n").start()
    try:
        finding = found(examine(settings(tmp_path, tmp_path, running.port)))["broker"]
    finally:
        running.kill()
    assert finding.verdict is Verdict.BROKEN
    assert "topic readwrite evenwatt/v1/z/n/probe" in finding.fix


def doctor(site, *arguments):
    command = [sys.executable, "-m", "evenwatt_cli", "doctor", "-c", str(site.folder / "agent.toml"), "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    return done.returncode, report["healthy"], {row["check"]: row for row in report["findings"]}


@pytest.fixture
def site(tmp_path, broker):
    return Site(tmp_path, broker.port)


def test_caps_are_written_read_back_and_put_back_only_when_asked(site):
    with site.twin():
        site.await_twin()
        before = site.limits()
        assert doctor(site)[2]["caps"]["verdict"] == "skipped"
        assert doctor(site, "--write-caps")[2]["caps"]["verdict"] == "found"
        assert site.limits() == before


def test_a_locked_limit_is_found_out_and_makes_the_node_unhealthy(site):
    spec = {"machines": [{"id": NODE, "preset": "xeon_2s", "powercap": {"zones": {"0": {"locked": True}}}}]}
    (site.folder / "twin.json").write_text(json.dumps(spec))
    with site.twin():
        site.await_twin()
        code, healthy, report = doctor(site, "--write-caps")
        assert (code, healthy) == (3, False)
        assert report["caps"]["verdict"] == "locked"


def test_a_running_agent_is_asked_and_its_limits_are_left_alone(site):
    with site.twin():
        site.await_twin()
        with site.agent():

            def online():
                row = doctor(site)[2]
                return row["agent"]["verdict"] == "found" and "online" in row["agent"]["detail"]

            wait_for(online, "the doctor sees the agent online")
            assert doctor(site, "--write-caps")[2]["caps"]["verdict"] == "skipped"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
def test_a_container_that_masks_powercap_is_seen(tmp_path):
    """An empty mount over the devices leaves the class folder's links dangling, as container runtimes do."""
    code = (
        "from pathlib import Path\nfrom evenwatt_agent.doctor import _masked\n"
        f"print(_masked(Path({str(tmp_path / 'sys' / 'class' / 'powercap')!r})))"
    )
    folder = tmp_path / "sys" / "class" / "powercap"
    folder.mkdir(parents=True)
    script = f"mount -t tmpfs none {folder} && {sys.executable} -c '{code.replace(chr(39), chr(34))}'"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def controlled(tmp_path, sysfs, **control):
    base = settings(tmp_path, sysfs)
    base.control = ControlSettings(enabled=True, **control)
    return base


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("xeon_2s", "powercap:package-0 (90 to 225 W); powercap:package-1 (90 to 225 W)"),
        ("epyc", "cpufreq:package-0 (154 to 384 W estimated), then cpu.max:package-0 (154 to 384 W estimated)"),
        ("edge_ina", "cpufreq:ina3221/VDD_IN (7 to 18 W estimated), then cpu.max:ina3221/VDD_IN (7 to 18 W estimated)"),
    ],
)
def test_it_names_the_knobs_of_each_domain_in_their_order(tmp_path, name, said):
    machine = Machine(preset(name, "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    groups = [str(path) for path in machine.places.sysfs.glob("fs/cgroup/*")]
    try:
        finding = found(examine(controlled(tmp_path, machine.places.sysfs, cpu_max=groups)))["caps"]
    finally:
        machine.close()
    assert finding.detail.startswith(said)


def test_a_locked_limit_with_a_knob_behind_it_is_told_and_is_no_fault(site):
    clocks = {"online": 8, "policies": {"policy0": {"slows": "package-0", "cpus": "0-7"}}}
    spec = {"preset": "xeon_2s", "processors": clocks, "powercap": {"zones": {"0": {"locked": True}}}}
    (site.folder / "twin.json").write_text(json.dumps({"machines": [{"id": NODE, **spec}]}))
    with site.twin():
        site.await_twin()
        report = doctor(site, "--write-caps")[2]
        assert report["caps"]["verdict"] == "found"
        assert "cpufreq:package-0 takes its place" in report["caps"]["detail"]


def test_a_user_who_may_not_read_the_agents_state_is_told_so(tmp_path):
    site = Site(tmp_path, free_port())
    (tmp_path / "state").mkdir()
    saved = tmp_path / "state" / "originals.json"
    saved.write_text("[]")
    saved.chmod(0)
    # Root without the right to pass over a file's mode is like anybody else.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-m", "evenwatt_cli", "doctor", "--json", "-c", str(site.folder / "agent.toml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    caps = next(one for one in json.loads(done.stdout)["findings"] if one["check"] == "caps")
    assert (caps["verdict"], caps["fix"]) == ("skipped", "run the doctor as root or as the agent's user")
