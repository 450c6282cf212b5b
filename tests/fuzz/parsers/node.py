"""What a node takes from programs beside it and from its own disk: sockets, settings, and what it wrote before."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from evenwatt_agent import checkpoint, restore
from evenwatt_agent import settings as agent_settings
from evenwatt_agent.accounting import Accounting
from evenwatt_agent.actuator import protocol
from evenwatt_agent.commands import Mark
from evenwatt_agent.control import Standing
from evenwatt_agent.counters import Baseline
from evenwatt_agent.jobs import output, plan
from evenwatt_agent.jobs.book import RunRecord
from evenwatt_agent.jobs.units import UnitsForward
from evenwatt_agent.limits import load_limits
from evenwatt_agent.memory import Memory
from evenwatt_agent.sources import redfish
from evenwatt_agent.sources.model import ReadError
from evenwatt_agent.task_server import Peer, TaskDesk
from evenwatt_daemon import Failure
from evenwatt_daemon.audit import CONTEXT, BadEntryError, Head, make_line, read_line, walk
from evenwatt_wire import LeaseInForce, trust
from evenwatt_wire.messages import LeaseState
from tests.fuzz.parser import Parser, check, check_plain, check_word, drive
from tests.fuzz.parsers.scratch import folder, write
from tests.wire.examples import ORDER
from tests.wire.test_command import CONTROLLER, NODE, public

ROOT = Path(__file__).parents[3]


# --- sockets ----------------------------------------------------------------------------------------------------------


def _asked(data: bytes) -> None:
    message = protocol.decode_asked(data)
    check_plain(message)
    check(protocol.decode_asked(protocol.encode(message)) == message, "it does not survive being sent on")


def _said(data: bytes) -> None:
    message = protocol.decode_said(data)
    check(type(protocol.decode_said(protocol.encode(message))) is type(message), "it does not survive being sent on")


_TO_ACTUATOR = (
    protocol.Hello(protocol.VERSION, protocol.Purpose.CONTROL, "0.1.0"),
    protocol.Power(412.5, {"package-0": 380.0}),
    protocol.Order(7, b"\x94\x01", retained=False),
    protocol.Trust(b'{"evenwatt-trust":1}', last=True),
    protocol.Borrow("/sys/class/powercap/intel-rapl:0/energy_uj"),
)
_TO_AGENT = (
    protocol.Welcome(protocol.VERSION, "0.1.0", ["/sys/class/powercap/intel-rapl:0/energy_uj"], 7),
    protocol.Refused("no"),
    protocol.Now(Standing(), LeaseInForce(LeaseState.UNMANAGED, None), None, ["batch"]),
    protocol.Answer(7, b"ack"),
    protocol.Said("cap-applied", "node", {"cap_w": 300.0}),
    protocol.Changed(),
    protocol.Lent(),
)


@cache
def _tasks() -> TaskDesk:
    class Quiet:
        """An account that takes no steps: what is tried is the asking."""

        def __init__(self) -> None:
            from evenwatt_agent.tasks import TaskBook

            self.tasks, self.root = TaskBook(), Path("/sys/fs/cgroup")

        async def step(self) -> None:
            if len(self.tasks.running()) > 100:
                self.tasks.restore([])

    return TaskDesk(Quiet(), lambda _task: None)


def _task(data: bytes) -> None:
    import os

    answer = json.loads(drive(_tasks().answer(data.partition(b"\n")[0], Peer(os.getpid(), 1000))))
    check(answer["ok"] in (True, False), "an answer without ok")
    if answer["ok"]:
        check_plain(answer)
        check_word(answer["task"]["name"], "name")
    else:
        raise _RefusedError


class _RefusedError(Exception):
    """The documented answer of a socket to a bad request."""


_TASK_LINES = (
    b'{"op": "start", "id": "0193582c1abe", "name": "epoch-3", "workload": "resnet", "reserve": 0.5}',
    b'{"op": "units", "id": "0193582c1abe", "amount": 12, "unit": "tokens"}',
    b'{"op": "look", "id": "0193582c1abe"}',
    b'{"op": "end", "id": "0193582c1abe"}',
    b'{"op": "start", "id": "0193582c1abf", "name": "x", "cgroup": "/evenwatt-task-0193582c1abf"}',
)


def _units(data: bytes) -> None:
    forward = UnitsForward("/nowhere", "0193582c1abe")
    forward.take(data[: len(data) // 2])
    forward.take(data[len(data) // 2 :])
    check(len(forward._waiting) <= 16, "more kinds of units than a task has")
    for unit, amount in forward._waiting.items():
        check_word(unit, "unit")
        check(0 <= amount < 1e21, f"{amount} of a unit")
    check(len(forward._rest) <= 4096, "an unfinished line without bound")


def _output(data: bytes) -> None:
    write("run/log.0", data)
    found = output.excerpt(folder() / "run", 0, 2_000, last=True)
    check(len(found.text) <= 2_000, f"{len(found.text)} characters in one report")
    bad = [c for c in found.text if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff"]
    check(not bad, f"text with {bad[:3]!a} in it")


# --- what it wrote before ---------------------------------------------------------------------------------------------


def _originals(data: bytes) -> None:
    for row in restore.load(write("state/originals.json", data)):
        check(isinstance(row["kind"], str) and isinstance(row["where"], str), f"a row {row}")
        check("\0" not in row["where"], "a path with a NUL")
        check(len(row["value"]) <= 21, f"a value of {len(row['value'])} digits")


@cache
def _memory() -> Memory:
    return Memory(":memory:")


def _mark(data: bytes) -> None:
    mark = Mark.parse(data.decode("utf-8", "replace"))
    check(mark.epoch >= 0 and mark.seq >= 0, f"a mark {mark}")
    check(Mark.parse(str(mark)) == mark, "a mark does not come back as it was")


def _checkpoint(data: bytes) -> None:
    body = data.decode("utf-8", "replace")
    found = checkpoint.load(f"{crc32(body.encode()):08x}{body}")
    if found is None:
        raise _RefusedError
    check(isinstance(found.end_ns, int) and isinstance(found.kernel_boot, str), f"a checkpoint {found}"[:200])
    check(isinstance(found.account, str), "an account that is no text")
    for name, base in found.baselines.items():
        check(isinstance(name, str), "a counter without a name")
        check(type(base.raw) is int and type(base.t_ns) is int, f"a reading {base}")
    again = checkpoint.load(checkpoint.dump(found))
    check(again == found, "a checkpoint does not come back as it was")


def _account(data: bytes) -> None:
    settings = agent_settings.AttributionSettings()
    accounting = Accounting(settings, lambda: None, lambda _: None, dict, data.decode("utf-8", "replace"))
    try:
        accounting.take(20)
        accounting.now()
        accounting.memory()
    finally:
        accounting.close()


_ACCOUNT = json.dumps(
    {
        "version": 1,
        "last_ns": 5,
        "tasks": [],
        "idle": {"cpu": []},
        "watch": {"busy_ns": 5, "cgroups": {"/a": 3}, "members": {"0193582c1abe": [[1, 2, 3]]}},
    }
).encode()


def _run(data: bytes) -> None:
    record = msgspec.json.decode(data, type=RunRecord)
    check_plain(record)
    msgspec.json.encode(record)


def _plan(data: bytes) -> None:
    found = plan.Plan.read(write("state/plan.json", data))
    check(isinstance(found.argv, list), "arguments that are no list")


def _standing(data: bytes) -> None:
    path = write("standing/state.json", data)
    if plan.Standing.read(path.parent) is None:
        raise _RefusedError


def _audit(data: bytes) -> None:
    """Bytes as somebody may have put them in, under the right hash."""
    import hashlib

    body = data.rstrip(b"\n")
    line = body + b',"hash":"' + hashlib.sha256(CONTEXT + body).hexdigest().encode() + b'"}'
    walk([("audit.jsonl:1", data), ("audit.jsonl:2", line)])
    entry = read_line(line)
    check(entry.head.n > 0 and entry.at_ms >= 0, f"an entry {entry.head.n}")
    json.dumps(entry.facts)


def _head(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    check(str(Head.parse(text)).partition(":")[2] == text.partition(":")[2], "a head does not come back as it was")


_ENTRY = make_line(Head(1, "0" * 64), "command", 1_790_000_000_000, {"op": "cap", "cap_w": 300.0, "why": None})[0]


# --- settings ---------------------------------------------------------------------------------------------------------


def _agent(data: bytes) -> None:
    found = agent_settings.load(str(write("agent.toml", data)))
    check_plain(found)
    check_word(found.zone, "zone")


def _limits(data: bytes) -> None:
    limits = load_limits(write("limits.toml", data), ["batch"])
    check_plain(limits)
    capped = limits.cap_w(300.0)
    check(capped is not None and capped >= 0, f"a cap of {capped}")
    check(limits.most_cap_w is None or capped <= limits.most_cap_w, "a cap above most_cap_w")


_LIMITS = b"""least_cap_w = 120.0
most_cap_w = 400
max_ttl_s = 60.0
pausable = ["batch"]
commands_per_minute = 60
dry_run_only = false
[ops]
controller = ["cap", "release", "ping"]
[domains."package-0"]
least_w = 50.0
most_w = 180.0
"""

_TRUST = trust.write_trust(
    trust.Trust(
        "fleet",
        3,
        *msgspec.json.decode(b'["2026-11-01T00:00:00Z","2027-11-01T00:00:00Z"]', type=list[trust.Moment]),
        [
            trust.Key(public(CONTROLLER), trust.Role.CONTROLLER, "collector"),
            trust.Key(public(NODE), trust.Role.NODE, node="n1", zone="hall-1"),
        ],
        [],
    )
)


def _trust(data: bytes) -> None:
    check_plain(trust.parse_trust(data))


_SIGNED_TRUST = trust.sign_trust(_TRUST, [CONTROLLER])


def _signed_trust(data: bytes) -> None:
    found = trust.open_trust(data, [CONTROLLER.public_key().public_bytes_raw()], "fleet")
    check(data.endswith(_TRUST) and found.version == 3, "a document that the root has not signed was taken")


def _roots(data: bytes) -> None:
    check(all(len(root) == 32 for root in trust.read_roots(data)), "a root that is no Ed25519 key")


_PEM = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""


# --- a management controller ------------------------------------------------------------------------------------------


def _redfish(data: bytes) -> None:
    found = redfish.document(200, data, "https://bmc")
    for reading in (redfish.environment_w, redfish.consumed_w):
        try:
            watts = reading(found, "https://bmc")
        except ReadError:
            continue
        check(0 < watts <= 1e5, f"a machine of {watts} W")
    redfish.is_contained(found)
    for meter in redfish.meters_of(found, "https://bmc"):
        check(meter.path.startswith("/redfish/"), f"a path {meter.path!a}")
        check_word(meter.path, "path")
    paths, more = redfish.members_of(found, "https://bmc")
    for path in [*paths, more or "/redfish/"]:
        check(path.startswith("/redfish/"), f"a path {path!a}")
        check_word(path, "path")


_REDFISH = (
    b'{"Members": [{"@odata.id": "/redfish/v1/Chassis/1"}], "Members@odata.nextLink": "/redfish/v1/Chassis?$skip=1"}',
    b'{"PowerWatts": {"Reading": 312.5}, "Links": {"ContainedBy": {"@odata.id": "/redfish/v1/Chassis/0"}}}',
    b'{"PowerControl": [{"MemberId": "0", "PowerConsumedWatts": 344}], "Power": {"@odata.id": "/redfish/v1/P"}}',
    b'{"EnvironmentMetrics": {"@odata.id": "/redfish/v1/Chassis/1/EnvironmentMetrics"}}',
)


def _encoded(*messages: Any) -> tuple[bytes, ...]:
    return tuple(protocol.encode(one) for one in messages)


_AGENT_TABLES = b"""
zone = "hall-1"
[sources]
rate_hz = 100.0
[sources.meter]
redfish_url = "https://10.0.0.7"
period_s = 10.0
[attribution]
reserved = { "unit/nginx.service" = 0.25 }
[report]
window_s = 1.0
[control]
enabled = false
fallback_w = 300
knobs = ["powercap", "hwmon"]
[[control.pausable]]
name = "batch"
cgroup = "/sys/fs/cgroup/batch.slice"
"""
_AGENT = (ROOT / "packaging" / "agent.toml").read_bytes()
_STANDING = json.dumps(asdict(plan.Standing(pid=7, start=8, began_ns=9)), default=str).encode()
_RECORD = msgspec.json.encode(RunRecord(order=ORDER, kernel_boot="x", asked_ms=1, asked_ns=2, limit_s=3.0))
_CHECKPOINT = checkpoint.dump(checkpoint.Checkpoint("boot", 5, {"package-0": Baseline(7, 8)}, "{}"))[8:].encode()
_ROWS = json.dumps(
    [
        {"kind": "file", "where": "/sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw", "value": "205000000"},
        {"kind": "quota", "where": "/sys/fs/cgroup/machine.slice/cpu.max", "value": "-1"},
        {"kind": "signal", "where": "123:456", "value": "18"},
    ]
).encode()

PARSERS = [
    Parser(
        "actuator-asked",
        ("evenwatt_agent.actuator.protocol",),
        _asked,
        (protocol.ProtocolError,),
        _encoded(*_TO_ACTUATOR),
        "msgpack",
    ),
    Parser(
        "actuator-said",
        ("evenwatt_agent.actuator.protocol",),
        _said,
        (protocol.ProtocolError,),
        _encoded(*_TO_AGENT),
        "msgpack",
    ),
    Parser("task-socket", ("evenwatt_agent.task_server",), _task, (_RefusedError,), _TASK_LINES, "json"),
    Parser(
        "task-units",
        ("evenwatt_agent.jobs.units",),
        _units,
        (),
        (b"12 tokens\n3.5 images\n7\n", b"1e3 steps\n"),
        "text",
    ),
    Parser(
        "run-output",
        ("evenwatt_agent.jobs.output",),
        _output,
        (),
        (b"epoch 3: loss 0.41\n", "\x1b[31mrot\x1b[0m \x1b]0;title\x07 \u202e ü\r\n".encode()),
        "text",
        (b"\x1b]", b"\x1b[", b"\xe2\x80\xae", b"\xc2\x9b"),
    ),
    Parser("state-originals", ("evenwatt_agent.restore",), _originals, (ValueError,), (_ROWS, b"[]"), "json"),
    Parser("state-mark", ("evenwatt_agent.commands",), _mark, (ValueError,), (b"3.118", b"0.0"), "text"),
    Parser("state-checkpoint", ("evenwatt_agent.checkpoint",), _checkpoint, (_RefusedError,), (_CHECKPOINT,), "json"),
    Parser("state-account", ("evenwatt_agent.accounting",), _account, (), (_ACCOUNT,), "json", slow=True),
    Parser(
        "state-run",
        ("evenwatt_agent.jobs.book",),
        _run,
        (msgspec.DecodeError, UnicodeDecodeError, RecursionError),
        (_RECORD,),
        "json",
    ),
    Parser("state-standing", ("evenwatt_agent.jobs.plan",), _standing, (_RefusedError,), (_STANDING,), "json"),
    Parser("audit-entry", ("evenwatt_daemon.audit",), _audit, (BadEntryError,), (_ENTRY[:-76], _ENTRY), "json"),
    Parser("audit-head", ("evenwatt_daemon.audit",), _head, (ValueError,), (b"7:" + b"ab" * 32,), "text"),
    Parser(
        "settings-agent",
        ("evenwatt_agent.settings", "evenwatt_agent.jobs.settings", "evenwatt_daemon.settings"),
        _agent,
        (Failure,),
        (_AGENT, _AGENT_TABLES),
        "text",
        (b"[control]\n", b"enabled = true\n", b"[[", b"]]\n", b"{a.b.c = 1}", b"inf\n", b"1979-05-27T07:32:00Z"),
        slow=True,
    ),
    Parser(
        "settings-limits",
        ("evenwatt_agent.limits", "evenwatt_daemon.settings"),
        _limits,
        (Failure,),
        (_LIMITS,),
        "text",
        (b"inf", b"nan", b"[ops]\n", b'["cap"]'),
    ),
    Parser(
        "trust-body", ("evenwatt_wire.trust", "evenwatt_wire.keyring"), _trust, (trust.TrustError,), (_TRUST,), "json"
    ),
    Parser("trust-signed", ("evenwatt_wire.trust",), _signed_trust, (trust.TrustError,), (_SIGNED_TRUST,), "text"),
    Parser("trust-roots", ("evenwatt_wire.trust",), _roots, (ValueError,), (_PEM, _PEM * 2), "text"),
    Parser("redfish-answer", ("evenwatt_agent.sources.redfish",), _redfish, (ReadError,), _REDFISH, "json"),
]
