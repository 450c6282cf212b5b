"""What the command line and the bridges take: streams, answers of the collector, traces, schedulers' words."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path
from typing import Any

from evenwatt_cli.advice import read_advice
from evenwatt_cli.decode import decode_stream
from evenwatt_cli.enrolment import talk
from evenwatt_cli.enrolment.settings_file import ChangeError, changed
from evenwatt_cli.enrolment.token import Token, TokenError
from evenwatt_cli.moments import moment
from evenwatt_cli.replay.faults import parse_faults
from evenwatt_cli.replay.inputs import load_plant, load_trace
from evenwatt_collector.feedback.asking import from_document as improvement_from
from evenwatt_collector.report.document import from_document as report_from
from evenwatt_collector.score.answer import from_document as score_from
from evenwatt_daemon import Failure
from tests.bridges.loading import load
from tests.fuzz.parser import Parser, check, check_plain, check_word
from tests.fuzz.parsers.scratch import write
from tests.fuzz.parsers.wire import GOLDEN

slurm: Any = load("slurm/evenwatt_slurm.py")
kubernetes: Any = load("kubernetes/controller.py")
slurm.say = kubernetes.say = lambda _text: None
NOW_S = 1_800_000_000.0
ROOT = Path(__file__).parents[3]


def _decode(data: bytes) -> None:
    out = io.StringIO()
    decode_stream(io.BytesIO(data), out)
    text = out.getvalue()
    for row in text.split("\n")[:-1]:
        json.loads(row)
    check(not any((c < " " and c != "\n") or "\x7f" <= c <= "\x9f" for c in text), "control characters for a terminal")
    text.encode()


def _advice(data: bytes) -> None:
    advice = read_advice(json.loads(data))
    check_plain((advice.start_s, advice.end_s, advice.grams, advice.low_g, advice.high_g, advice.now_g))


def _talk(data: bytes) -> None:
    said = talk.unpack(data)
    check(talk.unpack(talk.pack(said)[4:]) == said, "it does not survive being sent on")
    if isinstance(said, talk.Wish):
        check_word(said.node, "node")


def _token(data: bytes) -> None:
    token = Token.parse(data.decode("latin-1"))
    check(Token.parse(str(token)) == token, "a token does not come back as it was")
    check_word(token.node + token.zone, "node")


def _settings_file(data: bytes) -> None:
    text = changed(data.decode("utf-8", "replace"), {("control", "trust"): "/etc/x", ("", "zone"): "hall-1"})
    check(tomllib.loads(text)["zone"] == "hall-1", "what was to be set is not there")


def _trace(data: bytes) -> None:
    load_trace(write("trace.csv", data), 8, 1.0, 60.0)


def _plant(data: bytes) -> None:
    load_plant(write("plant.csv", data))


def _faults(data: bytes) -> None:
    for fault in parse_faults(data.decode("utf-8", "replace").split()):
        check_plain((fault.at_s, fault.length_s, fault.value))


def _moment(data: bytes) -> None:
    check_plain(moment(data.decode("utf-8", "replace"), NOW_S))


def _document(data: bytes) -> None:
    document = json.loads(data)
    for read in (score_from, improvement_from):
        try:
            read(document)
        except Failure:
            continue
    check_plain(report_from(document))


def _slurm(data: bytes) -> None:
    document = json.loads(data)
    for job in slurm.read_queue(document, NOW_S):
        terms = slurm.opted(job, {}, {})
        if terms is None:
            continue
        try:
            wish = slurm.wish_of(job, terms)
        except ValueError:
            continue
        slurm.decide(job, wish, None, NOW_S)


def _kubernetes(data: bytes) -> None:
    work = kubernetes.read_workload("Job", json.loads(data))
    wish = kubernetes.wish_of(work, "hall", NOW_S)
    kubernetes.decide(work, wish, None, NOW_S)


_ROW = {
    "job_id": 7, "job_state": ["PENDING"], "state_reason": "None", "submit_time": {"set": True, "number": NOW_S - 600},
    "eligible_time": NOW_S - 600, "start_time": 0, "time_limit": {"set": True, "infinite": False, "number": 120},
    "comment": "evenwatt:deadline=+8h", "admin_comment": "", "qos": "", "partition": "main", "name": "train",
    "user_name": "ada",
}  # fmt: skip
_OBJECT = {
    "metadata": {
        "namespace": "ml", "name": "train", "resourceVersion": "7", "creationTimestamp": "2027-01-15T08:00:00Z",
        "labels": {kubernetes.LABEL: "8h"}, "annotations": {f"{kubernetes.PREFIX}length": "2h"},
    },
    "spec": {"suspend": True, "activeDeadlineSeconds": 3600},
    "status": {"conditions": [{"type": "Complete", "status": "False"}]},
}  # fmt: skip
_ADVICE = {
    "decision": {
        "chosen": {"start_s": NOW_S, "end_s": NOW_S + 60, "zone": "hall", "grams": 1.0, "low_g": 0.5, "high_g": 2.0},
        "baseline": {"grams": 3.0},
    }
}
_STREAM = b"\n".join(
    f"evenwatt/v1/hall-1/n1/{kind} ".encode() + (GOLDEN / file).read_bytes()
    for kind, file in (("live", "live.msgpack"), ("state", "state.json"), ("cmd", "cmd.msgpack"))
)
_REQUESTS = (json.JSONDecodeError, UnicodeDecodeError, ValueError, RecursionError)
"""What reading JSON may raise; the bridges log it and go on."""

_TALK = (
    talk.Welcome(bytes(32)),
    talk.Wish(bytes(8), "n1", bytes(32), b"request"),
    talk.Waiting(),
    talk.Joined("fleet", "hall-1", b"trust", b"root", b"ca", b"certificate", "broker", 8883),
    talk.Refused("no"),
)

PARSERS = [
    Parser(
        "enrol-talk",
        ("evenwatt_cli.enrolment.talk",),
        _talk,
        (talk.TalkError,),
        tuple(talk.pack(one)[4:] for one in _TALK),
        "msgpack",
    ),
    Parser(
        "enrol-token",
        ("evenwatt_cli.enrolment.token",),
        _token,
        (TokenError,),
        (str(Token(1, "h:1", bytes(32), bytes(8), bytes(32), "n1", "hall-1")).encode(),),
        "text",
    ),
    Parser(
        "enrol-settings",
        ("evenwatt_cli.enrolment.settings_file",),
        _settings_file,
        (ChangeError,),
        (b'zone = "a"\n# fleet = "x"\n[control]\n# trust = ""\n', (ROOT / "packaging" / "agent.toml").read_bytes()),
        "text",
        (b"[control]\n", b"[[control]]\n", b'"""', b"[control.trust]\n"),
        slow=True,
    ),
    Parser(
        "cli-decode",
        ("evenwatt_cli.decode",),
        _decode,
        (),
        (_STREAM, *(path.read_bytes() for path in sorted(GOLDEN.iterdir()))),
        "bytes",
        (b"evenwatt/v1/", b"\n", b"\xdc\x00\x03", b"\xdd\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff"),
    ),
    Parser("cli-advice", ("evenwatt_cli.advice",), _advice, (*_REQUESTS,), (json.dumps(_ADVICE).encode(),), "json"),
    Parser(
        "cli-trace",
        ("evenwatt_cli.replay.inputs",),
        _trace,
        (Failure,),
        (
            b"time,n1,n2\n0,100,200\n1,110,190\n2,90,210\n",
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9,374,44\n2023-11-16 18:17:04.0,396,109\n",
            b"arrival_time,length,cpus\n0,60,1\n10,30,2\n",
        ),
        "text",
        slow=True,
    ),
    Parser(
        "cli-plant",
        ("evenwatt_cli.replay.inputs",),
        _plant,
        (Failure,),
        (b"dataset,network,power_limit,time_per_epoch,average_power\nc,r,100,60,90\nc,r,150,45,140\nc,r,200,40,190\n",),
        "text",
    ),
    Parser(
        "cli-faults",
        ("evenwatt_cli.replay.faults",),
        _faults,
        (Failure,),
        (b"collector@120+30 clocks@60=3600",),
        "text",
    ),
    Parser(
        "cli-moment",
        ("evenwatt_cli.moments",),
        _moment,
        (Failure, ValueError),
        (b"+2h", b"2026-11-27T18:00:00Z"),
        "text",
    ),
    Parser(
        "cli-documents",
        ("evenwatt_collector.report.document",),
        _document,
        (Failure, *_REQUESTS),
        ((ROOT / "tests" / "report" / "golden" / "report.json").read_bytes(),),
        "json",
    ),
    Parser(
        "bridge-slurm",
        ("packaging/bridges/slurm",),
        _slurm,
        (*_REQUESTS, AttributeError, TypeError),
        (json.dumps({"jobs": [_ROW, {**_ROW, "job_state": "RUNNING", "start_time": NOW_S - 60}]}).encode(),),
        "json",
    ),
    Parser(
        "bridge-kubernetes",
        ("packaging/bridges/kubernetes",),
        _kubernetes,
        _REQUESTS,
        (json.dumps(_OBJECT).encode(),),
        "json",
    ),
]
