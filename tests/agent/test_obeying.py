"""Real agents on machines without a limit in watts, or with one that fails: the lease is held all the same."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evenwatt_agent import restore
from evenwatt_agent.transport import connect
from evenwatt_twin.truth import Truth
from evenwatt_wire import Birth, Event, Live, State
from evenwatt_wire.command import Code, Op
from evenwatt_wire.messages import LeaseState, NodeState
from tests.site import NODE, Listener, Site
from tests.support import eventually, need, process, wait_for

FULL = {"kind": "steady", "load": 1.0}
CLOCKS = {
    "online": 32,
    "policies": {
        "policy0": {"slows": "package-0", "cpus": "0-15", "package": 0},
        "policy16": {"slows": "package-1", "cpus": "16-31", "package": 1},
    },
}


class Machine(Site):
    """A site with any machine."""

    def __init__(self, folder, port, preset, control="", **parts):
        super().__init__(folder, port)
        spec = {"machines": [{"id": NODE, "preset": preset, "profile": FULL, **parts}]}
        (folder / "twin.json").write_text(json.dumps(spec))
        self.write_settings(control)

    @asynccontextmanager
    async def running(self):
        """Run machine, agent and ear; give the agent and what it says once it is ready."""
        with self.twin():
            self.await_twin()
            async with connect(self.mqtt, "listener") as connection:
                await connection.subscribe("evenwatt/v1/#")
                heard = Listener(connection, self.ring)
                task = asyncio.create_task(heard.run())
                with self.agent() as agent:
                    ready = lambda: any(s.state is NodeState.READY for s in heard.said[State])  # noqa: E731
                    await eventually(ready, "the node is ready")
                    yield agent, heard
                task.cancel()

    def agent(self):
        command = [sys.executable, "-m", "evenwatt_agent", "--config", str(self.folder / "agent.toml")]
        return process(command, self.folder / "agent.log", **self.boards())

    def boards(self):
        lines = (self.folder / "twin.log").read_text().splitlines()
        places = json.loads(next(line for line in lines if '"ready": true' in line))["machines"][NODE]
        if places["nvml_dir"] is None:
            return {}
        return {"LD_LIBRARY_PATH": places["nvml_dir"], "EVENWATT_TWIN_NVML": places["nvml_state"]}

    async def lease(self, heard, cap_w, **fields):
        command, payload = self.command(Op.CAP, cap_w=cap_w, **{"ttl_s": 60.0, "fallback_w": cap_w} | fields)
        await heard.ask(payload)
        return await heard.answer(command)

    async def draws(self, allowed, what, seconds=3):
        """Return when the machine's true power, from now on, has been ``allowed`` for some seconds in a row.

        Args:
            allowed: Takes the latest means of 100 ms.
            what: What is waited for.
            seconds: How long it has to stay so.
        """
        start_ns = time.monotonic_ns()
        path = self.folder / "twin" / NODE / "truth.bin"

        def so():
            truth = Truth.load(path)
            end_ns = max(truth.mono_ns, default=0)  # nothing of it may be on the disk yet
            since_ns = end_ns - seconds * 10**9
            return since_ns >= start_ns and allowed(truth.grid_w(since_ns, end_ns, 100_000_000))

        await eventually(so, what)

    def knobs(self):
        names = ("scaling_max_freq", "cpu.max", "constraint_*_power_limit_uw")
        return {str(path): path.read_text().strip() for name in names for path in sorted(self.sysfs.rglob(name))}


def events(heard, name):
    return [{"subject": e.subject} | dict(e.facts) for e in heard.said[Event] if e.name == name]


@pytest.mark.parametrize(
    ("preset", "wide_w", "narrow_w", "domain"),
    [("epyc", 270, 180, "package-0"), ("edge_ina", 24, 14, "ina3221/VDD_IN")],
)
async def test_a_node_without_a_power_limit_obeys(tmp_path, broker, preset, wide_w, narrow_w, domain):
    machine = Machine(tmp_path, broker.port, preset, "floor_share = 0.3")
    async with machine.running() as (agent, heard):
        birth = heard.said[Birth][-1]
        assert birth.controllable
        assert [(row.kind, row.domain) for row in birth.actuators] == [("cpufreq", domain)]
        await machine.lease(heard, wide_w)
        await machine.draws(lambda bins_w: max(bins_w) > 1.05 * narrow_w, "it draws what it may", 2)
        assert (await machine.lease(heard, narrow_w)).code in (Code.APPLIED, Code.CLAMPED)
        held = lambda bins_w: 0.85 * narrow_w <= max(bins_w) <= 1.05 * narrow_w  # noqa: E731
        await machine.draws(held, f"it keeps to {narrow_w} W and uses them")
        told = lambda: heard.said[Live][-1].lease.cap_w == pytest.approx(narrow_w, rel=0.02)  # noqa: E731
        await eventually(told, "it says what it holds")
        agent.terminate()
        await eventually(lambda: agent.poll() is not None, "the agent has stopped")
    assert {text for path, text in machine.knobs().items() if "freq" in path} <= {"3700000", "1510400"}


async def test_it_says_anew_what_it_can_hold_when_it_has_learned_more(tmp_path, broker):
    machine = Machine(tmp_path, broker.port, "epyc", "floor_share = 0.3\n[control.ceilings_w]\npackage-0 = 150.0")
    async with machine.running() as (_, heard):
        assert heard.said[Birth][0].ceiling_w == 150
        await machine.lease(heard, 1000)
        await eventually(lambda: heard.said[Birth][-1].ceiling_w > 270, "a birth with the ceiling that was seen")


@pytest.mark.parametrize("fault", [{"locked": True}, {"obey": False}], ids=["locked", "lying"])
async def test_a_power_limit_that_fails_is_replaced_and_the_lease_is_held(tmp_path, broker, fault):
    machine = Machine(tmp_path, broker.port, "xeon_2s", processors=CLOCKS, powercap={"zones": {"0": fault, "1": fault}})
    async with machine.running() as (_, heard):
        await machine.lease(heard, 300)
        replaced = lambda: {(row["subject"], row["by"]) for row in events(heard, "knob-replaced")}  # noqa: E731
        await eventually(lambda: len(replaced()) >= 2, "both are replaced")
        assert replaced() == {("package-0", "cpufreq:package-0"), ("package-1", "cpufreq:package-1")}
        locked = lambda: {row.id: row.locked for row in heard.said[Birth][-1].actuators}  # noqa: E731
        await eventually(lambda: locked()["powercap:package-0"], "what failed is told")
        assert not locked()["cpufreq:package-0"]
        await machine.draws(lambda bins_w: max(bins_w) <= 1.05 * 300, "the lease is held")
        if not fault.get("obey", True):
            began = await eventually(lambda: events(heard, "reflex-began"), "the reflex is told")
            assert began[0]["power_w"] > began[0]["cap_w"] * 1.05


async def test_the_reflex_holds_the_lease_when_one_device_lies_and_nothing_can_replace_it(tmp_path, broker):
    """One of two packages draws what it likes; the reflex takes the excess from the other one, and says so."""
    machine = Machine(tmp_path, broker.port, "xeon_2s", powercap={"zones": {"0": {"obey": False}}})
    async with machine.running() as (_, heard):
        await machine.lease(heard, 390)
        await machine.draws(lambda bins_w: max(bins_w) <= 1.15 * 390, "the reflex holds it", 2)
        began = await eventually(lambda: events(heard, "reflex-began"), "the reflex is told")
        assert {row["cap_w"] for row in began} <= {250, 390}, "the fallback's, or the lease's"
        assert all(row["power_w"] > 1.05 * row["cap_w"] for row in began)


@pytest.mark.parametrize("fault", ["limit_locked", "obey", "lies"])
async def test_a_board_that_takes_no_limit_is_slowed_by_its_clocks(tmp_path, broker, fault):
    need(shutil.which("cc") or shutil.which("gcc"), "a C compiler", "gcc libc6-dev")
    faulty = {fault: fault != "obey"}
    boards = [{"component": "gpu-0", **faulty}, {"component": "gpu-1"}]
    machine = Machine(tmp_path, broker.port, "gpu_server", nvml={"boards": boards})
    async with machine.running() as (agent, heard):
        await machine.lease(heard, 640)
        (replaced,) = await eventually(lambda: events(heard, "knob-replaced"), "it is replaced")
        assert (replaced["knob"], replaced["by"]) == ("nvml:gpu-0", "nvml-clocks:gpu-0")
        await machine.draws(lambda bins_w: max(bins_w) <= 1.05 * 640, "the lease is held")
        assert len(events(heard, "knob-replaced")) == 1
        agent.kill()
        agent.wait()
        command = [sys.executable, "-I", restore.__file__, "--state-dir", str(tmp_path / "state")]
        with process(command, tmp_path / "restore.log", **machine.boards()) as restorer:
            assert restorer.wait(60) == 0, (tmp_path / "restore.log").read_text()
        await machine.draws(lambda bins_w: min(bins_w) > 850, "the board is free again", 1)


async def test_after_a_sigkill_everything_is_put_back(tmp_path, broker):
    group = tmp_path / "twin" / NODE / "sys" / "fs" / "cgroup" / "machine.slice"
    control = f'cpu_max = ["{group}"]\nknobs = ["cpu.max", "cpufreq"]'
    machine = Machine(tmp_path, broker.port, "epyc", control)
    with machine.twin():
        machine.await_twin()
        before = machine.knobs()
    async with machine.running() as (agent, heard):
        await machine.lease(heard, 120)
        wait_for(lambda: machine.knobs() != before, "the quota is lowered")
        agent.kill()
        agent.wait()
        restore.restore(restore.originals_path(tmp_path / "state"))
        wait_for(lambda: machine.knobs() == before, "everything is as before")


@pytest.mark.parametrize(("permission", "rests_w"), [("", 250), ("fallback_max_w = 350.0", 350)])
async def test_a_controllers_fallback_counts_as_far_as_the_node_allows(tmp_path, broker, permission, rests_w):
    machine = Machine(tmp_path, broker.port, "xeon_2s", permission)
    async with machine.running() as (_, heard):
        await machine.lease(heard, 400, fallback_w=400, ttl_s=4.0)
        ended = lambda: heard.said[Live] and heard.said[Live][-1].lease.state is LeaseState.FALLBACK  # noqa: E731
        await eventually(lambda: any(x.lease.state is LeaseState.LEASED for x in heard.said[Live]), "it is leased")
        await eventually(ended, "the lease has ended")
        held = lambda: heard.said[Live][-1].lease.cap_w == pytest.approx(rests_w, abs=2)  # noqa: E731
        await eventually(held, "it rests where it may")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fallback_max_w = 100.0", "control.fallback_max_w"),
        ('knobs = ["cpufreq", "cpufreq"]', "control.knobs"),
        ('knobs = ["cpufrequency"]', "control.knobs"),
        ('knobs = ["cpufreq"]\ncpu_max = ["/sys/fs/cgroup/x"]', "control.cpu_max"),
        ('cpu_max = ["/nowhere/x.slice"]', "/nowhere/x.slice"),
        ('[control.ceilings_w]\n"package-9" = 100.0', "package-9"),
    ],
)
def test_wrong_knobs_are_one_clear_line_and_exit_2(tmp_path, broker, text, said):
    machine = Machine(tmp_path, broker.port, "epyc", text)
    with machine.twin():
        machine.await_twin()
        with machine.agent() as agent:
            wait_for(lambda: agent.poll() is not None, "it gives up")
            assert agent.returncode == 2
    last = (tmp_path / "agent.log").read_text().strip().splitlines()[-1]
    assert said in last
    assert last.startswith("evenwatt-agent: ")


def test_the_ladder_of_presets_is_what_the_documentation_says():
    text = (Path(__file__).parents[2] / "docs" / "control-on-the-node.md").read_text()
    from evenwatt_agent.settings import KNOB_KINDS

    places = [text.index(f"`{kind}`") for kind in KNOB_KINDS]
    assert all(a < b for a, b in itertools.pairwise(places))
