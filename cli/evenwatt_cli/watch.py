"""``evenwatt watch``: what happens in the fleet, line by line, for as long as it is wanted."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_cli.exits import Exit
from evenwatt_cli.live.follow import Lost, Opened, follow
from evenwatt_cli.live.lines import about, line
from evenwatt_cli.operator_settings import OperatorSettings, load
from evenwatt_cli.plain import plain
from evenwatt_cli.steer import seconds
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evenwatt_cli.live.sse import Said

HAPPENINGS: Final = ("events", "alerts", "decisions")
STATES: Final = ("zones", "nodes", "workloads", "jobs")
_NAMES: Final = {"status": ("zones",), **{name: (name,) for name in (*HAPPENINGS, *STATES)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """The call."""

    what: Sequence[str]
    after: str | None = None
    """Id of the last happening that was seen."""
    count: int | None = None
    for_: str | None = None
    as_json: bool = False
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    topics: tuple[str, ...]
    names: frozenset[str]

    def takes(self, said: Said) -> bool:
        return said.topic == "gap" or not self.names or bool(self.names & about(said))


def watch(options: WatchOptions) -> Exit:
    """Print lines until there were enough, time is over, or a signal comes: all of these are OK.

    Raises:
        Failure: the collector cannot be asked, or refuses.
    """
    for_s = None if options.for_ is None else seconds(options.for_)
    return asyncio.run(_run(load(options.config), _wish(options.what), options, for_s))


def _wish(what: Sequence[str]) -> _Wish:
    topics = [topic for word in what for topic in _NAMES.get(word, ())]
    names = frozenset(word for word in what if word not in _NAMES)
    if not topics:
        topics = [*HAPPENINGS, *(["nodes", "zones", "jobs"] if names else [])]
    return _Wish(tuple(dict.fromkeys(topics)), names)


async def _run(settings: OperatorSettings, wish: _Wish, options: WatchOptions, for_s: float | None) -> Exit:
    task = asyncio.ensure_future(_print(settings, wish, options))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError, TimeoutError):
        await asyncio.wait_for(task, for_s)
    return Exit.OK


async def _print(settings: OperatorSettings, wish: _Wish, options: WatchOptions) -> None:
    left = options.count
    async for found in follow(settings, wish.topics, options.after):
        if isinstance(found, Opened):
            continue
        if isinstance(found, Lost):
            print(f"evenwatt: {plain(found.why)}; again in {found.again_s:g} s", file=sys.stderr)
            continue
        for said in found:
            if not wish.takes(said):
                continue
            print(_document(said) if options.as_json else _line(said), flush=True)
            left = None if left is None else left - 1
            if left == 0:
                return


def _document(said: Said) -> str:
    head = {"topic": said.topic, "id": said.id, "heard_s": time.time()}
    return json.dumps({**head, "data": said.data})


def _line(said: Said) -> str:
    try:
        return line(said, time.time())
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Failure(
            f"a message about {said.topic} cannot be read; is the collector of this version?", exit_code=Exit.FAILURE
        ) from None
