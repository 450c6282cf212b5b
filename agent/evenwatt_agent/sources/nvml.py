"""NVIDIA boards through NVML (``nvidia-ml-py``, imported as ``pynvml``).

https://docs.nvidia.com/deploy/nvml-api/. Energy is ``nvmlDeviceGetTotalEnergyConsumption``, millijoules since the
driver was loaded (Volta and later): A100 and H100 sample their instant power reading for about a quarter of the time
(arXiv 2312.02741), so only the counter is trusted with joules. Older boards give power, which is integrated.
Calls take up to 11 ms, hence the slow sampler; and power is per board, also when it is cut into MIG slices.

The binding costs 13 MB of memory, so it is imported only where the driver's library can be loaded.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.sources.model import Found, Probe, Problem, ReadError, Unit
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_POWER_W: Final = 3_000.0


class Nvml:
    """The library, initialised once per process. Every call becomes a value or a :class:`ReadError`."""

    def __init__(self) -> None:
        import pynvml  # noqa: PLC0415  (see the module's docstring)

        self._api: Any = pynvml
        self.call("nvmlInit")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call ``name``; an NVML error is raised as :class:`ReadError` with NVML's own words."""
        try:
            return getattr(self._api, name)(*arguments)
        except self._api.NVMLError as error:
            raise ReadError(f"{name}: {error}") from None

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
    """Return one probe per board: the energy counter, else power."""
    found = Found()
    for index in range(nvml.call("nvmlDeviceGetCount")):
        identity = f"gpu-{index}"
        try:
            handle = nvml.handle(index)
            probe = _energy_probe(nvml, identity, handle) or _power_probe(nvml, identity, handle)
        except ReadError as error:
            fix = "the board does not answer; see `nvidia-smi -q` and the kernel's Xid messages"
            found.problems.append(Problem("nvml", identity, str(error), fix))
            continue
        found.probes.append(probe)
    return found


def _energy_probe(nvml: Nvml, identity: str, handle: Any) -> Probe | None:
    def read() -> int:
        return int(nvml.call("nvmlDeviceGetTotalEnergyConsumption", handle)) * 1_000

    try:
        read()
    except ReadError:
        return None
    return _probe(identity, Unit.ENERGY_UJ, read)


def _power_probe(nvml: Nvml, identity: str, handle: Any) -> Probe:
    def read() -> int:
        return int(nvml.call("nvmlDeviceGetPowerUsage", handle)) * 1_000

    read()
    return _probe(identity, Unit.POWER_UW, read)


def _probe(identity: str, unit: Unit, read: Callable[[], int]) -> Probe:
    counted = unit is Unit.ENERGY_UJ
    domain = Domain(
        id=identity,
        kind="gpu",
        source="nvml",
        quality=Quality.MEASURED if counted else Quality.INTEGRATED,
        resolution_j=1e-3 if counted else 0.0,
    )
    return Probe(
        domain=domain,
        unit=unit,
        read=read,
        reopen=_nothing,
        close=_nothing,
        slow=True,
        max_power_w=_MAX_POWER_W,
    )


def _nothing() -> None:
    """NVML handles need no reopening; the library is closed as a whole."""
