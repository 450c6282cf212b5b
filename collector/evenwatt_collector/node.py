"""One node as the collector knows it right now. Pure: messages and the time of their arrival go in.

Everything a node says belongs to a boot, one run of its agent. Boot ids have no order, so what is newest is told by
what was heard::

    (none) --anything--> CURRENT boot
    CURRENT --anything of a boot never heard--> that boot is CURRENT, the old one is former
    CURRENT --a window of a former boot, CURRENT silent or gone--> the former one is CURRENT again
    CURRENT --windows of a former boot, CURRENT still speaking--> two agents use one name: an alarm

A ``lost`` or ``disconnected`` of any other boot than the current one is stale and changes nothing.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from evenwatt_wire import NodeSummary, Quality
from evenwatt_wire.messages import LeaseState, NodeState

if TYPE_CHECKING:
    from evenwatt_collector.control import Observations
    from evenwatt_wire import Ack, Birth, Live, State

PEAK_S: Final = 10.0
SILENT_S: Final = 3.0
"""A node silent for longer counts as what it may draw, not as what it last said."""
_FORMER_KEPT: Final = 8
_RIVAL_WINDOWS: Final = 3
"""So many windows of a former boot may be stragglers; more of them are a second agent."""
_RIVAL_S: Final = 30.0
"""How long a second agent is reported after its last sign."""
_GONE_S: Final = 10.0
"""After this much silence of the current boot a former one that speaks is believed."""
_RESYNC: Final = 5
"""So many windows below the expected number, each above the last: the numbering has begun anew."""
_PEAKS_KEPT: Final = 256
_PRESENT: Final = frozenset({NodeState.INIT, NodeState.READY})


class Heard(Enum):
    """What became of a live window."""

    TAKEN = auto()
    JUMP = auto()
    """Taken, and it came before its second was over: power has jumped."""
    STALE = auto()
    """Doubled, late, or of a former boot."""


class Node:
    """One node of one zone."""

    __slots__ = (
        "_behind",
        "_behind_seq",
        "_former",
        "_peaks",
        "_rival_windows",
        "birth",
        "boot",
        "cap_w",
        "first_total_j",
        "heard_s",
        "key",
        "lease",
        "live",
        "lost",
        "name",
        "rival_s",
        "state",
        "summary",
        "zone",
    )

    def __init__(self, zone: str, name: str, now_s: float) -> None:
        self.zone, self.name = zone, name
        self.key = zone, name
        self.rival_s = float("-inf")
        self.lost = 0
        """Live windows that never came, by the gaps in their numbers."""
        self._former: deque[str] = deque(maxlen=_FORMER_KEPT)
        self.boot = ""
        self._begin("", now_s)

    def _begin(self, boot: str, now_s: float) -> None:
        if self.boot and self.boot != boot:
            self._former.append(self.boot)
        self.boot = boot
        self.state = NodeState.INIT if boot else NodeState.DISCONNECTED  # until something is heard of it
        self.birth: Birth | None = None
        self.live: Live | None = None
        self.summary: NodeSummary | None = None
        self.heard_s = now_s
        """When the latest window arrived; before the first, when this boot was first heard of."""
        self.first_total_j = 0.0
        self.lease: LeaseState | None = None
        self.cap_w: float | None = None
        """Node cap, read back from the devices: by the latest window or acknowledgement."""
        self._peaks: deque[tuple[float, float]] = deque(maxlen=_PEAKS_KEPT)
        """Times and watts, falling: the first is the highest."""
        self._behind = self._behind_seq = self._rival_windows = 0

    # --- what is heard --------------------------------------------------------------------------------------------

    def on_state(self, state: State, now_s: float) -> bool:
        """Take a state; False if it is stale."""
        if not self._is_current(state.boot, now_s, leaving=state.state not in _PRESENT):
            return False
        self.state = state.state
        return True

    def on_birth(self, birth: Birth, now_s: float) -> bool:
        """Take an inventory; False if it is stale."""
        if not self._is_current(birth.boot, now_s):
            return False
        self.birth = birth
        return True

    def on_summary(self, summary: NodeSummary) -> bool:
        """Take the node's own summary; it tells nothing about who is newest."""
        if summary.boot != self.boot:
            return False
        self.summary = summary
        return True

    def on_live(self, live: Live, now_s: float) -> Heard:
        """Take a window: the fast path."""
        if live.boot != self.boot and not self._is_current(live.boot, now_s):
            self._notice_rival(now_s)
            return Heard.STALE
        last = self.live
        if last is None:
            self.first_total_j = live.total.total_j
        elif live.seq <= last.seq:
            if not self._is_resync(live.seq):
                return Heard.STALE
        else:
            self.lost += live.seq - last.seq - 1
        self._behind = 0
        self.live, self.heard_s = live, now_s
        self.lease, self.cap_w = live.lease.state, live.lease.cap_w
        peaks, max_w = self._peaks, live.total.max_w
        while peaks and peaks[-1][1] <= max_w:
            peaks.pop()  # what was lower and earlier cannot be the highest any more
        peaks.append((now_s, max_w))
        if self.state not in _PRESENT:
            self.state = NodeState.READY  # a will overtaken by a quick reconnection: it speaks, so it is there
        return Heard.JUMP if self.birth and live.duration_s < 0.9 * self.birth.window_s else Heard.TAKEN

    def on_ack(self, ack: Ack) -> None:
        """Take a verified acknowledgement's readback; the next window repeats it."""
        if ack.after_w is not None:
            self.cap_w = ack.after_w

    def _is_current(self, boot: str, now_s: float, *, leaving: bool = False) -> bool:
        if boot == self.boot:
            return True
        if boot in self._former:
            gone = self.state not in _PRESENT or now_s - self.heard_s > _GONE_S
            if not gone or leaving:
                return False
            self._former.remove(boot)
        elif leaving and self.boot:
            return False
        self._begin(boot, now_s)
        return True

    def _notice_rival(self, now_s: float) -> None:
        self._rival_windows += 1
        if self._rival_windows >= _RIVAL_WINDOWS:
            self.rival_s = now_s

    def _is_resync(self, seq: int) -> bool:
        self._behind = self._behind + 1 if seq > self._behind_seq or not self._behind else 1
        self._behind_seq = seq
        return self._behind >= _RESYNC

    # --- what it comes to -----------------------------------------------------------------------------------------

    @property
    def power_w(self) -> float:
        """Mean power of the latest window."""
        return self.live.total.mean_w if self.live else 0.0

    @property
    def present(self) -> bool:
        """Whether it has come and not left."""
        return self.state in _PRESENT

    @property
    def quality(self) -> Quality:
        """How its power is known."""
        return self.live.total.quality if self.live else Quality.UNKNOWN

    @property
    def at_cap(self) -> bool:
        """Whether it draws all that it may."""
        return self.cap_w is not None and self.power_w >= 0.95 * self.cap_w

    @property
    def leased_by(self) -> str | None:
        """Whose lease caps it: ``controller`` or ``operator``, whose commands have no epoch; None without one."""
        if self.live is None or self.live.lease.state is not LeaseState.LEASED:
            return None
        return "controller" if self.live.lease.epoch else "operator"

    def operator_lease(self, now_s: float) -> tuple[float, float] | None:
        """Return the cap that an operator's lease holds it at, and for how many seconds more."""
        if self.lease is not LeaseState.LEASED or self.live is None or self.live.lease.epoch or self.cap_w is None:
            return None
        return self.cap_w, max(0.0, self.live.lease.remaining_s - self.age_s(now_s))

    def age_s(self, now_s: float) -> float:
        """Time since the latest window."""
        return max(0.0, now_s - self.heard_s)

    def clock_ahead_s(self, now_s: float, wall_ms: float) -> float:
        """By how much its clock is ahead of ours, which says ``wall_ms``; 0 where it does not speak."""
        if self.live is None or not self.present or self.silent(now_s):
            return 0.0
        return (self.live.wall_ms - wall_ms) / 1e3 + self.age_s(now_s)

    def silent(self, now_s: float) -> bool:
        """Whether it ought to speak and does not."""
        return self.present and self.age_s(now_s) > SILENT_S

    def has_rival(self, now_s: float) -> bool:
        """Whether two agents use this name."""
        return now_s - self.rival_s < _RIVAL_S

    def peak_w(self, now_s: float) -> float:
        """Highest 100 ms bin of the last ten seconds."""
        while self._peaks and self._peaks[0][0] < now_s - PEAK_S:
            self._peaks.popleft()
        return self._peaks[0][1] if self._peaks else self.power_w

    @property
    def peak_until_s(self) -> float:
        """Until when that peak counts."""
        return self._peaks[0][0] + PEAK_S if self._peaks else float("inf")

    def moving(self, now_s: float, epoch: int) -> tuple[float, ...]:
        """Return what each window changes.

        Power, peak, the window's own peak, cap, when it came, until when the peak counts, number of the lease of this
        epoch and what was left of it. Only of a node that is born and has said a window.
        """
        total_w = self.live.total.max_w if self.live else 0.0
        held_w = self._held_w(self.birth) if self.birth else float("nan")
        lease = self._lease_of(epoch)
        return (self.power_w, self.peak_w(now_s), total_w, held_w, self.heard_s, self.peak_until_s, *lease)

    def _lease_of(self, epoch: int) -> tuple[int, float]:
        """Return number and rest of the lease in force, if a controller of this epoch has granted it; -1 if not."""
        lease = self.live.lease if self.live else None
        if lease is None or lease.state is not LeaseState.LEASED or lease.epoch != epoch:
            return -1, 0.0
        return lease.seq, lease.remaining_s

    def _held_w(self, birth: Birth) -> float:
        # An operator's lease hides what a controller allows, and that is in force as soon as the operator's ends.
        unknown = self.lease is LeaseState.UNMANAGED or self.leased_by == "operator"
        held_w = birth.ceiling_w if unknown else self.cap_w
        return float("nan") if held_w is None else held_w

    def write_into(self, seen: Observations, slot: int, now_s: float, epoch: int) -> None:
        """Write the node into its slot as the control core wants it; not present before its birth, or when it left."""
        birth, live = self.birth, self.live
        if birth is None or self.state is NodeState.DISCONNECTED:
            seen.present[slot] = False
            return
        seen.present[slot] = True
        seen.controllable[slot] = birth.controllable
        seen.online[slot] = self.state is not NodeState.LOST
        seen.power_w[slot] = self.power_w
        seen.peak_w[slot] = self.peak_w(now_s)
        seen.window_peak_w[slot] = live.total.max_w if live else seen.peak_w[slot]
        seen.age_s[slot] = self.age_s(now_s) if live else float("inf")
        seen.floor_w[slot], seen.ceiling_w[slot] = birth.floor_w, birth.ceiling_w
        seen.device_w[slot] = birth.ceiling_w
        seen.fallback_w[slot] = birth.fallback_w
        seen.priority[slot], seen.weight[slot] = birth.priority, birth.weight
        seen.held_w[slot] = self._held_w(birth)
        seen.lease_seq[slot], seen.lease_left_s[slot] = self._lease_of(epoch)
        seen.paused[slot] = self.summary is not None and bool(self.summary.paused)
