"""A whole site in virtual time: nodes with their real checks and leases, a real controller that signs, any network."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_agent.commands import Gate, Mark
from evenwatt_agent.journal import Received
from evenwatt_agent.leases import CONTROLLER, Lease, LeaseBook
from evenwatt_collector.control import ZoneSpec
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.issuer import Issuer
from evenwatt_collector.rules import NodeRule, ZoneLimit
from evenwatt_collector.steering import Steering
from evenwatt_wire import Ack, CommandError, Key, KeyRing, LeaseInForce
from evenwatt_wire.command import Code, Op, Role
from evenwatt_wire.messages import LeaseState
from tests.collector.said import WALL_MS, birth, live, state

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RING = KeyRing([Key(KEY.public_key().public_bytes_raw().hex(), Role.CONTROLLER)])
FLOOR_W, FALLBACK_W, CEILING_W = 60.0, 100.0, 400.0
TICK_S = 0.25
WINDOW_S = 1.0
"""A window is told within this: a collector that takes over believes what nodes say that they hold."""
LONGEST_S = 18.0
"""What was granted is over after this: 2 s on its way, 10 s of a lease, 5 s of its ramp, and clocks."""


@dataclass
class Rules:
    """Zones with a budget each."""

    budgets_w: dict[str, float]
    ceilings_w: dict[str, float] = field(default_factory=dict)

    @property
    def zones(self):
        return [ZoneSpec(name) for name in self.budgets_w]

    def limits(self, _wall_s):
        return {name: ZoneLimit(budget_w=budget_w) for name, budget_w in self.budgets_w.items()}

    def node(self, _zone, name):
        return NodeRule(ceiling_w=self.ceilings_w.get(name))

    def moved(self):
        return ()


class Node:
    """An agent's checks, mark and leases; devices that do at once what they are told."""

    def __init__(self, zone, name):
        self.zone, self.name = zone, name
        self.gate = Gate("f", zone, name, RING, [], 60.0)
        self.mark, self.fallback_w = Mark(), None
        self.boots = itertools.count(1)
        self.skew_s = 0.0
        self.power_w = 390.0
        self.begin()

    def begin(self):
        """The agent starts: it knows its mark and the last fallback, and holds no lease."""
        self.boot = f"{next(self.boots):016x}"
        self.seq = 0
        self.book = LeaseBook(FALLBACK_W, managed=True, last_fallback_w=self.fallback_w)

    def cap_w(self, now_s):
        return max(FLOOR_W, self.book.target(now_s).cap_w)

    def hear(self, payload, now_s, wall_ms):
        """Take a command; return the answer, or None where the message is not for here."""
        own_ms = wall_ms + int(1000 * self.skew_s)
        try:
            received = Received(*self.gate.open(payload, retained=False), "")
        except CommandError:
            return None
        command = received.command
        try:
            late = self.gate.late(received, own_ms, synchronised=True)
            mark = self.mark.advance(command)
            if late:
                raise late
        except CommandError as error:
            return self.answer(command, Code.EXPIRED if error.code == "expired" else Code.REJECTED, now_s)
        self.mark = mark
        if command.op is Op.CAP:
            self.fallback_w = command.fallback_w
            lease = Lease(command.cap_w, command.fallback_w, now_s + command.ttl_s, command.epoch, command.seq)
            self.book.grant(CONTROLLER, lease)
        return self.answer(command, Code.APPLIED, now_s)

    def answer(self, command, code, now_s):
        return Ack(
            self.name, command.id, command.epoch, command.seq, code, "", 0, command.cap_w, None, self.cap_w(now_s)
        )

    def hear_renewal(self, payload, now_s, wall_ms):
        try:
            _, renewal = self.gate.open_renewal(
                payload, wall_ms + int(1000 * self.skew_s), retained=False, synchronised=True
            )
        except CommandError:
            return
        if not renewal.leaves_out(self.name):
            self.book.renew(renewal.epoch, renewal.seq, now_s, renewal.ttl_s)

    def birth(self):
        known = {"floor_w": FLOOR_W, "ceiling_w": CEILING_W, "fallback_w": self.book.most_fallback_w}
        return birth(self.name, boot=self.boot, **known)

    def window(self, now_s):
        self.seq += 1
        target = self.book.target(now_s)
        lease = LeaseInForce(target.state, self.cap_w(now_s), target.epoch, target.seq, target.remaining_s)
        power_w = min(self.power_w, self.cap_w(now_s))
        return live(self.name, seq=self.seq, boot=self.boot, power_w=power_w, lease=lease)


