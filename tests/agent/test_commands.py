"""No command that fails a check is carried out: every bit and field of a good one is changed, every rule is broken."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
import uuid

import msgpack
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_agent import clocks
from evenwatt_wire import Command, seal
from evenwatt_wire.command import COMMAND_CONTEXT, Code, Op
from evenwatt_wire.keyring import key_id
from tests.agent.inside import Inside
from tests.site import NODE
from tests.support import fill

ORDER_OF_ED25519 = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture
def node(tmp_path):
    return Inside(tmp_path)


def seal_body(body, key, context=COMMAND_CONTEXT):
    """Sign any body."""
    return msgpack.packb([1, key_id(key.public_key().public_bytes_raw()), key.sign(context + body), body])


async def nothing_happens(node, payloads):
    """Say each; whatever is answered is a refusal, and nothing on the machine has changed. Return the answers."""
    before, answers = node.limits(), []
    for payload in payloads:
        ack = await node.say(payload)
        assert ack is None or ack.code in (Code.REJECTED, Code.EXPIRED), payload
        answers.append(ack)
    assert node.limits() == before
    assert node.authority.paused == []
    return answers


async def test_every_changed_bit_of_a_good_command_is_refused_without_an_answer(node):
    async with node:
        _, good = node.command(Op.CAP, cap_w=300.0, fallback_w=200.0, ttl_s=10.0, reason="water level 300 W of 2400 W")
        changed = [
            good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :] for at in range(len(good)) for bit in range(8)
        ]
        assert set(await nothing_happens(node, changed)) == {None}
        cut = [good[:length] for length in range(len(good))]
        longer = [good + extra for extra in (b"\0", b"\xc0", good, b" ")]
        assert set(await nothing_happens(node, [*cut, *longer])) == {None}
        ack = await node.say(good)
        assert (ack.code, ack.after_w) == (Code.APPLIED, pytest.approx(300, abs=2))
    assert len(node.entries("command")) == 1
    counted = sum(
        e.facts.get("count", 1) for e in node.entries() if e.kind == "refused" or e.facts.get("of") == "refused"
    )
    assert counted == len(changed) + len(cut) + len(longer)
    assert len(node.entries()) < 40


async def test_every_changed_field_under_the_old_signature_is_refused(node):
    async with node:
        _, good = node.command(Op.CAP, cap_w=300.0, fallback_w=200.0, ttl_s=10.0)
        version, key, signature, body = msgpack.unpackb(good)
        fields = msgpack.unpackb(body)
        other = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v + 1, str: lambda v: v + "0"}
        forged = []
        for at, value in enumerate(fields):
            changed = [*fields[:at], other.get(type(value), lambda _: 0)(value), *fields[at + 1 :]]
            forged.append(msgpack.packb([version, key, signature, msgpack.packb(changed)]))
        assert set(await nothing_happens(node, forged)) == {None}


async def test_other_bytes_of_the_same_envelope_are_refused(node):
    """One thing that was signed has one form and one hash: nobody can make a second message of it."""
    async with node:
        _, good = node.command(Op.CAP, cap_w=300.0, ttl_s=10.0)
        _, key, signature, body = msgpack.unpackb(good)
        rest = good[2:]
        forms = [
            b"\xdc\x00\x04" + good[1:],  # a longer head of the array
            b"\x94\xcc\x01" + rest,  # a longer number
            good[:2] + b"\xc5\x00\x08" + key + good[12:],  # longer bytes
            msgpack.packb([1, key, signature, body, None]),
            msgpack.packb({"version": 1, "key_id": key, "signature": signature, "body": body}),
        ]
        scalar = int.from_bytes(signature[32:], "little") + ORDER_OF_ED25519
        forms.append(msgpack.packb([1, key, signature[:32] + scalar.to_bytes(32, "little"), body]))
        assert set(await nothing_happens(node, forms)) == {None}


async def test_nobody_signs_for_a_key_with_the_same_short_id_or_with_a_weak_point(node):
    async with node:
        _, good = node.command(Op.CAP, cap_w=300.0, ttl_s=10.0)
        _, key, _, body = msgpack.unpackb(good)
        stranger = Ed25519PrivateKey.generate()
        signature = stranger.sign(COMMAND_CONTEXT + body)
        weak = [b"\1" + bytes(31) + bytes(32), bytes(64), b"\xff" * 64]
        forged = [msgpack.packb([1, key, sig, body]) for sig in (signature, *weak)]
        assert set(await nothing_happens(node, forged)) == {None}


GOOD = {
    "fleet": "f", "node": NODE, "epoch": 1, "seq": 1, "op": "cap", "target": "node", "cap_w": 480.0,
    "fallback_w": 480.0, "ttl_s": 10.0, "dry_run": False, "issuer": "", "reason": "", "job": None, "keep": False,
}  # fmt: skip
LONG_AGO, FAR = 1_000, 2**53
BROKEN = [
    {"fleet": "other"}, {"node": "m2"}, {"node": NODE + "\n"}, {"node": "M1"}, {"node": "\uff4d1"}, {"fleet": ""},
    {"id": "0" * 31}, {"id": "0" * 32 + "\n"}, {"id": "A" * 32}, {"id": "\u0660" * 32}, {"id": 7}, {"id": None},
    {"epoch": -1}, {"epoch": 2**63}, {"epoch": 2**64 - 1}, {"epoch": 1.5}, {"epoch": "1"}, {"epoch": True}, {"seq": -1},
    {"seq": 2**63}, {"seq": 2**53 + 1}, {"seq": None},
    {"op": "reboot"}, {"op": "CAP"}, {"op": 0}, {"op": ["cap"]}, {"op": "ping", "cap_w": 1.0},
    {"target": "package-0"}, {"target": ""}, {"target": "x" * 97}, {"target": "a b"}, {"target": "node\n"},
    {"cap_w": None}, {"cap_w": -1.0}, {"cap_w": math.nan}, {"cap_w": math.inf}, {"cap_w": 1e10}, {"cap_w": "480"},
    {"cap_w": -math.inf}, {"fallback_w": math.nan}, {"fallback_w": -1.0}, {"fallback_w": math.inf},
    {"ttl_s": 0.0}, {"ttl_s": -1.0}, {"ttl_s": math.nan}, {"ttl_s": math.inf}, {"ttl_s": 86_401.0}, {"ttl_s": 3_601.0},
    {"dry_run": 0}, {"dry_run": None}, {"reason": "x" * 401}, {"issuer": "x" * 401}, {"reason": b"x"},
    {"keep": True}, {"job": {}}, {"job": []},
    {"op": "pause", "cap_w": None, "fallback_w": None, "target": "not-listed"},
    {"op": "resume", "cap_w": None, "fallback_w": None, "ttl_s": 0.0, "target": "not-listed"},
    {"op": "release", "cap_w": None, "fallback_w": None, "ttl_s": 0.0, "target": "package-0"},
    {"issued_ms": LONG_AGO}, {"expires_ms": LONG_AGO}, {"not_before_ms": 0}, {"expires_ms": FAR},
    {"expires_ms": FAR + 1},
    {"issued_ms": FAR, "expires_ms": FAR - 1}, {"issued_ms": FAR, "expires_ms": FAR}, {"issued_ms": -1},
    {"not_before_ms": LONG_AGO, "issued_ms": LONG_AGO, "expires_ms": LONG_AGO},
    {"not_before_ms": FAR - 100, "issued_ms": FAR - 100, "expires_ms": FAR},
    {"not_before_ms": FAR, "issued_ms": LONG_AGO}, {"expires_ms": None},
]  # fmt: skip


def body_of(changes, **more):
    """The bytes of a good body but for some fields, encoded by an independent library."""
    now_ms = time.time_ns() // 1_000_000
    times = {"issued_ms": now_ms, "not_before_ms": now_ms - 5_000, "expires_ms": now_ms + 5_000}
    fields = GOOD | {"id": uuid.uuid4().hex} | times | more | changes
    return msgpack.packb(["cmd", *(fields[name] for name in Command.__struct_fields__)])


async def test_whoever_has_a_key_still_cannot_break_a_rule(node):
    """Signed by the controller, one rule broken each: refused."""
    async with node:
        seqs = itertools.count(1)
        broken = [seal_body(body_of(changes, seq=next(seqs)), node.controller) for changes in BROKEN]
        acks = await nothing_happens(node, broken)
        assert all(ack is None or ack.detail for ack in acks)
        assert (await node.say(seal_body(body_of({"seq": 10_000}), node.controller))).code is Code.APPLIED


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b"\0",
        lambda body: body[:-1],
        lambda body: b"\xdd\x00\x00\x00" + bytes([body[2]]) + body[3:] + b"\xc0",
        lambda body: msgpack.packb([*msgpack.unpackb(body), None]),
        lambda body: msgpack.packb(["ack", *msgpack.unpackb(body)[1:]]),
        lambda body: msgpack.packb(dict(zip(["type", *Command.__struct_fields__], msgpack.unpackb(body), strict=True))),
        lambda body: b"\x91" * 3_000,
        lambda body: b"",
        lambda body: b"\xc1",
        lambda body: body.replace(b"node", b"n\xff\xfee"),
    ],
    ids=range(10),
)
async def test_a_signed_body_that_is_no_command_is_refused(node, change):
    async with node:
        await nothing_happens(node, [seal_body(change(body_of({})), node.controller)])


async def test_a_signature_for_something_else_is_worth_nothing(node):
    async with node:
        body = body_of({})
        contexts = [b"evenwatt-ack-v1\0", b"evenwatt-run-v1\0", b"evenwatt-submit-v1\0", b"evenwatt-trust-v1\0", b""]
        await nothing_happens(node, [seal_body(body, node.controller, context) for context in contexts])


texts = st.text(max_size=40)
numbers = st.integers(-(2**65), 2**65) | st.floats() | st.booleans() | st.none()
anything = texts | numbers | st.binary(max_size=20) | st.lists(texts | numbers, max_size=3)


def test_any_signed_values_end_in_an_answer_and_within_the_machine(tmp_path):
    """Whatever fields hold: no exception, no cap outside the machine's ends, no lease longer than is allowed here."""
    node, seqs, applied = Inside(tmp_path, "max_ttl_s = 100.0"), itertools.count(1), 0

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.dictionaries(st.sampled_from([*GOOD, "id", "issued_ms", "not_before_ms", "expires_ms"]), anything))
    def holds(changes):
        nonlocal applied
        try:
            payload = seal_body(body_of({"seq": next(seqs)} | changes), node.controller)
        except (OverflowError, ValueError):
            return  # no MessagePack
        ack = loop.run_until_complete(node.say(payload))
        if ack is not None and ack.code in (Code.APPLIED, Code.CLAMPED):
            applied += 1
            assert node.authority.in_force().remaining_s <= 100.0
        written = [int(v) for path, v in node.limits().items() if path.endswith("constraint_0_power_limit_uw")]
        assert all(
            value in range(90_000_000, 225_000_001) for path, value in zip(packages, written, strict=True) if path
        )

    loop = asyncio.new_event_loop()
    loop.run_until_complete(node.__aenter__())
    packages = [path.count(":") == 2 for path in node.limits() if path.endswith("constraint_0_power_limit_uw")]
    holds()
    loop.run_until_complete(node.__aexit__())
    loop.close()
    assert applied


