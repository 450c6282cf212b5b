"""Takes overrides, keeps them in the database, and sees that they end. The shell around ``book`` and ``effect``.

They are in the database that a standby takes over, so they outlive a restart and a takeover; the fence of the database
lets only the active collector write. An override is on the disk before it holds.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.issuer import new_id
from evenwatt_collector.overrides.effect import NodeFacts, ZoneFacts, effect
from evenwatt_collector.overrides.model import Effect, Kind, Override, Wish, told
from evenwatt_collector.storage import DatabaseError
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.overrides.book import Book
    from evenwatt_collector.steering import Steering
    from evenwatt_collector.storage import Connection
    from evenwatt_daemon.audit import Fact

_MEMORY: Final = "overrides:"
"""And the zone: collectors that share a database have zones of their own."""


class UnknownPlaceError(LookupError):
    """There is no such zone or node here."""


class ClashError(ValueError):
    """The same key stands for another request."""


class NotActiveError(Exception):
    """This collector steers nothing now; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the desk looks at and speaks through."""

    zones: Callable[[], Sequence[str]]
    """Names of the zones that may have a limit."""
    fleet: Fleet
    steering: Steering
    keeper: Keeper
    idle: Callable[[], str | None]
    """Why nothing is steered now; None: it is."""
    changed: Callable[[], None]
    """Called when other overrides hold."""
    note: Callable[[str, Mapping[str, Fact]], None]
    """Enters something in the audit log."""
    decided: Callable[[Sequence[Decided]], None]
    """Tells decisions as they happen."""


class OverrideDesk:
    """All overrides of one collector.

    Args:
        around: What it looks at and speaks through.
        book: What holds; control reads it.
    """

    def __init__(self, around: Around, book: Book) -> None:
        self._log: Any = get_logger("overrides")
        self._around, self.book = around, book
        self._one_at_a_time = asyncio.Lock()

    async def prepare(self) -> None:
        """Take up what was set before; called once."""
        zones = list(self._around.zones())
        try:
            kept = await asyncio.wrap_future(self._around.keeper.ask(lambda c: _kept(c, zones)))
        except DatabaseError as error:
            self._log.error("overrides cannot be read; they do not hold", why=str(error))
            return
        self.book.load(kept, time.time())
        if self.book.all:
            self._around.changed()

    def effect(self, wish: Wish) -> Effect:
        """Return what a wish would do.

        Raises:
            UnknownPlaceError: there is no such zone or node.
            ImpossibleError: it cannot be done.
            NotActiveError: nothing is steered now.
        """
        if why := self._around.idle():
            raise NotActiveError(why)
        zones = self._around.zones()
        if wish.zone not in zones:
            raise UnknownPlaceError(f"there is no zone {wish.zone!r}; there are {', '.join(sorted(zones)) or 'none'}")
        before = self.book.of(wish.kind, wish.zone, wish.node)
        return effect(wish, time.time(), self._zone(wish), self._node(wish), before)

    async def set(self, wish: Wish, by: str, key: str = "") -> tuple[Override, Effect, bool]:
        """Set an override; return it, what it does, and whether it is new: the same key again changes nothing.

        Raises:
            UnknownPlaceError, ImpossibleError, NotActiveError: as in ``effect``.
            ClashError: the key was that of another request.
            DatabaseError: it cannot be kept, so it does not hold.
        """
        async with self._one_at_a_time:
            does = self.effect(wish)
            earlier = self.book.sent_before(by, key)
            if earlier is not None:
                if not _same(earlier, wish):
                    raise ClashError(f"key {key!r}: it was sent with another request; use a new one")
                return earlier, does, False
            now_s = time.time()
            override = Override(
                id=new_id(int(now_s * 1000)),
                kind=wish.kind,
                zone=wish.zone,
                node=wish.node,
                watts=wish.watts,
                since_s=now_s,
                until_s=now_s + wish.for_s,
                reason=wish.reason.strip(),
                by=by,
                key=key,
            )
            rest = [one for one in self.book.in_zone(wish.zone) if one.place != override.place]
            await self._keep(wish.zone, [*rest, override])
            before = self.book.put(override)
        if before is not None:
            self._note("override-ended", before, by=by, how="replaced")
        self._note("override-set", override, by=by)
        self._say(f"{_named(override)} {told(override)}", override)
        self._around.changed()
        return override, does, True

    async def end(self, identity: str, by: str) -> Override | None:
        """End an override now and return it; None if none of this id holds.

        Raises:
            DatabaseError: that cannot be kept, so it goes on.
            NotActiveError: nothing is steered now.
        """
        if why := self._around.idle():
            raise NotActiveError(why)
        async with self._one_at_a_time:
            found = self.book.find(identity)
            if found is None:
                return None
            await self._keep(found.zone, [one for one in self.book.in_zone(found.zone) if one.id != identity])
            self.book.end(identity)
        self._note("override-ended", found, by=by, how="by hand")
        self._say(f"{_named(found)} {told(found)} was ended by {by}", found)
        self._around.changed()
        return found

    def look(self, wall_s: float) -> None:
        """End those whose time is over."""
        over = self.book.due(wall_s)
        for one in over:
            self._note("override-ended", one, how="its time was over")
            self._say(f"{_named(one)} {told(one)} is over", one)
        if over:
            self._around.changed()

    async def _keep(self, zone: str, overrides: list[Override]) -> None:
        rows = [msgspec.to_builtins(one) for one in overrides]
        await asyncio.wrap_future(self._around.keeper.ask(lambda c: remember(c, f"{_MEMORY}{zone}", rows)))

    def _zone(self, wish: Wish) -> ZoneFacts | None:
        steering, fleet = self._around.steering, self._around.fleet
        inside = [wish.zone, *steering.inside(wish.zone)]
        nodes = [node for zone in inside for node in fleet.in_zone(zone)]
        view = steering.zone(wish.zone)
        if view is None:
            if wish.kind is not Kind.LIMIT:
                return None
            power_w = sum(node.live.total.mean_w for node in nodes if node.live)
            return ZoneFacts(nodes=len(nodes), power_w=power_w, limit_w=None, floors_w=0.0, dry_run=False)
        limit_w = view.budget_w if view.budget_w is not None and isfinite(view.budget_w) else None
        return ZoneFacts(
            nodes=len(nodes),
            power_w=view.power_w,
            limit_w=limit_w,
            floors_w=steering.floors_w(wish.zone),
            dry_run=view.dry_run,
        )

    def _node(self, wish: Wish) -> NodeFacts | None:
        if wish.node is None:
            return None
        node = self._around.fleet.find(wish.zone, wish.node)
        if node is None:
            raise UnknownPlaceError(f"there is no node {wish.node!r} in zone {wish.zone!r}")
        birth = node.birth
        return NodeFacts(
            power_w=node.live.total.mean_w if node.live else None,
            cap_w=node.cap_w,
            floor_w=birth.floor_w if birth else 0.0,
            ceiling_w=birth.ceiling_w if birth else 0.0,
            controllable=birth is not None and birth.controllable,
            pausable=tuple(birth.pausable) if birth else (),
        )

    def _note(self, kind: str, override: Override, **more: Fact) -> None:
        said = msgspec.to_builtins(override)
        said["what"] = said.pop("kind")  # an entry has a kind of its own
        facts = {name: value for name, value in said.items() if value not in {None, ""}}
        self._around.note(kind, facts | more)

    def _say(self, words: str, override: Override) -> None:
        nodes = [f"{override.zone}:{override.node}"] if override.node else []
        said = Decided(kind=DecisionKind.ACTION, wall_s=time.time(), words=words, zone=override.zone, nodes=nodes)
        self._around.decided([said])


def _kept(connection: Connection, zones: Sequence[str]) -> list[Override]:
    found: list[Override] = []
    for zone in zones:
        try:
            found += msgspec.convert(recall(connection, f"{_MEMORY}{zone}") or [], list[Override])
        except msgspec.ValidationError:
            continue  # of another version; a day later it would have ended anyway
    return found


def _same(override: Override, wish: Wish) -> bool:
    asked = (wish.kind, wish.zone, wish.node, wish.watts, wish.reason.strip())
    return asked == (override.kind, override.zone, override.node, override.watts, override.reason)


def _named(override: Override) -> str:
    watts = "" if override.watts is None else f" of {override.watts:,.0f} W"
    where = f"node {override.node}" if override.node else f"zone {override.zone}"
    return f"A {override.kind.value}{watts} for {where},"
