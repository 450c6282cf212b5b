"""``evenwatt policy override``: a zone's limit in a file that the collector reads, a node's cap as a signed command."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from evenwatt_cli.exits import Exit
from evenwatt_cli.moments import clock
from evenwatt_cli.steer import Order, seconds, steer
from evenwatt_collector.policy import (
    LONGEST_S,
    Override,
    Policy,
    cancel_override,
    limits_at,
    load_overrides,
    load_policy,
    path_beside,
    put_override,
)
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for."""

    name: str
    budget_w: float | None
    cap_w: float | None
    cancel: bool
    duration: str
    reason: str
    node_zone: str | None


def override_limit(wish: Wish, path: Path, *, as_json: bool, config: Path | None) -> Exit:
    """Set or end an override, and say what holds now.

    Raises:
        Failure: the call makes no sense, or the file cannot be written.
    """
    if sum((wish.budget_w is not None, wish.cap_w is not None, wish.cancel)) != 1:
        raise Failure("say one of --budget W (of a zone), --cap W (of a node) and --cancel")
    length_s = seconds(wish.duration)
    if not 0 < length_s <= LONGEST_S:
        raise Failure(
            f"--for {wish.duration}: an override lasts up to 24h; what is meant for longer belongs into {path}"
        )
    if wish.cap_w is not None:
        return _cap(wish, as_json=as_json, config=config)
    if wish.cancel and not _is_zone(wish.name, path):
        order = Order("release", wish.name, wish.node_zone, reason=wish.reason)
        return steer(order, as_json=as_json, config=config)
    policy = load_policy(path)
    now_s = time.time()
    zones = [zone.name for zone in policy.document.zones]
    if wish.name not in zones:
        known = ", ".join(zones)
        raise Failure(f"{wish.name!r} is no zone of {path}; it has {known}. For a node, use --cap")
    if wish.cancel:
        ended = cancel_override(path, wish.name, now_s)
        return _say(policy, path, wish.name, now_s, "ended" if ended else "there was none", as_json=as_json)
    put_override(path, _override(wish, length_s, now_s), now_s)
    return _say(policy, path, wish.name, now_s, "set", as_json=as_json)


def _override(wish: Wish, length_s: float, now_s: float) -> Override:
    assert wish.budget_w is not None  # noqa: S101  (one of three was asked for, and it was not the others)
    return Override(zone=wish.name, budget_w=wish.budget_w, since_s=now_s, until_s=now_s + length_s, reason=wish.reason)


def _cap(wish: Wish, *, as_json: bool, config: Path | None) -> Exit:
    order = Order("cap", wish.name, wish.node_zone, cap_w=wish.cap_w, duration=wish.duration, reason=wish.reason)
    return steer(order, as_json=as_json, config=config)


def _is_zone(name: str, path: Path) -> bool:
    return path.exists() and any(zone.name == name for zone in load_policy(path).document.zones)


def _say(policy: Policy, path: Path, zone: str, now_s: float, done: str, *, as_json: bool) -> Exit:
    overrides = load_overrides(path_beside(path))
    mine = next((entry for entry in overrides if entry.zone == zone), None)
    limit = limits_at(policy, now_s, overrides)[zone]
    budget_w = limit.budget_w if limit.bounds else None
    if as_json:
        said = {"zone": zone, "done": done, "override": mine and asdict(mine), "budget_w": budget_w, "why": limit.why}
        print(json.dumps(said))
        return Exit.OK
    until = f" until {clock(mine.ends_s)}" if mine else ""
    print(f"zone {zone}: override {done}{until}")
    print(f"  limit now: {'none' if budget_w is None else f'{budget_w:g} W'}, {limit.why}")
    if mine is not None and budget_w is not None and budget_w < mine.budget_w:
        print(f"  {mine.budget_w:g} W changes nothing now: the lowest limit holds")
    return Exit.OK
