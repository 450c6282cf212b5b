"""``python -m evenwatt_twin SPEC.json --dir DIR [--step-ms 5]``: run a fleet of twins until SIGTERM.

Prints one line of JSON when every tree exists and the counters move. Exits 0 after SIGTERM or SIGINT, 2 when the spec
is wrong or the machines cannot be built.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenwatt_twin.errors import TwinError
from evenwatt_twin.fleet import load_fleet, run_fleet

if TYPE_CHECKING:
    from evenwatt_twin.machine import Machine, NodePlaces


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit code."""
    options = _parse(arguments)
    stop = _Stop()
    try:
        run_fleet(
            load_fleet(options.spec),
            options.dir.resolve(),
            step_ns=round(options.step_ms * 1e6),
            ready=_announce,
            stopping=stop.asked,
            replay_folder=options.spec.resolve().parent,
        )
    except (TwinError, OSError) as error:
        print(f"evenwatt_twin: {error}", file=sys.stderr)  # noqa: T201 - a command speaks
        return 2
    return 0


class _Stop:
    """Remembers that a signal asked to stop."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self._asked = True

    def asked(self) -> bool:
        return self._asked


def _announce(machines: dict[str, Machine]) -> None:
    line = {"ready": True, "machines": {name: _describe(machine.places) for name, machine in machines.items()}}
    print(json.dumps(line), flush=True)  # noqa: T201 - this line is the interface


def _describe(places: NodePlaces) -> dict[str, Any]:
    return {
        "sysfs": str(places.sysfs),
        "nvml_dir": str(places.nvml_dir) if places.nvml_dir else None,
        "nvml_state": str(places.nvml_state) if places.nvml_state else None,
        "truth": str(places.truth),
        "truth_json": str(places.truth_json),
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="evenwatt_twin", description="Simulated machines that look like hardware.")
    parser.add_argument("spec", type=Path, metavar="SPEC.json", help="which machines; see twin/README.md")
    parser.add_argument("--dir", type=Path, required=True, help="where their trees go, one folder for each")
    parser.add_argument("--step-ms", type=_milliseconds, default=5.0, help="1 to 100; 5 by default")
    return parser.parse_args(arguments)


def _milliseconds(text: str) -> float:
    value = float(text)
    if not 1.0 <= value <= 100.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100")
    return value


if __name__ == "__main__":
    sys.exit(main())
