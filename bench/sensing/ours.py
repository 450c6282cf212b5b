"""The shipping sampler thread with nothing else in the process: ``ours.py SYSFS RATE_HZ SECONDS`` prints JSON."""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_agent.sampler import Sampler
from evenwatt_agent.sources import powercap

if TYPE_CHECKING:
    from evenwatt_agent.meter import Batch


def main() -> None:
    """Sample, and print what it cost: this process alone, from the first sample to the last."""
    sysfs, rate_hz, seconds = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    found = powercap.discover(sysfs)
    counted = [0, 0, 0]

    def deliver(batch: Batch) -> None:
        counted[0] += len(next(iter(batch.readings.values()), ()))
        counted[1] += batch.late
        counted[2] += len(batch.lost)

    sampler = Sampler(found.probes, 1.0 / rate_hz, deliver, "sampler")
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    sampler.start()
    threading.Event().wait(seconds)
    sampler.stop()
    after = resource.getrusage(resource.RUSAGE_SELF)
    if not counted[0] or counted[2]:
        sys.exit(f"the sampler lost readings: {counted}, problems {found.problems}")
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = {"samples": counted[0], "late": counted[1], "cpu_s": used_s, "wall_s": time.monotonic() - started}
    print(json.dumps(said | {"counters": len(found.probes)}))


if __name__ == "__main__":
    main()
