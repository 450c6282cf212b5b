"""The runs of this node: how each stands, and what is still to be told of it. Pure.

::

    RUNNING --stop, limit, ...--> STOPPING --on command, or its state is kept--> STOPPED
       |--exit 0--> ENDED             '-------else-------> FAILED
       |--other exit--> FAILED
       '--nobody knows--> LOST

A run that has ended stays until its end has surely been heard: it is told every ten seconds for three minutes, and
again whenever this node or a collector has just come, for three days.
"""

from __future__ import annotations

import signal
from typing import Final

from msgspec import Struct

from evenwatt_agent.jobs.plan import Phase, Standing, Why
from evenwatt_wire import JobOrder, RunReport, RunState

KEPT_MS: Final = 3 * 86_400_000
KEPT: Final = 200
_SOON_S: Final = 10.0
_SOON_TIMES: Final = 18
_LATER_S: Final = 3_600.0
_SEQ_STEP: Final = 1_000_000
"""More reports than can have been made since a record was last on the disk."""
_ENDS: Final = frozenset({RunState.ENDED, RunState.STOPPED, RunState.FAILED, RunState.LOST})


class RunRecord(Struct, kw_only=True):
    """One run, as kept on the disk."""

    order: JobOrder
    kernel_boot: str
    asked_ms: int
    asked_ns: int
    """Monotonic, of that kernel boot."""
    limit_s: float
    unowned: bool = False
    """Its work lives with a container engine or systemd, outside its supervisor's tree."""
    cgroup: str = ""
    """Below the root of the hierarchy; empty without one."""
    pid: int = 0
    """Of its supervisor."""
    start: int = 0
    state: RunState = RunState.RUNNING
    stop: str = ""
    """What was asked of the supervisor: ``keep`` or ``now``."""
    duration_s: float = 0.0
    energy_base_j: float = 0.0
    """Attributed before its task began anew: the agent had died before it had kept it."""
    energy_j: float = 0.0
    units_base: dict[str, float] = {}
    units: dict[str, float] = {}
    seq: int = 0
    log_byte: int = 0
    log_start: int = 0
    """In characters."""
    final: RunReport | None = None
    ended_ms: int = 0
    told: int = 0
    """How often its end has been told."""

    @property
    def id(self) -> str:
        """The run's own id, which is that of its task."""
        return self.order.run

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.state not in _ENDS


class End(Struct, frozen=True):
    """How a run ended."""

    state: RunState
    detail: str
    exit_code: int | None = None
    kept: bool = False


class RunBook:
    """Every run that goes on, and those whose end may not have been heard."""

    def __init__(self) -> None:
        self.records: dict[str, RunRecord] = {}
        self._next_s: dict[str, float] = {}

    def live(self) -> list[RunRecord]:
        """Return the runs that have not ended."""
        return [record for record in self.records.values() if record.live]

    def templates(self) -> list[str]:
        """Return the template of each run that has not ended."""
        return [record.order.template for record in self.live()]

    def load(self, record: RunRecord) -> None:
        """Take over a record of an earlier agent."""
        record.seq += _SEQ_STEP
        self.records[record.id] = record

    def ends_to_tell(self, now_s: float, *, everything: bool) -> list[RunRecord]:
        """Return the runs whose end is to be told now; they count as told.

        Args:
            now_s: Monotonic.
            everything: Somebody has just come who may have heard nothing.
        """
        due = []
        for record in self.records.values():
            if record.final is not None and (everything or now_s >= self._next_s.get(record.id, 0.0)):
                record.told += 1
                self._next_s[record.id] = now_s + (_SOON_S if record.told < _SOON_TIMES else _LATER_S)
                due.append(record)
        return due

    def outdated(self, now_ms: int) -> list[str]:
        """Forget runs that ended long ago, and return them."""
        ended = sorted((r for r in self.records.values() if not r.live), key=lambda record: -record.ended_ms)
        old = [r.id for n, r in enumerate(ended) if n >= KEPT or now_ms - r.ended_ms > KEPT_MS]
        for id_ in old:
            del self.records[id_]
            self._next_s.pop(id_, None)
        return old


def end_of(standing: Standing) -> End:
    """Return how a run ended, from its supervisor's last word."""
    code, kept, detail = standing.exit_code, standing.kept, standing.detail
    if standing.why is Why.START:
        return End(RunState.FAILED, detail)
    if standing.why is Why.COMMAND:
        return End(RunState.STOPPED, detail or how(code), code, kept)
    if standing.why is Why.SYSTEM:
        return End(RunState.STOPPED, "this machine, or its service manager, has ended it", code, kept)
    if standing.why in (Why.LIMIT, Why.SPACE):
        return End(RunState.STOPPED if kept else RunState.FAILED, f"{standing.why}: {detail}", code, kept)
    state = RunState.ENDED if code == 0 else RunState.FAILED
    return End(state, " ".join(filter(None, [how(code), detail])), code)


def state_of(standing: Standing | None, record: RunRecord) -> RunState:
    """Return how a run that has not ended stands."""
    stopping = record.stop or (standing is not None and standing.phase is Phase.STOPPING)
    return RunState.STOPPING if stopping else RunState.RUNNING


def how(code: int | None) -> str:
    """Put an exit code into words; empty for 0."""
    if code is None or code == 0:
        return ""
    if code > 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
