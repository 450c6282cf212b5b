"""Reasons in plain words, for someone who has never seen this control before. Pure. Lines fit 80 columns."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from typing import Final

from evenwatt_collector.control import Bands, Limits
from evenwatt_collector.control.demand import ESSENTIAL
from evenwatt_collector.control.pausing import LEAST_PAUSE_S
from evenwatt_collector.control.types import TTL_S
from evenwatt_collector.explain.records import Cause, NodeReason, Short, ZoneReason

WIDTH: Final = 80
_BANDS: Final = Bands()
_MARGIN: Final = Limits().margin
_WITH_UNIT: Final = re.compile(r"(\d) (W|s|min|h|%)(?![a-z])")
"""A number stays on the line of its unit."""
_HALF_A_DAY_S: Final = 43_200.0
"""What began so long ago gets its date."""
_ALMOST: Final = 0.98
"""A cap at this part of what a node can use holds nothing back."""


def node_lines(reason: NodeReason, since_s: float, paused_s: float | None, wall_s: float) -> list[str]:
    """Return why a node may draw what it may, and what would change that.

    Args:
        reason: What held at the moment asked for.
        since_s: Since when it might draw that, Unix time, as all of these.
        paused_s: Since when its work is paused; None where it runs.
        wall_s: The moment.
    """
    parts = [_headline(reason, since_s, wall_s), f"Why: {_node_why(reason)}"]
    if reason.paused:
        parts.append(_paused(reason, paused_s or since_s))
    parts.append(f"What would change it: {_node_release(reason)}")
    if reason.cap_w is not None and not reason.dry_run and reason.operator_until_s is None:
        parts.append(_alone(reason, reason.cap_w))
    return _wrapped(parts)


def zone_lines(reason: ZoneReason, since_s: float, wall_s: float) -> list[str]:
    """Return how a zone stands against its limit, and what follows from that.

    Args:
        reason: What held at the moment asked for.
        since_s: Since when it is in its band, Unix time, as is the next.
        wall_s: The moment.
    """
    parts = [_zone_headline(reason, since_s, wall_s), f"Why: {_zone_why(reason)}", _zone_nodes(reason)]
    parts.append(f"What would change it: {_zone_release(reason)}")
    parts += [f"Alarm: {alarm}" for alarm in reason.alarms]
    return _wrapped(parts)


def in_short(reason: NodeReason | ZoneReason) -> str:
    """Return a reason in half a line."""
    if isinstance(reason, ZoneReason):
        limit = "no limit" if reason.budget_w is None else f"limit {watts(reason.budget_w)}"
        return f"{_BAND_NAMES[reason.band]}, {limit}, drew {watts(reason.power_w)}"
    cap = "" if reason.cap_w is None else f"{watts(reason.cap_w)}, "
    paused = ", paused" if reason.paused else ""
    cause = "held at a learned cap" if reason.held and reason.cause is Cause.FREE else _CAUSE_NAMES[reason.cause]
    return f"{cap}{cause}{paused}; drew {watts(reason.power_w)}"


_BAND_NAMES: Final = {
    "normal": "has room",
    "hold": "is near its limit",
    "cap": "is capped",
    "brake": "is over its limit",
}
_BAND_PAST: Final = {
    "normal": "had room",
    "hold": "was near its limit",
    "cap": "was capped",
    "brake": "was over its limit",
}


def band_words(band: str, *, was: bool = False) -> str:
    """Return what a zone is or was in a band, as follows its name."""
    return (_BAND_PAST if was else _BAND_NAMES)[band]


_CAUSE_NAMES: Final = {
    Cause.FREE: "nothing holds it back",
    Cause.SURPLUS: "has what it wants",
    Cause.MET: "has what it wants",
    Cause.LEVEL: "shares what is left",
    Cause.PART: "the essential part",
    Cause.WAITS: "gives way",
    Cause.FLOOR: "at its floor",
    Cause.BRAKE: "cut at once",
    Cause.DRY_RUN: "dry run",
    Cause.UNSTEERED: "not steered",
}


def clock(wall_s: float) -> str:
    """Return a moment to the second, UTC."""
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def watts(value_w: float) -> str:
    """Return watts as people write them: ``1,110 W``, ``8.5 W``."""
    return f"{value_w:,.1f} W" if value_w < 10 else f"{value_w:,.0f} W"


def _usable_w(budget_w: float) -> float:
    """Return a limit after control's margin, to which its thresholds refer."""
    return (1 - _MARGIN) * budget_w


