"""The fleet as a real HTTP receiver gets it from a real collector, over restarts, outages and refusals."""

from __future__ import annotations

import gzip
import importlib.util

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.semconv._incubating.attributes import hw_attributes
from opentelemetry.semconv._incubating.metrics import hw_metrics
from opentelemetry.semconv.schemas import Schemas

from evenwatt_collector.__main__ import main
from evenwatt_collector.neighbours import otlp
from evenwatt_collector.neighbours.otlp import Frame, request
from evenwatt_collector.neighbours.picture import Component, Host
from evenwatt_collector.neighbours.settings import OtlpSettings, certificates, headers, url
from evenwatt_daemon import Failure
from evenwatt_wire import Kind
from tests.broker.site import TlsBroker, foreign
from tests.collector.middle import Middle, speaking, stop
from tests.collector.said import NEXT_BOOT, ZONE, ledger
from tests.neighbours.receiver import ExportMetricsServiceRequest, Receiver, rows
from tests.support import eventually, free_port

ZONE_AND_OTLP = '[[zones]]\nname = "{zone}"\nintensity_g_per_kwh = 360.0\n[otlp]\ninterval_s = 1.0\n{otlp}\n'


@pytest.fixture
def middle(tmp_path, broker):
    return Middle(tmp_path, broker.port)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def write(middle, endpoint, otlp=""):
    middle.write(zone=ZONE_AND_OTLP.format(zone=ZONE, otlp=f'endpoint = "{endpoint}"\n{otlp}'))


async def test_joules_and_watts_arrive_and_survive_a_restart_of_agent_and_collector(middle, receiver, tmp_path):
    (tmp_path / "headers").write_text("Authorization: Bearer of-tests\n\nX-Scope: a b\n")
    extra = f'headers_file = "{tmp_path / "headers"}"\nattributes = {{ "deployment.environment.name" = "test" }}'
    write(middle, receiver.url, extra)

    def energy():
        return receiver.latest().value("hw.host.energy", host__name="n1")

    with middle.run() as collector:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            node.start_speaking(120.0)
            await node.say(ledger(seq=1, energy_j=60.0), Kind.LEDGER)
            await node.say(ledger(seq=2, energy_j=60.0), Kind.LEDGER)
            await node.say(ledger(seq=1, energy_j=60.0), Kind.LEDGER)  # twice
            await eventually(lambda: energy() == pytest.approx(120.0), "two records are told", 60)
            await eventually(lambda: receiver.latest().value("hw.host.power", host__name="n1"), "power is told")
            await eventually(
                lambda: receiver.latest().value("hw.energy") == pytest.approx(120.0), "so is a counter", 40
            )
            said = receiver.latest()
            assert said.value("hw.host.power", host__name="n1") == pytest.approx(120.0)
            assert said.value("hw.energy", hw__id="package-0") == pytest.approx(120.0)
            assert said.value("evenwatt.carbon.emissions", host__name="n1") == pytest.approx(120 / 3.6e6 * 360)
            assert said.value("evenwatt.grid.carbon.intensity", evenwatt__zone=ZONE) == pytest.approx(360.0)
            start = said.of("hw.host.energy")[0]["start"]
            at = said.of("hw.energy")[0]["at"]
            assert (at["hw.type"], at["evenwatt.in_total"], at["evenwatt.quality"]) == ("cpu", True, "measured")
            assert at["service.instance.id"] == f"{ZONE}/n1"
            assert at["deployment.environment.name"] == "test"
            assert {one["at"]["service.instance.id"] for one in said} == {ZONE, f"{ZONE}/n1"}
            assert receiver.headers[-1]["Authorization"] == "Bearer of-tests"
            assert receiver.headers[-1]["X-Scope"] == "a b"
            assert set(receiver.paths) == {"/v1/metrics"}
        assert stop(collector) == 0
    receiver.exports.clear()
    with middle.run() as collector:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join(boot=NEXT_BOOT)
            await node.say(ledger(seq=1, boot=NEXT_BOOT, energy_j=30.0), Kind.LEDGER)
            await eventually(lambda: energy() == pytest.approx(150.0), "both boots are told", 60)
        assert stop(collector) == 0
    told = [row for export in receiver.exports for row in export.of("hw.host.energy")]
    assert {row["start"] for row in told} == {start}
    assert [row["value"] for row in told] == sorted(row["value"] for row in told)
    assert told[0]["value"] >= 120.0


