"""Two logs of the same days: made by the shipping classes of both sides, then one of them is changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace
from typer.testing import CliRunner

from evenwatt_agent.admission import Received
from evenwatt_agent.journal import Journal
from evenwatt_cli.audit.compare import compare
from evenwatt_cli.audit.reading import read_logs
from evenwatt_cli.main import app
from evenwatt_collector.auditing import Auditor
from evenwatt_daemon.audit_log import AuditLog
from evenwatt_wire import Ack, Command, Key, seal
from evenwatt_wire.command import Code, Op, Role

NODE, ZONE = "n1", "hall"


class Days:
    """A collector and a node that write down what passes between them."""

    def __init__(self, folder):
        self.folder = folder
        self.controller, self.operator = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.keys = {
            role: Key(private.public_key().public_bytes_raw().hex(), role)
            for role, private in ((Role.CONTROLLER, self.controller), (Role.OPERATOR, self.operator))
        }
        self.node = Journal(AuditLog(folder / "node" / "audit", 10**8), "0" * 16)
        self.node.begin({"node": NODE, "key": "f" * 16}, None)
        self.collector = Auditor(folder / "collector" / "audit", 10**8, self.keys[Role.CONTROLLER].id.hex())
        self.collector.note("start", {"collector": True, "key": self.keys[Role.CONTROLLER].id.hex()})
        self.seq, self.now_s = 0, 0.0

    def command(self, op=Op.CAP, **fields):
        self.seq += 1
        lease = {"fallback_w": 200.0, "ttl_s": 10.0} if op is Op.CAP else {}
        return Command("f", NODE, uuid.uuid4().hex, 3, self.seq, 10, 5, 20, op, **lease | fields)

    def carry(self, command, *, role=Role.CONTROLLER, signed=True, answered=True, code=Code.APPLIED):
        """Let one command go its way: signed here, carried out and answered there, heard again here."""
        self.now_s += 2.0
        payload = seal(command, self.controller if role is Role.CONTROLLER else self.operator)
        if signed and role is Role.CONTROLLER:
            self.collector.signed(ZONE, command, payload, self.now_s)
        if not answered:
            return
        received = Received(self.keys[role], command, hashlib.sha256(payload).hexdigest())
        ack = Ack(
            NODE, command.id, command.epoch, command.seq, code, "", 30, command.cap_w, 250.0, command.cap_w, 240.0
        )
        self.node.answered(received, ack, self.now_s)
        self.node.due(self.now_s)
        self.collector.answered(ZONE, replace(ack, audit=self.node.head), ours=signed, now_s=self.now_s)
        self.collector.due(self.now_s)

    def ordinary(self):
        """Half an hour: renewals, changes, a lost answer, an operator."""
        for cap_w in (300.0, 300.0, 310.0, 290.0):
            for _ in range(200):
                self.carry(self.command(cap_w=cap_w))
        self.carry(self.command(cap_w=280.0), answered=False)
        self.carry(self.command(Op.PAUSE, target="batch", ttl_s=60.0))
        self.carry(self.command(cap_w=270.0), role=Role.OPERATOR)
        self.carry(self.command(Op.RELEASE), role=Role.OPERATOR, code=Code.RESTORED)

    def close(self):
        self.node.close({})
        self.collector.close()

    def verify(self, *more):
        arguments = ["audit", "verify", str(self.folder / "node"), "--against", str(self.folder / "collector"), *more]
        return CliRunner().invoke(app, arguments)

    def logs(self):
        return [log.entries for log in read_logs([self.folder / "node", self.folder / "collector"])]


@pytest.fixture
def days(tmp_path):
    made = Days(tmp_path)
    yield made
    made.close()


def test_ordinary_days_agree_and_the_logs_stay_small(days):
    days.ordinary()
    days.close()
    node, collector = days.logs()
    found = compare(node, [collector])
    assert found.faults == []
    assert (found.executed, found.matched, found.others, found.unjudged) == (803, 801, 2, 0)
    assert found.heads > 3
    assert len(node) < 50
    assert len(collector) < 30
    result = days.verify("--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["whole"]
    assert "agrees with the collector's log" in days.verify().output


def test_a_stolen_key_shows(days):
    days.ordinary()
    days.carry(days.command(cap_w=480.0), signed=False)
    days.close()
    result = days.verify()
    assert result.exit_code == 4
    assert "the collector never signed it" in result.output
    assert result.output.count("never signed") == 1


def test_a_stolen_key_that_says_the_same_with_other_terms_shows(days):
    """Inside the numbers of a sum, but not what was summed up there."""
    days.ordinary()
    forged = days.command(cap_w=480.0)
    days.seq -= 1
    days.carry(days.command(cap_w=300.0), answered=False)
    days.carry(forged, signed=False)
    days.close()
    assert "never signed" in days.verify().output


@pytest.mark.parametrize("keep", [1, 3, 10])
def test_a_node_s_log_whose_end_was_cut_off_shows(days, keep):
    days.ordinary()
    days.close()
    path = days.folder / "node" / "audit" / "audit.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:keep]))
    result = days.verify()
    assert result.exit_code == 4
    assert result.output.count("its end was cut off") == 1
    assert result.output.count("of the collector") <= 3, "one line a kind"
    every = json.loads(days.verify("--json").output)["comparisons"][0]["faults"]
    assert sum("its end was cut off" in fault for fault in every) >= 1
    assert f"{len(every)} FAULTS" in result.output


def test_a_node_s_log_that_was_written_anew_shows(days):
    """With a whole chain of its own, but not the one that the node has told."""
    days.ordinary()
    days.close()
    entries = read_logs([days.folder / "node"])[0].entries
    shutil.rmtree(days.folder / "node")
    log = AuditLog(days.folder / "node" / "audit", 10**8)
    for entry in entries:
        log.append(entry.kind, entry.at_ms, {**entry.facts, "detail": "x"})
    log.close()
    result = days.verify()
    assert result.exit_code == 4
    assert "written anew" in result.output


def test_what_was_answered_and_is_in_no_entry_shows(days):
    days.ordinary()
    days.close()
    node, collector = days.logs()
    node = [entry for entry in node if entry.facts.get("op") != "pause"]
    assert any("its log does not have it" in fault for fault in compare(node, [collector]).faults)


def test_a_log_that_still_grows_is_judged_up_to_its_last_sums(days):
    days.ordinary()
    days.carry(days.command(cap_w=480.0), signed=False)
    days.close()
    node, collector = days.logs()
    found = compare(node, [[entry for entry in collector if entry.kind != "stop"]])
    assert found.unjudged >= 1
    assert not [fault for fault in found.faults if "never signed" in fault]


def test_a_changed_entry_is_named_and_shown_logs_stay_readable(days):
    days.ordinary()
    days.close()
    path = days.folder / "node" / "audit" / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"cap_w":3', b'"cap_w":4')
    path.write_bytes(b"".join(lines))
    result = CliRunner().invoke(app, ["audit", "verify", str(path)])
    assert result.exit_code == 4
    assert f"{path}:5: entry 5: its bytes are not those that its hash was made of" in result.output
    shown = CliRunner().invoke(app, ["audit", "show", str(path), "--kind", "command"])
    assert shown.exit_code == 4
    assert "op=pause target=batch" in shown.output
    rows = CliRunner().invoke(app, ["audit", "show", str(path), "--json", "--since", "1m ago"]).output.splitlines()
    assert {json.loads(row)["kind"] for row in rows} == {"start", "command", "sum", "stop"}


def test_sides_that_are_mixed_up_are_told_so(days):
    days.close()
    arguments = [str(days.folder / "collector"), "--against", str(days.folder / "node")]
    result = CliRunner().invoke(app, ["audit", "verify", *arguments])
    assert result.exit_code != 0
    assert "not a node's" in str(result.exception)
    nothing = CliRunner().invoke(app, ["audit", "verify", str(days.folder)])
    assert "there is no audit.jsonl in it" in str(nothing.exception)


def test_no_character_of_an_entry_acts_on_a_terminal(tmp_path):
    log = AuditLog(tmp_path, 10**6)
    log.append("command", 1_000, {"reason": "\x1b[2J\u202e\x9b31m\nfake entry"})
    log.close()
    output = CliRunner().invoke(app, ["audit", "show", str(tmp_path)]).output
    assert len(output.splitlines()) == 1
    assert output.rstrip("\n").isprintable()
    assert output.isascii()
