"""``evenwatt audit verify``: walk the chains, and hold a node's log against a collector's."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from evenwatt_cli import progress
from evenwatt_cli.audit.compare import Comparison, compare
from evenwatt_cli.audit.reading import Log, read_logs
from evenwatt_cli.exits import Exit
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ENTRY: Final = re.compile(r"entry (\d+) of the collector: ")
_WHICH: Final = re.compile(r"\b[0-9a-f]{16,}\b|\d+")


def verify(paths: Sequence[Path], against: Sequence[Path], *, as_json: bool) -> Exit:
    """Say whether every log is whole, and whether the two sides tell the same.

    Raises:
        Failure: there is no log, or it is not of the side that it is named as.
    """
    with progress.waiting("reading the logs, and checking each entry against the one before"):
        logs = read_logs(paths)
        others = read_logs(against) if against else []
        comparisons = [_compare(log, others) for log in logs] if others else []
    whole = not any(log.walk.faults for log in (*logs, *others))
    good = whole and not any(found.faults for found in comparisons)
    if as_json:
        print(json.dumps(_document(good, [*logs, *others], comparisons)))
    else:
        for log in (*logs, *others):
            _print_walk(log)
        for found in comparisons:
            _print_comparison(found)
    return Exit.OK if good else Exit.REJECTED


def _compare(log: Log, others: Sequence[Log]) -> Comparison:
    try:
        return compare(log.entries, [other.entries for other in others])
    except ValueError as error:
        raise Failure(f"{log.name}: {error}; write: evenwatt audit verify NODE_LOG --against COLLECTOR_LOG") from None


def _document(good: bool, logs: Sequence[Log], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    walks = [
        {
            "log": log.name,
            "entries": log.walk.entries,
            "first": log.walk.first,
            "head": str(log.walk.head),
            "faults": [asdict(fault) for fault in log.walk.faults],
        }
        for log in logs
    ]
    return {"whole": good, "logs": walks, "comparisons": [asdict(found) for found in comparisons]}


def _print_walk(log: Log) -> None:
    found = log.walk
    for fault in found.faults:
        print(f"{fault.where}: entry {fault.n or '?'}: {fault.what}")
    verdict = f"{len(found.faults)} FAULTS" if found.faults else "whole"
    begins = "" if found.first <= 1 else f", from entry {found.first} on (older ones have been let go)"
    print(f"{log.name}: {verdict}, {found.entries} entries{begins}, head {found.head.n} {found.head.hash[:16]}")


def _print_comparison(found: Comparison) -> None:
    for line in _in_short(found.faults):
        print(line)
    verdict = f"{len(found.faults)} FAULTS" if found.faults else "agrees with the collector's log"
    print(
        f"node {found.node}: {verdict}; {found.executed} commands carried out: {found.matched} signed by the "
        f"collector, {found.others} by other keys, {found.unjudged} from times that its log does not cover; "
        f"{found.heads} heads found again"
    )


def _in_short(faults: Sequence[str]) -> list[str]:
    """Return faults with those that many of the collector's entries show alike, as of a log that was cut, in one."""
    alike: dict[str, list[str]] = {}
    for fault in faults:
        alike.setdefault(_WHICH.sub("#", fault) if _ENTRY.match(fault) else fault, []).append(fault)
    return [_together(same) for same in alike.values()]


def _together(same: Sequence[str]) -> str:
    numbers = [int(found[1]) for fault in same if (found := _ENTRY.match(fault))]
    if len(same) == 1 or not numbers:
        return same[0]
    entries = f"entries {min(numbers)} to {max(numbers)} of the collector, {len(same)} of them alike"
    return f"{entries}; the last: {_ENTRY.sub('', same[-1], count=1)}"
