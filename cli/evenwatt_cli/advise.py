"""``evenwatt advise``: ask the collector whether to start now or later, and wait if that is wanted.

Work comes first. If the collector cannot be asked, or answers with anything but advice, that is said on standard error
and the work starts; while waiting, the latest advice holds until there is a newer one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import httpx

from evenwatt_cli.advice import Advice, Verdict, Wish, as_document, describe, judge, read_advice
from evenwatt_cli.asking import authorisation
from evenwatt_cli.exits import Exit
from evenwatt_cli.operator_settings import load
from evenwatt_collector.jobs.times import duration_s, moment_s
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import time as daytime
    from pathlib import Path

    from evenwatt_cli.operator_settings import OperatorSettings

_PATIENCE_S: Final = 5.0
"""How long the collector may take."""
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


@dataclass(frozen=True, slots=True)
class AdviseOptions:
    """What was asked for."""

    length: str
    deadline: str
    earliest: str | None
    interruptible: bool
    zones: str | None
    power_w: float | None
    name: str
    since: Path | None
    every: str
    sleep: bool
    command: Sequence[str]
    as_json: bool
    at_exit: bool
    config: Path | None


class _NoAdviceError(Exception):
    """There is none; the text says why."""


def advise(options: AdviseOptions) -> int:
    """Say whether to start now; with ``sleep`` wait until it is time, and become the command if there is one.

    Returns:
        0 if it is time to start, 10 if not.

    Raises:
        Failure: the call or the settings must be changed, or the command cannot be run.
    """
    if options.command and not options.sleep:
        raise Failure("a command after `--` is run when its time has come: say --sleep as well")
    if options.command and options.as_json:
        raise Failure("--json and a command would share standard output; leave one of them out")
    settings = load(options.config)
    wish = _wish(options, settings.zone)
    every_s = _read(duration_s, options.every, "--every")
    if options.sleep:
        return _wait(options, wish, settings, every_s)
    advice, trouble = _ask_or_say(settings, wish)
    now_s = time.time()
    verdict = judge(wish, advice, now_s, margin_s=every_s, trouble=trouble)
    _show(options, wish, verdict, now_s)
    if not verdict.start and options.deadline.strip().startswith("+") and not (options.since or options.at_exit):
        print(
            f"evenwatt: --deadline {options.deadline} counts from each time of asking; in a loop give a moment, or "
            "--since FILE",
            file=sys.stderr,
        )
    return Exit.OK if verdict.start else Exit.WAIT


def _wish(options: AdviseOptions, zone: str) -> Wish:
    from_s = _since(options.since) if options.since else time.time()
    length_s = _read(duration_s, options.length, "--length")
    deadline_s = _moment(options.deadline, from_s, "--deadline")
    earliest_s = _moment(options.earliest, from_s, "--earliest") if options.earliest else None
    if earliest_s is not None and earliest_s + length_s > deadline_s:
        raise Failure(
            f"--earliest {options.earliest} and --length {options.length} end after --deadline {options.deadline}; "
            "give it more time, or less to do"
        )
    zones = tuple(name.strip() for name in (options.zones or zone).split(",") if name.strip())
    return Wish(options.name, length_s, deadline_s, earliest_s, options.interruptible, zones, options.power_w)


def _since(path: Path) -> float:
    """Return when a file was last written; if there is none it is made, and the time begins now."""
    try:
        if not path.exists():
            path.touch()
        return path.stat().st_mtime
    except OSError as error:
        raise Failure(f"--since {path}: {error.strerror}; name a file in a folder that this user may write") from None


def _moment(text: str, from_s: float, option: str) -> float:
    try:
        return _next(datetime.strptime(text.strip(), "%H:%M").time(), from_s)  # noqa: DTZ007 (this machine's clock)
    except ValueError:
        return _read(lambda said: moment_s(said, from_s), text, option)


def _next(clock: daytime, from_s: float) -> float:
    """Return when this machine's clock next shows a time of day."""
    day = datetime.fromtimestamp(from_s).astimezone().date()
    for later in range(3):
        at_s = datetime.combine(day + timedelta(days=later), clock).astimezone().timestamp()
        if at_s > from_s:
            return at_s
    return from_s  # no clock stands still for two days


def _read(read: Callable[[str], float], text: str, option: str) -> float:
    try:
        return read(text)
    except ValueError as error:
        raise Failure(f"{option} {text!r}: {error}") from None


def _ask(settings: OperatorSettings, wish: Wish) -> Advice:
    url = settings.collector_url
    try:
        answer = httpx.post(
            f"{url}/api/v1/advise", json=wish.job(), headers=authorisation(settings), timeout=_PATIENCE_S
        )
    except (httpx.HTTPError, httpx.InvalidURL, Failure) as error:
        raise _NoAdviceError(f"no advice from {url}: {str(error) or type(error).__name__}") from None
    if answer.status_code != httpx.codes.OK:
        said = " ".join(answer.text.split())[:300]
        raise _NoAdviceError(f"no advice from {url}: it answered {answer.status_code}: {said}")
    try:
        return read_advice(answer.json())
    except ValueError as error:
        raise _NoAdviceError(f"no advice from {url}: {error}") from None


def _ask_or_say(settings: OperatorSettings, wish: Wish) -> tuple[Advice | None, str]:
    if time.time() >= wish.latest_start_s:
        return None, ""  # nobody could say anything else than now
    try:
        return _ask(settings, wish), ""
    except _NoAdviceError as error:
        print(f"evenwatt: {error}; work comes first", file=sys.stderr)
        return None, "nobody advised"


def _wait(options: AdviseOptions, wish: Wish, settings: OperatorSettings, every_s: float) -> int:
    """Ask, sleep and ask again until it is time; the latest advice holds while there is no newer one."""
    advice: Advice | None = None
    said: tuple[int, bool] | None = None
    while True:
        newer, trouble = _ask_or_say(settings, wish)
        advice = newer or advice
        now_s = time.time()
        verdict = judge(wish, advice, now_s, margin_s=0.0, trouble=trouble)
        if verdict.start:
            break
        answer = (round(verdict.at_s / 60), newer is not None)
        if answer != said and not options.at_exit:
            print(describe(wish, verdict, now_s), file=sys.stderr)
        said = answer
        # Wall time may be set and machines sleep: never further than one asking ahead.
        time.sleep(max(0.0, min(verdict.at_s - now_s, every_s, max(wish.latest_start_s - now_s, 0.05))))
    if options.command:
        if not options.at_exit:
            print(describe(wish, verdict, now_s), file=sys.stderr)
        _become(options.command)
    _show(options, wish, verdict, now_s)
    return Exit.OK


def _show(options: AdviseOptions, wish: Wish, verdict: Verdict, now_s: float) -> None:
    if options.as_json:
        print(json.dumps(as_document(wish, verdict, now_s)))
    elif not options.at_exit:
        print(describe(wish, verdict, now_s))


def _become(command: Sequence[str]) -> None:
    """Replace this process: signals, exit code and standard streams are the command's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(command[0], list(command))  # noqa: S606  (it is what was asked for)
    except OSError as error:
        code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        raise Failure(f"{command[0]}: {error.strerror}; name a command that can be run", exit_code=code) from None
