"""``evenwatt-collector``: run a collector in the foreground, as a service manager wants it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.carbon.providers.contract import ProviderError
from evenwatt_collector.carbon.providers.secret import Secret
from evenwatt_collector.keys import check_keys
from evenwatt_collector.neighbours.settings import check_otlp
from evenwatt_collector.settings import CollectorSettings, load
from evenwatt_collector.webhook_settings import address, secret_of
from evenwatt_daemon import EXIT_OK, Failure, run_daemon, setup_logging

if TYPE_CHECKING:
    import asyncio


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments; the manual page is made of it."""
    parser = argparse.ArgumentParser(
        prog="evenwatt-collector", description="Hear a fleet, keep its account, hold its budgets."
    )
    parser.add_argument("--config", metavar="FILE", help="settings (TOML); without it, defaults: watch, do not steer")
    parser.add_argument("--check", action="store_true", help="check the settings and the files they name, and exit")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; return the exit code: 0 stopped, 1 failed, 2 the settings or the machine must be changed."""
    options = make_parser().parse_args(arguments)
    table = IntensityTable.packaged()
    try:
        settings = load(options.config, table)
        if options.check:
            return _check(settings)
    except Failure as failure:
        print(f"evenwatt-collector: {failure}", file=sys.stderr)  # noqa: T201
        return failure.exit_code
    setup_logging(settings.log.level, settings.log.style)
    return run_daemon(lambda stop: _run(settings, table, stop), "evenwatt-collector", fast_loop=True)


def _check(settings: CollectorSettings) -> int:
    check_keys(settings.keys, settings.fleet)
    for broker in (settings.mqtt, settings.sparkplug.mqtt if settings.sparkplug else None):
        if broker is not None:
            broker.password(), broker.tls()
    for webhook in settings.webhooks:
        address(webhook)
        secret_of(webhook)
    if settings.otlp is not None:
        check_otlp(settings.otlp)
    for grid in settings.grids:
        for source in grid.sources:
            for key in ("token_file", "password_file"):
                if (path := getattr(source, key, None)) is not None:
                    _check_secret(path, f"grids {grid.name}: {source.name}: {key}")
    chains = ", ".join(
        f"{grid.name} ({' > '.join([*(source.name for source in grid.sources), 'annual average'])})"
        for grid in settings.grids
    )
    print(f"ok: {len(settings.zones)} zones; grids: {chains or 'annual averages only'}")  # noqa: T201
    return EXIT_OK


def _check_secret(path: str, key: str) -> None:
    try:
        Secret(path, key).read()
    except ProviderError as error:
        raise Failure(str(error)) from None


async def _run(settings: CollectorSettings, table: IntensityTable, stop: asyncio.Event) -> None:
    from evenwatt_collector.locks import only_us  # noqa: PLC0415  (after the settings are known to be good)
    from evenwatt_collector.service import Collector  # noqa: PLC0415
    from evenwatt_collector.standby.waiting import Standby  # noqa: PLC0415

    with only_us(settings):
        if settings.standby is None:
            await Collector(settings, table).run(stop)
            return
        zones = [zone.name for zone in settings.zones]
        while not stop.is_set():
            tenure = await Standby(settings, settings.standby, zones).wait(stop)
            if tenure is not None:
                try:
                    await Collector(settings, table, tenure).run(stop)
                finally:
                    tenure.close()


if __name__ == "__main__":
    sys.exit(main())
