"""A switch in user space: one TAP for each host, frames forwarded by their addresses over impaired lines.

``python -m tests.chaos.hosts_switch SEED TAP...`` makes the TAPs and prints a line. From then on each line on its input
is one JSON object, answered by one: ``{"port": 0, "way": "out" | "in", "cut": bool, **impairment}``. With the end of
its input it ends, and its TAPs with it.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import sys
import time
from contextlib import suppress

from tests.chaos.hosts_line import Impairment, Line

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_QUEUE = 1000
"""Frames under way at most, as with ``netem``."""
_FRAME_BYTES = 65_536


class Table:
    """Which address is behind which port, learned from what is sent."""

    def __init__(self, ports):
        self._ports, self._behind = ports, {}

    def targets(self, port, frame):
        """Return the ports that a frame goes to."""
        to, source = frame[:6], frame[6:12]
        self._behind[source] = port
        known = None if to[0] & 1 else self._behind.get(to)
        if known is None:
            return [other for other in range(self._ports) if other != port]
        return [known] if known != port else []


class Switch:
    """Its TAPs, its lines, and what is under way."""

    def __init__(self, names, seed):
        self.taps = [_tap(name) for name in names]
        self.table = Table(len(names))
        chances = random.Random(seed)
        self.lines = {
            (port, way): Line(random.Random(chances.random())) for port in range(len(names)) for way in ("out", "in")
        }
        self.under_way, self.count = [], 0

    def set(self, port, way, cut, **impairment):
        line = self.lines[port, way]
        line.cut, line.impairment = cut, Impairment(**impairment)

    def take(self, port, now_s):
        """Read all frames of a port."""
        with suppress(BlockingIOError):
            while frame := os.read(self.taps[port], _FRAME_BYTES):
                for due_s in self.lines[port, "out"].due(now_s, len(frame)):
                    self._queue(due_s, port, None, frame)

    def move(self, now_s):
        """Bring on what is due; return the seconds until the next frame is, or None."""
        while self.under_way and self.under_way[0][0] <= now_s:
            _, _, port, to, frame = heapq.heappop(self.under_way)
            if to is not None:
                self._deliver(to, frame)
                continue
            for target in self.table.targets(port, frame):
                for due_s in self.lines[target, "in"].due(now_s, len(frame)):
                    self._queue(due_s, port, target, frame)
        return max(0.0, self.under_way[0][0] - now_s) if self.under_way else None

    def _deliver(self, to, frame):
        if not self.lines[to, "in"].cut:
            with suppress(OSError):  # an interface that is down takes nothing
                os.write(self.taps[to], frame)

    def _queue(self, due_s, *frame):
        if len(self.under_way) < _QUEUE * len(self.taps):
            self.count += 1
            heapq.heappush(self.under_way, (due_s, self.count, *frame))


def _tap(name):
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return file


def main(seed, names):
    switch = Switch(names, int(seed))
    wake = selectors.DefaultSelector()
    wake.register(sys.stdin, selectors.EVENT_READ)
    for port, tap in enumerate(switch.taps):
        wake.register(tap, selectors.EVENT_READ, port)
    print("{}", flush=True)
    wait_s = None
    while True:
        for key, _ in wake.select(wait_s):
            if key.data is not None:
                switch.take(key.data, time.monotonic())
            elif line := sys.stdin.readline():
                switch.set(**json.loads(line))
                print("{}", flush=True)
            else:
                return
        wait_s = switch.move(time.monotonic())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
