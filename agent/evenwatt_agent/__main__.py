"""``evenwatt-agent``: run the agent in the foreground, as a service manager wants it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from evenwatt_agent.settings import AgentSettings, load
from evenwatt_daemon import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, Failure, run_daemon, setup_logging

if TYPE_CHECKING:
    import asyncio


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments; the manual page is made of it."""
    parser = argparse.ArgumentParser(prog="evenwatt-agent", description="Measure this node's power, obey its leases.")
    parser.add_argument("--config", metavar="FILE", help="settings (TOML); without it, defaults: measure, do not obey")
    parser.add_argument("--check", action="store_true", help="check the settings and the broker files, and exit")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; return the exit code: 0 stopped, 1 failed, 2 the settings or the machine must be changed."""
    options = make_parser().parse_args(arguments)
    try:
        settings = load(options.config)
        if options.check:
            settings.mqtt.password()
            settings.mqtt.tls()
            return EXIT_OK
    except Failure as failure:
        print(f"evenwatt-agent: {failure}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    setup_logging(settings.log.level, settings.log.style)
    return run_daemon(lambda stop: _run(settings, stop), "evenwatt-agent")


async def _run(settings: AgentSettings, stop: asyncio.Event) -> None:
    from evenwatt_agent.service import Agent  # noqa: PLC0415  (after the settings are known to be good)

    agent = Agent(settings)
    await agent.run(stop)
    if agent.begins_anew:
        text = "what measures has come, and the total is an estimate: beginning anew, so that it is counted"
        raise Failure(text, exit_code=EXIT_FAILURE)


if __name__ == "__main__":
    sys.exit(main())