async def test_a_receiver_that_is_away_hangs_or_refuses_costs_a_warning_and_no_joule(middle):
    port = free_port()
    write(middle, f"http://127.0.0.1:{port}", "timeout_s = 3.0")

    def warnings():
        return [line for line in middle.log.read_text().splitlines() if "metrics were not exported" in line]

    with middle.run() as collector:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            await node.say(ledger(seq=1, energy_j=60.0), Kind.LEDGER)
            await eventually(warnings, "it is said", 60)
            receiver = Receiver(port)
            try:
                receiver.hold.clear()  # takes the request, and does not answer
                await eventually(lambda: len(warnings()) >= 2, "a hanging one is said", 60)
                assert middle.get("/readyz").status_code == 200
                receiver.code = 401
                receiver.hold.set()
                await eventually(lambda: any("answers 401" in line for line in warnings()), "a refusal is said", 60)
                receiver.answer = ExportMetricsServiceResponse(
                    partial_success=ExportMetricsPartialSuccess(rejected_data_points=3, error_message="too old")
                ).SerializeToString()
                receiver.code = 200
                await eventually(
                    lambda: any("refused 3 points: too old" in line for line in warnings()), "so is a part", 40
                )
                receiver.answer = b""
                await eventually(lambda: "takes metrics again" in middle.log.read_text(), "it is said to work", 60)
                assert receiver.latest().value("hw.host.energy") == pytest.approx(60.0)
                said = len(warnings())
                heard = len(receiver.exports)
                await eventually(lambda: len(receiver.exports) > heard + 1, "two more exports", 60)
                assert len(warnings()) == said
                health = middle.status()["otlp"]
                assert health["exported"] >= 3
                assert health["failed"] >= 4
                assert health["trouble"] == ""
                assert 'evenwatt_otlp_exports_total{result="failed"}' in middle.get("/metrics").text
            finally:
                receiver.close()
        assert stop(collector) == 0


def part(name, kind, **fields):
    base = {"parent": None, "in_total": False, "quality": "measured", "energy_j": 1.0, "power_w": None}
    return Component(id=name, kind=kind, **(base | fields))


def host(**fields):
    base = dict.fromkeys(("energy_j", "carbon_g", "power_w", "cap_w", "carbon_g_per_h"))
    return Host(**({"zone": "hall", "name": "n1", "quality": "measured", "components": ()} | base | fields))


def export(*hosts):
    return rows(ExportMetricsServiceRequest.FromString(request(Frame("f", 1, 2, {}), hosts, [])))


def test_names_units_and_instruments_are_those_of_the_semantic_conventions():
    ours = {name for name in otlp.UNITS if name.startswith("hw.")}
    known = {getattr(hw_metrics, name) for name in dir(hw_metrics) if name.startswith("HW_")}
    assert ours == {"hw.energy", "hw.power", "hw.host.energy", "hw.host.power"} <= known
    for name in ours:
        text = hw_metrics.__dict__[name.upper().replace(".", "_")]
        assert text == name
        source = importlib.util.find_spec(hw_metrics.__name__).loader.get_source(hw_metrics.__name__)
        about = source.split(f'Final = "{name}"')[1].split('"""')[1]
        kind, unit = ("counter", "J") if name.endswith("energy") else ("gauge", "W")
        assert f"Instrument: {kind}\nUnit: {unit}\n" in about
        assert otlp.UNITS[name] == unit
        assert (name in otlp._SUMS) == (kind == "counter")
    types = {value.value for value in hw_attributes.HwTypeValues}
    assert set(otlp.TYPES.values()) <= types
    assert {hw_attributes.HW_ID, hw_attributes.HW_NAME, hw_attributes.HW_PARENT, hw_attributes.HW_TYPE} == {
        "hw.id", "hw.name", "hw.parent", "hw.type"
    }  # fmt: skip
    assert otlp.SCHEMA_URL in {schema.value for schema in Schemas}


def test_what_is_not_known_is_left_out_and_the_whole_is_told_once():
    said = export(
        host(
            energy_j=10.0,
            components=(
                part("package-0", "package", in_total=True, energy_j=8.0),
                part("package-0/core", "core", parent="package-0", energy_j=5.0, power_w=2.0),
                part("psys", "psys", energy_j=10.0),
                part("bmc", "machine", energy_j=10.0),
            ),
        )
    )
    assert sorted((row["name"], row["at"].get("hw.id")) for row in said) == [
        ("hw.energy", "package-0"), ("hw.energy", "package-0/core"), ("hw.host.energy", "n1"),
        ("hw.power", "package-0/core"),
    ]  # fmt: skip
    assert said.of("hw.energy", hw__id="package-0/core")[0]["at"]["hw.parent"] == "package-0"
    assert sum(row["value"] for row in said.of("hw.energy") if row["at"]["evenwatt.in_total"]) == 8.0


