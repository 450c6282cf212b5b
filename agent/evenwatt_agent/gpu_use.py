"""Who used each GPU board since the last look, as NVML tells it by process.

``nvmlDeviceGetProcessUtilization`` gives the share of time that a process's kernels ran, one sample for each process
that ran since a time stamp; nobody has run when it answers NOT_FOUND. A board cut by MIG and old drivers do not tell:
then a board with one process on it is that one's, and with several nobody's (its dynamic energy is ``system``'s).

Asking costs milliseconds a board and can keep an idle one awake (dcgm-exporter#464), so a board on which nobody was is
asked again only every fifth time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.sources.nvml import NOT_FOUND, NOT_SUPPORTED, NvmlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evenwatt_agent.sources.nvml import Nvml

_REST_LOOKS: Final = 5


@dataclass(frozen=True, slots=True)
class BoardUse:
    """One board since the last look."""

    use: dict[int, int] = field(default_factory=dict)
    """Weight of each process that is known to have worked."""
    holders: frozenset[int] = frozenset()
    """Every process that has the board open."""
    utilisation: float | None = None
    """Share of the time that any kernel ran, 0 to 1; None where it is not told."""


@dataclass(slots=True)
class _Seen:
    since_us: int = 0
    resting: int = 0


class GpuWatch:
    """Asks the boards.

    Args:
        library: NVML.
        boards: Index of each board by the id of its domain.
    """

    def __init__(self, library: Nvml, boards: Mapping[str, int]) -> None:
        self._library = library
        self._boards = dict(boards)
        self._seen = {name: _Seen() for name in boards}
        self.trouble = ""
        """Why the latest look is not whole; empty when it is."""

    def look(self, *, rest: bool = True) -> dict[str, BoardUse]:
        """Return every board that answered; one that does not is left out, and ``trouble`` names it.

        Args:
            rest: Leave boards alone on which nobody was; False while somebody who is waited for may come.
        """
        found: dict[str, BoardUse] = {}
        self.trouble = ""
        for name, seen in self._seen.items():
            if rest and seen.resting > 0:
                seen.resting -= 1
                found[name] = BoardUse()
                continue
            try:
                found[name] = self._board(self._library.handle(self._boards[name]), seen)
            except OSError as error:
                self.trouble = self.trouble or f"{name}: {error}"
                continue
            if not found[name].holders and not found[name].use:
                seen.resting = _REST_LOOKS - 1
        return found

    def _board(self, handle: Any, seen: _Seen) -> BoardUse:
        holders = frozenset(
            int(process.pid) for process in self._library.call("nvmlDeviceGetComputeRunningProcesses", handle)
        )
        utilisation = self._utilisation(handle)
        try:
            samples = self._library.call("nvmlDeviceGetProcessUtilization", handle, seen.since_us)
        except NvmlError as error:
            if error.code == NOT_FOUND:
                return BoardUse({}, holders, utilisation)
            if error.code == NOT_SUPPORTED:
                return BoardUse(dict.fromkeys(holders, 1) if len(holders) == 1 else {}, holders, utilisation)
            raise
        rows = [(int(s.pid), int(s.timeStamp), int(s.smUtil)) for s in samples]
        seen.since_us = max([seen.since_us, *(stamp_us for _, stamp_us, _ in rows)])
        return BoardUse(weigh(rows), holders, utilisation)

    def _utilisation(self, handle: Any) -> float | None:
        try:
            return float(min(100, self._library.call("nvmlDeviceGetUtilizationRates", handle).gpu)) / 100
        except NvmlError:
            return None


def weigh(samples: Iterable[tuple[int, int, int]]) -> dict[int, int]:
    """Return each process's weight from rows of pid, time stamp and percent: its latest sample, when it is possible.

    Drivers have been seen to fill rows that nobody owns (pid 0) and percentages beyond 100.
    """
    latest: dict[int, tuple[int, int]] = {}
    for pid, stamp_us, percent in samples:
        if pid > 0 and 0 < percent <= 100 and stamp_us >= latest.get(pid, (0, 0))[0]:
            latest[pid] = (stamp_us, percent)
    return {pid: percent for pid, (_, percent) in latest.items()}
