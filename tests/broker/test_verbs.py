"""`evenwatt broker` as a person uses it."""

from __future__ import annotations

import json
import subprocess

import pytest
from cryptography import x509
from typer.testing import CliRunner

from evenwatt_cli.broker.site import certified, parse_node
from evenwatt_cli.main import app
from evenwatt_daemon import Failure
from tests.support import make_key, make_trust


@pytest.fixture
def broker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(verb, *arguments):
        done = CliRunner().invoke(app, ["broker", verb, *map(str, arguments), "--ca", "ca", "--json"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    run("init", "--fleet", "f")
    return run


def users(path):
    return {line.removeprefix("user ") for line in path.read_text().splitlines() if line.startswith("user ")}


def test_a_site_is_set_up_with_five_commands(broker, tmp_path):
    said = broker("config", "--host", "broker.example", "--host", "10.0.0.5", "--to", "etc", "--conf", "m.conf")
    assert said["port"] == 8883
    assert {path.name for path in (tmp_path / "etc").iterdir()} == {
        "ca.pem",
        "crl.pem",
        "server.pem",
        "server.key",
        "acl",
    }
    assert (tmp_path / "etc" / "server.key").stat().st_mode & 0o777 == 0o600
    assert f"keyfile {tmp_path / 'etc'}/server.key" in (tmp_path / "m.conf").read_text()
    names = x509.load_pem_x509_certificate((tmp_path / "etc" / "server.pem").read_bytes()).extensions
    assert names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [
        "broker.example"
    ]
    broker("cert", "collector.main", "--out", "middle")
    broker("cert", "n1", "--zone", "hall", "--out", "node")
    assert (tmp_path / "node" / "n1.key").stat().st_mode & 0o777 == 0o600
    assert broker("acl", "--to", "etc", "--node", "yard/n2", "--client", "viewer.screen")["clients"] == [
        "collector.main", "n1", "n2", "viewer.screen"
    ]  # fmt: skip
    assert users(tmp_path / "etc" / "acl") == {"collector.main", "n1", "n2", "viewer.screen"}
    assert "evenwatt/v1/yard/n2/state" in (tmp_path / "etc" / "acl").read_text()


def test_files_for_another_machine_name_its_paths(broker, tmp_path):
    broker("config", "--host", "b", "--to", "etc", "--conf", "m.conf", "--at", "/there", "--state-dir", "/there/db")
    assert (tmp_path / "etc" / "server.key").exists()
    text = (tmp_path / "m.conf").read_text()
    assert "acl_file /there/acl" in text
    assert "persistence_location /there/db/" in text
    assert str(tmp_path) not in text


def test_with_a_trust_document_its_nodes_and_no_others_stand_in_the_list(broker, tmp_path):
    (tmp_path / "etc").mkdir()
    for name in ("collector.main", "n1"):
        broker("cert", name, *(("--zone", "hall") if name == "n1" else ()))
    _, public = make_key(tmp_path / "n2.pem")
    _, operator = make_key(tmp_path / "operator.pem")
    make_trust(
        tmp_path,
        [{"public": public, "role": "node", "node": "n2", "zone": "yard"}, {"public": operator, "role": "operator"}],
    )
    broker("acl", "--to", "etc", "--trust", "trust.json")
    assert users(tmp_path / "etc" / "acl") == {"collector.main", "n2"}


def test_after_a_new_list_the_reload_is_named(broker, tmp_path):
    (tmp_path / "etc").mkdir()
    broker("cert", "collector.main")
    said = CliRunner().invoke(app, ["broker", "acl", "--ca", "ca", "--to", "etc"])
    assert "next: systemctl reload mosquitto" in said.output


def test_who_is_revoked_is_gone_and_may_be_certified_anew(broker, tmp_path):
    (tmp_path / "etc").mkdir()
    broker("cert", "n1", "--zone", "hall", "--out", "old")
    assert broker("revoke", "n1")["revoked"] == 1
    broker("acl", "--to", "etc")
    assert users(tmp_path / "etc" / "acl") == set()
    broker("cert", "n1", "--zone", "hall", "--out", "new")
    broker("acl", "--to", "etc")
    assert users(tmp_path / "etc" / "acl") == {"n1"}
    revoked = x509.load_pem_x509_crl((tmp_path / "etc" / "crl.pem").read_bytes())
    old, new = (
        x509.load_pem_x509_certificate((tmp_path / folder / "n1.pem").read_bytes()) for folder in ("old", "new")
    )
    assert revoked.get_revoked_certificate_by_serial_number(old.serial_number)
    assert revoked.get_revoked_certificate_by_serial_number(new.serial_number) is None


def test_a_node_that_moves_has_its_rights_in_its_new_zone_only(broker, tmp_path):
    broker("cert", "n1", "--zone", "hall", "--out", "old")
    broker("cert", "n1", "--zone", "yard", "--out", "new")
    assert {client.zone for client in certified(tmp_path / "ca")} == {"yard"}


def test_a_renewed_certificate_keeps_the_key(broker, tmp_path):
    broker("cert", "n1", "--zone", "hall")
    with pytest.raises(Failure, match="a key already"):
        broker("cert", "n1", "--zone", "hall")
    made = ["openssl", "req", "-new", "-key", "n1.key", "-subj", "/CN=whatever", "-out", "n1.csr"]
    subprocess.run(made, check=True, capture_output=True, cwd=tmp_path)
    before = (tmp_path / "n1.pem").read_bytes()
    broker("cert", "n1", "--zone", "hall", "--request", "n1.csr")
    old, new = (x509.load_pem_x509_certificate(pem) for pem in (before, (tmp_path / "n1.pem").read_bytes()))
    assert old.public_key() == new.public_key()
    assert old.serial_number != new.serial_number
    assert new.subject.rfc4514_string() == "CN=n1,OU=hall"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cert", "root.x"), "not a client of the broker"),
        (("cert", "operator.a", "--zone", "hall"), "leave --zone out"),
        (("cert", "n1", "--zone", "Hall"), "zone 'Hall' is not an identifier"),
        (("cert", "n1", "--request", "nowhere.csr"), "nowhere.csr: no such file"),
        (("revoke", "n1"), "no certificate was issued to 'n1'"),
        (("acl", "--client", "n1"), "expected collector.NAME"),
        (("acl", "--node", "n1"), "expected ZONE/NODE"),
        (("acl", "--trust", "ca/ca.pem"), "not a trust document"),
        (("config", "--host", "a b", "--to", "etc", "--conf", "m.conf"), "not a host name"),
        (("config", "--host", "a", "--to", "etc", "--conf", "mine.conf"), "not written by"),
        (("init",), "an authority is there already"),
    ],
)
def test_what_cannot_be_is_said_with_the_fix(broker, tmp_path, arguments, said):
    (tmp_path / "mine.conf").write_text("listener 1883\n")
    with pytest.raises(Failure, match=said):
        broker(*arguments)
    assert (tmp_path / "mine.conf").read_text() == "listener 1883\n"


def test_a_node_is_named_with_its_zone():
    assert parse_node("hall/n1").zone == "hall"
    for wrong in ("hall/", "/n1", "hall/n1/x", "hall/_ctl", "+/n1", "hall/#"):
        with pytest.raises(Failure):
            parse_node(wrong)
