from __future__ import annotations

import random

import pytest

from evenwatt_collector.fleet import Fleet
from evenwatt_collector.ingest import Ingest, Sinks
from evenwatt_wire import Ack, CommandError, ControllerState, Kind, RunReport, RunState, Topic, encode
from evenwatt_wire.command import Code
from evenwatt_wire.messages import NodeState
from tests.collector.said import ZONE, birth, event, ledger, live, state, summary


class Desk:
    """An ingest with everything it hands on."""

    def __init__(self):
        self.now_s = 0.0
        self.records, self.acks, self.jumps, self.controllers, self.logged = [], [], [], [], []
        self.runs, self.submitted = [], []
        self.room, self.ack, self.run = True, None, None
        self.fleet = Fleet()
        sinks = Sinks(
            record=lambda zone, record, payload: self.room and not self.records.append(record),
            open_ack=self.open_ack,
            ack=lambda zone, ack: self.acks.append(ack),
            open_run=self.open_run,
            run=lambda zone, told: self.runs.append((zone, told)),
            submit=self.submit,
            jump=self.jumps.append,
            probe=lambda topic, probe: None,
            controller=lambda said, retained: self.controllers.append((said, retained)),
        )
        self.ingest = Ingest(self.fleet, sinks, lambda: self.now_s)
        self.ingest._log = self

    def submit(self, zone, payload):
        if payload != b"signed":
            raise CommandError("signature", "does not match")
        self.submitted.append((zone, payload))

    def open_run(self, payload, _zone):
        if self.run is None:
            raise CommandError("signature", "does not match")
        return self.run

    def open_ack(self, payload, _zone):
        if self.ack is None:
            raise CommandError("signature", "does not match")
        return self.ack

    def warning(self, text, **facts):
        self.logged.append(facts)

    def hear(self, kind, message, node="n1", retained=False):
        payload = message if isinstance(message, bytes) else encode(message)
        self.ingest.receive(f"evenwatt/v1/{ZONE}/{node}/{kind}", payload, retained)
        return self.ingest.counts


@pytest.fixture
def desk():
    return Desk()


def test_everything_a_node_says_arrives(desk):
    desk.hear(Kind.STATE, state(), retained=True)
    desk.hear(Kind.BIRTH, birth(), retained=True)
    desk.hear(Kind.LIVE, live(seq=1))
    desk.hear(Kind.LIVE, live(seq=2, duration_s=0.2))
    desk.hear(Kind.LEDGER, ledger())
    desk.hear(Kind.EVENT, event())
    desk.hear(Kind.SUMMARY, summary(), retained=True)
    node = desk.fleet.find(ZONE, "n1")
    assert (node.live.seq, node.birth.ceiling_w, node.summary.power_w) == (2, 400.0, 1.0)
    assert (len(desk.records), desk.jumps, len(desk.fleet.events)) == (1, [ZONE], 1)
    assert desk.ingest.total("ok") == 7


def test_retained_streams_are_not_news(desk):
    for kind, message in ((Kind.LIVE, live()), (Kind.LEDGER, ledger()), (Kind.EVENT, event())):
        desk.hear(kind, message, retained=True)
    assert desk.ingest.total("retained") == 3
    assert desk.fleet.find(ZONE, "n1") is None
    assert desk.records == []


def test_empty_retained_state_deletes_a_node(desk):
    desk.hear(Kind.STATE, state())
    desk.hear(Kind.STATE, b"", retained=False)
    assert desk.fleet.find(ZONE, "n1") is None


def test_a_record_without_room_is_counted_and_not_malformed(desk):
    desk.room = False
    assert desk.hear(Kind.LEDGER, ledger())["ledger", "refused"] == 1


def test_ack_must_verify_and_come_from_its_own_node(desk):
    assert desk.hear(Kind.ACK, b"junk")["ack", "malformed"] == 1
    desk.ack = Ack("n1", "0" * 32, 1, 1, Code.APPLIED, "", 0, after_w=77.0)
    desk.hear(Kind.STATE, state())
    desk.hear(Kind.ACK, b"signed", node="n2")
    assert desk.acks == []
    desk.hear(Kind.ACK, b"signed")
    assert [ack.after_w for ack in desk.acks] == [77.0]
    assert desk.fleet.find(ZONE, "n1").cap_w == 77.0


