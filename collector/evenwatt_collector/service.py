"""The collector: wires links, fleet, store, zones and HTTP together. The only module that knows all.

One event loop owns everything but the database, which has a thread of its own. A zone has its own connection, since
MQTT gives a connection one will and every zone must hear when its collector is lost.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector import __version__
from evenwatt_collector.api import Answers, listen, make_app, serve
from evenwatt_collector.auditing import open_auditor
from evenwatt_collector.backlog import window
from evenwatt_collector.books import Books, Commit, Entry
from evenwatt_collector.carbon.labels import Labels
from evenwatt_collector.decided import Decided, Decisions
from evenwatt_collector.echoes import Echoes
from evenwatt_collector.emissions import Emissions
from evenwatt_collector.event_news import of_events
from evenwatt_collector.explain import explain
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.helm import Crew, Helm
from evenwatt_collector.http.gate import Gate
from evenwatt_collector.http.tokens import load_tokens
from evenwatt_collector.ingest import Ingest, Sinks
from evenwatt_collector.issuer import Issuer
from evenwatt_collector.keeper import Keeper
from evenwatt_collector.keys import LOOK_S, ControllerKeys
from evenwatt_collector.live_stream import Hub
from evenwatt_collector.locations import Locations
from evenwatt_collector.neighbours.desk import Middle, Neighbours
from evenwatt_collector.node_detail import node_detail
from evenwatt_collector.overrides.book import Book
from evenwatt_collector.overrides.desk import Around, OverrideDesk
from evenwatt_collector.overrides.rules import OverriddenRules
from evenwatt_collector.planning import Planning, Surroundings
from evenwatt_collector.planning.capping import CappedRules
from evenwatt_collector.policing import Ground, Policing
from evenwatt_collector.policy import Watcher
from evenwatt_collector.report.build import Made, open_and_build
from evenwatt_collector.rules import SettingsRules
from evenwatt_collector.score.desk import DatabaseDesk
from evenwatt_collector.settings import ZoneSettings
from evenwatt_collector.speaking import Speaking
from evenwatt_collector.standby.machine import BEAT_S
from evenwatt_collector.status import Document, Views, node_rows, status_document
from evenwatt_collector.steering import Steering
from evenwatt_collector.storage.identity import Identity, identities
from evenwatt_collector.storage.shards import shards
from evenwatt_collector.storage.writer import Part
from evenwatt_collector.store import Store
from evenwatt_collector.telling import Told
from evenwatt_collector.zone import Zone, with_inner
from evenwatt_collector.zone_history import ZoneHistory
from evenwatt_daemon import Notifier, get_logger, on_reload
from evenwatt_daemon.certificate_watch import CertificateWatch
from evenwatt_wire import Ack, ControllerState, Kind, Ledger, Stored, Topic, ZoneSummary, encode
from evenwatt_wire.command import open_ack, open_run
from evenwatt_wire.messages import Echo, NodeState, Probe
from evenwatt_wire.topics import ZONE_NODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

    from evenwatt_collector.carbon import IntensityTable
    from evenwatt_collector.link import Post
    from evenwatt_collector.report.asking import ReportQuery
    from evenwatt_collector.report.model import Report
    from evenwatt_collector.rules import NodeRule, Rules
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.standby.tenure import Tenure
    from evenwatt_collector.storage.shards import Shard
    from evenwatt_daemon.audit import Fact, Facts

_ROWS_AT_ONCE: Final = 100
"""Rows of the status document made in one go."""
_SUMMARY_S: Final = 2.0
_STREAM_S: Final = 1.0
_PRESENCE_S: Final = 30.0
_QUIET_S: Final = 5.0
"""After another collector may have steered: its last grants must have arrived and been reported."""
_FIRST_QUIET_S: Final = 1.0
"""At the very first start only the retained births have to arrive."""
_DRAIN_S: Final = 5.0
_UNANSWERED_S: Final = 15.0
"""A database that has not answered for longer is an alarm; live view and control go on without it."""
_STUCK_S: Final = 15.0
"""A part that has not come round for longer is stuck: the watchdog is not fed any more."""
_BEYOND_TOLD: Final = 1_000
"""The highest are enough: what is lacking is told besides."""


class Collector:
    """One collector, from start to stop.

    Args:
        settings: What to do.
        table: Annual averages of intensity.
        tenure: The hold of the lease, where there is a standby.

    Raises:
        Failure: something it needs is not there; the text says what and the fix.
    """

    def __init__(self, settings: CollectorSettings, table: IntensityTable, tenure: Tenure | None = None) -> None:
        self._settings, self._tenure = settings, tenure
        self._log: Any = get_logger("collector")
        self._notify = Notifier()
        self._gate = Gate(settings.http, load_tokens(settings.http.tokens), self._note)
        self._keys = ControllerKeys(settings.keys, settings.fleet, Path(settings.state_dir), _wall_ms)
        self._look_s = 0.0
        private = self._keys.private
        self._http = listen(settings.http)
        self._loop = asyncio.get_running_loop()
        slots = {zone.name: 3600 // zone.slot_s for zone in settings.zones}
        fence = tenure.epoch if tenure else None
        self._watcher = Watcher(Path(settings.policy)) if settings.policy else None
        self._fixed_rules = SettingsRules(settings.zones)
        limited = [zone.name for zone in self._rules.zones]
        names = list(dict.fromkeys([*(zone.name for zone in settings.zones), *limited]))
        self._shards: list[Document] = []
        self._store = Store(settings.where, self._from_writer, slots, settings.labels, fence, self._part(names))
        self._keeper = Keeper(
            settings.where, settings.keep.minutes_days, settings.keep.hours_days, fence, settings.shard_name
        )
        self._hub, self._history = Hub(), ZoneHistory()
        self._labels = Labels(settings.labels)
        self._decisions = Decisions(self._hub)
        self._emissions = Emissions(settings, table, self._keeper, self._hub, self._decided)
        self._epoch = self._store.epoch
        self._issuer = Issuer(settings.fleet, self._epoch, private) if private else None
        self._auditor = open_auditor(settings, self._epoch, self._keys.key_id) if private else None
        self._fleet = tenure.fleet if tenure else Fleet()
        self._books, self._echoes = Books(), Echoes()
        self._certificates = CertificateWatch(settings.mqtt)
        self._books.load(self._store.loaded)
        quiet_s = tenure.quiet_s if tenure else _QUIET_S if self._store.took_over else _FIRST_QUIET_S
        self._caps_w: dict[tuple[str, str], float] = {}
        self._asked_for = Book()
        self._steering = Steering(self._with_wishes(self._rules), quiet_s, self._epoch)
        self._zones: dict[str, Zone] = {}
        self._speaking = Speaking(settings, self._epoch, self._keys, self._fleet, self._store.identities, tenure)
        self._helm = Helm(self._crew())
        self._overrides = self._override_desk()
        self._policing = Policing(self._watcher, self._ground()) if self._watcher else None
        self._planning = Planning(self._surroundings())
        for name in names:
            self._zone(name)
        for known, node in self._books.names:
            if not self._zones or known in self._zones:
                self._fleet.expect(known, node, time.monotonic())
        sinks = Sinks(
            record=self._on_record,
            open_ack=lambda payload, zone: open_ack(payload, self._keys.ring, zone),
            ack=self._on_ack,
            open_run=lambda payload, zone: open_run(payload, self._keys.ring, zone),
            run=self._planning.on_run,
            submit=self._planning.on_submit,
            jump=self._on_jump,
            probe=self._on_probe,
            controller=self._on_controller,
            beat=tenure.heard if tenure else lambda _beat: None,
        )
        self._ingest = Ingest(self._fleet, sinks, time.monotonic)
        self._neighbours = Neighbours(self._middle())
        self._speaking.connect(self._zones, self._ingest, self._neighbours)
        if tenure is not None:
            tenure.online = self._is_heard

    async def run(self, stop: asyncio.Event) -> None:
        """Hear, store, account and steer until ``stop``, or until another collector has taken over.

        Leases are not released in the end: the nodes hold them, then ramp to their fallback, as after a crash. One
        rule for both is the safe one, since nobody steers from now on.
        """
        leave = asyncio.Event()
        on_reload(self._look_now)
        app = make_app(self._answers(), self._hub, self._gate, self._settings.http.hosts)
        try:
            self._store.start()
            self._keeper.start()
            self._note("start", self._facts())
            self._look_at_shards()
            await self._emissions.prepare()
            await self._planning.prepare()
            await self._overrides.prepare()
            async with serve(self._http, app, proxied=self._settings.http.tls), asyncio.TaskGroup() as group:
                links = [group.create_task(link.run(leave), name="link") for link in self._speaking.links.values()]
                loops = [
                    group.create_task(loop(), name="loop")
                    for loop in (self._helm.run, self._tell, self._watch, self._stream, self._beat)
                ]
                carbon = group.create_task(self._emissions.run(leave), name="emissions")
                planning = group.create_task(self._planning.run(leave), name="planning")
                neighbours = group.create_task(self._neighbours.run(leave), name="neighbours")
                self._log.info("started", epoch=self._epoch, zones=sorted(self._zones) or "all that are heard")
                self._notify.ready(f"epoch {self._epoch}, connecting to {self._settings.mqtt.where}")
                await self._until(stop)
                for task in loops:
                    task.cancel()
                await asyncio.to_thread(self._store.close, _DRAIN_S)
                await asyncio.sleep(0)  # lets the last commits be told
                if self._tenure is not None:
                    await asyncio.to_thread(self._tenure.close)
                for name in self._speaking.named if stop.is_set() else ():
                    self._speaking.say_presence(name, NodeState.DISCONNECTED)
                leave.set()
                self._hub.close()
                await asyncio.wait([*links, carbon, planning, neighbours])
        finally:
            self._store.close(_DRAIN_S)
            await asyncio.to_thread(self._keeper.close)
            if self._auditor is not None:
                await asyncio.to_thread(self._auditor.close)
            self._http.close()

    async def _until(self, stop: asyncio.Event) -> None:
        """Wait for ``stop``, or for the end of our tenure."""
        over = self._tenure.over if self._tenure else asyncio.Event()
        waits = [asyncio.create_task(event.wait()) for event in (stop, over)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if stop.is_set():
            self._notify.stopping()
            self._log.info("stopping; nodes hold their leases, then fall back by themselves")

    # --- what is heard --------------------------------------------------------------------------------------------

    def _on_record(self, zone: str, record: Ledger, payload: bytes) -> bool:
        return self._store.offer(Entry(zone, record, payload, self._emissions.weigh(zone, record)))

    def _on_ack(self, zone: str, ack: Ack) -> None:
        now_s = time.monotonic()
        if not self._helm.answered(zone, ack, now_s) or self._planning.on_ack(zone, ack):
            return
        if self._steering.acknowledge(zone, ack, now_s):
            self._helm.hurry()

    def _on_controller(self, state: ControllerState, retained: bool) -> None:
        self._zone(state.zone).on_controller(state, time.monotonic(), retained=retained)
        late = state.epoch < self._epoch and state.state is not NodeState.READY
        ours = state.epoch == self._epoch and state.state is NodeState.LOST
        if (late or ours) and state.zone in self._speaking.links:
            # The late will of our predecessor is retained now; or that of our second connection, whose broker has left.
            self._speaking.say_presence(state.zone, NodeState.READY)

    def _on_probe(self, topic: Topic, probe: Probe) -> None:
        if self._echoes.allow(str(topic), time.monotonic()):
            self._speaking.publish(topic._replace(kind=Kind.ECHO), encode(Echo(probe.nonce, self._epoch)))

    def _on_jump(self, _zone: str) -> None:
        self._helm.hurry()

    def _from_writer(self, commit: Commit) -> None:
        """Runs on the writer thread."""
        self._loop.call_soon_threadsafe(self._on_commit, commit)

    def _on_commit(self, commit: Commit) -> None:
        """Tell the nodes what is on the disk now, doubled records too: their node has missed our answer."""
        self._books.fold(commit)
        granted = window(self._fleet.known, self._store.room)
        for boot in commit.totals:
            beyond = commit.beyond[boot.node, boot.boot][-_BEYOND_TOLD:]
            said = Stored(boot.boot, boot.mark, beyond, list(boot.lacking), granted)
            self._speaking.publish(Topic(boot.zone, boot.node, Kind.STORED), encode(said))

    # --- loops ----------------------------------------------------------------------------------------------------

    def _is_heard(self) -> bool:
        """Whether the broker hears us and the loop comes round: else the standby shall take over."""
        return time.monotonic() - self._helm.steered_s < _STUCK_S and self._speaking.online

    async def _beat(self) -> None:
        """Say on the broker that we live, where somebody stands by."""
        while self._tenure is not None:
            self._speaking.beat(self._tenure)
            await asyncio.sleep(BEAT_S)

    async def _tell(self) -> None:
        """Publish summaries and presence, and keep the service manager's line up to date."""
        presence_s = time.monotonic() + _PRESENCE_S
        while True:
            if self._policing is not None:
                self._policing.follow()
            if self._auditor is not None:
                self._auditor.due(time.monotonic())
            self._follow_trust()
            for trouble in self._certificates.look(time.monotonic(), time.time()):
                self._log.warning("certificate", why=trouble)
            summaries = await self._summaries()
            self._history.add(time.time(), (summary for _, summary in summaries))
            for _, summary in summaries if self._helm.may_act() else []:
                self._speaking.publish(Topic(summary.zone, ZONE_NODE, Kind.SUMMARY), encode(summary), qos=1)
            if time.monotonic() >= presence_s and self._helm.may_act():
                presence_s += _PRESENCE_S
                self._keeper.ask(identities).add_done_callback(self._from_keeper)
                self._look_at_shards()
                for name in self._speaking.named:
                    self._speaking.say_presence(name, NodeState.READY)
            nodes, power_w = sum(s.nodes for _, s in summaries), sum(s.power_w for _, s in summaries)
            trouble = "; ".join(self._reasons())
            self._notify.status(trouble or f"epoch {self._epoch}, {nodes} nodes, {power_w:.0f} W")
            await asyncio.sleep(_SUMMARY_S)

    def _decided(self, said: Iterable[Decided]) -> None:
        """Tell decisions as they happen."""
        self._decisions.say(said, time.monotonic(), time.time())

    def _follow_trust(self) -> None:
        """Take a changed trust document, and tell it to every node."""
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        if self._keys.look():
            self._note("trust", {"version": self._keys.version})
            for name in self._zones:
                self._speaking.say_trust(name)
            self._helm.hurry()

    def _look_now(self) -> None:
        self._look_s = 0.0

    def _note(self, kind: str, facts: Mapping[str, Fact]) -> None:
        """Enter something in the audit log, where there is one."""
        if self._auditor is not None:
            self._auditor.note(kind, facts)

    def _facts(self) -> Facts:
        """What is in force from now on, for the audit log."""
        policy = self._watcher.facts() if self._watcher else {}
        return {
            "collector": True,
            "fleet": self._settings.fleet,
            "version": __version__,
            "epoch": self._epoch,
            "key": self._keys.key_id,
            "trust": self._keys.version,
            "zones": sorted(self._zones),
            **{f"policy_{name}": value for name, value in policy.items()},
        }

    def _from_keeper(self, known: Future[dict[str, Identity]]) -> None:
        """Take the names of what is held here, which may have been changed; runs on the keeper's thread."""
        if not known.cancelled() and known.exception() is None:
            self._speaking.identities = known.result() or self._speaking.identities

    def _look_at_shards(self) -> None:
        """Read which other shards there are; of no use where there is none."""

        def told(known: Future[list[Shard]]) -> None:
            if not known.cancelled() and known.exception() is None:
                self._shards = [one._asdict() for one in known.result()]

        if self._settings.shard is not None:
            self._keeper.ask(shards).add_done_callback(told)

    def _part(self, zones: list[str]) -> Part | None:
        """Return what we have of a database that others write too; None where we have all."""
        shard = self._settings.shard
        if shard is None and self._tenure is None:
            return None
        return Part(shard=self._settings.shard_name, zones=tuple(zones), url=shard.url if shard else "")

    async def _stream(self) -> None:
        """Tell readers of the stream what has changed, each second."""
        told = Told(self._hub)
        while True:
            self._decided(of_events(told.happened(self._fleet), time.time()))
            told.rest()
            if len(self._hub):
                told.tell(await self._status(), _wall_ms())
            await asyncio.sleep(_STREAM_S)

    async def _watch(self) -> None:
        """Feed the watchdog while this loop, the links and the steering make progress.

        A database that hangs is an alarm and no reason to die: nodes keep their records, and control needs none.
        """
        while True:
            turned_s = [self._helm.steered_s, *(link.turned_s for link in self._speaking.links.values())]
            if time.monotonic() - min(turned_s) < _STUCK_S:
                self._notify.alive()
            await asyncio.sleep(1.0)

    # --- views ----------------------------------------------------------------------------------------------------

    async def _summaries(self) -> list[tuple[Zone, ZoneSummary]]:
        for name in self._fleet.zones:
            self._zone(name)
        now_s, wall_ms = time.monotonic(), _wall_ms()
        troubles = self._reasons() + self._keys.warnings()
        if self._policing is not None:
            troubles += self._policing.troubles(lambda zone: self._speaking.link(zone) is not None)
        troubles += self._emissions.troubles() + self._planning.troubles()
        troubles += self._certificates.troubles + self._store.troubles()
        if self._auditor is not None and self._auditor.alarm:
            troubles.append(f"audit log: {self._auditor.alarm}")
        own = {}
        for name, zone in sorted(self._zones.items()):
            own[name] = zone.summary(
                now_s,
                wall_ms,
                self._fleet,
                self._books,
                self._steering.zone(name),
                troubles + self._emissions.alarms(name),
                linked=self._speaking.linked(name),
            )
            await asyncio.sleep(0)
        return [
            (
                self._zones[name],
                with_inner(summary, [own[inner] for inner in self._steering.inside(name) if inner in own]),
            )
            for name, summary in own.items()
        ]

    async def _status(self) -> Document:
        views = Views(
            epoch=self._epoch,
            version=__version__,
            role="active" if self._tenure else "alone",
            name=self._tenure.name if self._tenure else "",
            shard=self._settings.shard_name,
            shards=self._shards,
            zones=await self._summaries(),
            linked=self._speaking.linked,
            fleet=self._fleet,
            books=self._books,
            ingest=self._ingest,
            issuer=self._issuer,
            steering=self._steering,
            broker={
                "where": self._settings.mqtt.where,
                "connected": all(link.online for link in self._speaking.links.values()),
                "connections": sum(link.connections for link in self._speaking.links.values()),
            },
            store={"alarm": self._store.alarm, "waiting": self._store.waiting, "refused": self._store.refused},
            reasons=self._reasons(),
            emissions=self._emissions.document(),
            planning=self._planning.document(),
            neighbours=self._neighbours.document(),
        )
        rows: list[Document] = []
        for row in node_rows(views, time.monotonic()):
            rows.append(row)
            if len(rows) % _ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return status_document(views, rows)

    def _answers(self) -> Answers:
        return Answers(
            status=self._status,
            reasons=self._reasons,
            why=self._explain,
            report=self._report,
            forecasts=self._emissions.forecasting.documents,
            node_forecast=self._emissions.forecasting.node,
            node=self._node_detail,
            history=lambda zone, back_s: self._history.document(zone, time.time() - back_s),
            jobs=self._planning.desk,
            models=self._planning.serving.desk,
            decisions=self._decisions,
            overrides=self._overrides,
            score=DatabaseDesk(self._settings.where, self._settings.fleet, __version__, self._settings.shard_name),
            intensities=Locations(self._settings, self._emissions.grids, self._emissions.facts),
        )

    def _node_detail(self, zone: str, name: str) -> Document | None:
        node = self._fleet.find(zone, name)
        return None if node is None else node_detail(node, time.monotonic())

    async def _report(self, query: ReportQuery) -> Report:
        """Make a report on a connection of its own: it may take long, and the keeper has other work."""
        made = Made(now_s=time.time(), version=__version__, fleet=self._settings.fleet)
        return await asyncio.to_thread(open_and_build, self._settings.where, query, made)

    def _explain(self, name: str, at_s: float | None) -> Document:
        now_s = time.time()
        return explain(self._steering.narrator, name, now_s if at_s is None else at_s, now_s)

    def _reasons(self) -> list[str]:
        """Why this collector cannot do its work."""
        stopped = self._keys.stopped
        troubles = [stopped] if stopped else []
        troubles += self._speaking.troubles()
        if not self._helm.may_act():
            troubles.append("nobody confirms that this collector is the active one; nothing is steered")
        silent_s = self._store.silent_s()
        if silent_s > _UNANSWERED_S:
            troubles.append(f"database: no answer for {silent_s:.0f} s; nodes keep their records until it answers")
        if self._store.alarm is not None:
            troubles.append(f"database: {self._store.alarm}; nodes keep their records until it can be written")
        return troubles

    # --- parts ----------------------------------------------------------------------------------------------------

    def _zone(self, name: str) -> Zone:
        zone = self._zones.get(name)
        if zone is None:
            chosen = next((known for known in self._settings.zones if known.name == name), ZoneSettings(name=name))
            zone = self._zones[name] = Zone(chosen, lambda: self._emissions.factor(name), self._labels, self._epoch)
        return zone

    @property
    def _rules(self) -> Rules:
        """What holds now, without what people and learned caps add."""
        return self._watcher.rules if self._watcher else self._fixed_rules

    def _crew(self) -> Crew:
        return Crew(
            fleet=self._fleet,
            steering=self._steering,
            keys=self._keys,
            issuer=self._issuer,
            auditor=self._auditor,
            tenure=self._tenure,
            speaking=self._speaking,
            superseded=lambda zone, now_s: self._zone(zone).superseded(now_s),
            prepare=self._prepare_step,
            decided=self._decided,
        )

    def _prepare_step(self, wall_s: float) -> None:
        self._overrides.look(wall_s)

    def _ground(self) -> Ground:
        return Ground(
            settings=self._settings,
            fleet=self._fleet,
            books=self._books,
            emissions=self._emissions,
            steering=self._steering,
            zones=self._zones,
            changed=self._policy_changed,
            note=self._note,
            decided=self._decided,
        )

    def _policy_changed(self) -> None:
        self._steering.use(self._with_wishes(self._rules))
        self._helm.hurry()

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            settings=self._settings,
            epoch=self._epoch,
            keys=self._keys.ring,
            fleet=self._fleet,
            steering=self._steering,
            emissions=self._emissions,
            keeper=self._keeper,
            caps_w=self._caps_w,
            rule=self._rule,
            zones=lambda: sorted(self._zones),
            reachable=self._helm.reachable,
            signs=self._issuer is not None,
            order=self._helm.order,
            publish=self._speaking.publish,
            note=self._note,
            decided=self._decided,
        )

    def _middle(self) -> Middle:
        return Middle(
            settings=self._settings,
            keeper=self._keeper,
            nodes=lambda: [(n, z.factor) for name, z in self._zones.items() for n in self._fleet.in_zone(name)],
            zones=self._summaries,
            named=lambda: self._speaking.named,
            publish=self._publish_over,
            acts=self._helm.may_act,
        )

    def _publish_over(self, zone: str, post: Post) -> bool:
        link = self._speaking.link(zone)
        return link is not None and self._helm.may_act() and link.publish(post)

    def _with_wishes(self, rules: Rules) -> Rules:
        """Return rules as people and learned caps have tightened them."""
        return CappedRules(OverriddenRules(rules, self._asked_for), self._caps_w)

    def _override_desk(self) -> OverrideDesk:
        around = Around(
            zones=lambda: [zone.name for zone in self._rules.zones],
            fleet=self._fleet,
            steering=self._steering,
            keeper=self._keeper,
            idle=self._helm.idle,
            changed=self._overrides_changed,
            note=self._note,
            decided=self._decided,
        )
        return OverrideDesk(around, self._asked_for)

    def _overrides_changed(self) -> None:
        self._steering.set_overrides(self._asked_for.limits)
        self._helm.hurry()

    def _rule(self, zone: str, node: str) -> NodeRule:
        return OverriddenRules(self._rules, self._asked_for).node(zone, node)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
