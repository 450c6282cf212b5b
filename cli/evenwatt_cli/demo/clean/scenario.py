"""What the scenario is made of, written out as the files that the real programs read.

Four machines run batch work, one serves. Each agent allow-lists two templates, and nothing else could be run on it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent.jobs.identity import Identity, closed_to, identity, trouble_with
from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings
from evenwatt_cli.demo.clean import files
from evenwatt_cli.demo.folder import Layout, write_token
from evenwatt_cli.demo.scenario import free_port, write_keys
from evenwatt_daemon import Failure
from evenwatt_twin import work

if TYPE_CHECKING:
    from evenwatt_cli.demo.clean.day import GridDay

USER: Final = "nobody"
PRESET: Final = "xeon_2s"
BATCH_NODES: Final = 4
SERVING: Final = "serve-1"


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of batch work."""

    name: str
    """Of its template, too."""
    unit: str
    units_per_s: float
    """On one machine at full power."""
    load: float
    sensitivity: float
    """How much it feels the machine's clocks: 1 computes only, less waits for memory."""
    interruptible: bool


TRAIN: Final = Workload("train", "steps", 20.0, 1.0, 1.0, interruptible=True)
RENDER: Final = Workload("render", "frames", 10.0, 1.0, 0.75, interruptible=False)
WORKLOADS: Final = (TRAIN, RENDER)


@dataclass(frozen=True, slots=True)
class CleanScenario(Layout):
    """Everything the scenario writes and where."""

    day: GridDay
    broker_port: int
    http_port: int
    python: str
    """An interpreter that the unprivileged user can execute."""

    @property
    def batch(self) -> tuple[str, ...]:
        """Nodes that run jobs."""
        return tuple(f"batch-{i + 1}" for i in range(BATCH_NODES))

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes."""
        return (*self.batch, SERVING)

    @property
    def program(self) -> Path:
        """The batch program, where the unprivileged user can read it."""
        return self.folder / "work.py"

    @property
    def models(self) -> Path:
        """Variants of the model that is served."""
        return self.folder / "models.toml"

    @property
    def url(self) -> str:
        """Where the collector answers."""
        return f"http://127.0.0.1:{self.http_port}"

    def guests(self, node: str) -> Path:
        """Where programs register that work on a machine."""
        return self.twins / node / "guests"


def make_scenario(folder: Path, day: GridDay) -> CleanScenario:
    """Write every file.

    Args:
        folder: Where; it must be empty.
        day: The grid's hours.

    Raises:
        Failure: work cannot be handed to an unprivileged user here.
    """
    user = _user()
    folder.chmod(0o711)  # what runs on the nodes has to reach its machine; keys and tokens are closed one by one
    if (closed := closed_to(user, folder)) is not None:
        raise Failure(f"{folder}: {USER!r}, who runs the jobs, cannot pass {closed}; name another --keep, below /tmp")
    scenario = CleanScenario(folder, day, free_port(), free_port(), _interpreter(user))
    shutil.copyfile(work.__file__, scenario.program)
    scenario.program.chmod(0o644)
    scenario.twins.mkdir()
    machines = [
        {"id": node, "preset": PRESET, "profile": {"kind": "steady", "load": 0.0}, "guests": True}
        for node in scenario.nodes
    ]
    scenario.spec.write_text(json.dumps({"machines": machines}, indent=1))
    write_keys(folder, "demo", files.ZONE, scenario.nodes)
    write_token(scenario)
    for node in scenario.nodes:
        scenario.settings(node).write_text(files.agent(scenario, node))
    scenario.models.write_text(files.MODELS)
    scenario.settings("collector").write_text(files.collector(scenario))
    scenario.settings("operator").write_text(files.operator(scenario))
    write_intensity(scenario, day.began_s)
    return scenario


def write_intensity(scenario: CleanScenario, wall_s: float) -> None:
    """Write the grid's file as it is at a moment; readers find the old one or the new one."""
    draft = scenario.intensity.with_suffix(".tmp")
    draft.write_text(scenario.day.table(wall_s))
    draft.replace(scenario.intensity)


def _user() -> Identity:
    if os.geteuid() != 0:
        raise Failure(
            "the scenario clean-hours starts real work through real agents, and only root can hand it to a user "
            "without privileges; run it as root: sudo ./dev demo --scenario clean-hours"
        )
    return identity(JobsSettings(user=USER))


def _interpreter(user: Identity) -> str:
    """Return a Python that the user can execute: ours, or the system's."""
    found = [sys.executable, *(f"{folder}/python3" for folder in ("/usr/local/bin", "/usr/bin", "/bin"))]
    why = ""
    for path in found:
        program = str(Path(path).resolve())
        why = trouble_with(TemplateSettings(name="t", command=[program]), JobsSettings(user=USER), user)
        if not why:
            return program
    raise Failure(f"no Python here can be executed by {USER!r} (the last one tried: {why}); apt-get install python3")