# --- order, and what is remembered ------------------------------------------------------------------------------------


async def test_numbers_only_rise_and_each_key_has_its_own(node):
    async with node:
        first = await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0, epoch=2, seq=5)
        assert first.code is Code.APPLIED
        for epoch, seq, code in ((2, 5, "replay"), (2, 4, "replay"), (1, 99, "stale-epoch"), (0, 0, "stale-epoch")):
            assert (await node.ask(Op.CAP, cap_w=480.0, ttl_s=60.0, epoch=epoch, seq=seq)).detail.startswith(code)
        other = await node.ask(Op.CAP, cap_w=280.0, ttl_s=60.0, epoch=0, seq=1, key=node.operator)
        assert other.code is Code.APPLIED
        assert (await node.ask(Op.CAP, cap_w=310.0, ttl_s=60.0, epoch=3, seq=0)).code is Code.APPLIED


async def test_a_repeated_command_gets_its_answer_and_another_one_with_its_id_a_refusal(node):
    async with node:
        asked, payload = node.command(Op.RELEASE)
        first = await node.authority.command(payload, retained=False)
        assert await node.authority.command(payload, retained=False) == first
        await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0)
        assert await node.authority.command(payload, retained=False) == first
        assert node.authority.cap_w == 300
        assert (await node.ask(Op.RELEASE, id=asked.id)).detail.startswith("id-reused")
        assert node.authority.cap_w == 300
    async with node:  # after a restart it is known from the disk
        assert await node.authority.command(payload, retained=False) == first
        assert (await node.ask(Op.RELEASE, id=asked.id)).detail.startswith("id-reused")
    assert [e.facts["seq"] for e in node.entries("repeated")] == [asked.seq, asked.seq]


