"""``evenwatt policy check``: everything that is wrong with a policy, or what it makes hold at a moment."""

from __future__ import annotations

import json
import time
from math import isfinite
from typing import TYPE_CHECKING, Any

from evenwatt_cli import asking
from evenwatt_cli.exits import Exit
from evenwatt_cli.moments import clock, moment
from evenwatt_cli.operator_settings import load
from evenwatt_collector.policy import (
    KnownNode,
    Limit,
    Policy,
    PolicyError,
    Problem,
    errors,
    limits_at,
    load_policy,
    located,
    misfits,
    next_change_s,
    over,
)
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evenwatt_cli.operator_settings import OperatorSettings
    from evenwatt_collector.policy.schema import NodeClass

Document = dict[str, Any]


def check_policy(path: Path, *, at: str | None, with_nodes: bool, as_json: bool, config: Path | None) -> Exit:
    """Print the problems of a policy, then what holds; USAGE if it cannot be used.

    Raises:
        Failure: the file cannot be read, or the collector cannot be asked.
    """
    now_s = time.time()
    wall_s = now_s if at is None else moment(at, now_s)
    nodes = _nodes(load(config)) if with_nodes else None
    try:
        policy = load_policy(path)
    except PolicyError as error:
        return _refused(path, error.problems, as_json=as_json)
    problems = [*policy.warnings, *located(over(policy.document, wall_s), policy.lines)]
    if nodes is not None:
        problems += located(misfits(policy.document, nodes), policy.lines)
    if errors(problems):
        return _refused(path, problems, as_json=as_json)
    document = _document(policy, problems, wall_s, nodes)
    print(json.dumps(document)) if as_json else _print(document)
    return Exit.OK


def _refused(path: Path, problems: Sequence[Problem], *, as_json: bool) -> Exit:
    wrong = len(errors(problems))
    if as_json:
        print(json.dumps({"file": str(path), "ok": False, "problems": _rows(path, problems)}))
    else:
        print("\n".join(row["text"] for row in _rows(path, problems)))
        print(f"{path}: {wrong} error{'s' if wrong != 1 else ''}; a collector would not take it")
    return Exit.USAGE


def _rows(path: Path | str, problems: Sequence[Problem]) -> list[Document]:
    ordered = sorted(problems, key=lambda problem: problem.line)
    return [{"line": p.line, "severity": p.severity.value, "text": p.words(str(path))} for p in ordered]


def _nodes(settings: OperatorSettings) -> list[KnownNode]:
    answer = asking.ask(settings, "/api/v1/status")
    if "nodes" not in answer:
        raise Failure(
            f"--nodes: {settings.collector_url} is a standby and knows no nodes; ask the active one",
            exit_code=Exit.FAILURE,
        )
    known = [
        KnownNode(node["zone"], node["node"], node["floor_w"], node["ceiling_w"])
        for node in answer["nodes"]
        if node["controllable"]
    ]
    if not known:
        raise Failure(
            f"--nodes: the collector at {settings.collector_url} knows no node that it may steer; try without --nodes"
        )
    return known


def _document(
    policy: Policy,
    problems: Sequence[Problem],
    wall_s: float,
    nodes: Sequence[KnownNode] | None,
) -> Document:
    next_s = next_change_s(policy, wall_s)
    limits = limits_at(policy, wall_s).values()
    return {
        "file": policy.path,
        "ok": True,
        "problems": _rows(policy.path, problems),
        "at": clock(wall_s),
        "zones": [_zone(limit) for limit in limits],
        "classes": [_class(kind, policy.document.on_lost) for kind in policy.document.classes],
        "next_change": clock(next_s) if isfinite(next_s) else None,
        "nodes_checked": None if nodes is None else len(nodes),
    }


def _zone(limit: Limit) -> Document:
    carbon = limit.zone.carbon
    return {
        "zone": limit.zone.name,
        "parent": limit.zone.parent,
        "budget_w": limit.budget_w if isfinite(limit.budget_w) else None,
        "why": limit.why,
        "bounds": [
            {"budget_w": bound.budget_w, "source": bound.source.value, "why": bound.why} for bound in limit.bounds
        ],
        "margin": limit.zone.margin,
        "unmanaged_w": limit.zone.unmanaged_w,
        "grams_per_day": carbon.grams_per_day if carbon else None,
        "dry_run": limit.dry_run,
    }


def _class(kind: NodeClass, on_lost: str) -> Document:
    return {
        "class": kind.name,
        "nodes": list(kind.nodes),
        "zone": kind.zone,
        "priority": kind.priority,
        "weight": kind.weight,
        "floor_w": kind.floor_w,
        "ceiling_w": kind.ceiling_w,
        "pausable": kind.pausable,
        "targets": list(kind.targets),
        "on_lost": kind.on_lost or on_lost,
    }


def _print(document: Document) -> None:
    for row in document["problems"]:
        print(row["text"])
    checked = document["nodes_checked"]
    print(f"{document['file']}: holds" + (f", also for the {checked} nodes that are known" if checked else ""))
    print(f"at {document['at']}:")
    for zone in document["zones"]:
        _print_zone(zone)
    for number, kind in enumerate(document["classes"], start=1):
        print(f"  class {number}. {kind['class']}: {_in_words(kind)}")
    print("  next change: " + (document["next_change"] or "none"))


def _print_zone(zone: Document) -> None:
    limit = "no limit of its own" if zone["budget_w"] is None else f"{zone['budget_w']:g} W, by {zone['why']}"
    inside = f" (in {zone['parent']})" if zone["parent"] else ""
    print(f"  zone {zone['zone']}{inside}: {limit}" + ("; dry run" if zone["dry_run"] else ""))
    for bound in zone["bounds"][1:]:
        print(f"    not reached: {bound['budget_w']:g} W, {bound['why']}")
    if zone["grams_per_day"] is not None:
        print(f"    and what the collector makes of {zone['grams_per_day']:g} g of CO2e a day")


def _in_words(kind: Document) -> str:
    parts = [" ".join(kind["nodes"]) + (f" in {kind['zone']}" if kind["zone"] else "")]
    if kind["priority"] is not None:
        parts.append(f"priority {kind['priority']}")
    for key, text in (("weight", "weight {:g}"), ("floor_w", "at least {:g} W"), ("ceiling_w", "at most {:g} W")):
        if kind[key] is not None:
            parts.append(text.format(kind[key]))
    if kind["pausable"]:
        parts.append("may be paused" + (f" ({', '.join(kind['targets'])})" if kind["targets"] else ""))
    parts.append(f"alone: {kind['on_lost']}")
    return ", ".join(parts)
