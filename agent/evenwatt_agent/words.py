"""What an agent says, put together from what its parts know: birth, windows, records, summaries, local status."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from evenwatt_agent import clocks
from evenwatt_agent.overhead import unmetered_w
from evenwatt_wire import Birth, Ledger, Live, NodeSummary, PartEnergy, Quality, State, TaskEnergy, Template, WorkPower
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from evenwatt_agent.control import Control
    from evenwatt_agent.inventory import Inventory
    from evenwatt_agent.meter import LedgerEntry, Window
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_wire.messages import NodeState


class Speaker:
    """Makes this node's messages, each with its number.

    Args:
        settings: The node's settings.
        inventory: What it has.
        control: What caps it.
        boot: Boot id of this run.
    """

    def __init__(self, settings: AgentSettings, inventory: Inventory, control: Control, boot: str) -> None:
        self._settings, self._inventory, self._control, self._boot = settings, inventory, control, boot
        self._templates: list[Template] = []
        self._slots = 0
        self._live_seq = self._ledger_seq = 0
        self._ledger_cpu_s = own_cpu_s()
        self._cost = (time.monotonic(), self._ledger_cpu_s)

    def offer(self, templates: list[Template], slots: int) -> None:
        """Say from now on what may be run here on command."""
        self._templates, self._slots = templates, slots

    def state(self, state: NodeState) -> State:
        """Whether this node is there."""
        return State(
            node=self._settings.node, state=state, boot=self._boot, wall_ms=clocks.wall_ms(), version=__version__
        )

    def birth(self) -> Birth:
        """What this node has."""
        inventory, control, standing = self._inventory, self._settings.control, self._control.standing()
        return Birth(
            node=self._settings.node,
            boot=self._boot,
            wall_ms=clocks.wall_ms(),
            version=__version__,
            domains=inventory.domains,
            total_formula=inventory.formula,
            actuators=standing.actuators,
            pausable=standing.pausable,
            controllable=standing.controllable,
            floor_w=standing.floor_w,
            ceiling_w=standing.ceiling_w,
            fallback_w=standing.fallback_w,
            priority=control.priority,
            weight=control.weight,
            key_id=standing.key_id,
            window_s=self._settings.report.window_s,
            ledger_s=self._settings.report.ledger_s,
            templates=self._templates,
            job_slots=self._slots,
        )

    def live(self, window: Window, work: list[WorkPower]) -> Live:
        """One window; ``work`` is who draws most."""
        self._live_seq += 1
        return Live(
            self._settings.node,
            self._boot,
            self._live_seq,
            window.end_ns,
            clocks.wall_ms(),
            max(1e-3, (window.end_ns - window.start_ns) * 1e-9),
            window.total,
            window.domains,
            window.samples,
            window.late,
            self._control.in_force(),
            work,
        )

    def ledger(
        self, entry: LedgerEntry, dropped: int, account: tuple[list[PartEnergy], list[TaskEnergy], float]
    ) -> Ledger:
        """One ledger record; ``account`` is its parts, its tasks and the agent's own joules."""
        parts, tasks, agent_j = account
        self._ledger_seq += 1
        cpu_s, wall_ms = own_cpu_s(), clocks.wall_ms()
        used_s, self._ledger_cpu_s = cpu_s - self._ledger_cpu_s, cpu_s
        return Ledger(
            self._settings.node,
            self._boot,
            self._ledger_seq,
            entry.start_ns,
            entry.end_ns,
            wall_ms - (entry.end_ns - entry.start_ns) // 1_000_000,
            wall_ms,
            entry.total,
            entry.domains,
            entry.gaps,
            used_s,
            dropped,
            agent_j,
            parts,
            tasks,
        )

    def summary(self, latest: Window | None, total_j: float, spooled: int, cost_w: float, tasks: int) -> NodeSummary:
        """The node at a glance; its cost in percent is over the time since the last summary."""
        at_s, cpu_s = self._cost
        now_s, now_cpu_s = time.monotonic(), own_cpu_s()
        self._cost = (now_s, now_cpu_s)
        lease = self._control.in_force()
        return NodeSummary(
            node=self._settings.node,
            boot=self._boot,
            wall_ms=clocks.wall_ms(),
            power_w=latest.total.mean_w if latest else 0.0,
            energy_j=total_j,
            quality=latest.total.quality if latest else self._inventory.quality,
            cap_w=lease.cap_w,
            lease=lease.state,
            paused=self._control.paused,
            cost_cpu_pct=100.0 * (now_cpu_s - cpu_s) / (now_s - at_s) if now_s > at_s else 0.0,
            rss_mb=_own_rss_mb(),
            spooled=spooled,
            cost_w=cost_w,
            tasks=tasks,
        )

    def snapshot(
        self, summary: NodeSummary, latest: Window | None, link: dict[str, Any], account: dict[str, Any] | None
    ) -> bytes:
        """What the local socket says: the same figures as on the wire, how the link is, and who draws what."""
        watts = {} if latest is None else {d.id: d.mean_w for d in latest.domains if d.quality is not Quality.UNKNOWN}
        local = {
            "zone": self._settings.zone,
            "summary": summary,
            "birth": self.birth(),
            "trust_version": self._control.standing().trust_version,
            "control_trouble": self._control.trouble,
            "lease": msgspec.structs.asdict(self._control.in_force()),
            "window": None if latest is None else [msgspec.structs.asdict(d) for d in [latest.total, *latest.domains]],
            "link": link,
            "unmetered_w": unmetered_w(self._inventory.domains, watts),
            "account": account,
            "problems": [
                {"source": p.source, "path": p.path, "found": p.found, "fix": p.fix} for p in self._inventory.problems
            ],
        }
        return msgspec.json.encode(local)


def own_cpu_s() -> float:
    """Processor time of this process."""
    times = os.times()
    return times.user + times.system


def _own_rss_mb() -> float:
    """Resident memory of this process in megabytes (proc_pid_statm(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
