"""Scores as they are asked for: of one workload or model, of all, or of the fleet; and freezing a baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.score.baseline import KIND, Baseline, Subject, fitting, newest, seal
from evenwatt_collector.score.freezing import freeze, freeze_fleet, matching
from evenwatt_collector.score.gather import baselines, gather, runs
from evenwatt_collector.score.scoring import Scored, score_fleet, score_part
from evenwatt_collector.storage.documents import documents, put_document
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_collector.report.build import Made
    from evenwatt_collector.score.asking import ScoreQuery
    from evenwatt_collector.score.material import By, Material
    from evenwatt_collector.storage.connection import Connection

SCHEMA: Final = "evenwatt-score/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """An answer; grams are operational."""

    subject: Subject
    start_s: float
    """Unix time; the period is [start, end)."""
    end_s: float
    known_at_s: float
    made_s: float
    version: str
    fleet: str
    scores: tuple[Scored, ...]
    """What emitted most first."""
    whole_g: float
    """Of the fleet."""
    scored_g: float
    """Of what is listed here and has a score."""
    nobody_g: float
    """Of what belongs to no work: idle, system."""
    notes: tuple[str, ...] = ()


def scores(connection: Connection, query: ScoreQuery, made: Made) -> Scores:
    """Return scores.

    Raises:
        LookupError: no such workload, model or class did anything in the period.
        DatabaseError: they cannot be read.
    """
    by: By = "model" if query.subject == "model" else "workload"
    period = query.start_s, query.end_s
    material = gather(connection, by, period, made)
    every, troubles = baselines(connection)
    current = newest(every)
    if query.subject == "fleet":
        classes = [one for one in current.values() if one.subject == "workload"]
        fleet = next((one for one in current.values() if one.subject == "fleet"), None)
        found = [score_fleet(material, fleet, query.unit, classes)]
    elif query.name is None:
        found = [
            score_part(material, part, fitting(current.values(), by, part.name), query.unit) for part in material.parts
        ]
    else:
        if by == "workload" and query.name in {part.name for part in material.parts}:
            material = replace(material, runs={query.name: runs(connection, query.name, period, made)})
        found = [_named(material, query, current)]
    return _answer(query, material, found, troubles)


def freeze_class(
    connection: Connection,
    query: ScoreQuery,
    name: str,
    made: Made,
    pattern: str | None = None,
    *,
    anyway: bool = False,
) -> Baseline:
    """Freeze the next version of a class's baseline of a period, and keep it.

    Args:
        connection: To write to.
        query: Subject, period and unit.
        name: Of the class.
        made: When and by what.
        pattern: Names that belong to it; None: as in the version before, else the class's own name.
        anyway: Also of a period that is too short or too little metered.

    Raises:
        Failure: there is nothing to hold scores against; it says what is missing.
        DatabaseError: it cannot be read or written.
    """
    every, _ = baselines(connection)
    before = newest(every).get(name)
    by: By = "model" if query.subject == "model" else "workload"
    material = gather(connection, by, (query.start_s, query.end_s), made)
    if query.subject == "fleet":
        classes = [one for one in newest(every).values() if one.subject == "workload"]
        found = freeze_fleet(material, every, classes, anyway=anyway)
    else:
        pattern = pattern or (before.pattern if before else name)
        unit = query.unit or (before.unit if before else None)
        found = freeze(material, name, pattern, unit, every, anyway=anyway)
    stored = documents(connection, KIND, found.name)
    if stored and (found.version <= len(stored) or found.made_s <= stored[0].at_s):  # some could not be read
        version, made_s = max(found.version, len(stored) + 1), max(found.made_s, stored[0].at_s + 1)
        found = seal(msgspec.structs.replace(found, version=version, made_s=made_s))
    put_document(connection, KIND, found.name, found, found.made_s)
    return found


def to_document(found: Scores) -> dict[str, Any]:
    """Return an answer as JSON types."""
    return {"schema": SCHEMA, **msgspec.to_builtins(found)}


def from_document(document: object) -> Scores:
    """Read an answer back.

    Raises:
        Failure: it is none; it names the field.
    """
    try:
        return msgspec.convert(document, Scores)
    except msgspec.ValidationError as error:
        raise Failure(f"this is no answer with scores ({error}); expected a document of the schema {SCHEMA}") from None


def _named(material: Material, query: ScoreQuery, current: dict[str, Baseline]) -> Scored:
    """Return the score of a workload or model, or else of a class or a pattern."""
    name = query.name or ""
    part = next((part for part in material.parts if part.name == name), None)
    if part is not None:
        return score_part(material, part, fitting(current.values(), material.by, name), query.unit)
    named = current.get(name)
    if named is not None and named.subject != material.by:
        raise LookupError(f"class {name!r} is of a {named.subject}; ask with --by {named.subject}, or --fleet")
    try:
        whole, outcomes = matching(material, named.pattern if named else name)
    except Failure as failure:
        raise LookupError(str(failure)) from None
    baseline = named or next((one for one in current.values() if one.pattern == name), None)
    return score_part(material, replace(whole, name=name), baseline, query.unit, outcomes)


def _answer(query: ScoreQuery, material: Material, found: list[Scored], troubles: list[str]) -> Scores:
    whole_g = material.total.location_g
    owned_g = fsum(material.grams_of(part) for part in material.parts)
    return Scores(
        subject="fleet" if query.subject == "fleet" else material.by,
        start_s=material.start_s,
        end_s=material.end_s,
        known_at_s=material.known_at_s,
        made_s=material.made_s,
        version=material.version,
        fleet=material.fleet,
        scores=tuple(sorted(found, key=lambda one: (-one.grams, one.name))),
        whole_g=whole_g,
        scored_g=fsum(one.grams for one in found if one.sci is not None),
        nobody_g=max(0.0, whole_g - owned_g),
        notes=(*material.notes, *troubles),
    )
