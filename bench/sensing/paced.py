"""Python peers, unmodified, in their own environment: ``paced.py PEER RATE_HZ SECONDS`` prints JSON.

Imports nothing of evenwatt. One measurement per absolute deadline, as a person would who wants that rate; what is
counted is the processor time of this process between the first and the last.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Begun = tuple[Callable[[], object], int]


def codecarbon_reader() -> Begun:
    """Its RAPL reader alone: nothing of the tracker around it."""
    from codecarbon.core.cpu import IntelRAPL
    from codecarbon.core.units import Time

    reader = IntelRAPL()
    reader.start()
    duration = Time.from_seconds(0.01)
    return lambda: reader.get_cpu_details(duration), len(reader._rapl_files)  # noqa: SLF001


def pyrapl_pair() -> Begun:
    """One measurement: ``begin`` and ``end``, which read every counter twice."""
    import pyRAPL

    pyRAPL.setup()
    measurement = pyRAPL.Measurement("bench")

    def once() -> object:
        measurement.begin()
        measurement.end()
        return measurement.result

    once()
    return once, 2 * (len(measurement.result.pkg) + len(measurement.result.dram or []))


def tracker(rate_hz: float, seconds: float) -> dict[str, object]:
    """The EmissionsTracker as it is used, measuring at its own schedule; it counts its measurements itself."""
    from codecarbon import OfflineEmissionsTracker

    whole = OfflineEmissionsTracker(
        country_iso_code="DEU",
        measure_power_secs=1.0 / rate_hz,
        save_to_file=False,
        log_level="error",
        allow_multiple_runs=True,
    )
    whole.start()
    try:
        before, begun, used_s = whole._measure_occurrence, time.monotonic(), cpu_s()  # noqa: SLF001
        time.sleep(seconds)
        said = {"samples": whole._measure_occurrence - before, "cpu_s": cpu_s() - used_s}  # noqa: SLF001
        return said | {"wall_s": time.monotonic() - begun, "late": 0, "counters": 2}
    finally:
        whole.stop()


def paced(make: Callable[[], Begun], rate_hz: float, seconds: float) -> dict[str, object]:
    """Call it on absolute deadlines; a deadline that has passed is skipped."""
    once, counters = make()
    period, samples, late = 1.0 / rate_hz, 0, 0
    used_s, begun = cpu_s(), time.monotonic()
    deadline = begun
    while deadline < begun + seconds:
        time.sleep(max(0.0, deadline - time.monotonic()))
        once()
        samples += 1
        deadline += period
        missed = max(0, int((time.monotonic() - deadline) / period))
        late += missed
        deadline += missed * period
    used_s = cpu_s() - used_s
    wall_s = time.monotonic() - begun
    return {"samples": samples, "late": late, "cpu_s": used_s, "wall_s": wall_s, "counters": counters}


def cpu_s() -> float:
    """Processor seconds of this process."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def main() -> None:
    """Measure one peer."""
    peer, rate_hz, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    logging.disable(logging.WARNING)
    if peer == "tracker":
        print(json.dumps(tracker(rate_hz, seconds)))
    else:
        make = {"codecarbon": codecarbon_reader, "pyrapl": pyrapl_pair}[peer]
        print(json.dumps(paced(make, rate_hz, seconds)))


if __name__ == "__main__":
    main()