class Middle:
    """A collector from one epoch to the next."""

    def __init__(self, rules, fleet, epoch, quiet_s, now_s):
        self.rules, self.fleet, self.epoch = rules, fleet, epoch
        self.steering = Steering(rules, quiet_s, epoch)
        self.issuer = Issuer("f", epoch, KEY)
        self.hurried = False
        self.busy_until_s = now_s
        """Until then its loop does not come round."""
        self.steered = False

    def hear(self, what, zone, said, now_s):
        if what == "ack":
            if self.issuer.answered(said, now_s):
                self.hurried |= self.steering.acknowledge(zone, said, now_s)
        else:
            {"state": self.fleet.on_state, "birth": self.fleet.on_birth, "live": self.fleet.on_live}[what](
                zone, said, now_s
            )

    def step(self, now_s, wall_ms):
        """Return what it says: (kind, zone, node, payload)."""
        orders = self.steering.step(now_s, wall_ms / 1e3, self.fleet, lambda _zone: True, hurry=self.hurried)
        self.hurried = False
        self.steered = now_s >= self.steering.quiet_until_s
        said = [("renew", r.zone, None, self.issuer.renew(r, wall_ms)) for r in self.steering.renewals]
        for sending in orders:
            payload = self.issuer.sign(sending.order, now_s, wall_ms).payload
            said.append(("cmd", sending.zone, sending.order.node, payload))
        return said

    def out_w(self, nodes, now_s):
        """Return what each node counts as; infinite without an account."""
        accounts = self.steering._controller.accounts
        out_w = np.where(accounts.open, accounts.outstanding(now_s), np.inf)
        slots = [self.steering.slot(node.zone, node.name) for node in nodes]
        return [np.inf if slot is None or slot >= len(out_w) else float(out_w[slot]) for slot in slots]


