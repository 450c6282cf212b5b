"""A command in the words of an audit log, the same on both sides, so that two logs can be held against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_wire.command import Command

Facts = dict[str, str | int | float | bool | None]


def command_facts(command: Command, key_id: str, sha256: str) -> Facts:
    """Return what was asked and by which key; what was not said is left out.

    Args:
        command: As it was signed.
        key_id: Of the key that signed it.
        sha256: Of the whole envelope.
    """
    facts: Facts = {
        "id": command.id,
        "key": key_id,
        "epoch": command.epoch,
        "seq": command.seq,
        "op": command.op.value,
        "target": command.target,
        "sha256": sha256,
    }
    given: Facts = {
        "cap_w": command.cap_w,
        "fallback_w": command.fallback_w,
        "ttl_s": command.ttl_s or None,
        "dry_run": command.dry_run or None,
        "keep": command.keep or None,
        "issuer": command.issuer or None,
        "reason": command.reason or None,
        "job": command.job.job if command.job else None,
        "run": command.job.run if command.job else None,
        "template": command.job.template if command.job else None,
    }
    return facts | {name: value for name, value in given.items() if value is not None}


def terms(facts: Mapping[str, Any]) -> Facts:
    """Return what makes one cap the same as the one before it."""
    return {name: facts.get(name) for name in ("op", "cap_w", "fallback_w", "ttl_s")}
