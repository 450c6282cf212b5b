"""NVIDIA boards behind a fake ``libnvidia-ml.so.1``, which the real ``pynvml`` loads through ``LD_LIBRARY_PATH``."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from evenwatt_twin.errors import CompilerMissingError, TwinError
from evenwatt_twin.nvml_state import MAX_BOARDS, Field, Flag, NvmlState

if TYPE_CHECKING:
    from evenwatt_twin.plant import Plant

_IDLE_MHZ: Final = 210
LIBRARY: Final = "libnvidia-ml.so.1"
STATE_VARIABLE: Final = "EVENWATT_TWIN_NVML"
"""The environment variable that names the shared file to the library."""


class Board(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One board; its limits are its component's."""

    component: str
    name: str = "NVIDIA A100-SXM4-80GB"
    memory_gib: Annotated[int, Meta(gt=0)] = 80
    architecture: int = 7
    """NVML_DEVICE_ARCH_AMPERE."""
    compute: tuple[int, int] = (8, 0)
    needs_root: bool = False
    """Refuse every new limit and clock with NO_PERMISSION."""
    limit_locked: bool = False
    """Refuse every new limit with NOT_SUPPORTED; clocks can be bounded."""
    top_mhz: Annotated[int, Meta(gt=210, le=5000)] = 1410
    obey_clocks: bool = True
    """Whether the board keeps to a bound of its clock."""
    has_energy: bool = True
    mig: bool | None = None
    """Whether MIG is on; None on boards that cannot."""
    obey: bool = True
    """Whether the board keeps to the limit that it takes; the enforced limit tells."""
    lies: bool = False
    """The board keeps to no limit, and the enforced limit does not tell."""


