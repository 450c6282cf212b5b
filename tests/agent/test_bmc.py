"""Whole-machine meters: a real HTTP server that answers as controllers do, and a real program called ipmitool."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.hierarchy import choose_total
from evenwatt_agent.inventory import take_inventory
from evenwatt_agent.overhead import unmetered_w
from evenwatt_agent.settings import AgentSettings, MeterSettings, SourceSettings
from evenwatt_agent.sources import ReadError, bmc, ipmi, redfish
from evenwatt_daemon import Failure
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from evenwatt_wire import Domain, Quality
from tests.agent.builders import probe

MS = 1_000_000
CHASSIS = "/redfish/v1/Chassis"


def link(path):
    return {"@odata.id": path}


# Both schemas as DSP2046 shows them, shortened; a blade inside its enclosure.
MODERN = {
    CHASSIS: {"Members": [link(f"{CHASSIS}/1U"), link(f"{CHASSIS}/Blade")]},
    f"{CHASSIS}/1U": {"Id": "1U", "EnvironmentMetrics": link(f"{CHASSIS}/1U/EnvironmentMetrics")},
    f"{CHASSIS}/1U/EnvironmentMetrics": {"PowerWatts": {"Reading": 374.0}, "EnergykWh": {"Reading": 325675}},
    f"{CHASSIS}/Blade": {"Links": {"ContainedBy": link(f"{CHASSIS}/1U")}, "Power": link(f"{CHASSIS}/Blade/Power")},
    f"{CHASSIS}/Blade/Power": {"PowerControl": [{"PowerConsumedWatts": 100}]},
}
OLDER = {
    CHASSIS: {"Members": [link(f"{CHASSIS}/Self")]},
    f"{CHASSIS}/Self": {"Power": link(f"{CHASSIS}/Self/Power"), "EnvironmentMetrics": link(f"{CHASSIS}/none")},
    f"{CHASSIS}/Self/Power": {"PowerControl": [{"MemberId": "0", "PowerConsumedWatts": 344, "PowerLimit": None}]},
}


@pytest.fixture
def controller():
    """Serve whatever ``pages`` holds: a document, bytes, or an HTTP status."""
    pages = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages.get(self.path, 404)
            self.send_response(page if isinstance(page, int) else 200)
            self.end_headers()
            if not isinstance(page, int):
                self.wfile.write(page if isinstance(page, bytes) else json.dumps(page).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


def meter(url, **more):
    return MeterSettings(redfish_url=url, ipmi=False, **more)


@pytest.mark.parametrize(("documents", "power_w"), [(MODERN, 374.0), (OLDER, 344.0)])
def test_each_schema_is_read_and_what_is_inside_is_not_added(controller, documents, power_w):
    url, pages = controller
    pages |= documents
    assert redfish.Controller(meter(url)).power_w() == power_w


@pytest.mark.parametrize(
    ("path", "page", "words"),
    [
        (CHASSIS, 401, "login refused"),
        (CHASSIS, 500, "500"),
        (CHASSIS, b"<html>", "not JSON"),
        (CHASSIS, b"[]", "expected a JSON object"),
        (CHASSIS, {"Members": "none"}, "no chassis with"),
        (f"{CHASSIS}/Self/Power", {"PowerControl": []}, "no chassis with"),
        (f"{CHASSIS}/Self/Power", {"PowerControl": [{"PowerConsumedWatts": -5}]}, "no chassis with"),
        (f"{CHASSIS}/Self/Power", b'{"PowerControl": [{"PowerConsumedWatts": NaN}]}', "no chassis with"),
    ],
)
def test_what_a_controller_may_say_instead_is_one_error_with_its_address(controller, path, page, words):
    url, pages = controller
    pages |= OLDER | {path: page}
    with pytest.raises(ReadError, match=words) as caught:
        redfish.Controller(meter(url)).power_w()
    assert url in str(caught.value)


def test_nobody_listening_is_an_error_and_not_a_crash():
    with pytest.raises(ReadError, match=r"127\.0\.0\.1:9"):
        redfish.Controller(meter("http://127.0.0.1:9")).power_w()


def test_a_reading_that_becomes_impossible_is_named(controller):
    url, pages = controller
    pages |= OLDER
    asked = redfish.Controller(meter(url))
    asked.power_w()
    pages[f"{CHASSIS}/Self/Power"] = {"PowerControl": [{"PowerConsumedWatts": 10**12}]}
    with pytest.raises(ReadError, match=r"PowerControl\.0\.PowerConsumedWatts is 1000000000000"):
        asked.power_w()


def test_a_password_that_others_may_read_is_refused_with_the_cure(tmp_path):
    path = tmp_path / "password"
    path.write_text("calvin\n")
    path.chmod(0o640)
    with pytest.raises(Failure, match="chmod 600"):
        redfish.Controller(meter("http://127.0.0.1:9", redfish_user="root", redfish_password_file=str(path)))


def test_the_counters_stay_the_total_and_the_meter_gives_the_overhead(controller, tmp_path):
    url, pages = controller
    pages |= MODERN
    machine = Machine(preset("xeon_2s", "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    sources = SourceSettings(sysfs=str(machine.places.sysfs), meter=meter(url))
    inventory = take_inventory(AgentSettings(node="n", state_dir=str(tmp_path), sources=sources))
    found = {domain.id: domain for domain in inventory.domains}
    assert not found["bmc"].in_total
    assert inventory.formula == "package-0 + package-0/dram + package-1 + package-1/dram"
    power_w = {"package-0": 100.0, "package-1": 90.0, "package-0/dram": 10.0, "package-1/dram": 10.0, "bmc": 374.0}
    assert unmetered_w(inventory.domains, power_w) == 164.0
    assert unmetered_w(inventory.domains, {**power_w, "bmc": 200.0}) == -10.0, "said, not hidden"
    del power_w["package-1"]
    assert unmetered_w(inventory.domains, power_w) is None
    inventory.close()
    machine.close()


def test_where_nothing_else_counts_it_is_the_node(controller, tmp_path):
    url, pages = controller
    pages |= MODERN
    sources = SourceSettings(sysfs=str(tmp_path), meter=meter(url))
    inventory = take_inventory(AgentSettings(node="n", state_dir=str(tmp_path), sources=sources))
    assert (inventory.formula, inventory.quality) == ("bmc", Quality.INTEGRATED)
    assert [p.read() for p in inventory.probes if p.domain.id == "bmc"] == [374_000_000]
    assert unmetered_w(inventory.domains, {"bmc": 374.0}) is None
    inventory.close()


def test_two_meters_of_one_machine_are_not_added():
    both = [bmc.probe_of(bmc.Poller(lambda: 1.0, 10, "x"), name, source) for name, source in PAIRS]
    assert choose_total(both)[1] == "bmc"
    assert choose_total([probe("power_meter", "machine", source="hwmon"), *both])[1] == "power_meter"


PAIRS = (("bmc", "redfish"), ("ipmi", "ipmi"))

READING = """
    Instantaneous power reading:                   220 Watts
    Minimum during sampling period:                 64 Watts
    Maximum during sampling period:                388 Watts
    Average power reading over sample period:      219 Watts
    IPMI timestamp:                           Tue Nov 24 22:42:00 2026
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated
"""


def test_ipmitool_is_read_as_it_prints():
    assert ipmi.parse(READING) == 220.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing"),
        (READING.replace("activated", "deactivated"), "dcmi power activate"),
        (READING.replace("220 Watts", "unknown"), "expected"),
        ("DCMI request failed because: Invalid command (c1)", "Invalid command"),
    ],
)
def test_anything_else_it_prints_is_said(text, words):
    with pytest.raises(ReadError, match=words):
        ipmi.parse(text)


@given(st.text())
def test_no_text_breaks_the_reader(text):
    with contextlib.suppress(ReadError):
        assert ipmi.parse(text) >= 0


def tool(tmp_path, monkeypatch, script):
    path = tmp_path / "ipmitool"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "ipmi0").touch()
    return ipmi.discover(MeterSettings(), tmp_path / "dev")


def test_a_machine_with_ipmitool_and_a_device_has_a_meter(tmp_path, monkeypatch):
    (tmp_path / "reading").write_text(READING)
    found = tool(tmp_path, monkeypatch, f'[ "$*" = "dcmi power reading" ] && cat {tmp_path}/reading')
    assert [p.domain.id for p in found.probes] == ["ipmi"]
    assert found.probes[0].read() == 220_000_000
    found.probes[0].close()


def test_a_controller_without_dcmi_is_a_problem_and_no_meter(tmp_path, monkeypatch):
    found = tool(tmp_path, monkeypatch, "echo 'Could not open device at /dev/ipmi0' >&2; exit 1")
    assert found.probes == []
    assert "Could not open device" in found.problems[0].found


def test_an_answer_grows_stale_and_questions_grow_rare():
    polled = bmc.Polled(10.0)
    with pytest.raises(ReadError, match="not asked yet"):
        polled.power_uw(0.0)
    assert polled.said(220.0, 5.0) == 10.0
    assert [polled.failed("no route") for _ in range(8)] == [10, 20, 40, 80, 160, 320, 600, 600]
    assert polled.power_uw(35.0) == 220_000_000
    with pytest.raises(ReadError, match="no answer for 31 s: no route"):
        polled.power_uw(36.0)
    assert polled.said(0.0, 40.0) == 600, "0 W is no answer of a machine that runs"
    assert polled.said(230.0, 50.0) == 10.0
    assert polled.power_uw(50.0) == 230_000_000


def test_a_domain_of_the_meter_says_what_it_is():
    domain = bmc.probe_of(bmc.Poller(lambda: 1.0, 10, "x"), "bmc", "redfish").domain
    assert domain == Domain(id="bmc", kind="machine", source="redfish", quality=Quality.INTEGRATED)
