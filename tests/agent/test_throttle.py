"""Knobs that are not in watts, on machines that look real under virtual time: they hold, are replaced, and go back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from evenwatt_agent import restore
from evenwatt_agent.actuators import LockedError, cpu_max, cpufreq
from evenwatt_agent.actuators.ladder import Ladder
from evenwatt_agent.inventory import take_inventory
from evenwatt_agent.settings import AgentSettings, ControlSettings, SourceSettings
from evenwatt_daemon import Failure
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from evenwatt_twin.processors import Policy, Processors
from evenwatt_twin.profiles import Steady

MS = 1_000_000
BIN_NS = 100 * MS


class Box:
    """A twin with its governor, both under virtual time: bins of true power, each followed by one round of control."""

    def __init__(self, folder, name, *, load=1.0, control=None, **parts):
        spec = msgspec.structs.replace(preset(name, "m1"), profile=Steady(load=load), **parts)
        self.twin = Machine(spec, folder / "m1", start_ns=0, step_ns=5 * MS)
        self.sysfs = self.twin.places.sysfs
        self.settings = AgentSettings(
            zone="z",
            node="n",
            state_dir=str(folder),
            sources=SourceSettings(sysfs=str(self.sysfs)),
            control=ControlSettings(**{"enabled": True, **(control or {})}),
        )
        self.inventory = take_inventory(self.settings)
        self.governor = self.inventory.governor
        self.parts = {domain.id: [] for domain in self.inventory.domains}

    def power_w(self):
        return sum(state.power_w for state in self.twin.plant.components.values())

    def run(self, seconds, cap_w, domain, *, verify_every=2):
        """Hold ``domain``, which is all of the machine, at a cap; return its mean power in each bin."""
        powers = []
        for number in range(round(seconds * 10)):
            before_j = self.twin.plant.energy_j
            self.twin.step_to(self.twin.mono_ns + BIN_NS)
            powers.append((self.twin.plant.energy_j - before_j) * 10)
            self.governor.observe(powers[-1], {domain: powers[-1]})
            if number % verify_every == 0:
                self.governor.verify()
            self.governor.apply(cap_w)
        return powers

    def files(self):
        names = ("scaling_max_freq", "cpu.max", "*_power_limit_uw", "enabled")
        return {str(path): path.read_text().strip() for name in names for path in sorted(self.sysfs.rglob(name))}

    def active(self):
        return [ladder.active.id for ladder in self.governor.ladders]

    def close(self):
        self.inventory.close()
        self.twin.close()


@pytest.fixture
def box(tmp_path):
    made = []

    def build(name, **options):
        made.append(Box(tmp_path, name, **options))
        return made[-1]

    yield build
    for one in made:
        one.close()


def slice_of(folder):
    return str(folder / "m1" / "sys" / "fs" / "cgroup" / "machine.slice")


def one_package(locked=False, **zone):
    """Return an Intel package with clocks, whose power limit may have faults."""
    spec = preset("arc_box", "m1")
    zones = dict(spec.powercap.zones)
    zones["0"] = msgspec.structs.replace(zones["0"], locked=locked, **zone)
    policies = {"policy0": Policy(slows="package-0", cpus="0-15", min_khz=800_000, max_khz=5_000_000)}
    return {
        "components": {"package-0": spec.components["package-0"]},
        "hwmon": {},
        "powercap": msgspec.structs.replace(spec.powercap, zones=zones),
        "processors": Processors(online=16, policies=policies),
    }


@pytest.mark.parametrize(("cap_w", "load"), [(240, 1.0), (180, 1.0), (150, 0.8), (120, 1.0), (240, 0.9)])
def test_an_epyc_without_a_limit_obeys_through_its_frequency(box, cap_w, load):
    machine = box("epyc", load=load)
    assert machine.active() == ["cpufreq:package-0"]
    powers = machine.run(8, cap_w, "package-0")
    assert max(powers[20:]) <= 1.03 * cap_w
    assert min(powers[60:]) >= 0.9 * min(cap_w, 65 + 215 * load), "and no slower than it must be"


def test_a_jetson_obeys_through_its_frequency(box):
    machine = box("edge_ina", control={"floor_share": 0.3})
    assert machine.active() == ["cpufreq:ina3221/VDD_IN"]
    powers = machine.run(8, 15, "ina3221/VDD_IN")
    assert max(powers[20:]) <= 15.6
    assert min(powers[60:]) >= 13


def test_a_jetson_obeys_through_a_quota_where_that_comes_first(box, tmp_path):
    machine = box("edge_ina", control={"knobs": ["cpu.max"], "cpu_max": [slice_of(tmp_path)]})
    powers = machine.run(8, 15, "ina3221/VDD_IN")
    assert machine.active() == ["cpu.max:ina3221/VDD_IN"]
    assert max(powers[20:]) <= 15.6
    assert min(powers[60:]) >= 13


def test_two_sockets_use_their_cap_while_their_shares_move_between_them(box):
    """The split follows demand in every bin; what each lever has found out must not be lost by that."""
    policies = {
        f"policy{first}": Policy(slows=f"package-{n}", cpus=f"{first}-{first + 15}", package=n)
        for n, first in enumerate((0, 16))
    }
    clocks = Processors(online=32, policies=policies)
    machine = box("xeon_2s", processors=clocks, control={"knobs": ["cpufreq"]})
    parts, totals = machine.twin.plant.components, []
    for _ in range(120):
        before = {name: state.energy_j for name, state in parts.items()}
        machine.twin.step_to(machine.twin.mono_ns + BIN_NS)
        powers = {name: (state.energy_j - before[name]) * 10 for name, state in parts.items()}
        totals.append(sum(powers.values()))
        machine.governor.observe(totals[-1], powers)
        machine.governor.apply(300)
    assert max(totals[20:]) <= 1.03 * 300
    assert sum(totals[60:]) / 60 >= 0.93 * 300


def test_ends_that_were_thought_far_too_high_do_not_hold_it_down(box, tmp_path):
    control = {"knobs": ["cpu.max"], "cpu_max": [slice_of(tmp_path)], "ceilings_w": {"package-0": 900.0}}
    powers = box("epyc", control=control).run(20, 150, "package-0")
    assert max(powers[20:]) <= 155
    assert min(powers[-50:]) >= 135


def test_a_quota_goes_on_where_the_frequency_cannot_go_lower(box, tmp_path):
    """At its least frequency the processor still draws 100 W; the quota brings it to 90."""
    machine = box(
        "epyc", control={"cpu_max": [slice_of(tmp_path)], "ceilings_w": {"package-0": 280}, "floor_share": 0.2}
    )
    powers = machine.run(20, 90, "package-0")
    assert machine.active() == ["cpu.max:package-0"]
    assert [r.by for r in machine.governor.take_replaced()] == ["cpu.max:package-0"]
    assert max(powers[-50:]) <= 1.05 * 90


def test_a_cap_below_everything_is_said_and_learned(box):
    machine = box("epyc", control={"ceilings_w": {"package-0": 280}, "floor_share": 0.2})
    machine.run(8, 60, "package-0")
    assert machine.governor.outcome.clamped
    assert machine.governor.floor_w == pytest.approx(65 + 215 * (1.5 / 3.7) ** 2, rel=0.02)


def test_the_ceiling_grows_with_what_is_seen(box):
    machine = box("epyc", control={"ceilings_w": {"package-0": 100}})
    machine.run(3, 1000, "package-0")
    assert machine.governor.ceiling_w == pytest.approx(280, rel=0.01)
    assert machine.governor.learned()["cpufreq:package-0"][1] == pytest.approx(280, rel=0.01)
    powers = machine.run(4, 200, "package-0")
    assert max(powers[20:]) <= 206


@pytest.mark.parametrize(
    "fault", [{"locked": True}, {"obey": False}, {"raises_to_w": 110.0}], ids=["locked", "lies", "reads back another"]
)
def test_a_power_limit_that_fails_is_replaced_by_the_frequency(box, fault):
    machine = box("arc_box", **one_package(**fault))
    assert machine.active() == ["powercap:package-0"]
    powers = machine.run(8, 80, "package-0")
    assert machine.active() == ["cpufreq:package-0"]
    (replaced,) = machine.governor.take_replaced()
    assert (replaced.knob, replaced.by) == ("powercap:package-0", "cpufreq:package-0")
    assert max(powers[40:]) <= 1.03 * 80
    locked = {row.id: row.locked for row in machine.governor.actuators()}
    assert locked == {"powercap:package-0": True, "cpufreq:package-0": False}


def test_a_power_limit_that_works_is_not_replaced(box):
    machine = box("arc_box", **one_package())
    machine.run(8, 80, "package-0")
    assert machine.active() == ["powercap:package-0"]


def test_after_a_release_the_first_knob_is_tried_again_and_everything_is_as_before(box):
    machine = box("arc_box", **one_package(obey=False))
    before = machine.files()
    machine.run(5, 80, "package-0")
    assert machine.active() == ["cpufreq:package-0"]
    machine.governor.apply(None)
    machine.twin.step_to(machine.twin.mono_ns + BIN_NS)
    assert machine.files() == before
    assert machine.active() == ["powercap:package-0"]


def test_the_settings_choose_which_knobs_and_in_which_order(box):
    machine = box("arc_box", **one_package(), control={"knobs": ["cpufreq", "powercap"]})
    assert [row.kind for row in machine.governor.actuators()] == ["cpufreq", "powercap"]


def test_after_a_sigkill_the_restorer_gives_clocks_and_quotas_back(box, tmp_path):
    machine = box("epyc", control={"cpu_max": [slice_of(tmp_path)]})
    before = machine.files()
    program = (
        "import os; from pathlib import Path\n"
        "from evenwatt_agent.actuators import cpu_max, cpufreq\n"
        "from evenwatt_agent.actuators.follow import Ends\n"
        "from evenwatt_agent.actuators.throttle import Throttle\n"
        "from evenwatt_agent.governor import Governor\n"
        f"sysfs = Path({str(machine.sysfs)!r})\n"
        "groups = [sysfs / 'fs/cgroup/machine.slice']\n"
        "levers = [cpufreq.discover(sysfs, None, {}), cpu_max.discover(groups, sysfs, {})]\n"
        "knobs = [Throttle(lever, str(i), Ends(40, 100)) for i, lever in enumerate(levers)]\n"
        f"Governor(knobs, {{}}, 0.0, Path({str(tmp_path)!r})).apply(100)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    machine.twin.step_to(machine.twin.mono_ns + BIN_NS)
    changed = {Path(path).name for path, text in machine.files().items() if text != before[path]}
    assert changed == {"scaling_max_freq", "cpu.max"}
    subprocess.run([sys.executable, "-I", restore.__file__, "--state-dir", str(tmp_path)], check=True)
    machine.twin.step_to(machine.twin.mono_ns + 2 * BIN_NS)
    assert machine.files() == before


def test_a_restarted_agent_knows_the_true_originals_from_its_own(box, tmp_path):
    machine = box("epyc")
    machine.run(2, 150, "package-0")
    saved = {row["where"]: row["value"] for row in restore.load(restore.originals_path(tmp_path))}
    lever = cpufreq.discover(machine.sysfs, 0, saved)
    assert {policy.high_khz for policy in lever.policies} == {3_700_000}


def test_a_quota_on_our_own_cgroup_is_refused_with_the_fix(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "cgroup.procs").write_text(f"{os.getpid()}\n")
    with pytest.raises(Failure, match="holds this agent"):
        cpu_max.discover([tmp_path], tmp_path, {})


def test_a_cgroup_that_has_no_quota_is_refused_with_the_fix(tmp_path):
    with pytest.raises(Failure, match=r"cgroup\.subtree_control"):
        cpu_max.discover([tmp_path], tmp_path, {})


def test_a_quota_found_is_the_most_and_comes_back(tmp_path):
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    lever = cpu_max.discover([tmp_path], tmp_path, {})
    lever.set(0.5)
    assert (tmp_path / "cpu.max").read_text() == "200000\n"
    lever.set(1.0)
    assert (tmp_path / "cpu.max").read_text() == "400000\n"
    assert [original.value for original in lever.originals()] == ["400000"]


def test_a_refused_frequency_is_said_to_be_locked(box):
    machine = box("epyc")
    lever = cpufreq.discover(machine.sysfs, None, {})
    policy = lever.policies[0]
    policy.path.unlink()
    policy.path.mkdir()  # a folder cannot be written
    with pytest.raises(LockedError):
        lever.set(0.5)


def test_an_unknown_domain_in_ceilings_is_one_clear_error(tmp_path):
    machine = Box(tmp_path, "epyc")
    machine.settings.control.ceilings_w = {"package-7": 280.0}
    with pytest.raises(Failure, match="package-0"):
        take_inventory(machine.settings)
    machine.close()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("text", ["[", '[{"kind": "file"}]', "{}x"])
def test_limits_of_an_earlier_run_that_cannot_be_read_are_one_clear_error(tmp_path, text, enabled):
    machine = Box(tmp_path, "epyc", control={"enabled": enabled})
    path = machine.settings.state_path / "originals.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(Failure, match=r"originals.json: not a list of saved limits .*by hand"):
        take_inventory(machine.settings)
    machine.close()


def test_limits_never_sum_to_more_than_the_cap_on_the_way(box, monkeypatch):
    """Two sockets whose shares move with their load: after every single write the limits in force fit under the cap."""
    machine = box("xeon_2s")
    dice, in_force, sums = random.Random(4), {}, []
    write = Ladder.write

    def spied(ladder, limit_w):
        in_force[ladder.domain] = write(ladder, limit_w)
        sums.append(sum(in_force.values()))
        return in_force[ladder.domain]

    machine.governor.apply(330)
    in_force |= {ladder.domain: ladder.active.read() for ladder in machine.governor.ladders}
    monkeypatch.setattr(Ladder, "write", spied)
    for _ in range(300):
        first_w, second_w = dice.uniform(36, 225), dice.uniform(36, 225)
        machine.governor.observe(first_w + second_w + 20, {"package-0": first_w, "package-1": second_w})
        machine.governor.apply(330)
    assert len(sums) > 100
    assert max(sums) <= 330 - 45 + 0.5, "45 W are set aside for what no knob reaches"
