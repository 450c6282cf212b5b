"""A small plant in a closed loop with the zone controller, under virtual time in ticks of 10 ms."""

import random
from collections import deque
from dataclasses import dataclass, field

from tests.control.model import LeaseClock, Network
from tests.control.named import Named, Seen

TICK_S = 0.01
RISE_S = 0.25
DEVICE_DELAY_S = 0.1
IDLE_W, BURST_W = 87.0, 500.0


@dataclass
class Machine:
    """Idle or bursting; the device takes a cap 100 ms after the agent got it. Windows of 1 s, bins of 100 ms."""

    clock: LeaseClock
    load_w: float = IDLE_W
    device_w: float = 0.0
    power_w: float = IDLE_W
    wanted_j: float = 0.0
    done_j: float = 0.0
    pending: deque = field(default_factory=deque)
    bin_j: float = 0.0
    bins: deque = field(default_factory=lambda: deque([IDLE_W] * 100, 100))

    def tick(self, now, want_w, *, capped):
        slew = (BURST_W - IDLE_W) * TICK_S / RISE_S
        self.load_w = min(want_w, self.load_w + slew) if want_w > self.load_w else max(want_w, self.load_w - slew)
        while self.pending and self.pending[0][0] <= now:
            self.device_w = self.pending.popleft()[1]
        cap = min(self.device_w, self.clock.cap_at(now)) if self.clock.ends_s < now else self.device_w
        self.power_w = min(self.load_w, cap) if capped else self.load_w
        self.wanted_j += (self.load_w - IDLE_W) * TICK_S
        self.done_j += (self.power_w - IDLE_W) * TICK_S
        self.bin_j += self.power_w * TICK_S

    def close_bin(self):
        self.bins.append(self.bin_j / 0.1)
        self.bin_j = 0.0


@dataclass
class Plant:
    """Eight machines, a network that delays 50-300 ms and loses 5 %, and the controller each second."""

    seed: int
    budget_w: float
    capped: bool = True
    machines: list = field(init=False)
    trace: list = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self):
        self.rng = random.Random(self.seed)
        self.down = Network(self.rng, 0.05, (0.05, 0.3))
        self.up = Network(self.rng, 0.05, (0.05, 0.3))
        self.machines = [Machine(LeaseClock(f"n{i}", 80, 150), device_w=150) for i in range(8)]
        self.zone = Named(self.budget_w)
        self.known = {}
        self.steps = 0
        self.last_step = -1.0
        self.decision = None

    def run(self, seconds, want, *, budgets=None):
        """``want(i, now)`` is machine i's load; ``budgets`` maps a time to a new budget."""
        for _ in range(round(seconds / TICK_S)):
            tick = round(self.now / TICK_S)
            if budgets and tick in {round(at / TICK_S) for at in budgets}:
                self.budget_w = budgets[round(self.now, 6)]
                self.zone.set_budget(self.budget_w)
                self._step()
            for machine_number, machine in enumerate(self.machines):
                machine.tick(self.now, want(machine_number, self.now), capped=self.capped)
                if tick % 10 == 9:
                    machine.close_bin()
                if tick % 100 == (13 * machine_number) % 100:
                    self._publish(machine)
            if self.capped:
                self._network()
                if tick % 100 == 50:
                    self._step()
            self.trace.append(sum(machine.power_w for machine in self.machines))
            self.now = round(self.now + TICK_S, 6)

    def _publish(self, machine):
        bins = list(machine.bins)
        self.up.send(self.now, ("live", machine.clock.name, sum(bins[-10:]) / 10, max(bins), max(bins[-10:])))

    def _network(self):
        for at, (grant, sent) in self.down.due(self.now):
            machine = self.machines[int(grant.node[1:])]
            after = machine.clock.receive(grant, sent, at)
            if after is not None:
                machine.pending.append((self.now + DEVICE_DELAY_S, after))
                # The answer leaves when the device has been read back.
                self.up.send(self.now + DEVICE_DELAY_S, ("ack", grant.node, grant.seq, after))
        raised = False
        for _, message in self.up.due(self.now):
            if message[0] == "live":
                self.known[message[1]] = (self.now, *message[2:])
            else:
                self.zone.acknowledge(message[1], message[2], "applied", message[3], self.now)
                raised = True
        if raised and self.decision and self.decision.waiting_w and self.now - self.last_step > 0.1:
            self._step()

    def _step(self):
        nodes = []
        for machine in self.machines:
            at, mean, peak, latest = self.known.get(machine.clock.name, (-9.0, IDLE_W, IDLE_W, IDLE_W))
            nodes.append(
                Seen(
                    machine.clock.name, power_w=mean, peak_w=peak, window_peak_w=latest, age_s=self.now - at,
                    floor_w=80, fallback_w=150,
                )
            )  # fmt: skip
        self.decision = self.zone.step(self.now, nodes)
        self.steps, self.last_step = self.steps + 1, self.now
        for grant in self.decision.grants:
            self.down.send(self.now, (grant, self.now))

    def peak_w(self, since=0.0):
        return max(self.trace[round(since / TICK_S) :])

    def over_ws(self, since=0.0):
        return sum(max(0.0, power - self.budget_w) for power in self.trace[round(since / TICK_S) :]) * TICK_S

    def work(self):
        return sum(m.done_j for m in self.machines) / max(1e-9, sum(m.wanted_j for m in self.machines))
