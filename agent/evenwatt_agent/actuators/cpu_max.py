"""Quotas of processor time: ``cpu.max`` of the cgroups that the settings name.

https://docs.kernel.org/admin-guide/cgroup-v2.html: ``cpu.max`` is ``$MAX $PERIOD`` in microseconds, ``max`` for none;
writing one number changes the quota and keeps the period. Never a cgroup that holds this process or an ancestor of it:
an agent without processor time could neither measure nor let go.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.model import LockedError, Original
from evenwatt_agent.sources.held import is_count, parse_cpus, read_text
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NO_QUOTA: Final = -1
_LEAST: Final = 0.05
_LEAST_US: Final = 1_000
"""The kernel takes no smaller quota."""
_DELAY_S: Final = 0.2
"""A quota counts from the next period on, 100 ms by default."""


@dataclass(frozen=True, slots=True)
class Quota:
    """One ``cpu.max``."""

    path: Path
    found_us: int
    """Quota before we first wrote, ``NO_QUOTA`` for none."""
    whole_us: int
    """The quota found, or where there was none the one that lets it use every processor."""

    def value_for(self, share: float) -> int:
        """Return the quota for a share, never above the one found."""
        return self.found_us if share >= 1.0 else max(_LEAST_US, round(share * self.whole_us))

    def share_of(self, quota_us: int) -> float:
        """Return the share that a quota is."""
        return 1.0 if quota_us == NO_QUOTA else quota_us / self.whole_us


@dataclass(frozen=True, slots=True)
class QuotaLever:
    """The quotas of some cgroups, moved together; a share of 1 is what was found."""

    quotas: tuple[Quota, ...]
    kind: str = "cpu.max"
    least: float = _LEAST
    delay_s: float = _DELAY_S

    def originals(self) -> list[Original]:
        """Every quota found."""
        return [Original("quota", str(quota.path), str(quota.found_us)) for quota in self.quotas]

    def read(self) -> float:
        """Return the largest share that is in force."""
        read = [(quota, read_quota(quota.path)) for quota in self.quotas]
        # A cgroup that is gone has taken its processes with it.
        return max((quota.share_of(now[0]) for quota, now in read if now is not None), default=0.0)

    def set(self, share: float) -> None:
        """Give every cgroup ``share`` of what it had."""
        for quota in self.quotas:
            value = quota.value_for(share)
            text = b"max\n" if value == NO_QUOTA else b"%d\n" % value
            try:
                descriptor = os.open(quota.path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise LockedError(f"{quota.path}: {error.strerror}") from None
            try:
                os.write(descriptor, text)
            except OSError as error:
                raise LockedError(f"{quota.path}: {error.strerror}") from None
            finally:
                os.close(descriptor)


def discover(
    folders: Sequence[Path], sysfs: Path, originals: Mapping[str, str], key: str = "control.cpu_max"
) -> QuotaLever | None:
    """Return the lever over ``folders``; None where there are none.

    Raises:
        Failure: one is no cgroup v2 folder with the cpu controller, or it holds this process.
    """
    quotas = []
    for folder in folders:
        path = folder / "cpu.max"
        now = read_quota(path)
        if now is None:
            raise Failure(
                f"{key}: {folder} has no readable cpu.max; name a cgroup v2 folder whose parent enables the cpu "
                f"controller (cgroup.subtree_control), e.g. /sys/fs/cgroup/machine.slice"
            )
        _refuse_own(folder, key)
        found_us = int(originals.get(str(path), now[0]))
        quotas.append(Quota(path, found_us, processors(sysfs) * now[1] if found_us == NO_QUOTA else found_us))
    return QuotaLever(tuple(quotas)) if quotas else None


def read_quota(path: Path) -> tuple[int, int] | None:
    """Return quota and period in microseconds, or None if the file holds something else."""
    fields = (read_text(path) or "").split()
    if len(fields) != 2 or not is_count(fields[1]) or int(fields[1]) == 0:
        return None
    if fields[0] != "max" and not is_count(fields[0]):
        return None
    return (NO_QUOTA if fields[0] == "max" else int(fields[0])), int(fields[1])


def _refuse_own(folder: Path, key: str) -> None:
    for processes in folder.rglob("cgroup.procs"):
        if str(os.getpid()) in (read_text(processes) or "").split():
            raise Failure(
                f"{key}: {folder} holds this agent, which would starve with it; name cgroups that hold work, "
                f"or give the agent's unit a slice of its own (Slice= in its unit)"
            )


def processors(sysfs: Path) -> int:
    """Return how many logical processors are online."""
    online = parse_cpus(read_text(sysfs / "devices/system/cpu/online") or "")
    return len(online) or os.cpu_count() or 1
