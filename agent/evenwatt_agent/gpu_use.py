"""Who used each GPU board since the last look, as NVML tells it by process.

``nvmlDeviceGetProcessUtilization`` gives the share of time that a process's kernels ran, one sample for each process
that ran since a time stamp; nobody has run when it answers NOT_FOUND. A board cut by MIG and old drivers do not tell:
then a board with one process on it is that one's, and with several nobody's (its dynamic energy is ``system``'s).

Asking costs milliseconds a board and can keep an idle one awake (dcgm-exporter#464), so a board on which nobody was is
asked again only every fifth time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.sources.nvml import FUNCTION_NOT_FOUND, NOT_FOUND, NOT_SUPPORTED, SUCCESS, NvmlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evenwatt_agent.attribution import Owner
    from evenwatt_agent.sources.nvml import Nvml

_REST_LOOKS: Final = 5
_NOBODY: Final = (SUCCESS, NOT_FOUND)
"""Answers for no sample since; the binding raises SUCCESS when the driver says that there are 0 of them."""
_UNTOLD: Final = (NOT_SUPPORTED, FUNCTION_NOT_FOUND)


@dataclass(frozen=True, slots=True)
class BoardUse:
    """One board since the last look."""

    use: dict[int, int] = field(default_factory=dict)
    """Weight of each process that is known to have worked."""
    holders: frozenset[int] | None = frozenset()
    """Every process that has the board open; None where it is not told."""
    utilisation: float | None = None
    """Share of the time that any kernel ran, 0 to 1; None where it is not told."""


@dataclass(frozen=True, slots=True)
class BoardShare:
    """The same by owner."""

    use: dict[Owner, int] = field(default_factory=dict)
    whole: int = 0
    """Use by everybody, also by processes whose owner is not known."""
    alone: dict[Owner, float] = field(default_factory=dict)
    """The one owner who has the board, if there is just one; it carries all the board's idle energy."""
    utilisation: float | None = None


@dataclass(slots=True)
class _Seen:
    handle: Any = None
    since_us: int = 0
    resting: int = 0


class GpuWatch:
    """Asks the boards.

    Args:
        library: NVML; boards that it finds later are watched too.
        boards: Names of the boards to begin with.
    """

    def __init__(self, library: Nvml, boards: Iterable[str]) -> None:
        self._library = library
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
        for name in self._library.names():
            self._seen.setdefault(name, _Seen())
        for name, seen in self._seen.items():
            if rest and seen.resting > 0:
                seen.resting -= 1
                found[name] = BoardUse()
                continue
            try:
                found[name] = self._board(name, seen)
            except (OSError, ValueError) as error:
                seen.handle = None  # the next look asks for a fresh one
                self.trouble = self.trouble or f"{name}: {error}"
                continue
            seen.resting = 0 if found[name].holders or found[name].use else _REST_LOOKS - 1
        return found

    def _board(self, name: str, seen: _Seen) -> BoardUse:
        if seen.handle is None:
            seen.handle = self._library.handle_named(name)
        utilisation = self._utilisation(seen.handle)
        holders: frozenset[int] | None
        try:
            processes = self._library.call("nvmlDeviceGetComputeRunningProcesses", seen.handle)
            holders = frozenset(int(process.pid) for process in processes)
        except NvmlError:
            holders = None  # a board that is lost says so to the next question
        # The stamps are of the wall clock: after it was set back, nothing would ever be later than the last one.
        since_us = min(seen.since_us, time.time_ns() // 1_000)
        try:
            samples = self._library.call("nvmlDeviceGetProcessUtilization", seen.handle, since_us)
        except NvmlError as error:
            if error.code in _NOBODY:
                return BoardUse({}, holders, utilisation)
            if error.code in _UNTOLD and holders is not None:
                return BoardUse(dict.fromkeys(holders, 1) if len(holders) == 1 else {}, holders, utilisation)
            raise
        use, seen.since_us = weigh(((int(s.pid), int(s.timeStamp), int(s.smUtil)) for s in samples), since_us)
        if utilisation is not None:  # it is of the last moment only: what was busy in between was not idle
            utilisation = max(utilisation, min(1.0, sum(use.values()) / 100))
        return BoardUse(use, holders, utilisation)

    def _utilisation(self, handle: Any) -> float | None:
        try:
            return float(min(100, self._library.call("nvmlDeviceGetUtilizationRates", handle).gpu)) / 100
        except NvmlError:
            return None


def weigh(samples: Iterable[tuple[int, int, int]], since_us: int) -> tuple[dict[int, int], int]:
    """Make weights of rows of pid, time stamp and percent: of each process the latest row, when it is possible.

    All rows are of the same stretch, so that the percentage of it is the weight. Drivers have been seen to answer with
    a hundred rows for two processes (nvtop#110): rows that nobody owns, percentages beyond 100, old time stamps.

    Returns:
        Weights by pid, and the stamp after which the next look asks.
    """
    latest: dict[int, tuple[int, int]] = {}
    for pid, stamp_us, percent in samples:
        if pid > 0 and 0 < percent <= 100 and stamp_us > since_us and stamp_us >= latest.get(pid, (0, 0))[0]:
            latest[pid] = (stamp_us, percent)
    until_us = max((stamp_us for stamp_us, _ in latest.values()), default=since_us)
    return {pid: percent for pid, (_, percent) in latest.items()}, until_us


def by_owner(board: BoardUse, owner_of: Callable[[int], Owner | None]) -> BoardShare:
    """Join processes with their owners; ``owner_of`` answers None for a process that has ended."""
    owners = {pid: owner_of(pid) for pid in (board.holders or frozenset()) | board.use.keys()}
    use: dict[Owner, int] = {}
    for pid, weight in board.use.items():
        if (owner := owners[pid]) is not None:
            use[owner] = use.get(owner, 0) + weight
    known = set(owners.values())
    only = known.pop() if len(known) == 1 and board.holders is not None else None
    alone = {only: 1.0} if only is not None else {}
    return BoardShare(use, sum(board.use.values()), alone, board.utilisation)
