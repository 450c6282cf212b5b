"""One simulated node in a folder: reads limits, moves its plant on, shows counters, records the truth.

No thread and no clock: the caller says what time it is, so that tests run it under virtual time. The plant moves on a
fixed grid of ``step_ns``, however late the caller is; what is left over waits for the next call.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from evenwatt_twin.errors import SpecError, TwinError
from evenwatt_twin.guests import Guests
from evenwatt_twin.hwmon import HwmonTree
from evenwatt_twin.jobs import Job
from evenwatt_twin.machine_spec import MachineSpec
from evenwatt_twin.nvml import LIBRARY, NvmlTree, build_library
from evenwatt_twin.plant import Plant
from evenwatt_twin.power_supply import PowerSupplyTree
from evenwatt_twin.powercap import PowercapTree
from evenwatt_twin.processors import ProcessorTree
from evenwatt_twin.profiles import load_function
from evenwatt_twin.services import ServiceTree
from evenwatt_twin.truth import TruthLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["STEP_NS", "Machine", "MachineSpec", "NodePlaces"]

STEP_NS: Final = 5_000_000
_SLOW_NS: Final = 100_000_000
"""Jobs, time windows and the like are looked at this often."""
_SERVICES_NS: Final = 500_000_000
"""Agents look at who runs once a second."""
_GUESTS_NS: Final = 200_000_000
"""Guests come and go, and each has its energy counted from the second in which it is seen."""
_SECOND_NS: Final = 1_000_000_000
_MARK: Final = ".evenwatt-twin"


@dataclass(frozen=True, slots=True)
class NodePlaces:
    """Where to meet a machine."""

    sysfs: Path
    """What an agent takes for ``/sys``."""
    procfs: Path | None
    """What it takes for ``/proc``; None where nobody works on the machine."""
    nvml_dir: Path | None
    """For ``LD_LIBRARY_PATH``; None without boards."""
    nvml_state: Path | None
    """For ``EVENWATT_TWIN_NVML``."""
    guests: Path | None
    """Where real processes register themselves; None where none may work on the machine."""
    truth: Path
    truth_json: Path


class Machine:
    """One node."""

    def __init__(
        self,
        spec: MachineSpec,
        folder: Path,
        *,
        start_ns: int,
        step_ns: int = STEP_NS,
        replay_folder: Path | None = None,
        library: Path | None = None,
    ) -> None:
        """Build the trees in ``folder``.

        Args:
            spec: What it is made of.
            folder: Created if it is missing; the trees of an earlier run are replaced, anything else is refused.
            start_ns: CLOCK_MONOTONIC now; second 0 of the load profile.
            step_ns: Grid of the plant.
            replay_folder: Where a relative path of a replay starts.
            library: A fake NVML library that is built already.

        Raises:
            TwinError: the folder is not ours, the replay file is wrong, or the library cannot be built.
        """
        self.spec = spec
        self.mono_ns = start_ns
        """The moment that the counters show."""
        self.plant = Plant(spec.components)
        self.places = _places(spec, folder)
        self._step_ns, self._dt_s, self._start_ns = step_ns, step_ns / 1e9, start_ns
        self._load = _prepare_load(spec, replay_folder)
        _clear(folder)
        self.nvml = self._build_nvml(library)
        self._trees: list[_Tree] = list(self._build_trees())
        self._services = self._build_services(folder)
        self._guests = self._build_guests(folder)
        self._caps_w = self._lowest_caps()
        self._log = TruthLog(self.places.truth)
        self._job = Job(folder / spec.job_pidfile) if spec.job_pidfile else None
        self._paused = False
        self._slow_ns = self._second_ns = self._services_ns = start_ns
        self._shown_j = self._shown_uncapped_j = 0.0
        self._record(0.0, start_ns)
        self._write_snapshot()

    def step_to(self, now_ns: int) -> int:
        """Move on to ``now_ns``; return how many plant steps that took."""
        steps = (now_ns - self.mono_ns) // self._step_ns
        if steps <= 0:
            return 0
        if now_ns >= self._slow_ns:
            self._look_slowly(now_ns)
        if self._poll():
            self._caps_w = self._lowest_caps()
        for _ in range(steps):
            self._one_step(now_ns)
        for tree in self._trees:
            tree.write()
        if self.mono_ns - self._second_ns >= _SECOND_NS:
            self.flush()
        return steps

    def flush(self) -> None:
        """Bring the truth to disk."""
        self._second_ns = self.mono_ns
        self._log.flush()
        self._write_snapshot()

    def close(self) -> None:
        """Flush and let go of every file; the trees stay for a look."""
        self.flush()
        self._log.close()
        for tree in self._trees:
            tree.close()
        if self._guests is not None:
            self._guests.close()

    @property
    def caps_w(self) -> dict[str, float | None]:
        """Limits that are set now, by component."""
        return dict(zip(self.plant.components, self._caps_w, strict=True))

    def _one_step(self, now_ns: int) -> None:
        at_s = (self.mono_ns - self._start_ns) / 1e9 + 0.5 * self._dt_s
        own = self._load(at_s)
        guests = self._guests.load if self._guests is not None else 0.0
        load = min(1.0, own + guests)
        self.plant.step(self._dt_s, load, self._caps_w, paused=self._paused)
        if self._guests is not None and not self._paused:
            self._guests.advance(self._dt_s, self.plant.served / load if load > 0.0 else 1.0)
        if self._services is not None and not self._paused:
            self._services.advance(self._dt_s, own, guests)
        self.mono_ns += self._step_ns
        self._record(self._dt_s, now_ns)

    def _record(self, dt_s: float, shown_ns: int) -> None:
        plant = self.plant
        energy_j, uncapped_j = plant.energy_j, plant.uncapped_energy_j
        per_s = 1.0 / dt_s if dt_s else 0.0
        power_w = (energy_j - self._shown_j) * per_s
        uncapped_w = (uncapped_j - self._shown_uncapped_j) * per_s
        self._shown_j, self._shown_uncapped_j = energy_j, uncapped_j
        energy_uj, done, due = round(energy_j * 1e6), plant.work_done, plant.work_demanded
        self._log.append(self.mono_ns, energy_uj, power_w, uncapped_w, done, due, shown_ns)

    def _poll(self) -> bool:
        changed = False
        for tree in self._trees:
            if tree.poll():
                changed = True
        return changed

    def _look_slowly(self, now_ns: int) -> None:
        self._slow_ns = now_ns + _SLOW_NS
        self._paused = self._job is not None and self._job.is_stopped()
        for tree in self._trees:
            tree.poll_slowly()
        if self._guests is not None:
            self._guests.look(now_ns)
        if self._services is not None and now_ns >= self._services_ns:
            anybody = self._guests is not None and self._guests.present
            self._services_ns = now_ns + (_GUESTS_NS if anybody else _SERVICES_NS)
            self._services.write()
            if self._guests is not None:
                self._guests.write()

    def _lowest_caps(self) -> list[float | None]:
        caps_w: list[float | None] = [None] * len(self.plant.components)
        for tree in self._trees:
            tree.lower_caps(caps_w)
        return caps_w

    def _build_nvml(self, library: Path | None) -> NvmlTree | None:
        folder, state = self.places.nvml_dir, self.places.nvml_state
        if self.spec.nvml is None or folder is None or state is None:
            return None
        folder.mkdir(parents=True)
        if library is None:
            build_library(folder)
        else:
            shutil.copy2(library, folder / LIBRARY)
        return NvmlTree(self.spec.nvml, state, self.plant, self.spec.id)

    def _build_services(self, folder: Path) -> ServiceTree | None:
        if self.places.procfs is None:
            return None
        return ServiceTree(self.spec.services, self.places.procfs, folder / "cgroup", self.nvml)

    def _build_guests(self, folder: Path) -> Guests | None:
        if self.places.guests is None or self.places.procfs is None:
            return None
        return Guests(self.places.guests, self.places.procfs, folder / "cgroup")

    def _build_trees(self) -> Iterator[_Tree]:
        sysfs, spec = self.places.sysfs, self.spec
        (sysfs / "class").mkdir(parents=True)
        (sysfs / "devices").mkdir()
        if spec.powercap is not None:
            yield PowercapTree(spec.powercap, sysfs, self.plant, spec.id)
        if spec.processors is not None:
            yield ProcessorTree(spec.processors, sysfs, self.plant)
        for number, device in spec.hwmon.items():
            yield HwmonTree(number, device, sysfs, self.plant)
        if spec.power_supply is not None:
            yield PowerSupplyTree(spec.power_supply, sysfs, self.plant)
        if self.nvml is not None:
            yield self.nvml

    def _write_snapshot(self) -> None:
        components = {
            name: {
                "energy_j": state.energy_j,
                "uncapped_energy_j": state.uncapped_energy_j,
                "power_w": state.power_w,
                "metered": state.spec.metered,
            }
            for name, state in self.plant.components.items()
        }
        snapshot = {
            "machine": self.spec.id,
            "mono_ns": self.mono_ns,
            "energy_j": self.plant.energy_j,
            "uncapped_energy_j": self.plant.uncapped_energy_j,
            "work_done": self.plant.work_done,
            "work_demanded": self.plant.work_demanded,
            "paused": self._paused,
            "components": components,
        }
        draft = self.places.truth_json.with_suffix(".tmp")
        draft.write_text(json.dumps(snapshot) + "\n", encoding="utf-8")
        draft.replace(self.places.truth_json)


class _Tree(Protocol):
    """Files that belong together: what a machine asks of every kind of them."""

    def poll(self) -> bool: ...
    def poll_slowly(self) -> None: ...
    def lower_caps(self, caps_w: list[float | None], /) -> None: ...
    def write(self) -> None: ...
    def close(self) -> None: ...


def _places(spec: MachineSpec, folder: Path) -> NodePlaces:
    nvml = folder / "nvml" if spec.nvml is not None else None
    return NodePlaces(
        sysfs=folder / "sys",
        procfs=folder / "proc" if spec.services or spec.guests else None,
        nvml_dir=nvml,
        nvml_state=nvml / "state" if nvml else None,
        guests=folder / "guests" if spec.guests else None,
        truth=folder / "truth.bin",
        truth_json=folder / "truth.json",
    )


def _prepare_load(spec: MachineSpec, replay_folder: Path | None) -> _LoadFunction:
    try:
        return load_function(spec.profile, replay_folder)
    except (OSError, ValueError) as error:
        raise SpecError(f"machine {spec.id}: {error}", "name a CSV file with a rising time column") from error


class _LoadFunction(Protocol):
    def __call__(self, t_s: float, /) -> float: ...


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / _MARK).exists():
        raise TwinError(f"{folder} holds something that is not a twin's", "choose an empty --dir")
    (folder / _MARK).touch()
    for name in ("sys", "nvml", "proc", "cgroup"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
