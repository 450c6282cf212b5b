"""A real agent and a real collector through the ready-made configuration, and the doctor on what may be missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from evenwatt_agent.broker_check import check_broker, check_certificates, check_secrets, judge
from evenwatt_agent.findings import Verdict
from evenwatt_agent.round_trip import Trip
from evenwatt_cli.broker.acl import Client, access_list, lines
from evenwatt_cli.broker.identities import parse_identity
from evenwatt_daemon.broker import BrokerSettings
from tests.broker.site import TlsBroker
from tests.site import NODE, ZONE, Site
from tests.support import free_port, process, wait_for

CLIENTS = {NODE: ZONE, "collector.main": "", "operator.alice": ""}


class Fleet(Site):
    """A node, a collector and an operator, each with its own certificate and nothing else to log in with."""

    def __init__(self, folder):
        self.broker, self.http = TlsBroker(folder / "broker"), free_port()
        for name, zone in CLIENTS.items():
            self.broker.client(name, zone)
        super().__init__(folder, self.broker.port)
        self._write("agent.toml", (folder / "agent.toml").read_text(), NODE)
        keys = f'trust = "{folder / "trust.json"}"\nroot = "{folder / "root.pub"}"\n'
        self._write(
            "collector.toml",
            f'fleet = "f"\nstate_dir = "{folder / "middle"}"\n[mqtt]\nkeepalive_s = 10\n[http]\nport = {self.http}\n'
            f'[keys]\nprivate_key = "{folder / "controller.pem"}"\n{keys}'
            f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\nbudget_w = 400\n',
            "collector.main",
        )
        self._write(
            "operator.toml",
            f'fleet = "f"\nzone = "{ZONE}"\nprivate_key = "{folder / "operator.pem"}"\n{keys}[mqtt]\nkeepalive_s = 5\n',
            "operator.alice",
        )
        for key in ("controller", "operator", "node"):
            (folder / f"{key}.pem").chmod(0o600)

    def _write(self, name, text, who):
        mine = self.broker.client(who)
        tls = "".join(f"{key} = {json.dumps(getattr(mine, key))}\n" for key in ("ca_file", "cert_file", "key_file"))
        text = "\n".join(line for line in text.splitlines() if not line.startswith(f"port = {self.broker.port}"))
        text = text.replace("[mqtt]\n", f'[mqtt]\nhost = "localhost"\nport = {self.broker.port}\n{tls}')
        (self.folder / name).write_text(text)

    def collector(self):
        command = [sys.executable, "-m", "evenwatt_collector", "--config", str(self.folder / "collector.toml")]
        return process(command, self.folder / "collector.log")

    def evenwatt(self, *arguments):
        command = [sys.executable, "-m", "evenwatt_cli", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, json.loads(done.stdout or "null"), done.stderr

    def doctor(self, *arguments):
        code, report, said = self.evenwatt("doctor", *arguments)
        return code, {row["check"]: row for row in report["findings"]}, said

    def status(self):
        try:
            return httpx.get(f"http://127.0.0.1:{self.http}/api/v1/status", timeout=60).json()
        except httpx.HTTPError:
            return {"nodes": []}

    def node_row(self):
        return next((row for row in self.status()["nodes"] if row["node"] == NODE), {})

    @contextmanager
    def everything(self):
        self.broker.start()
        try:
            with self.twin():
                self.await_twin()
                with self.collector(), self.agent():
                    yield
        finally:
            self.broker.stop()


def test_a_budget_and_an_operators_cap_hold_through_mutual_tls(tmp_path):
    (tmp_path / "broker").mkdir()
    fleet = Fleet(tmp_path)
    with fleet.everything():
        free = sum(int(value) for value in fleet.limits().values())
        wait_for(lambda: sum(int(value) for value in fleet.limits().values()) < free, "the budget has capped the node")
        leased = lambda: (row := fleet.node_row()).get("lease") == "leased" and row["cap_w"] > 270.0  # noqa: E731
        wait_for(leased, "the collector lets it draw more than the operator will", 60)
        agent, operator = str(tmp_path / "agent.toml"), str(tmp_path / "operator.toml")
        code, ack, said = fleet.evenwatt("cap", NODE, "260", "--for", "1m", "-c", operator)
        assert (code, ack["code"]) == (0, "applied"), said
        assert ack["after_w"] == pytest.approx(260, abs=0.01)
        code, report, said = fleet.doctor("--broker", "--node", NODE, "-c", operator)
        assert code == 0, (report, said)
        assert "signed ping" in report[NODE]["detail"]
        assert {"broker", "collector", "certificates", "secrets"} <= report.keys()
        _, report, _ = fleet.doctor("-c", agent)
        assert {report[name]["verdict"] for name in ("agent", "broker", "collector", "certificates")} == {"found"}
        half_renewed(fleet)
        log = fleet.broker.log.read_text()
        ids = {line.split(" as ")[1].split(" ")[0] for line in log.splitlines() if "New client connected" in line}
        assert any(one.startswith(f"evenwatt-{NODE}-") and len(one.rpartition("-")[2]) == 16 for one in ids)
        assert any(one.startswith("evenwatt-collector-") and len(one.rpartition("-")[2]) == 16 for one in ids)


def half_renewed(fleet):
    """A certificate beside another's key, just when the connection is lost: said, waited for, and neither dies."""
    for name in (NODE, "collector.main"):
        mine = Path(fleet.broker.client(name).cert_file)
        shutil.copy(mine, mine.with_suffix(".kept"))
        shutil.copy(fleet.broker.client("operator.alice").cert_file, mine)
    fleet.broker.stop()
    fleet.broker.start()
    logs = [fleet.folder / "agent.log", fleet.folder / "collector.log"]
    wait_for(lambda: all("not the key of" in log.read_text() for log in logs), "both say what is wrong")
    for name in (NODE, "collector.main"):
        mine = Path(fleet.broker.client(name).cert_file)
        mine.with_suffix(".kept").replace(mine)
    wait_for(lambda: logs[0].read_text().count('"joined"') >= 2, "the agent is back")
    wait_for(lambda: logs[1].read_text().count('"connected"') >= 2, "the collector is back")


