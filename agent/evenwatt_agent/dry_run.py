"""What would happen, in words: asked, held instead and why, and what would be written to each device. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_wire.command import Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_agent.governor import Planned
    from evenwatt_agent.leases import Target
    from evenwatt_agent.limits import LocalLimits
    from evenwatt_wire import Command

_MOST_CHARACTERS = 400


def cap_in_words(command: Command, target: Target, limits: LocalLimits, plan: Sequence[Planned]) -> str:
    """Say what a cap or release would lead to.

    Args:
        command: What was asked.
        target: What the leases would then say.
        limits: The owner's.
        plan: What would be written; empty where the machine's own limits would come back.
    """
    held_w = limits.cap_w(target.cap_w)
    if held_w is None:
        return "would give the machine its own limits back"
    said = f"would hold the node to {held_w:.0f} W"
    remarks = [f"asked for {command.cap_w:.0f} W"] if command.cap_w is not None else []
    why = limits.why(target.cap_w if command.cap_w is None else command.cap_w)
    if why:
        remarks.append(why)
    elif command.cap_w is not None and target.cap_w is not None and target.cap_w < command.cap_w:
        remarks.append("a lower lease is in force")
    if remarks:
        said += f" ({'; '.join(remarks)})"
    writes = [f"{row.domain} {row.limit_w:.0f} W by {row.kind} (now {row.now_w:.0f} W)" for row in plan]
    while writes:
        whole = f"{said}: {', '.join(writes)}"
        if len(whole) <= _MOST_CHARACTERS:
            return whole
        writes = [*writes[:-2], "..."] if len(writes) > 1 else []
    return said


def other_in_words(command: Command) -> str:
    """Say what anything but a cap or release would do."""
    if command.op is Op.PAUSE:
        return f"would pause {command.target} for {command.ttl_s:g} s"
    if command.op is Op.START and command.job is not None:
        return f"would start template {command.job.template}"
    if command.op is Op.STOP:
        return f"would stop run {command.target}"
    return f"would {command.op} {command.target}"