class Nvml(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A machine's boards and driver."""

    boards: Annotated[tuple[Board, ...], Meta(min_length=1, max_length=MAX_BOARDS)]
    driver: str = "570.86.15"
    version: str = "12.570.86.15"


def build_library(folder: Path) -> Path:
    """Compile the library into ``folder`` and return its path.

    Raises:
        CompilerMissingError: there is no C compiler.
        TwinError: the compiler failed.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CompilerMissingError("no C compiler for the fake NVML library", "apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    library, source = folder / LIBRARY, Path(__file__).with_name("nvml.c")
    draft = folder / f".{LIBRARY}.{os.getpid()}"
    command = [compiler, "-O2", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(draft), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise TwinError(f"{compiler} failed on {source.name}: {first}", "apt-get install gcc libc6-dev")
    draft.replace(library)
    return library


class NvmlTree:
    """A machine's boards: reads their limits, shows their energy, power and utilisation."""

    def __init__(self, spec: Nvml, path: Path, plant: Plant, seed: str) -> None:
        self.state = NvmlState.create(path, len(spec.boards), spec.driver, spec.version)
        self._boards = [_BoardView(self.state, i, board, plant, seed) for i, board in enumerate(spec.boards)]

    def poll(self) -> bool:
        """Look at every limit; return whether one changed."""
        changed = False
        for board in self._boards:
            changed |= board.poll()
        return changed

    def poll_slowly(self) -> None:
        """Nothing here changes at a slower pace."""

    def lower_caps(self, caps_w: list[float | None]) -> None:
        """Lower ``caps_w``, in the order of the plant's components, to the limits in force."""
        for board in self._boards:
            before, cap_w = caps_w[board.target], board.cap_w
            caps_w[board.target] = cap_w if before is None else min(before, cap_w)

    def write(self) -> None:
        """Show the boards as they are now."""
        for board in self._boards:
            board.write()

    def run(self, slot: int, pid: int, share: float) -> None:
        """Let a process work on every board, with this share of their work; those cut by MIG do not tell."""
        for index in range(len(self._boards)):
            self.state.set_process(index, slot, pid, round(100 * share))

    def close(self) -> None:
        """Let go of the shared file."""
        self.state.close()


class _BoardView:
    """One board in the shared file."""

    def __init__(self, state: NvmlState, index: int, board: Board, plant: Plant, seed: str) -> None:
        self._shared = state
        self._index = index
        self._plant = plant
        self._component = plant.components[board.component]
        self.target = list(plant.components).index(board.component)
        self._obey, self._lies, self._obey_clocks = board.obey, board.lies, board.obey_clocks
        self._top_mhz, self._locked_mhz = board.top_mhz, 0
        self._base_j = 0.0
        self._reloads = 0
        self._second: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        spec = self._component.spec
        self._default_mw = round(spec.cap_ceiling_w * 1000)
        self._limit_mw = self._default_mw
        self.cap_w = self._limit_mw / 1000
        identity = uuid.uuid5(uuid.NAMESPACE_URL, f"evenwatt-twin/{seed}/{index}")
        state.name_board(index, board.name, f"GPU-{identity}")
        state.set_memory(index, board.memory_gib << 30, 1 << 30)
        for field, value in self._first(board, round(spec.min_cap_w * 1000)).items():
            state.set(index, field, value)

    def _first(self, board: Board, min_mw: int) -> dict[Field, int]:
        power_mw = round(self._component.power_w * 1000)
        return {
            Field.POWER_MW: power_mw,
            Field.AVERAGE_MW: power_mw,
            Field.LIMIT_MW: self._default_mw,
            Field.ENFORCED_MW: self._default_mw,
            Field.DEFAULT_MW: self._default_mw,
            Field.MIN_MW: min_mw,
            Field.MAX_MW: self._default_mw,
            Field.TEMPERATURE_C: 40,
            Field.FLAGS: _flags(board),
            Field.ARCHITECTURE: board.architecture,
            Field.CC_MAJOR: board.compute[0],
            Field.CC_MINOR: board.compute[1],
            Field.PCI_BUS: 0x17 + 0x20 * self._index,
            Field.PCI_DEVICE_ID: 0x20B2_10DE,  # A100-SXM4-80GB
            Field.TOP_MHZ: board.top_mhz,
            Field.CLOCK_MHZ: _IDLE_MHZ,
        }

    def poll(self) -> bool:
        if self._shared.get(self._index, Field.RELOADS) != self._reloads:
            self._reload()
        self._poll_clock()
        limit_mw = self._shared.get(self._index, Field.LIMIT_MW)
        if limit_mw == self._limit_mw:
            return False
        self._limit_mw = limit_mw
        if not self._obey:
            return False
        self._shared.set(self._index, Field.ENFORCED_MW, limit_mw)
        if not self._lies:
            self.cap_w = limit_mw / 1000
        return not self._lies

    def _poll_clock(self) -> None:
        locked_mhz = self._shared.get(self._index, Field.LOCKED_MHZ)
        if locked_mhz != self._locked_mhz:
            self._locked_mhz = locked_mhz
            if self._obey_clocks:
                self._component.frequency_share = min(1.0, locked_mhz / self._top_mhz) if locked_mhz else 1.0

    def _reload(self) -> None:
        # Counter, limit and clocks are lost with the driver.
        self._reloads = self._shared.get(self._index, Field.RELOADS)
        self._base_j = self._component.energy_j
        self._shared.set(self._index, Field.LIMIT_MW, self._default_mw)
        self._shared.set(self._index, Field.LOCKED_MHZ, 0)

    def write(self) -> None:
        now_s, component = self._plant.elapsed_s, self._component
        energy_j, second = component.energy_j, self._second
        second.append((now_s, energy_j))
        while len(second) > 1 and now_s - second[1][0] >= 1.0 - 1e-9:
            second.popleft()  # the oldest that stays is one second old, or the last before that
        then_s, then_j = second[0]
        numbers, at = self._shared.numbers, NvmlState.at(self._index, Field.POWER_MW)
        self._shared.set_energy(self._index, int((energy_j - self._base_j) * 1000.0))
        numbers[at] = round(component.power_w * 1000.0)
        if now_s > then_s:
            numbers[at + 1] = round((energy_j - then_j) / (now_s - then_s) * 1000.0)
        numbers[at + 7] = round(component.delivered * 100.0)
        numbers[at + 8] = round(component.delivered * 60.0)
        busy = component.delivered > 0.0
        clock = NvmlState.at(self._index, Field.CLOCK_MHZ)
        numbers[clock] = round(self._top_mhz * component.frequency_share) if busy else _IDLE_MHZ


def _flags(board: Board) -> Flag:
    flags = Flag.PERSISTENT
    if board.needs_root:
        flags |= Flag.NEEDS_ROOT
    if board.limit_locked:
        flags |= Flag.LIMIT_LOCKED
    if not board.has_energy:
        flags |= Flag.NO_ENERGY
    if board.mig is not None:
        flags |= Flag.MIG_CAPABLE
    if board.mig:
        flags |= Flag.MIG_ENABLED
    return flags
