"""NVIDIA boards through NVML (``nvidia-ml-py``, imported as ``pynvml``).

https://docs.nvidia.com/deploy/nvml-api/. Energy is ``nvmlDeviceGetTotalEnergyConsumption``, millijoules since the
driver was loaded (Volta and later): A100 and H100 sample their instant power reading for about a quarter of the time
(arXiv 2312.02741), so only the counter is trusted with joules. Older boards give power, which is integrated.
Calls take up to 11 ms, hence the slow sampler; and power is per board, also when it is cut into MIG slices. A module of
several chips (Grace Hopper) has a power of its own, which contains its board's: shown as ``gpu-N/module``, never added.

Handles die with the driver and with a board that falls off the bus: a probe that fails gets a new one by UUID. Indices
move when a board has fallen off, so a board keeps the name that it was found by.

The binding costs 13 MB of memory, so it is imported only where the driver's library can be loaded.
"""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.sources.model import Found, Probe, Problem, ReadError, Unit
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_POWER_W: Final = 3_000.0
_GPU, _MODULE = 0, 1
"""Scopes of a power field (``NVML_POWER_SCOPE_*`` in nvml.h)."""
_POWER_FIELDS: Final = (185, 186)
"""NVML_FI_DEV_POWER_AVERAGE, else _INSTANT: an average misses nothing between readings, as the instant one does."""
SUCCESS, _UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 0, 1, 2, 3, 4, 6
_DRIVER_NOT_LOADED, FUNCTION_NOT_FOUND = 9, 13
"""nvmlReturn_t of nvml.h."""


class NvmlError(ReadError):
    """An NVML call failed; ``code`` is its nvmlReturn_t."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Nvml:
    """The library, initialised once per process. Every call becomes a value or an :class:`NvmlError`."""

    def __init__(self) -> None:
        import pynvml  # noqa: PLC0415  (see the module's docstring)

        self._api: Any = pynvml
        self._names: dict[str, str] = {}
        self._naming = threading.Lock()
        self.call("nvmlInit")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call ``name``; an NVML error is raised as :class:`NvmlError` with NVML's own words."""
        try:
            return getattr(self._api, name)(*arguments)
        except self._api.NVMLError as error:
            raise NvmlError(f"{name}: {error}", int(error.value)) from None
        except self._api.NVMLLibraryMismatchError as error:  # what the binding makes of a function that is not there
            raise NvmlError(f"{name}: {error}", FUNCTION_NOT_FOUND) from None

    def boards(self) -> list[tuple[str, str]]:
        """Return name and UUID of every board that answers; a broken one is left out of the list, not of the log.

        Raises:
            NvmlError: the driver does not say how many there are.
        """
        result = []
        for index in range(self.call("nvmlDeviceGetCount")):
            with suppress(ReadError):
                uuid = str(self.call("nvmlDeviceGetUUID", self.handle(index)))
                result.append((self.name_of(uuid, index), uuid))
        return result

    def name_of(self, uuid: str, index: int) -> str:
        """Return what a board is called while the library is open: after its index when it was first seen."""
        with self._naming:
            if uuid not in self._names:
                taken = set(self._names.values())
                self._names[uuid] = next(name for i in count(index) if (name := f"gpu-{i}") not in taken)
            return self._names[uuid]

    def names(self) -> list[str]:
        """Return the names of all boards that have answered so far."""
        with self._naming:
            return list(self._names.values())

    def handle_named(self, name: str) -> Any:
        """Return a fresh handle of a board by its name.

        Raises:
            NvmlError: no such board answers.
        """
        with self._naming:
            known = {name: uuid for uuid, name in self._names.items()}
        if name not in known:
            known = dict(self.boards())
        if name not in known:
            raise NvmlError("no board of that name has answered yet", NOT_FOUND)
        return self.handle_of(known[name])

    def handle(self, index: int) -> Any:
        """Return the handle of a board."""
        return self.call("nvmlDeviceGetHandleByIndex", index)

    def handle_of(self, uuid: str) -> Any:
        """Return a fresh handle of a board, starting the library again where the driver went away under it."""
        try:
            return self.call("nvmlDeviceGetHandleByUUID", uuid)
        except NvmlError as error:
            if error.code not in (_UNINITIALIZED, _DRIVER_NOT_LOADED):
                raise
            if error.code == _DRIVER_NOT_LOADED:  # the library counts its users: only the last one's end starts it anew
                with suppress(NvmlError):
                    self.close()
        self.call("nvmlInit")
        return self.call("nvmlDeviceGetHandleByUUID", uuid)

    def power_mw(self, handle: Any, scope: int, field: int) -> int:
        """Return the power of a board, or of its module, in milliwatts: ``field`` says whether average or instant."""
        (row,) = self.call("nvmlDeviceGetFieldValues", handle, [(field, scope)])
        code = int(row.nvmlReturn)
        if code:
            known = NOT_SUPPORTED if code == INVALID_ARGUMENT else code  # a field that is newer than the driver
            raise NvmlError(f"power field {field} of scope {scope}: NVML error {code}", known)
        return int(row.value.uiVal)

    def close(self) -> None:
        """Let go of the library."""
        self.call("nvmlShutdown")


