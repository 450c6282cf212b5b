"""Whole-machine meters: a real HTTP server that answers as controllers do, and a real program called ipmitool."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ipaddress
import json
import logging
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
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


# Two enclosures side by side, neither inside the other, listed on two pages.
TWO = {
    CHASSIS: {"Members": [link(f"{CHASSIS}/A")], "Members@odata.nextLink": f"{CHASSIS}?$skip=1"},
    f"{CHASSIS}?$skip=1": {"Members": [link(f"{CHASSIS}/B")]},
    f"{CHASSIS}/A": {"Power": link(f"{CHASSIS}/A/Power")},
    f"{CHASSIS}/A/Power": {
        "PowerControl": [{"MemberId": "1", "PowerConsumedWatts": 7}, {"MemberId": "0", "PowerConsumedWatts": 100}]
    },
    f"{CHASSIS}/B": {"Power": link(f"{CHASSIS}/B/Power")},
    f"{CHASSIS}/B/Power": {"PowerControl": [{"PowerConsumedWatts": 50}]},
}
SILENT, ENDLESS = "says nothing until the test ends", "says a little at a time until the test ends"


@contextlib.contextmanager
def serving(context=None):
    """Serve what ``pages`` holds: a document, bytes, a status, or silence; with ``login`` only to who knows it."""
    pages, over = {}, threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages.get(self.path, 404)
            if self.headers.get("Authorization") != pages.get("login"):
                page = 401
            if page == SILENT:
                over.wait()
                return
            self.send_response(page if isinstance(page, int) else 200)
            self.end_headers()
            if page == ENDLESS:
                with contextlib.suppress(OSError):
                    while not over.wait(0.01):
                        self.wfile.write(b" ")
            elif not isinstance(page, int):
                self.wfile.write(page if isinstance(page, bytes) else json.dumps(page).encode())

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):
            """A client that hangs up is the matter of some tests."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # seconds between looks whether to stop
    thread.start()
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_port}", pages
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def controller():
    with serving() as served:
        yield served


def meter(url, **more):
    return MeterSettings(redfish_url=url, ipmi=False, **more)


def password_file(tmp_path, text="calvin\n", mode=0o600):
    path = tmp_path / "password"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(("documents", "power_w"), [(MODERN, 374.0), (OLDER, 344.0), (TWO, 150.0)])
def test_each_schema_is_read_and_what_is_inside_is_not_added(controller, documents, power_w):
    url, pages = controller
    pages |= documents
    assert redfish.Controller(meter(url)).power_w() == power_w


SELF = f"{CHASSIS}/Self/Power"


