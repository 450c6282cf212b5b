"""Caps on machines that obey, ignore and refuse; and the machine's own limits back after any death."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest

from evenwatt_agent import restore
from evenwatt_agent.actuators import LockedError, hwmon, powercap
from evenwatt_agent.governor import Governor
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset

MS = 1_000_000


class Box:
    """A twin under virtual time."""

    def __init__(self, folder, name, change=lambda spec: spec):
        self.twin = Machine(change(preset(name, "m1")), folder / "m1", start_ns=0, step_ns=5 * MS)
        self.now_ns = 0
        self.sysfs = self.twin.places.sysfs

    def run(self, seconds):
        self.now_ns += round(seconds * 1e9)
        self.twin.step_to(self.now_ns)

    def limits(self):
        return {
            str(path.relative_to(self.sysfs)): path.read_text().strip()
            for path in sorted(self.sysfs.rglob("constraint_*_power_limit_uw"))
        }


@pytest.fixture
def xeon(tmp_path):
    box = Box(tmp_path, "xeon_2s")
    yield box
    box.twin.close()


def knobs(box, originals=None):
    return powercap.discover(box.sysfs, 0.4, originals or {})


def test_a_server_has_one_knob_per_package_within_its_own_limits(xeon):
    found = knobs(xeon)
    assert [(k.domain, k.floor_w, k.ceiling_w) for k in found] == [("package-0", 90, 225), ("package-1", 90, 225)]


def test_both_limits_are_lowered_and_read_back(xeon):
    knob = knobs(xeon)[0]
    assert knob.write(150.06) == pytest.approx(150.06, abs=0.2)
    xeon.run(0.2)
    now = {path: value for path, value in xeon.limits().items() if "intel-rapl:0/constraint" in path}
    assert sorted(now.values())[-2:] == ["150000000", "150000000"], "rounded to the zone's 1/8 W"


@pytest.mark.parametrize("asked", [-5, 0, 1, 1e9])
def test_nothing_outside_floor_and_ceiling_is_ever_written(xeon, asked):
    knob = knobs(xeon)[0]
    assert knob.floor_w <= knob.write(asked) <= knob.ceiling_w


def test_a_locked_zone_is_said_to_be_locked(tmp_path):
    def lock(spec):
        zones = dict(spec.powercap.zones)
        zones["0"] = msgspec.structs.replace(zones["0"], locked=True)
        return msgspec.structs.replace(spec, powercap=msgspec.structs.replace(spec.powercap, zones=zones))

    box = Box(tmp_path, "xeon_2s", lock)
    governor = Governor(knobs(box), {}, 0.1, tmp_path)
    governor.apply(300)
    box.run(0.1)  # the firmware puts its own value back
    governor.observe(400, {"package-0": 190, "package-1": 190})
    outcome = governor.verify()
    box.twin.close()
    assert "package-0" in outcome.locked or "intel-rapl:0" in outcome.locked
    assert outcome.confirmed_w > 300, "a knob that does not hold counts with all it may draw"


def test_a_device_that_ignores_and_has_no_other_knob_is_left_alone_until_it_is_to_be_tried_again(tmp_path):
    def lock(spec):
        zones = dict(spec.powercap.zones)
        zones["0"] = msgspec.structs.replace(zones["0"], locked=True)
        return msgspec.structs.replace(spec, powercap=msgspec.structs.replace(spec.powercap, zones=zones))

    box = Box(tmp_path, "xeon_2s", lock)
    governor = Governor(knobs(box), {}, 0.1, tmp_path)
    for _ in range(2):
        governor.apply(300)
        box.run(0.1)
        governor.verify()
    assert governor.stuck
    limit = next(path for path in box.sysfs.rglob("constraint_0_power_limit_uw") if path.parent.name == "intel-rapl:0")
    before = limit.stat().st_mtime_ns
    outcome = governor.apply(300)
    assert outcome.locked, "and it is still said"
    assert outcome.confirmed_w > 300
    assert limit.stat().st_mtime_ns == before
    governor.apply(300, retry=True)
    assert limit.stat().st_mtime_ns > before
    box.twin.close()


def test_a_refused_write_is_said_to_be_locked(xeon):
    knob = knobs(xeon)[0]
    gone = replace(knob, long_term=xeon.sysfs)  # a folder cannot be written
    with pytest.raises(LockedError):
        gone.write(150)


def test_amdgpu_is_capped_in_whole_watts(tmp_path):
    box = Box(tmp_path, "apu_box")
    (knob,) = hwmon.discover(box.sysfs, ["amdgpu/PPT"], 0.4, {})
    assert knob.write(40.7) == pytest.approx(40.7, abs=1)
    box.run(0.2)
    assert knob.path.read_text().strip() == "40000000"
    box.twin.close()


def test_a_node_cap_holds_the_machine_and_release_gives_all_of_it_back(xeon, tmp_path):
    before = xeon.limits()
    governor = Governor(knobs(xeon), {}, 0.1, tmp_path)
    assert (governor.floor_w, governor.ceiling_w) == (225, 495)
    outcome = governor.apply(300)
    assert outcome.confirmed_w == pytest.approx(300, abs=1)
    assert not outcome.clamped
    xeon.run(3.0)
    assert xeon.limits() != before
    saved = restore.load(restore.originals_path(tmp_path))
    assert len(saved) == 6
    assert governor.apply(None).confirmed_w is None
    xeon.run(0.1)
    assert xeon.limits() == before
    assert not restore.originals_path(tmp_path).exists()


@pytest.mark.parametrize(("asked", "held"), [(100, 225), (900, 495)])
def test_a_cap_outside_what_the_node_can_hold_is_clamped_and_said(xeon, tmp_path, asked, held):
    outcome = Governor(knobs(xeon), {}, 0.1, tmp_path).apply(asked)
    assert outcome.clamped
    assert outcome.confirmed_w == pytest.approx(held, abs=1)


def test_a_busy_package_gets_the_watts_of_an_idle_one(xeon, tmp_path):
    governor = Governor(knobs(xeon), {}, 0.1, tmp_path)
    governor.apply(360)
    governor.observe(260, {"package-0": 40, "package-1": 155})
    governor.apply(360)
    xeon.run(0.1)
    values = [int(v) / 1e6 for p, v in xeon.limits().items() if "constraint_0" in p and p.count("intel-rapl:") == 1]
    assert values == pytest.approx([90, 205], abs=0.2), "65 W of the 260 W are memory, which no knob reaches"


def test_after_a_sigkill_the_restorer_gives_the_originals_back(xeon, tmp_path):
    before = xeon.limits()
    program = (
        "import os, sys; from pathlib import Path\n"
        "from evenwatt_agent.actuators import powercap\n"
        "from evenwatt_agent.governor import Governor\n"
        f"knobs = powercap.discover(Path({str(xeon.sysfs)!r}), 0.4, {{}})\n"
        f"Governor(knobs, {{}}, 0.1, Path({str(tmp_path)!r})).apply(250)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    xeon.run(0.1)
    assert xeon.limits() != before
    subprocess.run([sys.executable, "-I", restore.__file__, "--state-dir", str(tmp_path)], check=True)
    xeon.run(0.1)
    assert xeon.limits() == before


def test_a_restarted_agent_knows_the_true_originals_from_its_own_caps(xeon, tmp_path):
    Governor(knobs(xeon), {}, 0.1, tmp_path).apply(250)
    saved = {row["where"]: row["value"] for row in restore.load(restore.originals_path(tmp_path))}
    again = knobs(xeon, saved)
    assert [knob.ceiling_w for knob in again] == [225, 225]


def test_a_broken_originals_file_is_refused_not_guessed(tmp_path):
    restore.originals_path(tmp_path).write_text('[{"kind": "file"}]')
    result = subprocess.run(
        [sys.executable, "-I", restore.__file__, "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "originals.json" in result.stderr