async def test_a_cap_that_comes_again_after_a_restart_is_a_replay(node):
    async with node:
        _, payload = node.command(Op.CAP, cap_w=300.0, ttl_s=60.0)
        assert (await node.say(payload)).code is Code.APPLIED
    async with node:
        assert (await node.say(payload)).detail.startswith("replay")
        assert node.authority.cap_w == 250


async def test_too_late_is_answered_and_never_contradicts_an_earlier_answer(node):
    now_ms = time.time_ns() // 1_000_000

    def old(asked, key):
        times = {"not_before_ms": now_ms - 90_000, "issued_ms": now_ms - 80_000, "expires_ms": now_ms - 60_000}
        return seal(msgspec.structs.replace(asked, **times), key)

    async with node:
        late = node.command(Op.CAP, cap_w=480.0, ttl_s=60.0)[0]
        (ack,) = await nothing_happens(node, [old(late, node.controller)])
        assert (ack.code, ack.detail.split(":")[0]) == (Code.EXPIRED, "expired")
        assert (await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0)).code is Code.APPLIED
        below = msgspec.structs.replace(late, id="b" * 32)
        (ack,) = await nothing_happens(node, [old(below, node.controller)])
        assert ack.detail.startswith("replay"), "whether such a one was carried out before nobody can tell"


