"""What the collector takes: jobs, queries and headers over HTTP, its settings and files, providers' answers."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request

from evenwatt_collector import settings as collector_settings
from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.carbon.providers import carbon_aware, eia, electricity_maps, entsoe, neso, watttime
from evenwatt_collector.carbon.providers.cache import Cache
from evenwatt_collector.carbon.providers.contract import ProviderError
from evenwatt_collector.carbon.providers.files import FileSource
from evenwatt_collector.carbon.providers.http import Get, Net
from evenwatt_collector.carbon.providers.pace import retry_after_s
from evenwatt_collector.carbon.providers.settings import FileSettings, GridSettings
from evenwatt_collector.carbon.series import Basis, Reading
from evenwatt_collector.carbon_aware_wire import Problem, body_time, query_time
from evenwatt_collector.feedback.asking import ImprovementQuery
from evenwatt_collector.http.errors import RequestError
from evenwatt_collector.http.paging import read_cursor
from evenwatt_collector.http.tokens import Scope, parse_tokens
from evenwatt_collector.jobs import reading
from evenwatt_collector.jobs.desk import ExternalReport
from evenwatt_collector.jobs.times import duration_s, moment_s
from evenwatt_collector.jobs_requests import decoded, query
from evenwatt_collector.live_stream import Hub
from evenwatt_collector.models.registry import ModelsFile, make_registry
from evenwatt_collector.models.tables import read_table
from evenwatt_collector.overrides.model import Wish
from evenwatt_collector.policy import PolicyError, parse_policy
from evenwatt_collector.policy.policy import limits_at
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.score.asking import ScoreQuery
from evenwatt_collector.storage import exchange
from evenwatt_daemon import Failure, load_settings
from tests.carbon.providers.test_entsoe import document, period, series
from tests.carbon.providers.test_lies import CASES, HOURS, NOW
from tests.fuzz.parser import Parser, check, check_plain, check_word, drive
from tests.fuzz.parsers.scratch import folder, write
from tests.policy.texts import SITE

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
NOW_S = 1_793_577_600.0


class _RefusedError(Exception):
    """The documented answer where a parser returns what is wrong."""


# --- jobs and queries -------------------------------------------------------------------------------------------------


def _jobs(form: reading.Form) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        numbers = itertools.count(1)
        found = reading.read(data, form, lambda: f"{next(numbers):012x}")
        for problem in found.problems:
            check(problem.text and len(problem.text) < 5_000, f"a problem of {len(problem.text)} characters")
        if found.problems:
            raise _RefusedError(found.problems[0].text)
        for entry in found.entries:
            check_plain(entry.spec)
            check_word(entry.id, "id")
            msgspec.json.encode(entry.spec)

    return target


def _times(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (duration_s, lambda text: moment_s(text, NOW_S)):
        try:
            check_plain(read(text))
        except ValueError:
            continue
    check(duration_s(text) > 0, "a length of no time")


def _report(data: bytes) -> None:
    report = decoded(data, ExternalReport)
    check_plain(report)
    check(report.energy_j is None or report.energy_j >= 0, "joules below none")


def _request(data: bytes) -> Request:
    return Request({"type": "http", "query_string": data, "headers": []})


def _query(data: bytes) -> None:
    found = query(_request(data))
    check(1 <= found.limit <= 500, f"a page of {found.limit}")
    if found.cursor is not None:
        check(found.position[0] >= 0, "a page before 1970")


def _parameters(data: bytes) -> dict[str, str]:
    return dict(QueryParams(data.decode("latin-1")))


def _report_query(data: bytes) -> None:
    found = ReportQuery.from_parameters(_parameters(data), NOW_S)
    check(found.start_s < found.end_s, "a period that ends before it begins")
    check_plain((found.start_s, found.end_s, found.known_at_s))


def _score_query(data: bytes) -> None:
    given = _parameters(data)
    ours = {"weeks", "workload"}
    ImprovementQuery.from_parameters({key: value for key, value in given.items() if key in ours})
    found = ScoreQuery.from_parameters({key: value for key, value in given.items() if key not in ours}, NOW_S)
    check(found.start_s < found.end_s, "a period that ends before it begins")


def _aware_time(data: bytes) -> None:
    text = data.decode("latin-1")
    for read in (query_time, body_time):
        try:
            moment = read("time", text)
        except Problem as problem:
            json.dumps(problem.document())
            continue
        check(0 <= moment.timestamp() <= 4_102_444_800, f"a moment {moment}")


@cache
def _hub() -> Hub:
    hub = Hub(subscribers=10)
    for i in range(5):
        hub.say("events", {"n": i})
    return hub


def _last_id(data: bytes) -> None:
    hub = _hub()
    subscriber = hub.subscribe(["events"], Headers(raw=[(b"last-event-id", data)])["last-event-id"])
    check(subscriber is not None, "no room")
    text = subscriber.take()
    check(text.count(b"event: ") <= 6, "more than was kept")
    hub.unsubscribe(subscriber)


def _retry_after(data: bytes) -> None:
    found = retry_after_s(data.decode("latin-1"), NOW_S)
    check(found is None or 0 <= found < 1e9, f"wait {found} s")


# --- files ------------------------------------------------------------------------------------------------------------


def _tokens(data: bytes) -> None:
    found = parse_tokens(data, "tokens")
    check(found.anybody_may(Scope.READ) and found.caller("") is None, "an empty token is known")


def _policy(data: bytes) -> None:
    policy = parse_policy(data, "policy.toml")
    check_plain(policy.document)
    for limit in limits_at(policy, NOW_S).values():
        check(limit.budget_w >= 0, f"a budget of {limit.budget_w} W")


def _cursor(data: bytes) -> None:
    zone, node = read_cursor(data.decode("latin-1"), (str, str))
    check(isinstance(zone, str) and isinstance(node, str), "a cursor of other kinds")


def _override(data: bytes) -> None:
    check_plain(decoded(data, Wish))


@cache
def _table() -> IntensityTable:
    return IntensityTable.packaged()


def _collector(data: bytes) -> None:
    found = collector_settings.load(str(write("collector.toml", data)), _table())
    check_plain(found)
    for zone in found.zones:
        check_word(zone.name, "zone")


def _models(data: bytes) -> None:
    registry = make_registry(load_settings(ModelsFile, write("models.toml", data)), [], [])
    for variant in registry.variants:
        check_plain(variant)


def _model_table(form: Any) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        for row in read_table(data.decode("utf-8", "replace"), form, "table"):
            check_plain(row)

    return target


def _carbon_file(data: bytes) -> None:
    path = write("carbon.csv", data)
    source = FileSource(FileSettings(path=str(path)), "DE", Basis.LIFECYCLE)
    source._seen = (int(NOW_S * 1e9), 1)
    source._rows = source._load()
    for asking in (source._reading(row, int(NOW_S)) for row in source._rows[:50]):
        asking.fault()


def _cache(data: bytes) -> None:
    kept = Cache(write("cache/answer.json", data).parent).get("answer.json", NOW_S, 3600.0)
    if kept is None:
        raise _RefusedError("none")
    check(0 <= NOW_S - kept.fetched_s < 3600, f"an answer of {kept.fetched_s}")


@cache
def _database() -> Any:
    from evenwatt_collector.storage.connection import connect

    return connect(str(folder() / "fuzz.db"))


def _export(data: bytes) -> None:
    for line in exchange._lines(write("export.gz", gzip.compress(data, 1))):
        value = line[0] if isinstance(line, list) and line else line
        exchange._meant(value)


# --- answers of providers ---------------------------------------------------------------------------------------------

_MAKERS: dict[str, Any] = {
    "electricity-maps": lambda http, s: electricity_maps.ElectricityMaps(http, s, "DE", Basis.LIFECYCLE),
    "watttime": lambda http, s: watttime.WattTime(http, s, "DE"),
    "neso": lambda http, s: neso.Neso(http, s, "DE"),
    "eia": lambda http, s: eia.Eia(http, s, "DE", Basis.LIFECYCLE),
    "entsoe": lambda http, s: entsoe.Entsoe(http, s, "DE", Basis.LIFECYCLE),
    "carbon-aware-sdk": lambda http, s: carbon_aware.CarbonAware(http, s, "DE"),
}


class _Said:
    """Stands for the connection: every question is answered with the input."""

    clock_off_s = None

    def __init__(self, net: Net | None) -> None:
        self.body, self._net = b"", net

    async def get(self, question: Get, _now_s: float) -> bytes:
        if self._net is not None:  # what a server said before may stand in the next question
            self._net.request("http://127.0.0.1:9", question.params, question.headers, question.login)
        return self.body

    def kept(self, _question: object, _now_s: float) -> bytes | None:
        return self.body

    def forget(self, *_what: object) -> None:
        """Nothing is kept."""


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _provider(kind: str, /, **keys: Any) -> Callable[[bytes], None]:
    @cache
    def made() -> tuple[_Said, Any]:
        secret = str(write("secret", b"s3cr3t-key\n"))
        source = {"type": kind, "base_url": "http://127.0.0.1:9", **keys}
        if kind in {"electricity-maps", "entsoe", "eia"}:
            source["token_file"] = secret
        if kind == "watttime":
            source |= {"username": "sre", "password_file": secret}
        if kind == "carbon-aware-sdk":
            source["basis"] = "lifecycle"
        settings = msgspec.convert({"name": "DE", "sources": [source]}, GridSettings).sources[0]
        said = _Said(Net(folder() / "net") if kind == "watttime" else None)
        return said, _MAKERS[kind](said, settings)

    def target(data: bytes) -> None:
        said, source = made()
        said.body = data
        found: list[Reading] = []
        wrong: ProviderError | None = None
        for ask in (lambda: source.past(NOW - 4 * 3600, NOW, NOW), lambda: source.ahead(24 * 3600, NOW)):
            asking = ask()
            try:
                found += _loop().run_until_complete(asking) if kind == "entsoe" else drive(asking)
            except ProviderError as error:
                check(10 < len(str(error)) < 4_000, f"words of {len(str(error))} characters")
                wrong = error
        for one in found:
            one.fault()
            check(one.start_s < 2**40 and one.end_s < 2**40, "a time beyond all calendars")
        if wrong is not None:
            raise wrong

    return target


def _bodies(kind: str) -> tuple[bytes, ...]:
    return (json.dumps(CASES[kind][1]).encode(),)


_ENTSOE = document(*[series(psr, period(HOURS[-1], 4, [5, 6, 7, 8]), curve="A03") for psr in ("B04", "B16")])


# --- seeds ------------------------------------------------------------------------------------------------------------

_JOB = {
    "name": "nightly", "template": "train", "values": {"epochs": "3"}, "length": "45m", "deadline": "+8h",
    "earliest": "2026-11-27T18:00:00Z", "workload": "resnet", "priority": 5, "interruptible": True, "home": "hall",
    "zones": ["hall", "edge"], "nodes": ["gpu-*"], "work": {"amount": 100, "unit": "step"}, "speedup": [1.0, 1.9],
    "data": {"gb": 3, "zone": "hall"}, "slo": {"max_slowdown": 2}, "after": [],
}  # fmt: skip
_JOB_TOML = b"""[[jobs]]
name = "nightly"
template = "train"
length = "45m"
deadline = "+8h"
zones = ["hall", "edge"]
[jobs.work]
amount = 100
unit = "step"
[[jobs]]
id = "0123456789ab"
name = "second"
template = "train"
length = "1h30m"
earliest = 2026-11-27T18:00:00Z
after = ["nightly"]
"""
_MODELS = b"""[[models]]
task = "caption"
model = "blip"
variant = "int8"
unit = "image"
precision = "int8"
quality = { metric = "cider", value = 1.2, source = "paper" }
[[devices]]
name = "a100"
nodes = ["gpu-*"]
"""
_TABLE = b"task,model,variant,unit,joules_per_unit,latency_s,device\ncaption,blip,int8,image,0.5,0.02,a100\n"
_CSV = b"start,end,g_per_kwh\n2026-03-10T10:00:00Z,2026-03-10T11:00:00Z,351.5\n1773144000,1773147600,300\n"
_COLLECTOR = (ROOT / "packaging" / "collector.toml").read_bytes()
_TOML_WORDS = (b"[[zones]]\n", b"{a.b = 1}", b"inf\n", b"nan\n", b"1979-05-27T07:32:00Z", b"[[", b"]]\n", b'"""')
_OVERRIDE = b'{"kind":"cap","zone":"site","node":"n-1","watts":300.0,"for_s":600,"reason":"chiller \\u00e9"}'

