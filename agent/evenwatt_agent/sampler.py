"""The sampler: one thread that reads probes on absolute deadlines and hands over immutable batches.

A thread and not the event loop, because asyncio's timers cost half as much again at 100 Hz and wait for whatever else
the loop does. Deadlines are multiples of the period from the start, so that sampling does not drift; a deadline that
has passed is skipped and counted as late, never made up in a burst.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from evenwatt_agent.meter import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_agent.sources.model import Probe

    _Held = tuple[int, list[tuple[int, bytes]]]
    _Read = list[tuple[int, int]]

T = TypeVar("T")

BIN_S: Final = 0.1
_RETRY_S: Final = 5.0
"""How long a probe that failed is left alone before it is opened again."""


def read_now(probes: Sequence[Probe]) -> Batch:
    """Read every probe once between the samples of a window; whether one is lost is for its sampler to say."""
    readings: dict[str, list[tuple[int, int]]] = {}
    for probe in probes:
        with suppress(OSError, ValueError):
            readings[probe.domain.id] = [(time.monotonic_ns(), probe.read())]
    return Batch(time.monotonic_ns(), readings, 0, 0)


class Sampler:
    """Reads ``probes`` every ``period_s`` and calls ``deliver(batch)`` from its thread once per bin.

    Args:
        probes: What to read; with none, empty batches still mark the time.
        period_s: Time between samples; it is cut to fit a whole number of times into a bin.
        deliver: Called from the sampler's thread; it must hand over and return.
        name: Of the thread, for whoever looks at a stuck process.
    """

    def __init__(self, probes: Sequence[Probe], period_s: float, deliver: Callable[[Batch], None], name: str) -> None:
        self._probes: tuple[Probe, ...] = ()
        self._held: list[tuple[Probe, int]] = []
        """What is read through a descriptor, the fast path; numbers are made of it once a bin."""
        self._others: list[Probe] = []
        self.add(probes)
        self._ticks = _ticks(1 / period_s)
        self._deliver = deliver
        self._stop = threading.Event()
        self._retry_ns: dict[str, int] = {}
        """Probes that failed, and when to open them again."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin sampling."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current bin, deliver it, and end the thread; nothing is to be done for one that never began."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def set_rate(self, rate_hz: float) -> None:
        """Sample at this rate from the next bin on; may be called from any thread."""
        self._ticks = _ticks(rate_hz)

    def add(self, probes: Sequence[Probe]) -> None:
        """Read these too from the next bin on; may be called from any thread."""
        self._probes = (*self._probes, *probes)
        self._held = [(probe, probe.fd) for probe in self._probes if probe.fd is not None]
        self._others = [probe for probe in self._probes if probe.fd is None]

    def sample_once(self) -> Batch:
        """Read every probe once, now, in the caller's thread."""
        readings: dict[str, list[tuple[int, int]]] = {probe.domain.id: [] for probe in self._probes}
        lost: dict[str, str] = {}
        self._tick([(probe, probe.read, readings[probe.domain.id]) for probe in self._probes], lost)
        return Batch(time.monotonic_ns(), readings, 1, 0, lost)

    def _run(self) -> None:
        deadline = time.monotonic_ns()
        while not self._stop.is_set():
            batch, deadline = self.take_bin(deadline)
            self._deliver(batch)

    def take_bin(self, deadline: int) -> tuple[Batch, int]:
        """Sample for one bin, the first time at ``deadline`` (monotonic nanoseconds); return also the next deadline."""
        ticks = self._ticks if self._probes else 1
        held: list[_Held] = [(fd, []) for _, fd in self._held]
        slots: list[tuple[Probe, Callable[[], int], _Read]] = [(probe, probe.read, []) for probe in self._others]
        lost: dict[str, str] = {}
        period, late, failing = round(BIN_S * 1e9 / ticks), 0, self._retry_ns
        clock, sleep, pread = time.monotonic_ns, time.sleep, os.pread
        for _ in range(ticks):
            now = clock()
            if now < deadline:
                sleep((deadline - now) * 1e-9)
            elif now - deadline > period // 2:
                missed = (now - deadline) // period
                late += 1 + missed
                deadline += missed * period
            try:
                if failing:
                    self._tick_held(held, lost)
                else:
                    for fd, raw in held:
                        raw.append((clock(), pread(fd, 32, 0)))
            except OSError:
                self._tick_held(held, lost)
            if slots:
                self._tick(slots, lost)
            deadline += period
        readings = {probe.domain.id: out for probe, _, out in slots}
        for (probe, _), (_, raw) in zip(self._held, held, strict=False):  # one may have been added meanwhile
            try:
                readings[probe.domain.id] = [(t_ns, int(text)) for t_ns, text in raw]
            except ValueError as error:
                readings[probe.domain.id] = _numbers(raw)
                lost[probe.domain.id] = str(error)
                self._back_off(probe.domain.id)
        return Batch(clock(), readings, ticks * bool(self._probes), late, lost), deadline

    def _tick_held(self, held: list[_Held], lost: dict[str, str]) -> None:
        pairs = zip(self._held, held, strict=False)
        self._tick([(probe, partial(os.pread, fd, 32, 0), raw) for (probe, fd), (_, raw) in pairs], lost)

    def _tick(self, slots: Sequence[tuple[Probe, Callable[[], T], list[tuple[int, T]]]], lost: dict[str, str]) -> None:
        """Read one by one, so that a probe that fails is known and does not take the others with it."""
        clock = time.monotonic_ns
        for probe, read, out in slots:
            try:
                if self._retry_ns:
                    self._try_again(probe)
                out.append((clock(), read()))
            except (OSError, ValueError) as error:
                lost[probe.domain.id] = str(error) or type(error).__name__
                self._back_off(probe.domain.id)

    def _try_again(self, probe: Probe) -> None:
        retry_ns = self._retry_ns.get(probe.domain.id)
        if retry_ns is None:
            return
        if time.monotonic_ns() < retry_ns:
            raise OSError("waiting before it is opened again")
        probe.reopen()
        del self._retry_ns[probe.domain.id]

    def _back_off(self, identity: str) -> None:
        now = time.monotonic_ns()
        if self._retry_ns.get(identity, 0) <= now:
            self._retry_ns[identity] = now + int(_RETRY_S * 1e9)


def _numbers(raw: list[tuple[int, bytes]]) -> _Read:
    """Keep what is a number."""
    kept = []
    for t_ns, text in raw:
        with suppress(ValueError):
            kept.append((t_ns, int(text)))
    return kept


def _ticks(rate_hz: float) -> int:
    """Samples in a bin."""
    return max(1, round(BIN_S * rate_hz))