@pytest.mark.parametrize(
    ("path", "page", "words"),
    [
        (CHASSIS, 401, "login refused"),
        (CHASSIS, 500, "answered 500"),
        (CHASSIS, 302, "answered 302"),
        (CHASSIS, b"<html>", "not JSON"),
        (CHASSIS, b"[" * 200_000, "not JSON"),
        (CHASSIS, b" " * 2_000_000, "no end of it"),
        (CHASSIS, b"[]", "expected a JSON object"),
        (CHASSIS, {"Members": "none"}, "Members is 'none'"),
        (CHASSIS, {"Members": []}, "no chassis"),
        (CHASSIS, {"Members": [{}]}, "links to None"),
        (CHASSIS, {"Members": [link("@127.0.0.2:9/x")]}, "expected a path below /redfish/"),
        (CHASSIS, {"Members": [], "Members@odata.nextLink": CHASSIS}, "pages without end"),
        (f"{CHASSIS}/Self", {"Id": "no meters"}, "no chassis with"),
        (f"{CHASSIS}/Self", {"Power": link("http://127.0.0.2:9/")}, "expected a path below /redfish/"),
        (SELF, 503, "answered 503"),
        (SELF, {"PowerControl": []}, "PowerConsumedWatts is None"),
        (SELF, {"PowerControl": [{"PowerConsumedWatts": 0}]}, "PowerConsumedWatts is 0"),
        (SELF, {"PowerControl": [{"PowerConsumedWatts": -5}]}, "PowerConsumedWatts is -5"),
        (SELF, {"PowerControl": [{"PowerConsumedWatts": "344"}]}, "PowerConsumedWatts is '344'"),
        (SELF, {"PowerControl": [{"PowerConsumedWatts": True}]}, "PowerConsumedWatts is True"),
        (SELF, b'{"PowerControl": [{"PowerConsumedWatts": NaN}]}', "PowerConsumedWatts is nan"),
        (SELF, b'{"PowerControl": [{"PowerConsumedWatts": 1e999}]}', "PowerConsumedWatts is inf"),
    ],
)
def test_what_a_controller_may_say_instead_is_one_error_with_its_address(controller, path, page, words):
    url, pages = controller
    pages |= OLDER | {path: page}
    with pytest.raises(ReadError, match=words) as caught:
        redfish.Controller(meter(url)).power_w()
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("page", "words"), [(SILENT, "timed out"), (ENDLESS, "no end of it")])
def test_a_controller_that_never_ends_its_answer_is_not_waited_for(controller, monkeypatch, page, words):
    url, pages = controller
    pages |= OLDER | {CHASSIS: page}
    monkeypatch.setattr(redfish, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr(redfish, "_ANSWER_S", 0.0)
    with pytest.raises(ReadError, match=words):
        redfish.Controller(meter(url)).power_w()


def test_the_newer_schema_failing_is_no_matter_where_the_older_tells_the_same(controller):
    url, pages = controller
    pages |= OLDER | {f"{CHASSIS}/none": 500}
    assert redfish.Controller(meter(url)).power_w() == 344.0


@pytest.mark.parametrize("page", [503, 401, b"", {"PowerControl": [{"PowerConsumedWatts": -1}]}])
def test_a_chassis_that_fails_at_first_is_not_left_out_of_the_sum(controller, page):
    """A sum of half of the machine would look like a machine that draws half."""
    url, pages = controller
    pages |= TWO | {f"{CHASSIS}/B/Power": page}
    asked = redfish.Controller(meter(url))
    with pytest.raises(ReadError, match="Chassis/B/Power"):
        asked.power_w()
    pages |= TWO
    assert asked.power_w() == 150.0


def test_a_chassis_without_a_reading_is_left_out_until_it_is_looked_at_again(controller):
    url, pages = controller
    pages |= TWO | {f"{CHASSIS}/B/Power": {"PowerControl": [{"PowerConsumedWatts": None}]}}
    now_s = [0.0]
    asked = redfish.Controller(meter(url), lambda: now_s[0])
    assert asked.power_w() == 100.0
    pages |= TWO
    now_s[0] = 3_599.0
    assert asked.power_w() == 100.0
    now_s[0] = 3_600.0
    assert asked.power_w() == 150.0


def test_a_collection_is_read_whole_or_not_at_all(controller):
    url, pages = controller
    for n in range(256):
        pages[f"{CHASSIS}/{n}"] = {"EnvironmentMetrics": link(f"{CHASSIS}/{n}/E")} if n % 64 == 0 else {}
        pages[f"{CHASSIS}/{n}/E"] = {"PowerWatts": {"Reading": 10.5}}
    pages[CHASSIS] = {"Members": [link(f"{CHASSIS}/{n}") for n in range(256)]}
    assert redfish.Controller(meter(url)).power_w() == 42.0
    pages[CHASSIS]["Members"].append(link(f"{CHASSIS}/0"))
    with pytest.raises(ReadError, match="over 256 chassis"):
        redfish.Controller(meter(url)).power_w()


def test_nobody_listening_is_an_error_and_not_a_crash():
    with pytest.raises(ReadError, match=r"127\.0\.0\.1:9"):
        redfish.Controller(meter("http://127.0.0.1:9")).power_w()


def test_a_reading_that_becomes_impossible_is_named(controller):
    url, pages = controller
    pages |= OLDER
    asked = redfish.Controller(meter(url))
    asked.power_w()
    pages[SELF] = {"PowerControl": [{"PowerConsumedWatts": 10**12}]}
    with pytest.raises(ReadError, match=r"PowerConsumedWatts is 1000000000000"):
        asked.power_w()


METRICS = ("EnvironmentMetrics", "PowerWatts", "Reading", "Power", "PowerControl", "MemberId", "PowerConsumedWatts")
KEYS = st.sampled_from(("Members", "@odata.id", "Members@odata.nextLink", "Links", "ContainedBy", *METRICS))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.dictionaries(KEYS, json_values, max_size=6))
def test_no_document_breaks_a_reader(found):
    redfish.is_contained(found)
    for reader in (redfish.members_of, redfish.meters_of, redfish.environment_w, redfish.consumed_w):
        with contextlib.suppress(ReadError):
            said = reader(found, "here")
            assert not isinstance(said, float) or 0 < said <= bmc.MAX_POWER_W


