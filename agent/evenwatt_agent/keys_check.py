"""What the doctor says of a node's keys: whether the trust document counts, until when, and holds this node."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from evenwatt_agent import clocks
from evenwatt_agent.findings import Finding, Verdict
from evenwatt_daemon import Failure, read_document
from evenwatt_daemon.settings import parse_document
from evenwatt_wire import Role, TrustKeeper
from evenwatt_wire import Verdict as Answer
from evenwatt_wire.command import key_id
from evenwatt_wire.trust import read_roots

if TYPE_CHECKING:
    from evenwatt_agent.settings import AgentSettings

_FIX: Final = "evenwatt keys trust sign, or evenwatt enroll --replace; docs/keys.md"


def check_trust(settings: AgentSettings) -> Finding:
    """Look at the files that control names, as the process that has control would at its start."""
    control = settings.control
    if not (control.enabled and control.private_key and control.trust and control.root):
        return Finding("keys", Verdict.SKIPPED, "control is off in the settings: nobody's commands count here")
    try:
        roots = parse_document(control.root, read_roots)
        keeper = TrustKeeper(settings.fleet, roots, clocks.wall_ms, settings.node)
        offer = keeper.offer(read_document(control.trust))
        if offer.verdict is Answer.REFUSED:
            return Finding("keys", Verdict.BROKEN, f"{control.trust}: {offer.why}", _FIX)
        troubles, own = _of_our_own(settings, keeper, control.private_key)
    except Failure as failure:
        return Finding("keys", Verdict.BROKEN, str(failure), _FIX)
    if troubles:
        return Finding("keys", Verdict.BROKEN, f"{control.trust}: {'; '.join(troubles)}", _FIX)
    ends = f"{keeper.trust.expires:%Y-%m-%d}" if keeper.trust is not None else "?"
    return Finding("keys", Verdict.FOUND, f"{control.trust}: trust version {keeper.version} until {ends}{own}")


def _of_our_own(settings: AgentSettings, keeper: TrustKeeper, path: str) -> tuple[list[str], str]:
    """Return what is wrong, and what is said of this node's key, which only who has control may read."""
    if settings.by_actuator and not os.access(path, os.R_OK):
        return keeper.ends(), "; this node's key is not this user's to read"
    from evenwatt_agent.keys import load_private  # noqa: PLC0415  (with it comes the signature code)

    own = key_id(load_private(path).public_key().public_bytes_raw())
    trouble = keeper.own_trouble(own, Role.NODE, settings.node, settings.zone)
    return [*keeper.ends(own), *([trouble] if trouble else [])], f", with this node's key {own.hex()}"
