"""Signed submissions over MQTT: believed only when key, fleet, time and id are right, and once."""

from __future__ import annotations

import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_collector.jobs.admission import RefusedError
from evenwatt_collector.jobs.submission import LONGEST_MS, Cancelled, SubmissionDesk, Submitted
from evenwatt_wire import CommandError, KeyRing, seal
from evenwatt_wire.command import Key, Role
from evenwatt_wire.jobs import Submission
from tests.jobs.made import ID, spec

NOW_MS = 1_793_577_600_000
JOB = json.dumps({"name": "nightly", "template": "nightly", "length": "45m"})


def keys(*roles):
    privates = [Ed25519PrivateKey.generate() for _ in roles]
    publics = [private.public_key().public_bytes_raw().hex() for private in privates]
    ring = KeyRing([Key(public, role, name="ada") for public, role in zip(publics, roles, strict=True)])
    return privates, ring


@pytest.fixture
def operator():
    (private,), ring = keys(Role.OPERATOR)
    return private, SubmissionDesk(ring, "ours")


def submission(number=1, **keys):
    fields = {"fleet": "ours", "id": f"{number:032x}", "issued_ms": NOW_MS, "expires_ms": NOW_MS + 60_000, "job": ID,
              "spec": JOB, "issuer": "laptop"}  # fmt: skip
    return Submission(**(fields | keys))


def refused(desk, payload, now_ms=NOW_MS):
    with pytest.raises(CommandError) as error:
        desk.take(payload, now_ms)
    return error.value.code


def test_a_job_and_its_end_are_taken(operator):
    private, desk = operator
    taken = desk.take(seal(submission(), private), NOW_MS)
    assert isinstance(taken, Submitted)
    assert (taken.entry.id, taken.entry.spec, taken.by) == (ID, spec(), "ada (laptop)")
    assert desk.take(seal(submission(2, spec="", issuer=""), private), NOW_MS) == Cancelled(ID, "ada")


@pytest.mark.parametrize(
    ("fields", "after_ms", "code"),
    [
        ({"fleet": "theirs"}, 0, "addressee"),
        ({}, 60_001, "expired"),
        ({"expires_ms": NOW_MS + LONGEST_MS + 1}, 0, "validity"),
        ({"expires_ms": NOW_MS - 1}, 0, "validity"),
        ({}, -5_001, "not-yet"),
        ({"spec": json.dumps({"jobs": [json.loads(JOB), {**json.loads(JOB), "id": "f" * 12}]})}, 0, "schema"),
        ({"spec": json.dumps(json.loads(JOB) | {"id": "f" * 12})}, 0, "schema"),
    ],
)
def test_what_is_not_for_us_or_not_for_now_is_refused(operator, fields, after_ms, code):
    private, desk = operator
    assert refused(desk, seal(submission(**fields), private), NOW_MS + after_ms) == code


def test_each_is_taken_once_and_forgotten_when_it_has_expired(operator):
    private, desk = operator
    payload = seal(submission(), private)
    desk.take(payload, NOW_MS)
    assert refused(desk, payload, NOW_MS + 59_000) == "replayed"
    assert refused(desk, payload, NOW_MS + 61_000) == "expired"
    desk.take(seal(submission(2, issued_ms=NOW_MS + 61_000, expires_ms=NOW_MS + 90_000), private), NOW_MS + 61_000)
    assert len(desk._seen) == 1


def test_a_flood_is_bounded(operator, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.jobs.submission._MOST_SEEN", 3)
    private, desk = operator
    for number in range(3):
        desk.take(seal(submission(number), private), NOW_MS)
    assert refused(desk, seal(submission(9), private)) == "busy"
    later = submission(9, issued_ms=NOW_MS + 70_000, expires_ms=NOW_MS + 80_000)
    desk.take(seal(later, private), NOW_MS + 70_000)


@pytest.mark.parametrize("role", [Role.NODE, Role.CONTROLLER])
def test_only_operators_may(role):
    (private,), ring = keys(role)
    assert refused(SubmissionDesk(ring, "ours"), seal(submission(), private)) == "role"


def test_strangers_and_tampered_bytes_change_nothing(operator):
    private, desk = operator
    assert refused(desk, seal(submission(), Ed25519PrivateKey.generate())) == "unknown-key"
    payload = seal(submission(), private)
    for position in range(len(payload)):
        broken = bytearray(payload)
        broken[position] ^= 1
        with pytest.raises(CommandError):
            desk.take(bytes(broken), NOW_MS)
    assert desk._seen == {}
    assert refused(desk, b"x" * 5_000) == "too-large"


@pytest.mark.parametrize("text", ["{", "[]", '{"name": 5}', '{"name": "a", "prio": 1}'])
def test_a_genuine_one_whose_job_makes_no_sense_says_what_is_wrong(operator, text):
    private, desk = operator
    with pytest.raises(RefusedError) as error:
        desk.take(seal(submission(spec=text), private), NOW_MS)
    assert error.value.problems


def test_a_specification_as_the_command_line_sends_it_fits():
    long = msgspec.json.encode(spec(values={f"value-{i}": "x" * 100 for i in range(16)}))
    (private,), ring = keys(Role.OPERATOR)
    desk = SubmissionDesk(ring, "ours")
    assert isinstance(desk.take(seal(submission(spec=long.decode()), private), NOW_MS), Submitted)
