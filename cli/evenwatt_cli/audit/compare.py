"""A node's log beside a collector's: what one did that the other knows nothing of. Pure.

The collector's log holds what it signed, and the acknowledgements that it verified. Each of those names the head of the
node's log at that moment, signed by the node: so a node's log that was cut off or written anew later does not fit.
What came again and again without a change is in both logs as a sum, and is matched by epoch, number and terms.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from evenwatt_daemon.audit import Head
from evenwatt_wire.told import terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_daemon.audit import Entry

_NOTHING_DONE: Final = frozenset({"rejected", "expired", "dry_run"})
_SUMS_MS: Final = 11 * 60_000
"""What a collector counts is in its log so much later at most."""
_CLOCKS_MS: Final = 5 * 60_000
"""How far the two machines' clocks may be apart for a missing entry to count."""


@dataclass(slots=True)
class Comparison:
    """What was held against what."""

    node: str
    executed: int = 0
    """Commands that the node carried out, by its log."""
    matched: int = 0
    others: int = 0
    """Of those, signed by keys that are not this collector's, such as an operator's."""
    unjudged: int = 0
    """Of those, from a time that the collector's log does not cover."""
    heads: int = 0
    """Heads of the node's log that the collector holds and that were found in it."""
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Signed:
    """What the collector signed for one node."""

    by_sha256: set[str] = field(default_factory=set)
    ranges: dict[int, list[tuple[int, int, tuple[Any, ...]]]] = field(default_factory=lambda: defaultdict(list))

    def has(self, facts: dict[str, Any]) -> bool:
        if facts.get("sha256") in self.by_sha256:
            return True
        first, last = _span(facts)
        pieces = sorted(
            (low, high)
            for low, high, asked in self.ranges[facts["epoch"]]
            if asked == tuple(terms(facts).values()) and high >= first
        )
        for low, high in pieces:
            if low > first:
                return False
            first = max(first, high + 1)
            if first > last:
                return True
        return False


def compare(node: Sequence[Entry], logs: Sequence[Sequence[Entry]]) -> Comparison:
    """Hold a node's log against the collectors': one, or all that have signed with the same keys.

    Raises:
        ValueError: the first is not a node's log, or none of the others a collector's.
    """
    collector = [entry for log in logs for entry in log]
    name = _started(node, "node", "the first log is not a node's: no entry says which node it is of")
    keys = {
        str(e.facts["key"]) for e in collector if e.kind == "start" and e.facts.get("collector") and "key" in e.facts
    }
    if not keys:
        raise ValueError("the other log is not a collector's that signs: no entry says which key it signs with")
    found = Comparison(name)
    mine = [entry for entry in collector if entry.facts.get("node") == name]
    _hold_executed(node, logs, mine, keys, found)
    _hold_heads(node, mine, found)
    _hold_acks(node, mine, found)
    return found


def _hold_executed(
    node: Sequence[Entry], logs: Sequence[Sequence[Entry]], mine: list[Entry], keys: set[str], found: Comparison
) -> None:
    """Find what the node carried out with a collector's key and the collector never signed."""
    signed, covered = _signed(mine), [span for log in logs for span in _covered(log)]
    for entry in node:
        facts: dict[str, Any] = entry.facts
        if not _is_execution(entry):
            continue
        found.executed += facts.get("count", 1)
        if facts.get("key") not in keys:
            found.others += facts.get("count", 1)
        elif signed.has(facts):
            found.matched += facts.get("count", 1)
        elif not any(start <= entry.at_ms <= end for start, end in covered):
            found.unjudged += facts.get("count", 1)
        else:
            first, last = _span(facts)
            which = f"seq {first}" if first == last else f"seq {first} to {last}"
            found.faults.append(
                f"entry {entry.head.n} of the node: {facts.get('op')} (epoch {facts.get('epoch')}, {which}) was "
                f"carried out, signed with key {facts.get('key')}, and the collector never signed it"
            )