# --- what is missing is named ---------------------------------------------------------------------------------------

MINE, THEIRS = "evenwatt/v1/hall/n1", "evenwatt/v1/+/+"
CUTS = [
    ("n1", f"topic readwrite {MINE}/probe", "takes our messages and delivers none", f"{MINE}/probe"),
    ("n1", f"topic read {MINE}/echo", "says that it is there, and does not answer", f"topic read {MINE}/echo"),
    ("collector.main", f"topic read {THEIRS}/probe", "does not answer", f"topic read {THEIRS}/probe"),
    ("collector.main", f"topic readwrite {THEIRS}/echo", "does not answer", f"topic write {THEIRS}/echo"),
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "broker").mkdir()
    made = Fleet(folder)
    made.broker.client("n1", ZONE)
    made.broker.start()
    with made.collector():
        wait_for(lambda: made.status().get("zones"), "the collector answers")
        yield made
    made.broker.stop()


def found(fleet, wait_s=10.0):
    checks = check_broker(fleet.broker.client("n1"), ZONE, "n1", collector=False, wait_s=wait_s)
    return {one.check: one for one in checks}


def test_delivery_is_proved_to_the_broker_and_to_the_collector(fleet):
    wait_for(lambda: '"connected"' in (fleet.folder / "collector.log").read_text(), "the collector is connected")
    report = found(fleet)
    assert "there and back in" in report["broker"].detail
    assert "answered in" in report["collector"].detail


@pytest.mark.parametrize(("who", "line", "said", "fix"), CUTS, ids=[f"{row[0]} {row[1]}" for row in CUTS])
def test_a_line_that_is_missing_is_named(fleet, who, line, said, fix):
    """The broker grants the subscription and accepts the message all the same: only the round trip shows it."""
    zones = {"n1": ZONE, NODE: ZONE}
    clients = [Client(parse_identity(name), zones.get(name, "")) for name in ("n1", NODE, "collector.main")]
    whole = access_list(clients)
    assert line in "\n".join(lines(next(one for one in clients if str(one.identity) == who)))
    acl = fleet.broker.etc / "acl"
    acl.write_text(whole.replace(f"{line}\n", "", 1))
    fleet.broker.reload()
    try:
        broken = [one for one in found(fleet, wait_s=2.5).values() if one.verdict is Verdict.BROKEN]
    finally:
        fleet.broker.write_acl()
        fleet.broker.reload()
    assert said in broken[0].detail
    assert fix in broken[0].fix


def test_a_zone_without_a_collector_is_no_fault_of_the_node():
    trip = Trip("hall", "n1", own_s=0.002)
    assert judge(trip, "here", collector=False)[1].verdict is Verdict.ABSENT
    assert judge(trip, "here", collector=True)[1].verdict is Verdict.BROKEN


def test_certificates_that_end_and_secrets_that_are_open_are_found(fleet, tmp_path):
    mine = fleet.broker.client("n1")
    ends_s = mine.certificates()[mine.cert_file].ends_s
    assert check_certificates(mine, ends_s - 20 * 86_400).verdict is Verdict.FOUND
    assert "expires in 3 days" in check_certificates(mine, ends_s - 3 * 86_400).detail
    assert check_certificates(mine, ends_s + 1).verdict is Verdict.BROKEN
    assert "the network reads" in check_certificates(BrokerSettings(host="broker.example"), ends_s).detail
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    assert f"chmod 600 {secret}" in check_secrets([None, str(secret)]).fix
    secret.chmod(0o600)
    assert check_secrets([str(secret)]).verdict is Verdict.FOUND
