"""Who works on a machine: the parts of ``/proc`` and of the cgroup tree in which an agent sees services run.

Time that the machine's load takes of its processors is shared out over services. What is written anew is replaced as a
whole file, so that no reader finds half of it. The numbers move twice a second.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evenwatt_twin.nvml import NvmlTree

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_FIRST_PID: Final = 2_000_000
"""Above what Linux gives by default (4194304 at most, 32768 on small machines): mistaken for no real process."""
_QUOTA_PERIOD_US: Final = 100_000


class Service(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One systemd service."""

    cpu_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Of the machine's busy time."""
    gpu_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Of the work of every board; above 0 it has them open."""
    reserved: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of the processors that its ``cpu.max`` grants; 0: no limit."""


class ServiceTree:
    """The files of one machine's services.

    Args:
        services: By name, without ``.service``.
        proc: What an agent takes for ``/proc``.
        cgroup: Where its cgroups are.
        nvml: The machine's boards, if any.
    """

    def __init__(self, services: Mapping[str, Service], proc: Path, cgroup: Path, nvml: NvmlTree | None) -> None:
        self._services, self._proc, self._cgroup = services, proc, cgroup
        self._processors = os.cpu_count() or 1
        self._busy_s = self._all_s = 0.0
        (proc / "self").mkdir(parents=True)
        (proc / "self" / "mounts").write_text(f"cgroup2 {cgroup} cgroup2 rw 0 0\n")
        for i, (name, service) in enumerate(services.items()):
            self._make(name, service, _FIRST_PID + i)
            if nvml is not None and service.gpu_share:
                nvml.run(i, _FIRST_PID + i, service.gpu_share)
        self.write()

    def advance(self, dt_s: float, load: float, others: float = 0.0) -> None:
        """Let the processors work: for services, and for others that are shown elsewhere."""
        self._busy_s += dt_s * load * self._processors
        self._all_s += dt_s * (load + others) * self._processors

    def write(self) -> None:
        """Show how long they have worked."""
        ticks = round(self._all_s * TICKS_PER_S)
        replace_file(self._proc / "stat", f"cpu  {ticks} 0 0 0 0 0 0 0 0 0\n")
        for name, service in self._services.items():
            usage_us = round(self._busy_s * service.cpu_share * 1e6)
            replace_file(
                self._group(name) / "cpu.stat", f"usage_usec {usage_us}\nuser_usec {usage_us}\nsystem_usec 0\n"
            )

    def _make(self, name: str, service: Service, pid: int) -> None:
        group = self._group(name)
        group.mkdir(parents=True)
        quota = round(service.reserved * self._processors * _QUOTA_PERIOD_US) if service.reserved else "max"
        (group / "cpu.max").write_text(f"{quota} {_QUOTA_PERIOD_US}\n")
        (group / "cgroup.procs").write_text(f"{pid}\n")
        (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
        process = self._proc / str(pid)
        process.mkdir()
        (process / "stat").write_text(f"{pid} ({name[:15]}) S 1 {pid} {pid} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n")
        (process / "cgroup").write_text(f"0::/system.slice/{name}.service\n")

    def _group(self, name: str) -> Path:
        return self._cgroup / "system.slice" / f"{name}.service"


def cpu_stat(usage_us: int) -> str:
    """Return a cgroup's ``cpu.stat``."""
    return f"usage_usec {usage_us}\nuser_usec {usage_us}\nsystem_usec 0\n"


def replace_file(path: Path, text: str) -> None:
    """Write a file anew so that no reader finds half of it."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.replace(path)