def test_a_login_is_sent_and_never_said(controller, tmp_path, caplog):
    url, pages = controller
    right = base64.b64encode(b"root:calvin").decode()
    pages |= OLDER | {"login": f"Basic {right}"}
    caplog.set_level(logging.DEBUG)
    settings = meter(url, redfish_user="root", redfish_password_file=password_file(tmp_path))
    assert redfish.Controller(settings).power_w() == 344.0
    pages["login"] = "Basic another"
    with pytest.raises(ReadError, match="login refused") as caught:
        redfish.Controller(settings).power_w()
    for text in (str(caught.value), caplog.text):
        assert "calvin" not in text
        assert right not in text


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [("calvin\n", 0o640, "chmod 600"), ("calvin\n", 0o604, "chmod 600"), ("\n", 0o600, "empty")],
)
def test_a_password_that_others_may_read_is_refused_with_the_cure(tmp_path, text, mode, words):
    with pytest.raises(Failure, match=words) as caught:
        redfish.Controller(
            meter("http://127.0.0.1:9", redfish_password_file=password_file(tmp_path, text, mode), redfish_user="root")
        )
    assert "calvin" not in str(caught.value)


def test_a_password_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Failure, match=r"nowhere: No such file.*redfish_password_file"):
        redfish.Controller(meter("https://127.0.0.1:9", redfish_password_file=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("10.0.0.7", "expected e.g. https"),
        ("ftp://10.0.0.7", "expected e.g. https"),
        ("https://", "expected e.g. https"),
        ("https://[::1", "is no address"),
        ("https://root:calvin@10.0.0.7", "redfish_password_file"),
        ("http://10.0.0.7", "a password needs https"),
    ],
)
def test_an_address_that_cannot_be_used_stops_the_agent_with_the_key(tmp_path, url, words):
    with pytest.raises(Failure, match=words) as caught:
        redfish.discover(meter(url, redfish_password_file=password_file(tmp_path)))
    assert "sources.meter.redfish_url" in str(caught.value)
    assert "calvin" not in str(caught.value)


def test_without_httpx_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(Failure, match=r"pip install 'evenwatt\[bmc\]'"):
        redfish.discover(meter("https://127.0.0.1:9"))


