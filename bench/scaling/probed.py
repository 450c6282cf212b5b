"""The shipping collector with a clock held to it: ``python bench/scaling/probed.py FILE -- COLLECTOR ARGUMENTS``.

Nothing of it is replaced. Each call of ``Fleet.on_live`` is followed by a note of how long ago its window ended, which
works because bench and nodes share one monotonic clock. SIGUSR1 begins a measurement, SIGUSR2 writes it to FILE.
``EVENWATT_PROFILE=PATH`` also keeps a cProfile of the whole run.
"""

from __future__ import annotations

import cProfile
import json
import os
import signal
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from evenwatt_collector.__main__ import main
from evenwatt_collector.fleet import Fleet


class Probe:
    """Ages of windows when they were in the fleet."""

    def __init__(self, path: Path) -> None:
        self._path, self._ages_s = path, array("d")
        self._fold = Fleet.on_live

    def on_live(self, fleet: Fleet, zone: str, live: Any, now_s: float) -> Any:
        """Fold a window and note its age."""
        heard = self._fold(fleet, zone, live, now_s)
        self._ages_s.append(time.monotonic() - live.end_mono_ns / 1e9)
        return heard

    def begin(self, *_: object) -> None:
        """Forget what was noted."""
        del self._ages_s[:]

    def write(self, *_: object) -> None:
        """Write what was noted."""
        ages_s = sorted(self._ages_s)
        count = len(ages_s)
        said = {"windows": count} | {
            f"p{share}_ms": round(1e3 * ages_s[min(count - 1, int(share / 100 * count))], 1) if count else None
            for share in (50, 99, 100)
        }
        self._path.with_suffix(".new").write_text(json.dumps(said))
        self._path.with_suffix(".new").replace(self._path)


def run() -> int:
    """Run the collector."""
    probe = Probe(Path(sys.argv[1]))

    def on_live(fleet: Fleet, zone: str, live: Any, now_s: float) -> Any:
        return probe.on_live(fleet, zone, live, now_s)

    Fleet.on_live = on_live  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, probe.begin)
    signal.signal(signal.SIGUSR2, probe.write)
    arguments = sys.argv[3:]
    profile = os.environ.get("EVENWATT_PROFILE")
    if profile is None:
        return main(arguments)
    watching = cProfile.Profile(time.process_time)
    try:
        return watching.runcall(main, arguments)
    finally:
        watching.dump_stats(profile)


if __name__ == "__main__":
    sys.exit(run())
