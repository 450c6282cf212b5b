"""``evenwatt-actuator``: run the actuator in the foreground, as a service manager wants it."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_agent.settings import AgentSettings, load, read_limits
from evenwatt_daemon import EXIT_USAGE, Failure, run_daemon, setup_logging

if TYPE_CHECKING:
    import asyncio


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments; the manual page is made of it."""
    parser = argparse.ArgumentParser(
        prog="evenwatt-actuator", description="Hold this machine's power limits, on signed commands only."
    )
    parser.add_argument("--config", metavar="FILE", required=True, help="the agent's settings (TOML)")
    parser.add_argument("--check", action="store_true", help="check whether it is to run here, and could; then exit")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; return the exit code: 0 stopped, 1 failed, 2 the settings or the machine must be changed."""
    options = make_parser().parse_args(arguments)
    try:
        settings = _load(options.config)
    except Failure as failure:
        print(f"evenwatt-actuator: {failure}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    if options.check:
        return 0
    setup_logging(settings.log.level, settings.log.style)
    return run_daemon(lambda stop: _run(settings, stop), "evenwatt-actuator")


def _load(path: str) -> AgentSettings:
    """Read settings that nobody but root can have written, and check what they name."""
    settings = load(path)
    if not settings.by_actuator:
        raise Failure(
            f"{path}: key 'control.process' is {settings.control.process!r}: the agent holds limits itself here; "
            f"set it to 'actuator', or leave this program off"
        )
    for file in (path, settings.control.limits, settings.control.root):
        if file is not None:
            _check_owner(Path(file))
    from evenwatt_agent.actuator.service import user_id  # noqa: PLC0415  (after the settings are known to be good)
    from evenwatt_agent.keys import NodeKeys  # noqa: PLC0415
    from evenwatt_agent.memory import Memory  # noqa: PLC0415

    user_id(settings.actuator.user)
    read_limits(settings.control)
    NodeKeys(settings, Memory(":memory:"))
    return settings


def _check_owner(path: Path) -> None:
    """Refuse a file that says what may be done here and that somebody but root may write."""
    try:
        found = path.stat()
    except OSError:
        return  # whoever reads it says so
    if os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise Failure(
            f"{path}: may be written by others than root (user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}), "
            f"which would let them change what is held here; chown root {path} && chmod go-w {path}"
        )


async def _run(settings: AgentSettings, stop: asyncio.Event) -> None:
    from evenwatt_agent.actuator.service import Actuator  # noqa: PLC0415

    await Actuator(settings).run(stop)


if __name__ == "__main__":
    sys.exit(main())
