"""``evenwatt-collector``: run a collector in the foreground, as a service manager wants it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.keys import load_keys
from evenwatt_collector.settings import CollectorSettings, load
from evenwatt_daemon import EXIT_OK, Failure, run_daemon, setup_logging

if TYPE_CHECKING:
    import asyncio


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; return the exit code: 0 stopped, 1 failed, 2 the settings or the machine must be changed."""
    parser = argparse.ArgumentParser(
        prog="evenwatt-collector", description="Hear a fleet, keep its account, hold its budgets."
    )
    parser.add_argument("--config", metavar="FILE", help="settings (TOML); without it, defaults: watch, do not steer")
    parser.add_argument("--check", action="store_true", help="check the settings and the files they name, and exit")
    options = parser.parse_args(arguments)
    table = IntensityTable.packaged()
    try:
        settings = load(options.config, table)
        if options.check:
            return _check(settings)
    except Failure as failure:
        print(f"evenwatt-collector: {failure}", file=sys.stderr)  # noqa: T201
        return failure.exit_code
    setup_logging(settings.log.level, settings.log.style)
    return run_daemon(lambda stop: _run(settings, table, stop), "evenwatt-collector")


def _check(settings: CollectorSettings) -> int:
    load_keys(settings.keys)
    settings.mqtt.password()
    settings.mqtt.tls()
    return EXIT_OK


async def _run(settings: CollectorSettings, table: IntensityTable, stop: asyncio.Event) -> None:
    from evenwatt_collector.service import Collector  # noqa: PLC0415  (after the settings are known to be good)

    await Collector(settings, table).run(stop)


if __name__ == "__main__":
    sys.exit(main())
