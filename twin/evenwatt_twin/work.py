"""A batch program for a twin: ``python3 work.py --guests DIR --amount N``. Standard library only, run by its path.

It works on the simulated machine whose ``guests`` folder it is given, so how fast it is follows the power that the
machine's cap leaves. It keeps the conventions of runs on command: it tells its units on ``EVENWATT_UNITS_FD``, saves
how far it is in ``EVENWATT_STATE_DIR`` when SIGTERM asks it to, and goes on from there with ``EVENWATT_RESUME=1``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

_LOOK_S = 0.2
_COME_S = 10.0
"""A machine that has not begun to serve after so long is not there."""


class Work:
    """So many units, done at the speed of the machine."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._claim = options.guests / f"{os.getpid()}.json"
        self._done = options.guests / f"{os.getpid()}.work"
        self._state = Path(os.environ.get("EVENWATT_STATE_DIR", ".")) / "units"
        self._units_fd = int(os.environ.get("EVENWATT_UNITS_FD", "-1"))
        self._asked_to_save = False
        signal.signal(signal.SIGTERM, self._note)

    def run(self) -> int:
        """Work until all is done or the state is to be saved; return the exit code."""
        before = self._kept()
        left = self._options.amount - before
        _say(f"{'going on at' if before else 'beginning at'} {before:.0f} of {self._options.amount:.0f}")
        self._register()
        done = told = 0.0
        try:
            while done < left and not self._asked_to_save:
                time.sleep(_LOOK_S)
                done = min(left, self._served_s() * self._options.units_per_s)
                told = self._tell(done, told)
        finally:
            self._claim.unlink()
        self._tell(done, told)
        if self._asked_to_save and done < left:
            self._keep(before + done)
        _say(f"stopping at {before + done:.0f} of {self._options.amount:.0f}")
        return 0

    def _note(self, _number: int, _frame: object) -> None:
        self._asked_to_save = True

    def _register(self) -> None:
        draft = self._claim.with_suffix(".new")
        draft.write_text(json.dumps({"load": self._options.load, "sensitivity": self._options.sensitivity}))
        draft.rename(self._claim)
        deadline_s = time.monotonic() + _COME_S
        while not self._done.exists():
            if time.monotonic() > deadline_s:
                sys.exit(f"no machine looks at {self._options.guests}")
            time.sleep(0.02)

    def _served_s(self) -> float:
        """Return what the machine has done for us so far, in seconds of its full speed."""
        return int(self._done.read_bytes()) / 1e6

    def _tell(self, done: float, told: float) -> float:
        if self._units_fd >= 0 and done > told:
            os.write(self._units_fd, f"{done - told:.6f} {self._options.unit}\n".encode())
        return done

    def _kept(self) -> float:
        if os.environ.get("EVENWATT_RESUME") != "1" or not self._state.exists():
            return 0.0
        return float(self._state.read_text())

    def _keep(self, units: float) -> None:
        draft = self._state.with_suffix(".new")
        draft.write_text(f"{units:.6f}\n")
        draft.rename(self._state)


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - a command speaks


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Work on a simulated machine.")
    parser.add_argument("--guests", type=Path, required=True, help="the machine's folder of that name")
    parser.add_argument("--amount", type=float, required=True, help="units of work in all")
    parser.add_argument("--unit", default="units", help="what they are called")
    parser.add_argument("--units-per-s", type=float, default=1.0, help="at the machine's full speed")
    parser.add_argument("--load", type=float, default=1.0, help="share of the machine that it asks for")
    parser.add_argument("--sensitivity", type=float, default=1.0, help="how much it feels the machine's clocks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(Work(_parse()).run())