def _wrapped(parts: list[str]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        kept = _WITH_UNIT.sub("\\1\N{NO-BREAK SPACE}\\2", part)
        lines += textwrap.wrap(kept, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _since(since_s: float, wall_s: float) -> str:
    age_s = max(0.0, wall_s - since_s)
    if age_s < 90:
        ago = f"{age_s:.0f} s"
    elif age_s < 5400:
        ago = f"{age_s / 60:.0f} min"
    else:
        ago = f"{age_s / 3600:.1f} h"
    begun = clock(since_s)[11:] if age_s < _HALF_A_DAY_S else clock(since_s)
    return f"since {begun} ({ago} ago)"


# --- nodes ------------------------------------------------------------------------------------------------------------


def _headline(reason: NodeReason, since_s: float, wall_s: float) -> str:
    since = _since(since_s, wall_s)
    draws = f"It draws {watts(reason.power_w)}"
    if reason.cap_w is None:
        return f"{reason.node} is not steered {since}. {draws}."
    may = "would be given" if reason.dry_run else "may draw"
    of = "all that it can use" if _is_free(reason) else f"of {watts(reason.ceiling_w)} that it could use"
    wants = ""
    if reason.demand_hidden:
        wants = " and runs at its cap, so it counts as wanting all it can use"
    elif reason.demand_w is not None and not reason.paused:
        wants = f" and would use up to {watts(reason.demand_w)}, judging by its latest peaks"
    return f"{reason.node} {may} {watts(reason.cap_w)}, {of}, {since}. {draws}{wants}."


def _is_free(reason: NodeReason) -> bool:
    return reason.cap_w is not None and reason.cap_w >= _ALMOST * reason.ceiling_w


def _node_why(reason: NodeReason) -> str:
    text = _cause(reason)
    if reason.waiting_w > 0 and reason.operator_until_s is None:
        text += f" {watts(reason.waiting_w)} more are its own and come as soon as other nodes have given them back."
    return text


def _cause(reason: NodeReason) -> str:
    short = reason.short
    if reason.operator_until_s is not None and reason.cap_w is not None:
        return f"an operator's lease holds it at {watts(reason.cap_w)} until {clock(reason.operator_until_s)[11:]}."
    if reason.cause is Cause.DRY_RUN:
        return "its zone is in dry run: this is what it would be given by what it shows, and nothing is sent to it."
    if reason.cause is Cause.UNSTEERED:
        return (
            "nothing is heard of it (or the collector itself is cut off), or it lets nobody control it now: its "
            "settings do not, or its actuator does not answer. It counts with the most it may draw."
        )
    if short is None or reason.cause is Cause.FREE:
        held = f"it is held at {reason.held}" if reason.held else "nothing holds it back"
        return f"no zone around it is short of power, so {held}."
    words = {
        Cause.SURPLUS: "Every node gets what it wants, and what is left over is shared by weight.",
        Cause.MET: f"A node of {_class(reason)} is important enough to get what it wants; others share the rest.",
        Cause.LEVEL: f"Nodes of {_class(reason)} share what is left after more important ones.",
        Cause.PART: f"It is sure of the essential {100 * ESSENTIAL:.0f} % of its demand, as every node is before any "
        f"gets more; {_after_the_essential(reason, short)}.",
        Cause.WAITS: f"All that is left goes to {_priority(short)}; this one is of {_class(reason)}, gives way and "
        f"keeps its floor of {watts(reason.floor_w)}.",
        Cause.FLOOR: f"{_floors(short.budget_w, short.floors_w)}, so each has its floor, here {watts(reason.floor_w)}.",
        Cause.BRAKE: f"That is over the limit, so present use is cut at once, the least important nodes first; this "
        f"one is of {_class(reason)}.",
    }
    return f"{_standing(short)} {words[reason.cause]}"


def _standing(short: Short) -> str:
    share = f" ({100 * short.power_w / short.budget_w:.0f} %)" if short.budget_w > 0 else ""
    why = f", by {short.budget_why}" if short.budget_why else ""
    return f"zone {short.zone} has {watts(short.budget_w)}{why}; {watts(short.power_w)} of them are drawn{share}."


def _after_the_essential(reason: NodeReason, short: Short) -> str:
    own = f"this one is of {_class(reason)}"
    if short.level_class is not None and short.level_class < reason.priority:
        return f"that part of {_priority(short)} takes what is left; {own}"
    return f"what is left after that goes to {_priority(short)} first, and {own}"


def _floors(budget_w: float, floors_w: float) -> str:
    limit = f"The limit of {watts(budget_w)} ({watts(_usable_w(budget_w))} after the margin) is below"
    needed = f"what its nodes need at the least, {watts(floors_w)} by their floors and fixed load"
    return f"{limit} {needed}" if floors_w > _usable_w(budget_w) else f"{limit} {needed} and what cannot be steered"


def _class(reason: NodeReason) -> str:
    priority = f"priority {reason.priority}, where 9 goes first and 0 last"
    return f"class {reason.kind} ({priority})" if reason.kind else priority


def _priority(short: Short) -> str:
    return "others" if short.level_class is None else f"nodes of priority {short.level_class}"


def _paused(reason: NodeReason, since_s: float) -> str:
    work = f"Paused since {clock(since_s)[11:]}: {', '.join(reason.paused)}"
    if not reason.paused_by_us:
        return f"{work}, by a person or another program; `evenwatt resume` ends it."
    return (
        f"{work}, which its owner and the policy allow. Caps alone could not keep the zone to its limit, and the least "
        f"important work stops first."
    )


def _node_release(reason: NodeReason) -> str:
    short = reason.short
    if reason.paused and reason.paused_by_us and short is not None:
        low_w = _BANDS.resume_below * _usable_w(short.budget_w)
        return (
            f"its work goes on, one node at a time, when zone {short.zone} has drawn less than {watts(low_w)} for "
            f"{_BANDS.resume_s:.0f} s and there is room for it, {LEAST_PAUSE_S:.0f} s after the pause at the earliest."
        )
    if reason.operator_until_s is not None:
        return "the operator's lease ends, or the operator gives it back with `evenwatt release`."
    if reason.cause is Cause.DRY_RUN:
        return "the policy's dry_run is set to false; then the node is capped for real."
    if reason.cause is Cause.UNSTEERED:
        return (
            "its measurements arrive again (`evenwatt status` says what is down), or its settings enable control; "
            "`evenwatt doctor` on the node says which."
        )
    if short is None or reason.cause is Cause.FREE:
        return "a zone around it comes near its limit."
    words = {
        Cause.SURPLUS: f"it has what it wants; that moves when other nodes of zone {short.zone} want more or less.",
        Cause.BRAKE: f"zone {short.zone} draws less than {watts(short.budget_w)} again; caps then rise step by step.",
        Cause.FLOOR: f"the limit of zone {short.zone} rises, floors are lowered in the policy, or nodes leave it.",
    }
    calm = watts(_BANDS.release_below * _usable_w(short.budget_w))
    return words.get(
        reason.cause,
        f"it gets more at once when other nodes of zone {short.zone} want less or its limit rises; the zone's caps are "
        f"lifted when it draws less than {calm} for {_BANDS.release_s:.0f} s.",
    )


def _alone(reason: NodeReason, cap_w: float) -> str:
    then = {
        "fallback": f"goes to {watts(min(cap_w, reason.fallback_w))}",
        "hold": "keeps its cap, as far as its own settings allow",
        "restore": "takes its machine's own limits back, as far as its own settings allow",
    }[reason.on_lost]
    return f"If it hears nothing for {TTL_S:.0f} s it {then}."


# --- zones ------------------------------------------------------------------------------------------------------------

_BAND_WORDS: Final = {
    "normal": "there is room: leases grow with what the nodes want.",
    "hold": f"it is near its limit ({100 * _BANDS.hold_at:.0f} % or more): leases grow no faster than power is freed.",
    "cap": "its nodes want more than there is: important classes are served first, and the others share what is left.",
    "brake": "it drew more than its limit: present use was cut at once, in the least important class first.",
}


def _zone_why(reason: ZoneReason) -> str:
    limits_w = [limit_w for limit_w in (reason.budget_w, reason.outer_budget_w) if limit_w is not None]
    if reason.band == "normal" or not limits_w or reason.floors_w <= _usable_w(min(limits_w)):
        return _BAND_WORDS[reason.band]
    more = ", and work that may be paused is paused" if reason.paused else ""
    return f"{_floors(min(limits_w), reason.floors_w)}: every node is at its floor{more}."


def _zone_headline(reason: ZoneReason, since_s: float, wall_s: float) -> str:
    since = _since(since_s, wall_s)
    if reason.budget_w is None:
        has = "has no limit of its own"
    else:
        has = f"may draw {watts(reason.budget_w)} by {reason.budget_why}"
    outer = ""
    if reason.outer is not None and reason.outer_budget_w is not None:
        outer = f" It lies in zone {reason.outer}, whose {watts(reason.outer_budget_w)} hold as well."
    share = f", {100 * reason.power_w / reason.budget_w:.0f} % of it" if reason.budget_w else ""
    fixed = f", {watts(reason.unmanaged_w)} of it fixed load that no node reports" if reason.unmanaged_w else ""
    drawn = f" It draws {watts(reason.power_w)}{share}{fixed}; at most {watts(reason.most_w)} by its leases."
    dry = " Dry run: nothing is sent to its nodes." if reason.dry_run else ""
    return f"zone {reason.zone} {has} and {_BAND_NAMES[reason.band]} {since}.{drawn}{outer}{dry}"


def _zone_nodes(reason: ZoneReason) -> str:
    more = "" if len(reason.paused_names) == reason.paused else ", ..."
    names = f" ({', '.join(reason.paused_names)}{more})"
    paused = f", {reason.paused} with paused work{names}" if reason.paused else ""
    if not reason.capped:
        return f"Nodes: {reason.nodes}, and every one may draw what it wants{paused}."
    return f"Nodes: {reason.nodes}, {reason.capped} may draw less than they want{paused}; ask `evenwatt explain NODE`."


def _zone_release(reason: ZoneReason) -> str:
    if reason.band == "normal":
        return "its nodes want more, or its limit falls."
    limits_w = [limit_w for limit_w in (reason.budget_w, reason.outer_budget_w) if limit_w is not None]
    budget_w = _usable_w(min(limits_w, default=reason.power_w))
    if reason.band == "hold":
        return f"power below {watts(_BANDS.hold_at * budget_w)}, or more demand than there is."
    if reason.band == "brake":
        return f"power below {watts(budget_w)}; then caps rise step by step."
    return (
        f"power below {watts(_BANDS.release_below * budget_w)} for {_BANDS.release_s:.0f} s, longer if it was released "
        f"shortly before; then caps rise one node after another."
    )