def own_certificate(tmp_path, host):
    """Make what controllers come with, a certificate signed by itself; return its file and the server's side."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = (
        made.serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
    )
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    signed = made.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    certificate, secret = tmp_path / f"{host}.pem", tmp_path / f"{host}.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    return str(certificate), context


def test_only_a_certificate_that_is_trusted_is_talked_to(tmp_path):
    certificate, context = own_certificate(tmp_path, "127.0.0.1")
    another, _ = own_certificate(tmp_path, "127.0.0.2")
    with serving(context) as (url, pages):
        pages.update(MODERN)
        for ca in (None, another):
            with pytest.raises(ReadError, match="CERTIFICATE_VERIFY_FAILED"):
                redfish.Controller(meter(url, redfish_ca=ca)).power_w()
        assert redfish.Controller(meter(url, redfish_ca=certificate)).power_w() == 374.0
        assert redfish.Controller(meter(url, redfish_verify=False)).power_w() == 374.0


def test_a_trusted_certificate_of_another_machine_is_refused(tmp_path):
    certificate, context = own_certificate(tmp_path, "127.0.0.2")
    with serving(context) as (url, pages):
        pages.update(MODERN)
        with pytest.raises(ReadError, match="IP address mismatch"):
            redfish.Controller(meter(url, redfish_ca=certificate)).power_w()


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_a_file_without_certificates_is_named(tmp_path, text):
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Failure, match=r"ca\.pem: .*sources\.meter\.redfish_ca"):
        redfish.Controller(meter("https://127.0.0.1:9", redfish_ca=str(path)))


def test_a_dead_controller_stays_configured_and_is_lost_and_not_0_w():
    found = redfish.discover(meter("http://127.0.0.1:9"))
    assert [p.domain.id for p in found.probes] == ["bmc"]
    with pytest.raises(ReadError, match=r"127\.0\.0\.1:9"):
        found.probes[0].read()
    assert "redfish_ca" in found.problems[0].fix
    found.probes[0].close()


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


@pytest.mark.parametrize("first", ["redfish", "ipmi"])
def test_both_ways_to_one_controller_count_once(controller, tmp_path, monkeypatch, first):
    url, pages = controller
    pages |= MODERN
    (tmp_path / "reading").write_text(READING)
    found = {"redfish": redfish.discover(meter(url)), "ipmi": tool(tmp_path, monkeypatch, f"cat {tmp_path}/reading")}
    both = found.pop(first)
    both.add(*found.values())
    assert len(both.probes) == 2
    assert choose_total(both.probes)[1] == "bmc"
    for one in both.probes:
        one.close()


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
        (READING.replace("220 Watts", "unknown"), "Instantaneous power reading: N Watts"),
        (READING.replace("220 Watts", "-220 Watts"), "Instantaneous power reading: N Watts"),
        (READING.partition("    Power reading state")[0], "Power reading state is: activated"),
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


@pytest.mark.parametrize(
    ("script", "words", "fix"),
    [
        ("echo 'Could not open device at /dev/ipmi0' >&2; exit 1", "Could not open device", "as root"),
        ("echo 'DCMI request failed because: Invalid command (c1)' >&2; exit 1", "Invalid command", "ipmi = false"),
        ("echo '    Power reading state is:   deactivated'", "deactivated", "run: ipmitool dcmi power activate"),
        ("exit 3", "it said nothing", "as root"),
    ],
)
def test_a_controller_without_dcmi_is_a_problem_and_no_meter(tmp_path, monkeypatch, script, words, fix):
    found = tool(tmp_path, monkeypatch, script)
    assert found.probes == []
    assert words in found.problems[0].found
    assert fix in found.problems[0].fix


@pytest.mark.parametrize("watts", ["0", "20001"])
def test_watts_that_cannot_be_are_no_meter(tmp_path, monkeypatch, watts):
    (tmp_path / "reading").write_text(READING.replace("220", watts))
    found = tool(tmp_path, monkeypatch, f"cat {tmp_path}/reading")
    assert found.probes == []
    assert f"says {watts} W" in found.problems[0].found


def test_without_a_device_or_where_it_is_switched_off_nothing_is_run(tmp_path, monkeypatch):
    tool(tmp_path, monkeypatch, f"touch {tmp_path}/run; exit 1")
    assert (tmp_path / "run").exists()
    (tmp_path / "run").unlink()
    assert ipmi.discover(MeterSettings(ipmi=False), tmp_path / "dev") == ipmi.discover(MeterSettings(), tmp_path)
    assert not (tmp_path / "run").exists()


def test_ipmitool_that_hangs_is_ended(tmp_path):
    path = tmp_path / "ipmitool"
    path.write_text("#!/bin/sh\nexec sleep 600\n")
    path.chmod(0o755)
    with pytest.raises(ReadError, match=r"did not answer within 0\.2 s"):
        ipmi.ask(str(path), 0.2)


def test_a_poller_that_is_slow_at_first_does_not_hold_up_the_start():
    answer, ended = threading.Event(), threading.Event()

    def fetch():
        answer.wait()
        return 220.0

    poller = bmc.Poller(fetch, 300.0, "slow", ended.set)
    poller.start(0.0)
    with pytest.raises(ReadError, match="no answer yet"):
        poller.read()
    answer.set()
    assert poller._asked.wait(60)
    assert (poller.read(), poller.trouble) == (220_000_000, "")
    poller.close()
    assert ended.wait(60), "long before the next question, 300 s away"


def test_a_fault_of_a_reader_is_said_and_its_thread_lives():
    ended = threading.Event()
    poller = bmc.Poller(lambda: {}["watts"], 300.0, "broken", ended.set)
    poller.start(30.0)
    with pytest.raises(ReadError, match="KeyError: 'watts'"):
        poller.read()
    assert not ended.is_set()
    poller.close()
    assert ended.wait(60)


def test_an_answer_grows_stale_and_questions_grow_rare():
    polled = bmc.Polled(10.0)
    with pytest.raises(ReadError, match="no answer yet"):
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
