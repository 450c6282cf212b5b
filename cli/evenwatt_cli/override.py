"""``evenwatt policy override``: asks the collector for a lower limit of a zone, a cap or a pause of a node."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenwatt_cli import asking
from evenwatt_cli.exits import Exit
from evenwatt_cli.moments import clock
from evenwatt_cli.operator_settings import load
from evenwatt_cli.steer import seconds
from evenwatt_collector.overrides.model import LEAST_S, LONGEST_S
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_cli.operator_settings import OperatorSettings

_PATH = "/api/v1/overrides"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for."""

    name: str
    """A zone, or a node."""
    budget_w: float | None
    cap_w: float | None
    pause: bool
    cancel: bool
    dry_run: bool
    duration: str
    reason: str
    zone: str | None
    """Of the node."""


def override_limit(wanted: Wanted, *, as_json: bool, config: Path | None) -> Exit:
    """Set or end an override, and say what it does.

    Raises:
        Failure: the call makes no sense, or the collector refuses.
    """
    if sum((wanted.budget_w is not None, wanted.cap_w is not None, wanted.pause, wanted.cancel)) != 1:
        raise Failure("say one of --budget W (of a zone), --cap W and --pause (of a node), and --cancel")
    settings = load(config)
    zone = wanted.name if wanted.budget_w is not None else wanted.zone or settings.zone
    if wanted.cancel:
        return _cancel(wanted, zone, settings, as_json=as_json)
    length_s = seconds(wanted.duration)
    if not LEAST_S <= length_s <= LONGEST_S:
        raise Failure(
            f"--for {wanted.duration}: an override lasts 10s to 24h; what is meant for longer belongs into the policy"
        )
    watts = wanted.cap_w if wanted.budget_w is None else wanted.budget_w
    if watts is not None and watts <= 0:
        raise Failure(f"{watts:g} W: expected more than 0 W; work is stopped by --pause, not by a limit of nothing")
    wish: dict[str, Any] = {
        "kind": "pause" if wanted.pause else "limit" if wanted.cap_w is None else "cap",
        "zone": zone,
        "for_s": length_s,
        "reason": wanted.reason or "no reason given",
    }
    wish |= {"node": wanted.name} if wanted.budget_w is None else {}
    wish |= {"watts": watts} if watts is not None else {}
    return _set(wish, settings, dry_run=wanted.dry_run, as_json=as_json)


def _set(wish: dict[str, Any], settings: OperatorSettings, *, dry_run: bool, as_json: bool) -> Exit:
    asking.token(settings)  # without one the collector is not even asked
    answer = asking.request(
        settings,
        "POST",
        _PATH,
        parameters={"dry_run": "true"} if dry_run else {},
        body=json.dumps(wish).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)},
    ).json()
    if as_json:
        print(json.dumps(answer))
        return Exit.OK
    print("\n".join(answer["effect"]["lines"]))
    if answer["override"]:
        print(f"Set until {clock(answer['override']['until_s'])}; `--cancel` ends it before.")
    return Exit.OK


def _cancel(wanted: Wanted, zone: str, settings: OperatorSettings, *, as_json: bool) -> Exit:
    asking.token(settings)
    held = asking.ask(settings, _PATH, {"limit": "500"})["overrides"]
    mine = [one for one in held if _is_of(one, wanted, zone)]
    ended = [asking.request(settings, "DELETE", f"{_PATH}/{one['id']}").json() for one in mine]
    if as_json:
        print(json.dumps({"ended": ended}))
        return Exit.OK
    for one in ended:
        print(f"{one['kind']} of {one['node'] or one['zone']}, set by {one['by']}: ended")
    if not ended:
        print(f"{wanted.name}: there was no override")
    return Exit.OK


def _is_of(one: dict[str, Any], wanted: Wanted, zone: str) -> bool:
    if one["node"] is None:
        return bool(one["zone"] == wanted.name)
    return bool((one["zone"], one["node"]) == (zone, wanted.name))
