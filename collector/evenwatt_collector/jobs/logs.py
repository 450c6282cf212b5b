"""What runs wrote to their standard output and error, piece by piece; what is missing is said. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from evenwatt_collector.jobs.model import Run


class LogPiece(Struct, frozen=True, kw_only=True):
    """A stretch of a run's log."""

    job: str
    run: str
    start: int
    """Offset in all that the run has written, in characters."""
    at_s: float
    """When it arrived, Unix time."""
    text: str


def log_text(runs: Iterable[Run], pieces: Iterable[LogPiece]) -> str:
    """Return a job's log as text: each run under a line of its own, and a line wherever something is missing.

    Args:
        runs: The job's runs, in order.
        pieces: What is kept, of any of them.
    """
    by_run: dict[str, list[LogPiece]] = {}
    for piece in pieces:
        by_run.setdefault(piece.run, []).append(piece)
    return "".join(part for run in runs for part in _of_run(run, by_run.get(run.id, [])))


def _of_run(run: Run, pieces: list[LogPiece]) -> Iterator[str]:
    if not pieces and not run.log_end:
        return
    yield f"--- run {run.id} on {run.node}\n"
    end, text = 0, "\n"
    for piece in sorted(pieces, key=lambda piece: piece.start):
        if piece.start > end:
            yield _missing(piece.start - end, text)
        text = piece.text[max(0, end - piece.start) :]
        yield text
        end = max(end, piece.start + len(piece.text))
    if run.log_end > end:
        yield _missing(run.log_end - end, text)
    elif text and not text.endswith("\n"):
        yield "\n"


def _missing(characters: int, before: str) -> str:
    line = "" if before.endswith("\n") or not before else "\n"
    return f"{line}[{characters:,} characters are not kept]\n"