class Site:
    """Nodes, collectors and what is on its way between them."""

    def __init__(self, rng, zones=("a", "b"), names=("0", "1")):
        self.rng, self.now_s, self.wall_off_s = rng, 0.0, 0.0
        prefixes = zones if len(zones) > 1 else ("",)
        made = [Node(zone, before + name) for zone, before in zip(zones, prefixes, strict=True) for name in names]
        self.nodes = {node.name: node for node in made}
        self.rules = Rules(dict.fromkeys(zones, 300.0 * len(names)))
        self.queue, self.ties = [], itertools.count()
        self.loss = dict.fromkeys(("cmd", "renew", "ack", "live"), 0.0)
        self.delay_s = (0.0, 0.2)
        self.double = 0.0
        self.asleep = {}
        """Until when a node's machine is suspended: it says nothing, and hears what has come when it wakes."""
        self.deaf, self.said_s = set(), {}
        self.middle = self.dead_s = None
        self.epoch = 0
        self.next_epoch(quiet_s=0.5)
        self.budgets = []

    # --- what happens ---------------------------------------------------------------------------------------------

    def next_epoch(self, quiet_s):
        """A collector takes over: it has heard what the one before it heard."""
        self.epoch += 1
        fleet = self.middle.fleet if self.middle else Fleet()
        self.middle, self.dead_s = Middle(self.rules, fleet, self.epoch, quiet_s, self.now_s), None
        for node in self.nodes.values():
            self.join(node)

    def join(self, node):
        for what, said in (("state", state(node.name, boot=node.boot)), ("birth", node.birth())):
            self.send(what, node.zone, node.name, said)

    def send(self, kind, zone, name, what):
        if self.rng.random() < self.loss.get(kind, 0.0):
            return
        for _ in range(1 + (self.rng.random() < self.double)):
            at_s = self.now_s + self.rng.uniform(*self.delay_s)
            if kind in ("state", "birth", "live"):  # what a node says of itself comes in order, and soon or not at all
                at_s = min(at_s, self.now_s + WINDOW_S)
                at_s = self.said_s[name] = max(at_s, self.said_s.get(name, 0.0))
            heapq.heappush(self.queue, (at_s, next(self.ties), kind, zone, name, what))

    def wall_ms(self):
        return WALL_MS + int(1000 * (self.now_s + self.wall_off_s))

    def real_ms(self):
        return WALL_MS + int(1000 * self.now_s)

    def run(self, seconds):
        until_s = self.now_s + seconds
        while self.now_s < until_s - 1e-9:
            self.now_s += TICK_S
            self.tick()

    def tick(self):
        self.deliver()
        if self.now_s % 1.0 == 0:
            for node in self.nodes.values():
                if self.asleep.get(node.name, 0.0) <= self.now_s:
                    self.send("live", node.zone, node.name, node.window(self.now_s))
        middle = self.middle
        if middle is not None and middle.busy_until_s <= self.now_s:
            for kind, zone, name, payload in middle.step(self.now_s, self.wall_ms()):
                hearers = [name] if name else [n.name for n in self.nodes.values() if n.zone == zone]
                for hearer in hearers:
                    self.send(kind, zone, hearer, payload)
        self.budgets.append((self.now_s, dict(self.rules.budgets_w)))
        while self.budgets[0][0] < self.now_s - LONGEST_S:
            self.budgets.pop(0)
        self.check()

    def deliver(self):
        put_back = []
        while self.queue and self.queue[0][0] <= self.now_s:
            entry = heapq.heappop(self.queue)
            _, _, kind, zone, name, what = entry
            node = self.nodes[name]
            if kind in ("cmd", "renew"):
                if self.asleep.get(name, 0.0) > self.now_s:
                    put_back.append(entry)
                elif kind == "renew":
                    node.hear_renewal(what, self.now_s, self.real_ms())
                elif name not in self.deaf:
                    ack = node.hear(what, self.now_s, self.real_ms())
                    if ack is not None:
                        self.send("ack", zone, name, ack)
            elif self.middle is not None:
                if self.middle.busy_until_s > self.now_s:
                    put_back.append(entry)
                else:
                    self.middle.hear(kind, zone, what, self.now_s)
        for entry in put_back:
            heapq.heappush(self.queue, entry)

    # --- what has to hold -----------------------------------------------------------------------------------------

    def check(self):
        """No node may hold more than it is counted with, and no zone more than the highest budget of late."""
        nodes = list(self.nodes.values())
        caps_w = [node.cap_w(self.now_s) for node in nodes]
        steered = self.middle is not None and self.middle.steered
        outs_w = self.middle.out_w(nodes, self.now_s) if steered else [np.inf] * len(nodes)
        for node, cap_w, out_w in zip(nodes, caps_w, outs_w, strict=True):
            assert cap_w <= out_w + 1e-6, (
                f"{node.name} may draw {cap_w:.0f} W and counts as {out_w:.0f} W at {self.now_s} s: "
                f"{node.book.target(self.now_s)}"
            )
        for zone in self.rules.budgets_w:
            held_w = sum(cap_w for node, cap_w in zip(nodes, caps_w, strict=True) if node.zone == zone)
            budget_w = max(budgets[zone] for _, budgets in self.budgets)
            assert held_w <= budget_w + 1e-6, f"zone {zone}: {held_w:.0f} W of {budget_w:.0f} W at {self.now_s} s"

    def heal(self):
        """Everything works again; what nodes had said and nobody heard is said anew."""
        self.loss, self.delay_s, self.double = dict.fromkeys(self.loss, 0.0), (0.0, 0.2), 0.0
        self.deaf.clear()
        self.said_s.clear()
        self.asleep.clear()
        self.queue = [entry for entry in self.queue if entry[2] in ("cmd", "renew", "ack")]
        heapq.heapify(self.queue)
        self.wall_off_s, self.middle.busy_until_s = 0.0, self.now_s
        for node in self.nodes.values():
            node.skew_s = 0.0
            self.join(node)

    def override(self, name, ceiling_w):
        """A person sets a node's ceiling, or takes it back."""
        self.rules.ceilings_w.pop(name, None)
        if ceiling_w is not None:
            self.rules.ceilings_w[name] = ceiling_w
        self.middle.steering.use(self.rules)

    def take_over(self):
        """The collector dies, and the next one takes over when nothing was seen of it for 2.5 s."""
        middle, self.middle = self.middle, None
        self.run(2.5)
        self.middle = middle
        self.next_epoch(quiet_s=2.0)

    def all_settled(self):
        """Whether every node holds a lease of the present collector."""
        targets = [node.book.target(self.now_s) for node in self.nodes.values()]
        return all(t.state is LeaseState.LEASED and t.epoch in (0, self.epoch) for t in targets)