def _hold_heads(node: Sequence[Entry], mine: Iterable[Entry], found: Comparison) -> None:
    """Find heads that the node signed and its log does not have any more."""
    hashes = {entry.head.n: entry.head.hash for entry in node}
    first, last = min(hashes, default=1), max(hashes, default=0)
    for entry in mine:
        told = entry.facts.get("audit")
        if not isinstance(told, str) or not told:
            continue
        head = Head.parse(told)
        if head.n < first:
            continue  # that entry has been let go
        found.heads += 1
        if head.n > last:
            what = f"ends at entry {last}, and was at {head.n} before: its end was cut off"
        elif hashes.get(head.n) != head.hash:
            what = f"has another entry {head.n} than it had: it was written anew"
        else:
            continue
        found.faults.append(f"entry {entry.head.n} of the collector: the node's log {what}")


def _hold_acks(node: Sequence[Entry], mine: Iterable[Entry], found: Comparison) -> None:
    """Find commands that the node said it had carried out and its log knows nothing of."""
    known = {entry.facts.get("id") for entry in node}
    begins_ms = node[0].at_ms + _CLOCKS_MS if node and node[0].head.n > 1 else 0
    sums = [entry.facts for entry in node if entry.kind == "sum" and entry.facts.get("of") != "renewed"]
    for entry in mine:
        facts: dict[str, Any] = entry.facts
        done = entry.kind == "ack" and facts.get("code") not in _NOTHING_DONE
        if not done or facts.get("id") in known or entry.at_ms < begins_ms or _in_sums(facts, sums):
            continue
        found.faults.append(
            f"entry {entry.head.n} of the collector: the node acknowledged command {facts.get('id')} "
            f"({facts.get('code')}), and its log does not have it"
        )


def _in_sums(facts: dict[str, Any], sums: list[dict[str, Any]]) -> bool:
    return any(s.get("epoch") == facts["epoch"] and s["first_seq"] <= facts["seq"] <= s["last_seq"] for s in sums)


def _signed(mine: Iterable[Entry]) -> _Signed:
    signed = _Signed()
    for entry in mine:
        facts: dict[str, Any] = entry.facts
        if entry.kind != "command" and facts.get("of") != "command":
            continue
        if "sha256" in facts:
            signed.by_sha256.add(facts["sha256"])
        first, last = _span(facts)
        signed.ranges[facts["epoch"]].append((first, last, tuple(terms(facts).values())))
    return signed


def _covered(log: Sequence[Entry]) -> list[tuple[int, int]]:
    """Spans of wall time that a collector's log tells without a hole.

    A run that did not end in order has not written down its last sums, and a gap is what could not be written.
    """
    spans: list[tuple[int, int]] = []
    begun, last = 0, 0
    for entry in log:
        if entry.kind in ("start", "gap") and begun:
            spans.append((begun, last - _SUMS_MS))
            begun = 0
        begun, last = begun or entry.at_ms, entry.at_ms
        if entry.kind == "stop":
            spans.append((begun, last))
            begun = 0
    return [*spans, (begun, last - _SUMS_MS)] if begun else spans


def _is_execution(entry: Entry) -> bool:
    facts = entry.facts
    if entry.kind != "command" and not (entry.kind == "sum" and facts.get("of") == "command"):
        return False
    return facts.get("code") not in _NOTHING_DONE and facts.get("op") != "ping"


def _span(facts: dict[str, Any]) -> tuple[int, int]:
    seq = facts.get("seq", 0)
    return facts.get("first_seq", seq), facts.get("last_seq", seq)


def _started(entries: Iterable[Entry], name: str, otherwise: str) -> str:
    for entry in entries:
        value = entry.facts.get(name)
        if entry.kind == "start" and isinstance(value, str) and not entry.facts.get("collector"):
            return value
    raise ValueError(otherwise)
