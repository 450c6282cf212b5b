"""What slows processors down without a limit in watts: frequency ceilings (cpufreq) and quotas (cgroup v2 ``cpu.max``).

https://docs.kernel.org/admin-guide/pm/cpufreq.html, https://docs.kernel.org/admin-guide/cgroup-v2.html. Only what an
agent reads and writes is there: ``devices/system/cpu/cpufreq/policyN``, the package of each policy's first processor,
``devices/system/cpu/online``, and ``fs/cgroup/NAME/cpu.max`` with an empty ``cgroup.procs``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from evenwatt_twin.sysfile import Admit, LimitFile, keep, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_twin.plant import Plant

_PERIOD_US: Final = 100_000
_NO_QUOTA: Final = -1


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One frequency domain; its key in ``Processors.policies`` is its folder's name."""

    slows: str
    """The component that its ceiling slows. Of several policies for one component the highest ceiling counts."""
    cpus: Annotated[str, Meta(pattern=r"^\d+(-\d+)?$")]
    package: Annotated[int, Meta(ge=0)] = 0
    min_khz: Annotated[int, Meta(gt=0)] = 1_500_000
    max_khz: Annotated[int, Meta(gt=0)] = 3_700_000
    locked: bool = False
    """The firmware restores what is written."""
    obey: bool = True
    """Whether the processor keeps to the ceiling that it takes and shows."""


class Cgroup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cgroup that holds all work of some components; its key in ``Processors.cgroups`` is its folder's name."""

    slows: Annotated[tuple[str, ...], Meta(min_length=1)]


class Processors(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A machine's processors as the kernel shows them."""

    online: Annotated[int, Meta(gt=0, le=4096)]
    policies: dict[Annotated[str, Meta(pattern=r"^policy\d+$")], Policy] = {}
    cgroups: dict[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9.-]*$")], Cgroup] = {}


class ProcessorTree:
    """The files, and what they do to the plant."""

    def __init__(self, spec: Processors, sysfs: Path, plant: Plant) -> None:
        cpu = sysfs / "devices" / "system" / "cpu"
        write_text(cpu / "online", f"0-{spec.online - 1}" if spec.online > 1 else "0")
        self._ceilings: dict[str, list[tuple[LimitFile, Policy]]] = {}
        for name, policy in spec.policies.items():
            self._ceilings.setdefault(policy.slows, []).append((_policy(cpu, name, policy), policy))
        self._quotas = [
            (_QuotaFile(sysfs / "fs" / "cgroup" / name, spec.online), group.slows)
            for name, group in spec.cgroups.items()
        ]
        self._states = plant.components
        self._files = [file for rows in self._ceilings.values() for file, _ in rows]

    def poll(self) -> bool:
        """Look at every ceiling and quota; what changed slows the plant, and no cap in watts."""
        moved = False
        for file in self._files:
            moved |= file.poll()
        if moved:
            for name, rows in self._ceilings.items():
                self._states[name].frequency_share = max(_share(file, policy) for file, policy in rows)
        for quota, names in self._quotas:
            if quota.poll():
                for name in names:
                    self._states[name].quota_share = quota.share
        return False

    def poll_slowly(self) -> None:
        """Nothing here changes at a slower pace."""

    def lower_caps(self, caps_w: list[float | None]) -> None:
        """Nothing here is in watts."""

    def write(self) -> None:
        """Nothing here shows what the plant does."""

    def close(self) -> None:
        """Let go of every file."""
        for file in self._files:
            file.close()
        for quota, _ in self._quotas:
            quota.close()


def _policy(cpu: Path, name: str, policy: Policy) -> LimitFile:
    folder, (first, _, last) = cpu / "cpufreq" / name, policy.cpus.partition("-")
    listed = " ".join(str(number) for number in range(int(first), int(last or first) + 1))
    for attribute, value in {
        "cpuinfo_min_freq": str(policy.min_khz),
        "cpuinfo_max_freq": str(policy.max_khz),
        "related_cpus": listed,
        "affected_cpus": listed,
    }.items():
        write_text(folder / attribute, value)
    write_text(cpu / f"cpu{first}" / "topology" / "physical_package_id", str(policy.package))
    admit = keep if policy.locked else _within(policy.min_khz, policy.max_khz)
    return LimitFile(folder / "scaling_max_freq", policy.max_khz, admit)


def _within(low: int, high: int) -> Admit:
    """Clamp to what the processor can do, as the kernel does."""
    return lambda asked, _current: min(high, max(low, asked))


def _share(file: LimitFile, policy: Policy) -> float:
    return file.value / policy.max_khz if policy.obey else 1.0


class _QuotaFile:
    """``cpu.max``: somebody writes ``max``, ``50000`` or ``50000 100000``; it shows quota and period."""

    __slots__ = ("_fd", "_seen", "_whole_us", "share")

    def __init__(self, folder: Path, processors: int) -> None:
        self.share = 1.0
        self._whole_us = processors * _PERIOD_US
        write_text(folder / "cgroup.procs", "")
        path = folder / "cpu.max"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._seen = b""
        self._show(_NO_QUOTA)

    def poll(self) -> bool:
        """Take what was written; nonsense is put back. Return whether the share changed."""
        raw = os.pread(self._fd, 64, 0)
        if raw == self._seen or not raw or os.pread(self._fd, 64, 0) != raw:
            return False
        before, word = self.share, (raw.split() or [b""])[0]
        if word == b"max":
            self._show(_NO_QUOTA)
        elif word.isdigit() and int(word) >= 1_000:
            self._show(int(word))
        else:
            self._show(_NO_QUOTA if before == 1.0 else round(before * self._whole_us))
        return self.share != before

    def _show(self, quota_us: int) -> None:
        self.share = 1.0 if quota_us == _NO_QUOTA else min(1.0, quota_us / self._whole_us)
        text = "max" if quota_us == _NO_QUOTA else str(quota_us)
        self._seen = f"{text} {_PERIOD_US}".encode().ljust(24, b"\n")
        os.pwrite(self._fd, self._seen, 0)
        os.ftruncate(self._fd, len(self._seen))

    def close(self) -> None:
        os.close(self._fd)
