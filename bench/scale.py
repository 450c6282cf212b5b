"""``./dev bench scale [--json] [--quick] [--only ingest|fleet|cluster|page]``: how far one collector, and several, go.

Four parts: live windows decoded, validated and folded on one core, beside bare gmqtt and ``mosquitto_sub`` on the same
bytes; fleets of light nodes at 1 Hz that a real collector steers through a real broker; a cluster that loses a broker
and a collector; the web page of a thousand nodes in Chromium. docs/benchmarks.md says what each figure means.

A part that cannot run says why, and the exit code is 1. No figure is made up for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from scaling.fleet import QUICK_SIZES, SIZES, ZONES, measure_fleets
from scaling.ingest import QUICK_ROUNDS, ROUNDS, measure_ingest

from evenwatt_daemon import EXIT_FAILURE, EXIT_OK, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("ingest", "fleet", "cluster", "page")


def main() -> int:
    """Run; return the exit code: 0 all parts were measured, 1 one was not."""
    options = _parse()
    found: dict[str, Any] = {}
    failed = {}
    for part in [options.only] if options.only else PARTS:
        print(f"scale: {part}", file=sys.stderr, flush=True)
        try:
            found |= _PARTS[part](options)
        except Failure as failure:
            failed[part] = str(failure)
        except Exception as error:  # noqa: BLE001 - the other parts are measured all the same
            traceback.print_exc()
            failed[part] = f"{type(error).__name__}: {error}"
    for part, why in failed.items():
        print(f"scale: {part} was not measured: {why}", file=sys.stderr)
    if options.json:
        print(json.dumps(found))
    else:
        print(table(found))
    return EXIT_FAILURE if failed else EXIT_OK


def _ingest(options: argparse.Namespace) -> dict[str, Any]:
    return measure_ingest(QUICK_ROUNDS if options.quick else ROUNDS)


def _fleet(options: argparse.Namespace) -> dict[str, Any]:
    sizes = tuple(options.nodes or (QUICK_SIZES if options.quick else SIZES))
    settle_s, seconds = (4.0, 8.0) if options.quick else (12.0, 20.0)
    return {"fleet": measure_fleets(sizes, settle_s, seconds, options.zones)}


def _cluster(_options: argparse.Namespace) -> dict[str, Any]:
    from scaling.cluster import measure

    return dict(measure())


def _page(_options: argparse.Namespace) -> dict[str, Any]:
    from scaling.page import measure

    return {"page": measure()}


_PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "ingest": _ingest,
    "fleet": _fleet,
    "cluster": _cluster,
    "page": _page,
}


def table(found: dict[str, Any]) -> str:
    """Return what was found for people."""
    lines = []
    if "ingest" in found:
        by = found["ingest"]
        lines += [
            f"live windows of {by['bytes_a_window']} bytes on one core, per second of its processor time:",
            f"  decoded, validated and folded {found['ingest_windows_per_s']:,}",
            f"  the same bytes, only received: gmqtt {by['gmqtt_per_s']:,} (we: {by['ratio_to_gmqtt']} of it)",
            f"  mosquitto_sub {by['mosquitto_sub_per_s']:,} (we: {by['ratio_to_mosquitto_sub']} of it)",
        ]
    if "fleet" in found:
        lines.append(" nodes  e2e p50  e2e p99  collector    RSS  us/node/s  windows/s  leases/s  status  joules apart")
        lines += [
            f"{row['nodes']:6,} {row['e2e_p50_ms']:6.0f} ms {row['e2e_p99_ms']:5.0f} ms "
            f"{row['collector_cpu_pct']:8.1f} % {row['collector_rss_mb']:4.0f} MB {row['cpu_us_per_node_s']:9.0f} "
            f"{row['windows_per_s']:10,} {row['leases_per_s']:9,} {row['status_ms']:4.0f} ms "
            f"{row['joules_apart']:12.3f}"
            for row in found["fleet"]
        ]
    rest = {name: value for name, value in found.items() if name not in ("ingest", "ingest_windows_per_s", "fleet")}
    lines += [f"{name}: {json.dumps(value)}" for name, value in rest.items()]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench scale", description="How far one collector, and several, go.")
    parser.add_argument("--json", action="store_true", help="end with one JSON object instead of tables")
    parser.add_argument("--quick", action="store_true", help="a smoke test; its figures are rough")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--nodes", type=int, action="append", help="a size of fleet, instead of the usual ones")
    parser.add_argument("--zones", type=int, default=ZONES, help="zones that a fleet is spread over")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