PARSERS = [
    Parser(
        "jobs-json",
        ("evenwatt_collector.jobs.reading", "evenwatt_collector.jobs.texts"),
        _jobs("json"),
        (_RefusedError,),
        (json.dumps(_JOB).encode(), json.dumps({"jobs": [_JOB, {**_JOB, "id": "0123456789ab"}]}).encode()),
        "json",
    ),
    Parser(
        "jobs-toml",
        ("evenwatt_collector.jobs.reading", "evenwatt_collector.jobs.texts", "evenwatt_collector.policy.lines"),
        _jobs("toml"),
        (_RefusedError,),
        (_JOB_TOML,),
        "text",
        _TOML_WORDS,
        slow=True,
    ),
    Parser(
        "jobs-times",
        ("evenwatt_collector.jobs.times",),
        _times,
        (ValueError,),
        (b"1h30m", b"+8h", b"2026-11-27T18:00:00Z", b"now"),
        "text",
    ),
    Parser(
        "http-job-report",
        ("evenwatt_collector.jobs_requests",),
        _report,
        (RequestError,),
        (b'{"state": "ended", "zone": "hall", "at_s": 1793577600.5, "energy_j": 3.5, "units": {"step": 7}}',),
        "json",
    ),
    Parser(
        "http-job-query",
        ("evenwatt_collector.jobs_requests", "evenwatt_collector.jobs.desk"),
        _query,
        (RequestError, ValueError),
        (b"state=open&state=done&workload=x&limit=5&cursor=MTc5MzU3NzYwMDAwMDowMTIzNDU2Nzg5YWI=",),
        "text",
        (b"%00", b"%ff", b"&", b"="),
    ),
    Parser(
        "http-report-query",
        ("evenwatt_collector.report.asking", "evenwatt_collector.report.periods"),
        _report_query,
        (Failure,),
        (b"by=zone&from=1793570000&to=1793577600&tz=Europe/Berlin&known_at=1793577600", b"by=node&from=0"),
        "text",
        (b"tz=../../etc/passwd", b"nan", b"%00"),
    ),
    Parser(
        "http-score-query",
        ("evenwatt_collector.score.asking", "evenwatt_collector.feedback.asking"),
        _score_query,
        (Failure,),
        (b"by=workload&name=x&from=1793570000&to=1793577600&per=image&weeks=4",),
        "text",
    ),
    Parser(
        "http-carbon-aware-time",
        ("evenwatt_collector.carbon_aware_wire",),
        _aware_time,
        (),
        (b"2022-06-01T14:45:00+00:00", b"2022-1-1T04:05:06Z", b"2022-01-01 04:05 02:00"),
        "text",
    ),
    Parser(
        "http-last-event-id", ("evenwatt_collector.live_stream",), _last_id, (), (b"01234567-3", b"x-99999"), "text"
    ),
    Parser(
        "http-retry-after",
        ("evenwatt_collector.carbon.providers.pace",),
        _retry_after,
        (),
        (b"120", b"Wed, 21 Oct 2026 07:28:00 GMT"),
        "text",
    ),
    Parser(
        "file-tokens",
        ("evenwatt_collector.http.tokens",),
        _tokens,
        (Failure,),
        (b"ada jobs,act " + b"ab" * 16 + b"\n# x\nbob read " + b"cd" * 16 + b"\n",),
        "text",
    ),
    Parser(
        "settings-policy",
        ("evenwatt_collector.policy.reading", "evenwatt_collector.policy.check", "evenwatt_collector.policy.lines"),
        _policy,
        (PolicyError,),
        (SITE.encode(),),
        "text",
        _TOML_WORDS,
        slow=True,
    ),
    Parser(
        "http-cursor", ("evenwatt_collector.http.paging",), _cursor, (RequestError,), (b"WyJoYWxsIiwibjEiXQ",), "text"
    ),
    Parser("http-override", ("evenwatt_collector.overrides.model",), _override, (RequestError,), (_OVERRIDE,), "json"),
    Parser(
        "settings-collector",
        ("evenwatt_collector.settings", "evenwatt_daemon.settings"),
        _collector,
        (Failure,),
        (_COLLECTOR, _COLLECTOR.replace(b"# ", b"").replace(b"#", b"")),
        "text",
        _TOML_WORDS,
        slow=True,
    ),
    Parser(
        "settings-models", ("evenwatt_collector.models.registry",), _models, (Failure,), (_MODELS,), "text", _TOML_WORDS
    ),
    Parser("models-csv", ("evenwatt_collector.models.tables",), _model_table("csv"), (Failure,), (_TABLE,), "text"),
    Parser(
        "models-json",
        ("evenwatt_collector.models.tables",),
        _model_table("json"),
        (Failure,),
        (b'[{"task": "caption", "model": "blip", "unit": "image", "joules_per_unit": 0.5}]',),
        "json",
    ),
    Parser(
        "carbon-csv", ("evenwatt_collector.carbon.providers.files",), _carbon_file, (ProviderError,), (_CSV,), "text"
    ),
    Parser(
        "carbon-cache",
        ("evenwatt_collector.carbon.providers.cache",),
        _cache,
        (_RefusedError,),
        (json.dumps({"fetched_s": NOW_S - 60, "body": "{}"}).encode(),),
        "json",
    ),
    Parser(
        "ledger-export",
        ("evenwatt_collector.storage.exchange",),
        _export,
        (Failure,),
        (b'{"format": "evenwatt-ledger", "schema": 1}\n["b:AAEC", 1, null]\n{"rows": 1}\n',),
        "text",
    ),
    *(
        Parser(
            f"provider-{kind}",
            (f"evenwatt_collector.carbon.providers.{module}",),
            _provider(kind, **CASES[kind][0]),
            (ProviderError,),
            _bodies(kind),
            "json",
        )
        for kind, module in (
            ("electricity-maps", "electricity_maps"),
            ("watttime", "watttime"),
            ("neso", "neso"),
            ("eia", "eia"),
            ("carbon-aware-sdk", "carbon_aware"),
        )
    ),
    Parser(
        "provider-entsoe",
        ("evenwatt_collector.carbon.providers.entsoe",),
        _provider("entsoe", zone="10Y1001A1001A82H"),
        (ProviderError,),
        (_ENTSOE.encode() if isinstance(_ENTSOE, str) else _ENTSOE,),
        "text",
        (b"<x/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&#0;", b"P1D", b"PT60M", b"<![CDATA[", b"99999999999999"),
    ),
]
