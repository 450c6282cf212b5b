"""The rows of the failure table: what is broken, what was promised, and a function that breaks it and looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.hosts_rig import HostsRig
from tests.chaos.rig import Rig
from tests.chaos.rows import clocks, counters, hosts, links, messages, privileged, processes, stores

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Row:
    """One row; ``run(rig, full)`` returns what was measured, in words, and raises where a promise was not kept."""

    name: str
    injected: str
    promised: str
    run: Callable
    nodes: int = 2
    pair: bool = False
    rig: type[Rig] = Rig


ROWS = (
    Row("broker", "broker SIGKILLed for {outage}, then started",
        "caps end in the fallback, budget held; every joule arrives once", links.broker),
    Row("network", "half of the nodes cut off; 200 +- 50 ms each way and stalls of 0.4 s for a tenth of the data",
        "budget held, no node above its lease, the ledger completes", links.network, nodes=4),
    Row("hosts", "4 hosts in network namespaces: 100 +- 50 ms and 5 % loss each way for two, 10 % one way for one, "
        "then two cut off", "budget held, no node above its lease, all lease again, the ledger completes", hosts.hosts,
        nodes=4, rig=HostsRig),
    Row("collector", "collector SIGKILLed for {outage}, then started",
        "as for the broker; the epoch is higher", processes.collector),
    Row("standby", "active collector SIGKILLed, standby there",
        "no lease ends, takeover within 5 s, nothing lost or doubled", processes.standby, pair=True),
    Row("woken", "active collector stopped (SIGSTOP) until followed, then woken",
        "the old one is refused and stands by; no lease ends", processes.woken, pair=True),
    Row("agent", "agent SIGKILLed; `evenwatt-restore`; started again",
        "originals back, fallback before it joins, no joule twice", processes.agent),
    Row("actuator", "actuator (root) SIGKILLed, `evenwatt-restore`, started again; then its agent (nobody) SIGKILLed",
        "counting goes on; originals back, fallback before it listens; the cap is held without an agent; no joule lost",
        privileged.actuator),
    Row("hung-agent", "agent stopped (SIGSTOP), then killed as a watchdog does; started again",
        "the cap stays in the device meanwhile, no joule twice", processes.hung_agent),
    Row("power-loss", "agent SIGKILLed, the end of its spool's log cut off; started again",
        "readable again, nothing counted twice, what is missing is told", processes.power_loss),
    Row("database", "the database locked for {outage}",
        "live view and control go on, nothing acknowledged, an alarm; the ledger completes", stores.locked),
    Row("disk-full", "the database's disk full for {outage}",
        "live view and control go on, an alarm, no crash; the ledger completes", stores.full_disk),
    Row("clocks", "a node's clock stepped by +1 h, then -1 h; a restart with 1 h more of suspended time",
        "energy right; no lease lives longer or shorter by it", clocks.steps),
    Row("wrap", "a counter at its wrap",
        "energy right", counters.wrap),
    Row("vanish", "a counter's folder vanishes for some seconds, the agent restarts without it; back, and again",
        "re-baselined: no joule twice; the gap is told", counters.vanish),
    Row("reset", "a counter begins at 0 again",
        "re-baselined: nothing invented, the gap is told", counters.reset),
    Row("lies", "a counter jumps by 10 MJ, runs backwards for two seconds, stands still for three while others move",
        "nothing invented; what cannot be believed is told and bounded", counters.lies),
    Row("messages", "malformed, huge, forged, replayed, reordered and doubled messages",
        "dropped and counted; no cap changes, no joule twice", messages.rubbish),
    Row("burst", "some 1,000 windows a second of 200 invented nodes for {outage}, all ledger records five times",
        "bounded memory; leases go on; no joule twice", messages.burst),
)  # fmt: skip
