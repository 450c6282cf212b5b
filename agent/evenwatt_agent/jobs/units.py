"""Units of work that a run tells on its descriptor (``EVENWATT_UNITS_FD``), handed on to the agent. Standard library.

The protocol is that of ``evenwatt run``: lines of an amount and its unit. While no agent answers they are added up.
"""

from __future__ import annotations

import math
import re
import time
from contextlib import suppress
from typing import Final

from evenwatt_agent.task_client import TaskRefusedError, ask

_UNIT: Final = re.compile(r"[A-Za-z0-9_./%-]{1,40}")
_KINDS: Final = 16
_LINE_BYTES: Final = 4_096
_FLUSH_S: Final = 0.25
"""Reports of a run are a few seconds apart: what was done until then is told to a few percent."""
_RETRY_S: Final = 5.0


class UnitsForward:
    """Takes lines and tells the agent sums, at most four times a second.

    Args:
        socket: Where the agent listens for tasks.
        run: The run, which is a task there.
    """

    def __init__(self, socket: str, run: str) -> None:
        self._socket, self._run = socket, run
        self._rest = b""
        self._waiting: dict[str, float] = {}
        self._next_s = 0.0

    def take(self, data: bytes) -> None:
        """Take what was read from the descriptor; a line that is not of the protocol is left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LINE_BYTES]
        for line in lines:
            amount, _, unit = line.decode(errors="replace").strip().partition(" ")
            unit = unit.strip() or "units"
            with suppress(ValueError):
                number = float(amount)
                known = unit in self._waiting or len(self._waiting) < _KINDS
                if math.isfinite(number) and 0 <= number <= 1e15 and known and _UNIT.fullmatch(unit):
                    self._waiting[unit] = self._waiting.get(unit, 0.0) + number

    def flush(self) -> None:
        """Tell the agent what waits."""
        now_s = time.monotonic()
        if not self._waiting or now_s < self._next_s:
            return
        self._next_s = now_s + _FLUSH_S
        for unit, amount in list(self._waiting.items()):
            try:
                ask({"op": "units", "id": self._run, "amount": amount, "unit": unit}, self._socket)
                del self._waiting[unit]
            except (OSError, TaskRefusedError):
                self._next_s = now_s + _RETRY_S
                return

    def end(self) -> None:
        """Tell all that is left, an unfinished line included."""
        self.take(b"\n")
        self._next_s = 0.0
        self.flush()