def test_labels_are_bounded_by_the_fleet():
    """Nothing that changes with time is an attribute of a sum: each counter is one stream for ever."""
    first = export(host(energy_j=1.0, components=(part("package-0", "package"),)))
    later = export(host(energy_j=2.0, power_w=5.0, quality="estimated", components=(part("package-0", "package"),)))
    streams = [{(r["name"], *sorted(r["at"].items())) for r in said if r["kind"] == "sum"} for said in (first, later)]
    assert streams[0] == streams[1]


@pytest.mark.parametrize(
    ("endpoint", "there"),
    [
        ("http://otel:4318", "http://otel:4318/v1/metrics"),
        ("https://otel.example/", "https://otel.example/v1/metrics"),
        ("https://otel.example/otlp/v1/metrics?tenant=a", "https://otel.example/otlp/v1/metrics?tenant=a"),
    ],
)
def test_an_endpoint_may_have_a_path(endpoint, there):
    assert url(OtlpSettings(endpoint=endpoint)) == there


@pytest.mark.parametrize(
    "endpoint",
    ["", "otel:4318", "http://otel?x=1", "http://otel:123456", "ftp://otel", "http://", "http://[", "http://a b"],
)
def test_an_endpoint_that_is_none_is_said(endpoint):
    with pytest.raises(Failure, match=r"otlp\.endpoint"):
        url(OtlpSettings(endpoint=endpoint))


@pytest.mark.parametrize("line", ["secret", "Bad Name: secret", "A: se\u00fccret", ": secret", "A: ", "A:\x00secret"])
def test_a_line_that_is_no_header_is_said_without_it(tmp_path, line):
    file = tmp_path / "headers"
    file.write_text(f"A: b\n{line}\n")
    with pytest.raises(Failure, match="line 2") as caught:
        headers(OtlpSettings(endpoint="http://otel", headers_file=str(file)))
    assert "cret" not in str(caught.value)


def test_only_the_authority_of_the_settings_counts(tmp_path):
    ours = TlsBroker(tmp_path)
    theirs = foreign(tmp_path / "theirs")
    receiver = Receiver(tls=(ours.etc / "server.pem", ours.etc / "server.key"))
    there = url(OtlpSettings(endpoint=f"https://localhost:{receiver.port}"))
    kind = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    body = gzip.compress(request(Frame("f", 1, 2, {}), [host(energy_j=1.0)], []))

    def post(ca):
        trusted = certificates(OtlpSettings(endpoint=there, ca_file=ca and str(ca)))
        return httpx.post(there, content=body, headers=kind, verify=trusted, timeout=60).status_code

    try:
        assert post(ours.ca / "ca.pem") == 200
        assert receiver.latest().value("hw.host.energy") == 1.0
        for wrong in (None, theirs / "ca.pem"):
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                post(wrong)
    finally:
        receiver.close()


def test_what_cannot_be_used_is_found_by_a_check_of_the_settings(tmp_path, capsys):
    file = tmp_path / "collector.toml"
    file.write_text('[otlp]\nendpoint = "http://otel:4318"\n')
    assert main(["--config", str(file), "--check"]) == 0
    file.write_text('[otlp]\nendpoint = "http://otel:4318"\nheaders_file = "/nowhere/headers"\n')
    assert main(["--config", str(file), "--check"]) == 2
    assert "/nowhere/headers: no such file" in capsys.readouterr().err
    file.write_text('[home_assistant]\nprefix = "a/#"\n')
    assert main(["--config", str(file), "--check"]) == 2
    assert "home_assistant.prefix" in capsys.readouterr().err


def test_certificates_that_are_none_are_said(tmp_path):
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(Failure, match=r"otlp\.ca_file"):
        certificates(OtlpSettings(endpoint="https://otel", ca_file=str(tmp_path / "ca.pem")))


async def test_a_collector_that_stops_does_not_wait_for_a_receiver(middle, receiver):
    receiver.hold.clear()
    write(middle, receiver.url, "timeout_s = 60.0")
    with middle.run() as collector:
        await middle.ready()
        await eventually(lambda: receiver.asked, "an export is under way", 60)
        assert stop(collector) == 0
