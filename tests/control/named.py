"""The controller spoken to by name: tests list their nodes, and get grants that name them."""

from dataclasses import dataclass, field
from math import inf

import numpy as np

from evenwatt_collector.control import Controller, Observations, OnLost, ZoneSpec, ZoneTree


@dataclass
class Seen:
    """An ordinary node; tests say what matters."""

    node: str
    controllable: bool = True
    power_w: float = 87.0
    peak_w: float = 87.0
    window_peak_w: float | None = None
    age_s: float = 0.5
    floor_w: float = 60.0
    ceiling_w: float = 500.0
    fallback_w: float = 150.0
    priority: int = 5
    weight: float = 1.0
    online: bool = True
    held_w: float | None = None
    zone: str = "z"
    pausable: bool = False
    paused: bool = False
    on_lost: OnLost = OnLost.FALLBACK


@dataclass
class Grant:
    node: str
    seq: int
    cap_w: float
    fallback_w: float
    ttl_s: float
    reason: str


@dataclass
class Step:
    """A decision by name; the zone's figures are the first one's."""

    decision: object
    grants: list = field(default_factory=list)
    pauses: list = field(default_factory=list)
    shares: dict = field(default_factory=dict)

    def __getattr__(self, name):
        value = getattr(self.decision, {"band": "bands", "leased_w": "most_w"}.get(name, name))
        return value if name == "waiting_w" else value[0]

    def of(self, z):
        d = self.decision
        return {"band": d.bands[z], "power_w": d.power_w[z], "most_w": d.most_w[z], "alarms": d.alarms[z]}


class Named:
    """One zone ``z`` under a budget, or the zones given with ``zones`` and ``budgets``."""

    def __init__(self, budget_w=inf, *, unmanaged_w=0.0, zones=None, limits=None, **known):
        self.tree = ZoneTree.of(zones or [ZoneSpec("z")])
        self.controller = Controller(self.tree, limits, **known)
        self.budget_w = np.full(len(self.tree), inf)
        self.unmanaged_w = np.zeros(len(self.tree))
        self.unmanaged_w[0] = unmanaged_w
        self.set_budget(budget_w)
        self.slots = {}
        self.names = []
        self.seen = Observations(4)

    @property
    def next_seq(self):
        return self.controller.next_seq

    def set_budget(self, w, zone=None):
        self.budget_w[self.tree.names.index(zone) if zone else 0] = w
        self.controller.set_limits(self.budget_w, self.unmanaged_w)

    def slot(self, name):
        if name not in self.slots:
            self.slots[name] = len(self.names)
            self.names.append(name)
            if len(self.names) > len(self.seen):
                self.seen = self.seen.grown(2 * len(self.seen))
        return self.slots[name]

    def step(self, now_s, nodes):
        self.seen.present[:] = False
        for node in nodes:
            at = self.slot(node.node)
            self.seen.present[at] = True
            self.seen.zone[at] = self.tree.names.index(node.zone)
            for name, value in vars(node).items():
                if name not in ("node", "zone"):
                    getattr(self.seen, name)[at] = np.nan if value is None else value
            if node.window_peak_w is None:
                self.seen.window_peak_w[at] = node.peak_w
        decision = self.controller.step(now_s, self.seen)
        g, why = decision.grants, decision.why
        grants = [
            Grant(self.names[s], int(q), float(c), float(f), g.ttl_s, why.text(int(s), float(c)))
            for s, q, c, f in zip(g.slot, g.seq, g.cap_w, g.fallback_w, strict=True)
        ]
        pauses = [(self.names[s], bool(p)) for s, p in zip(decision.pauses.slot, decision.pauses.pause, strict=True)]
        shares = {name: float(decision.share_w[s]) for name, s in self.slots.items() if decision.share_w[s] >= 0}
        return Step(decision, grants, pauses, shares)

    def acknowledge(self, node, seq, code, after_w, now_s):
        self.controller.acknowledge(self.slots.get(node, 10**6), seq, code, after_w, now_s)
