"""Runs inputs and says what is wrong: a crash, a hang, too much memory, or a wrong accept.

Time is processor time, so that a machine with much else to do does not look like a hang.
"""

from __future__ import annotations

import re
import resource
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.fuzz.mutation import Mutator
from tests.fuzz.parser import WrongAcceptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fuzz.parser import Parser

HANG_S: Final = 1.0
"""Processor time that an input may take, and each 64 KiB of a longer one."""
MEMORY_MB: Final = 50.0
"""What one input may add to the most that the process has ever held."""
_MOST_FINDS: Final = 10
_FIGURES = re.compile(r"[0-9a-f]*[0-9][0-9a-f]*|'[^']*'|\"[^\"]*\"|`[^`]*`")


class HangError(BaseException):
    """An input took longer than :data:`HANG_S`."""


@dataclass(frozen=True, slots=True)
class Find:
    """An input that does what none may do."""

    parser: str
    what: str
    data: bytes


@dataclass(slots=True)
class Tally:
    """What a run of one parser came to."""

    parser: str
    inputs: int = 0
    accepted: int = 0
    answers: int = 0
    """Sorts of answers met."""
    seconds: float = 0.0
    most_mb: float = 0.0
    """The most that one input added to the most that the process had held."""
    finds: list[Find] = field(default_factory=list)


def explore(parser: Parser, seed: int, going: Callable[[int, float], bool]) -> Tally:
    """Run inputs while ``going(inputs, seconds)``; the seeds come first, as they are."""
    mutator = Mutator(parser.seeds, parser.form, parser.words, seed)
    tally = Tally(parser.name)
    sorts: set[str] = set()
    began_s = time.monotonic()
    given = list(parser.seeds)
    with _alarm():
        while going(tally.inputs, tally.seconds) and len(tally.finds) < _MOST_FINDS:
            data = given.pop() if given else mutator.make()
            before_mb = _most_mb()
            answer = judge(parser, data)
            grown_mb = _most_mb() - before_mb
            if grown_mb > MEMORY_MB:
                answer = ("find", "memory", f"{grown_mb:.0f} MB more for {len(data)} bytes")
            tally.inputs += 1
            tally.accepted += answer == ("accepted",)
            tally.most_mb = max(tally.most_mb, grown_mb)
            if answer[0] == "find":
                sort = _FIGURES.sub("*", " ".join(answer[1:]))
                if sort not in sorts:
                    sorts.add(sort)
                    tally.finds.append(Find(parser.name, ": ".join(answer[1:]), data))
            else:
                mutator.note(data, answer)
            if tally.inputs % 64 == 0:
                tally.seconds = time.monotonic() - began_s
    tally.seconds, tally.answers = time.monotonic() - began_s, mutator.kinds
    return tally


def judge(parser: Parser, data: bytes) -> tuple[str, ...]:
    """Run one input: ``accepted``, how it was refused, or ``find`` and what is wrong."""
    try:
        signal.setitimer(signal.ITIMER_PROF, HANG_S * max(1.0, len(data) / 65_536))
        try:
            parser.target(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except parser.refuses as error:
        return "refused", type(error).__name__, _FIGURES.sub("*", str(error)[:400])[:100]
    except WrongAcceptError as error:
        return "find", "wrong accept", str(error)[:300]
    except HangError:
        return "find", "hang", f"longer than {HANG_S:g} s of processor time"
    except RecursionError as error:
        return "find", "crash", f"RecursionError: {error}"
    except Exception as error:  # noqa: BLE001  (whatever else comes out is what is looked for)
        return "find", "crash", f"{type(error).__name__}: {error}"[:300] + _where(error)
    return ("accepted",)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" at {trace.tb_frame.f_code.co_filename.rsplit('/', 2)[-1]}:{trace.tb_lineno}" if trace else ""


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(_number: int, _frame: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _most_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
