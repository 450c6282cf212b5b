"""A fleet that lives through a shortage, told by the real control: steering, policy and narrator."""

from evenwatt_collector.explain import explain
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.policy import PolicyRules, parse_policy
from evenwatt_collector.steering import Steering
from evenwatt_wire import Ack
from evenwatt_wire.command import Code, Op
from tests.collector.said import birth, live, state, summary

WALL_S = 1_768_392_000.0  # 2026-01-14 12:00:00 UTC
POLICY = """\
[[zones]]
name = "site"
budget_w = 3000
[[zones]]
name = "demo"
parent = "site"
budget_w = 1660
unmanaged_w = 50
  [[zones.events]]
  name = "grid request"
  start = 2026-01-14T12:02:00Z
  end = 2026-01-14T12:10:00Z
  budget_w = 900
[[zones]]
name = "lab"
parent = "site"
budget_w = 900
dry_run = true
[[classes]]
name = "serving"
nodes = ["web-*"]
priority = 8
[[classes]]
name = "batch"
nodes = ["gpu-*"]
priority = 2
pausable = true
on_lost = "hold"
"""


class Story:
    """Nodes draw what they want, under the caps they were sent; they answer and pause as agents do.

    Args:
        wants: Watts by "zone:node".
    """

    def __init__(self, wants, policy=POLICY):
        self.fleet = Fleet()
        self.steering = Steering(PolicyRules(parse_policy(policy.encode(), "policy.toml")), 0.0, 1)
        self.wants = dict(wants)
        self.caps, self.paused, self.second = {}, set(), 0
        for full in self.wants:
            zone, name = full.split(":")
            known = {"floor_w": 100.0, "ceiling_w": 600.0, "fallback_w": 200.0, "pausable": ["training"]}
            self.fleet.on_state(zone, state(name), 0.0)
            self.fleet.on_birth(zone, birth(name, **known), 0.0)

    def run(self, seconds):
        for _ in range(seconds):
            self.second += 1
            now_s = float(self.second)
            for full, watts in self.wants.items():
                zone, name = full.split(":")
                drawn_w = 90.0 if full in self.paused else min(watts, self.caps.get(full, 1e9))
                self.fleet.on_live(zone, live(name, power_w=drawn_w, seq=self.second), now_s)
                self.fleet.on_summary(zone, summary(name, paused=["training"] if full in self.paused else []))
            for sending in self.steering.step(now_s, WALL_S + now_s, self.fleet, lambda _: True, hurry=False):
                self._obey(sending.zone, sending.order, now_s)
        return self

    def _obey(self, zone, order, now_s):
        full = f"{zone}:{order.node}"
        if order.op is Op.PAUSE:
            self.paused.add(full)
        elif order.op is Op.RESUME:
            self.paused.discard(full)
        else:
            self.caps[full] = order.cap_w
            ack = Ack(order.node, "0" * 32, 1, order.seq, Code.APPLIED, "", 0, after_w=order.cap_w)
            self.steering.acknowledge(zone, ack, now_s)

    def ask(self, name, second=None):
        now_s = WALL_S + self.second
        return explain(self.steering.narrator, name, now_s if second is None else WALL_S + second, now_s)

    def told(self, name, second=None):
        return " ".join(line.strip() for line in self.ask(name, second)["lines"])