def open_library() -> Nvml | None:
    """Return the library, or None where there is no NVIDIA driver.

    Raises:
        ReadError: the library is there and refuses to start (driver and library disagree, no device node).
    """
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return Nvml()


def discover(nvml: Nvml) -> Found:
    """Return one probe per board: the energy counter, else power; and its module's power where it has one.

    Raises:
        NvmlError: the driver does not say how many boards there are.
    """
    found = Found()
    for index in range(nvml.call("nvmlDeviceGetCount")):
        try:
            found.probes += _read_board(nvml, index)
        except (ReadError, ValueError) as error:
            fix = "the board does not answer; see `nvidia-smi -q` and the kernel's Xid messages"
            found.problems.append(Problem("nvml", f"gpu-{index}", str(error), fix))
    return found


def _read_board(nvml: Nvml, index: int) -> list[Probe]:
    handle = nvml.handle(index)
    uuid = str(nvml.call("nvmlDeviceGetUUID", handle))
    board = _Board(nvml, handle, uuid)
    identity = nvml.name_of(uuid, index)
    module = _module(nvml, board)
    if module is None:
        return [_probe(identity, board, None)]
    around = f"{identity}/module"
    return [_probe(identity, board, around), _module_probe(around, module)]


class _Board:
    """One board's best reading."""

    def __init__(self, nvml: Nvml, handle: Any, uuid: str) -> None:
        self._nvml, self.handle, self._uuid = nvml, handle, uuid
        fields = ((Unit.POWER_UW, partial(self._field, field)) for field in _POWER_FIELDS)
        self.unit, self.read = self._first(((Unit.ENERGY_UJ, self._energy), *fields, (Unit.POWER_UW, self._usage)))

    def reopen(self) -> None:
        """Get a handle that is alive; the board may have been reset, or its driver loaded again."""
        self.handle = self._nvml.handle_of(self._uuid)

    def _first(self, readings: Sequence[tuple[Unit, Callable[[], int]]]) -> tuple[Unit, Callable[[], int]]:
        for unit, read in readings[:-1]:
            try:
                read()
            except NvmlError as error:
                if error.code not in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                    raise  # it has this reading and does not give it: the next one would not be its equal
                continue
            return unit, read
        unit, read = readings[-1]
        read()
        return unit, read

    def _energy(self) -> int:
        return int(self._nvml.call("nvmlDeviceGetTotalEnergyConsumption", self.handle)) * 1_000

    def _field(self, field: int) -> int:
        return self._nvml.power_mw(self.handle, _GPU, field) * 1_000

    def _usage(self) -> int:
        return int(self._nvml.call("nvmlDeviceGetPowerUsage", self.handle)) * 1_000


@dataclass(frozen=True, slots=True)
class _Module:
    """The module that a board is part of."""

    nvml: Nvml
    board: _Board
    field: int

    def read(self) -> int:
        return self.nvml.power_mw(self.board.handle, _MODULE, self.field) * 1_000


def _module(nvml: Nvml, board: _Board) -> _Module | None:
    """Return the module around a board; a board that is none's has no answer, or 0 W."""
    for field in _POWER_FIELDS:
        module = _Module(nvml, board, field)
        with suppress(ReadError):
            if module.read() > 0:
                return module
    return None


def _probe(identity: str, board: _Board, around: str | None) -> Probe:
    counted = board.unit is Unit.ENERGY_UJ
    domain = Domain(
        id=identity,
        kind="gpu",
        source="nvml",
        parent=around,
        quality=Quality.MEASURED if counted else Quality.INTEGRATED,
        resolution_j=1e-3 if counted else 0.0,
    )
    return Probe(
        domain=domain,
        unit=board.unit,
        read=board.read,
        reopen=board.reopen,
        close=_nothing,
        slow=True,
        max_power_w=_MAX_POWER_W,
    )


def _module_probe(identity: str, module: _Module) -> Probe:
    domain = Domain(id=identity, kind="module", source="nvml", quality=Quality.INTEGRATED)
    return Probe(
        domain=domain,
        unit=Unit.POWER_UW,
        read=module.read,
        reopen=_nothing,  # its board's
        close=_nothing,
        slow=True,
        max_power_w=2 * _MAX_POWER_W,
    )


def _nothing() -> None:
    """The library is closed as a whole."""