async def test_a_clock_that_is_not_synchronised_takes_only_what_gives_back(tmp_path, monkeypatch):
    monkeypatch.setattr("evenwatt_agent.clocks.clock_synchronised", lambda: False)
    node = Inside(tmp_path)
    text = (tmp_path / "agent.toml").read_text().replace("require_synchronised_clock = false", "")
    (tmp_path / "agent.toml").write_text(text)
    async with node:
        for op, fields in (
            (Op.CAP, {"cap_w": 480.0, "ttl_s": 9.0}),
            (Op.PING, {}),
            (Op.PAUSE, {"target": "x", "ttl_s": 9.0}),
        ):
            assert (await node.ask(op, **fields)).detail.startswith("clock")
        assert (await node.ask(Op.RELEASE)).code is Code.RESTORED


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.agent.inside import Inside

async def main():
    node = Inside.__new__(Inside)
    node.folder, node.events = Path(sys.argv[1]), []
    async with node:
        calls = 0
        async def in_worker(call):
            nonlocal calls
            result = call()
            calls += 1
            if calls == 1:  # the mark is on the disk, and nothing has been done yet
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        node.authority._in_worker = in_worker
        await node.authority.command(bytes.fromhex(sys.argv[2]), retained=False)

asyncio.run(main())
"""


async def test_a_command_whose_node_is_killed_between_mark_and_act_is_never_carried_out(node):
    asked, payload = node.command(Op.CAP, cap_w=480.0, ttl_s=60.0)
    child = subprocess.run(
        [sys.executable, "-c", KILLED, node.folder, payload.hex()],
        check=False, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL
    async with node:
        (ack,) = await nothing_happens(node, [payload])
        assert ack.detail.startswith("replay")
    (left,) = node.entries("unfinished")
    assert (left.facts["id"], left.facts["cap_w"]) == (asked.id, 480)
    assert any(name == "audit-trouble" and "had begun" in facts["why"] for name, facts in node.events)


# --- what the owner allows, dry runs, and the log ---------------------------------------------------------------------


async def test_the_owner_s_limits_hold_whatever_is_signed(tmp_path):
    node = Inside(tmp_path, limits="least_cap_w = 260\nmost_cap_w = 400\ncommands_per_minute = 4\nmax_ttl_s = 100\n")
    async with node:
        assert node.authority.cap_w == 260, "its own fallback too"
        high = await node.ask(Op.CAP, cap_w=480.0, fallback_w=480.0, ttl_s=60.0)
        assert (high.code, high.detail) == (Code.CLAMPED, "400 W: most_cap_w = 400 in limits.toml")
        assert high.after_w == pytest.approx(400, abs=2)
        low = await node.ask(Op.CAP, cap_w=100.0, ttl_s=60.0)
        assert (low.code, low.requested_w, low.after_w) == (Code.CLAMPED, 100.0, pytest.approx(260, abs=2))
        assert (await node.ask(Op.CAP, cap_w=300.0, ttl_s=101.0)).detail.startswith(
            "ttl: 101 s; max_ttl_s in this node's"
        )
        standing = node.authority.standing()
        assert (standing.floor_w, standing.ceiling_w) == (260, 400)
        await node.ask(Op.PING)
        assert (await node.ask(Op.PING)).detail.startswith("rate: ")
        freed = await node.ask(Op.RELEASE)
        assert (freed.code, freed.detail) == (Code.APPLIED, "now unmanaged, held to 400 W")
        assert freed.after_w == pytest.approx(400, abs=2)


async def test_a_dry_run_passes_every_check_says_what_it_would_write_and_writes_nothing(node):
    async with node:
        before = node.limits()
        ack = await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0, dry_run=True)
        assert ack.code is Code.DRY_RUN
        assert ack.detail.startswith("would hold the node to 300 W (asked for 300 W): package-0 ")
        assert " W by powercap (now " in ack.detail
        assert (await node.ask(Op.RELEASE, dry_run=True)).detail == "would give the machine its own limits back"
        assert node.limits() == before
        assert node.authority.cap_w == 250
        again = await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0, dry_run=True, seq=1)
        assert again.detail.startswith("replay"), "a dry run has its number too"


async def test_a_node_that_only_observes_answers_everything_and_writes_nothing(tmp_path):
    node = Inside(tmp_path, limits="dry_run_only = true\n")
    before = node.limits()
    async with node:
        ack = await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0)
        assert (ack.code, ack.detail[:28]) == (Code.DRY_RUN, "would hold the node to 300 W")
        assert (await node.ask(Op.RELEASE)).code is Code.DRY_RUN
        assert (await node.ask(Op.PING)).code is Code.ACCEPTED
        assert not node.authority.standing().controllable
        assert node.limits() == before
    assert not (tmp_path / "state" / "originals.json").exists()


async def test_the_log_tells_each_change_once_and_counts_what_changes_nothing(node):
    async with node:
        acks = [await node.ask(Op.CAP, cap_w=300.0, fallback_w=200.0, ttl_s=60.0, reason="level") for _ in range(30)]
        acks.append(await node.ask(Op.CAP, cap_w=310.0, fallback_w=200.0, ttl_s=60.0))
        acks.append(await node.ask(Op.RELEASE, key=node.operator, reason="please"))
        heads = {str(entry.head) for entry in node.entries()}
        assert all(ack.audit in heads for ack in acks)
        (total,) = node.entries("sum")
        assert (total.facts["count"], total.facts["first_seq"], total.facts["last_seq"]) == (29, 2, 30)
        commands = node.entries("command")
        assert [e.facts["op"] for e in commands] == ["cap", "cap", "release"]
        assert commands[0].facts["reason"] == "level"
        assert commands[0].facts["after_w"] == pytest.approx(300, abs=2)
        assert commands[-1].facts["role"] == "operator"
    kinds = [entry.kind for entry in node.entries()]
    assert (kinds[0], kinds[-1]) == ("start", "stop")
    assert json.loads(json.dumps(commands[0].facts)) == commands[0].facts


async def test_a_log_that_was_cut_off_is_said_at_the_next_start(node):
    async with node:
        for cap_w in (300.0, 310.0, 320.0):
            await node.ask(Op.CAP, cap_w=cap_w, ttl_s=60.0)
    path = node.folder / "state" / "audit" / "audit.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    async with node:
        assert any(name == "audit-trouble" and "cut off" in facts["why"] for name, facts in node.events)
    assert node.entries("cut")


async def test_with_a_full_disk_nothing_acts_and_leases_end_by_themselves(small_disk, tmp_path):
    node = Inside(tmp_path)
    node.write_settings(state_dir=str(small_disk / "state"))
    (small_disk / "state").mkdir()
    async with node:
        assert (await node.ask(Op.CAP, cap_w=300.0, ttl_s=0.2)).code is Code.APPLIED
        fill(small_disk / "filler")
        codes = set()
        for cap_w in range(300, 400):
            before = node.limits()
            ack = await node.ask(Op.CAP, cap_w=float(cap_w), ttl_s=0.2)
            if ack.code is Code.REJECTED:
                codes.add(ack.detail.partition(":")[0])
                assert node.limits() == before
        assert codes
        assert codes <= {"storage", "audit"}
        await node.authority._hands.follow(clocks.lease_s() + 10.0)
        assert node.authority.cap_w == 250, "the lease has ended in the fallback"
        (small_disk / "filler").unlink()
        assert (await node.ask(Op.CAP, cap_w=310.0, ttl_s=60.0)).code is Code.APPLIED