def test_a_report_on_a_run_must_verify_and_come_from_its_own_node_and_is_never_retained(desk):
    assert desk.hear(Kind.RUN, b"junk")["run", "malformed"] == 1
    desk.run = RunReport(node="n1", boot="0" * 16, job="a" * 12, run="b" * 12, seq=0, wall_ms=0,
                         state=RunState.RUNNING, duration_s=0.0, energy_j=0.0)  # fmt: skip
    desk.hear(Kind.RUN, b"signed", node="n2")
    desk.hear(Kind.RUN, b"signed", retained=True)
    assert desk.runs == []
    desk.hear(Kind.RUN, b"signed")
    assert desk.runs == [(ZONE, desk.run)]


def test_what_is_submitted_goes_to_whoever_checks_it(desk):
    desk.hear(Kind.SUBMIT, b"signed", node="_ctl")
    desk.hear(Kind.SUBMIT, b"signed", node="_ctl", retained=True)
    assert desk.submitted == [(ZONE, b"signed")]


def test_other_collectors_are_heard(desk):
    said = ControllerState(zone=ZONE, state=NodeState.READY, epoch=9, wall_ms=0)
    desk.hear(Kind.STATE, said, node="_ctl", retained=True)
    assert desk.controllers == [(said, True)]
    assert desk.fleet.zones == []


def test_a_fault_of_ours_is_survived_and_counted(desk, monkeypatch):
    monkeypatch.setattr(desk.fleet, "on_event", lambda *_: 1 / 0)
    desk.hear(Kind.EVENT, event())
    assert desk.ingest.counts["event", "malformed"] == 1
    assert "ZeroDivisionError" in desk.logged[0]["why"]


def test_malformed_floods_change_nothing_and_log_once_a_minute(desk):
    desk.hear(Kind.STATE, state())
    desk.hear(Kind.LIVE, live(seq=1, power_w=55.0))
    rng = random.Random(11)
    good = [encode(live(seq=2)), encode(ledger()), encode(state()), encode(birth())]
    kinds = [*Kind, "nonsense"]
    for i in range(20_000):
        desk.now_s = i / 1000  # twenty seconds
        payload = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 6)):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        if rng.random() < 0.2:
            payload = payload[: rng.randrange(len(payload))]
        desk.hear(rng.choice(kinds), b"\xc1" + bytes(payload), node=rng.choice(("n1", "n2", "Bad_Name")))
    node = desk.fleet.find(ZONE, "n1")
    assert (node.power_w, node.state) == (55.0, NodeState.READY)
    assert desk.records == []
    assert desk.ingest.total("malformed") == 20_000
    assert len(desk.logged) == 3  # one for each name


def test_made_up_names_do_not_fill_the_log(desk):
    for i in range(5_000):
        desk.now_s = i / 100  # fifty seconds
        desk.hear(Kind.LIVE, b"\xc1", node=f"nobody-{i}")
    assert desk.ingest.total("malformed") == 5_000
    assert len(desk.logged) == 100
    desk.now_s = 61.0
    desk.hear(Kind.LIVE, b"\xc1", node="nobody-again")
    assert len(desk.logged) == 101


def test_mutated_messages_never_escape(desk):
    rng = random.Random(5)
    good = {
        Kind.LIVE: encode(live(seq=2)), Kind.LEDGER: encode(ledger()), Kind.STATE: encode(state()),
        Kind.BIRTH: encode(birth()), Kind.EVENT: encode(event()), Kind.SUMMARY: encode(summary()),
    }  # fmt: skip
    for _ in range(20_000):
        kind = rng.choice(list(good))
        payload = bytearray(good[kind])
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        desk.hear(kind, bytes(payload), retained=rng.random() < 0.1)
    assert sum(desk.ingest.counts.values()) == 20_000


def test_memory_of_topics_and_complaints_is_bounded(desk, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.ingest._TOPICS_KEPT", 100)
    monkeypatch.setattr("evenwatt_collector.ingest._COMPLAINTS_KEPT", 100)
    for i in range(1000):
        desk.ingest.receive(str(Topic(ZONE, f"n{i}", Kind.LIVE)), b"junk", False)
    assert len(desk.ingest._topics) == 100
    assert len(desk.ingest._complained_s) <= 100
