"""NVIDIA boards through NVML (``nvidia-ml-py``, imported as ``pynvml``).

https://docs.nvidia.com/deploy/nvml-api/. Energy is ``nvmlDeviceGetTotalEnergyConsumption``, millijoules since the
driver was loaded (Volta and later): A100 and H100 sample their instant power reading for about a quarter of the time
(arXiv 2312.02741), so only the counter is trusted with joules. Older boards give power, which is integrated.
Calls take up to 11 ms, hence the slow sampler; and power is per board, also when it is cut into MIG slices. A module of
several chips (Grace Hopper) has a power of its own, which contains its board's: shown as ``gpu-N/module``, never added.

Handles die with the driver and with a board that falls off the bus: a probe that fails gets a new one by UUID.

The binding costs 13 MB of memory, so it is imported only where the driver's library can be loaded.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.sources.model import Found, Probe, Problem, ReadError, Unit
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_POWER_W: Final = 3_000.0
_GPU, _MODULE = 0, 1
"""Scopes of a power field (``NVML_POWER_SCOPE_*`` in nvml.h)."""
_POWER_AVERAGE: Final = 185
"""NVML_FI_DEV_POWER_AVERAGE: an average misses nothing between readings, as the instant reading (186) does."""
_UNINITIALIZED, NOT_SUPPORTED, NOT_FOUND, _DRIVER_NOT_LOADED, _FUNCTION_NOT_FOUND = 1, 3, 6, 9, 13
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
        self.call("nvmlInit")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call ``name``; an NVML error is raised as :class:`NvmlError` with NVML's own words."""
        try:
            return getattr(self._api, name)(*arguments)
        except self._api.NVMLError as error:
            raise NvmlError(f"{name}: {error}", int(error.value)) from None

    def boards(self) -> list[tuple[int, str]]:
        """Return (index, UUID) of every board that answers; a broken one is left out of the list, not of the log."""
        result = []
        for index in range(self.call("nvmlDeviceGetCount")):
            try:
                result.append((index, str(self.call("nvmlDeviceGetUUID", self.handle(index)))))
            except ReadError:
                continue
        return result

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
        self.call("nvmlInit")
        return self.call("nvmlDeviceGetHandleByUUID", uuid)

    def power_mw(self, handle: Any, scope: int) -> int:
        """Return a board's average power, or its module's, in milliwatts."""
        (field,) = self.call("nvmlDeviceGetFieldValues", handle, [(_POWER_AVERAGE, scope)])
        if field.nvmlReturn:
            raise NvmlError(f"power field of scope {scope}: NVML error {field.nvmlReturn}", int(field.nvmlReturn))
        return int(field.value.uiVal)

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
    """Return one probe per board: the energy counter, else power; and its module's power where it has one."""
    found = Found()
    for index in range(nvml.call("nvmlDeviceGetCount")):
        identity = f"gpu-{index}"
        try:
            board = _Board(nvml, nvml.handle(index))
            found.probes.append(_probe(identity, board))
        except (ReadError, ValueError) as error:
            fix = "the board does not answer; see `nvidia-smi -q` and the kernel's Xid messages"
            found.problems.append(Problem("nvml", identity, str(error), fix))
            continue
        module = _Module(nvml, board)
        with suppress(ReadError):
            module.read()
            found.probes.append(_module_probe(f"{identity}/module", module))
    return found


class _Board:
    """One board's best reading."""

    def __init__(self, nvml: Nvml, handle: Any) -> None:
        self._nvml, self.handle = nvml, handle
        self._uuid = str(nvml.call("nvmlDeviceGetUUID", handle))
        readings = ((Unit.ENERGY_UJ, self._energy), (Unit.POWER_UW, self._field), (Unit.POWER_UW, self._usage))
        self.unit, self.read = self._first(readings)

    def reopen(self) -> None:
        """Get a handle that is alive; the board may have been reset, or its driver loaded again."""
        self.handle = self._nvml.handle_of(self._uuid)

    def _first(self, readings: Sequence[tuple[Unit, Callable[[], int]]]) -> tuple[Unit, Callable[[], int]]:
        for unit, read in readings[:-1]:
            try:
                read()
            except NvmlError as error:
                if error.code not in (NOT_SUPPORTED, _FUNCTION_NOT_FOUND):
                    raise  # it has this reading and does not give it: the next one would not be its equal
                continue
            return unit, read
        unit, read = readings[-1]
        read()
        return unit, read

    def _energy(self) -> int:
        return int(self._nvml.call("nvmlDeviceGetTotalEnergyConsumption", self.handle)) * 1_000

    def _field(self) -> int:
        return self._nvml.power_mw(self.handle, _GPU) * 1_000

    def _usage(self) -> int:
        return int(self._nvml.call("nvmlDeviceGetPowerUsage", self.handle)) * 1_000


@dataclass(frozen=True, slots=True)
class _Module:
    """The module that a board is part of."""

    nvml: Nvml
    board: _Board

    def read(self) -> int:
        return self.nvml.power_mw(self.board.handle, _MODULE) * 1_000


def _probe(identity: str, board: _Board) -> Probe:
    counted = board.unit is Unit.ENERGY_UJ
    domain = Domain(
        id=identity,
        kind="gpu",
        source="nvml",
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
