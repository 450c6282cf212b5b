"""Who is let in, who is not, and that each refusal is one sentence with its fix: on a real broker, over real TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evenwatt_agent.transport import LinkLostError, connect
from evenwatt_cli.broker import certificates
from evenwatt_cli.broker import site as broker_site
from evenwatt_cli.broker.certificates import issue, new_key_and_request, revoke, server_certificate
from evenwatt_cli.broker.config import Site, configuration
from evenwatt_daemon import Failure
from evenwatt_daemon.broker import BrokerSettings
from evenwatt_daemon.certificate_watch import CertificateWatch
from evenwatt_daemon.tls import CredentialsError
from evenwatt_daemon.validity import validity
from evenwatt_wire.topics import PREFIX
from tests.broker.site import TlsBroker, ear, foreign
from tests.support import need

DAY_S = 86_400.0


async def why(settings):
    with pytest.raises((LinkLostError, CredentialsError)) as caught:
        async with connect(settings, "somebody"):
            pass
    return str(caught.value)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """aiomqtt's wait for an answer that does not come, which is ten seconds for people."""
    import aiomqtt

    real = aiomqtt.Client
    monkeypatch.setattr(aiomqtt, "Client", lambda *args, **more: real(*args, **more | {"timeout": 3}))


async def test_the_anonymous_are_refused_and_told_so(site):
    assert "refused our certificate: it asks for one" in await why(site.settings())


async def test_a_certificate_of_another_authority_is_refused(site):
    other = site.folder / "other"
    settings = site.client("n1", "hall", ca=other if other.exists() else foreign(other))
    assert "its authority did not sign" in await why(settings)


async def test_an_expired_certificate_is_refused(site):
    key, request = new_key_and_request("n1")
    past = datetime.now(UTC) - timedelta(days=3)
    pem = issue(site.ca, request, common_name="n1", days=2, zone="hall", now=past)
    assert "has expired" in await why(keep(site, "late", key, pem))


def log_in(context, port, session):
    """Connect by hand, as a client that takes an earlier TLS session up again; return the answer and the session."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with context.wrap_socket(plain, server_hostname="localhost", session=session) as secured:
        secured.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04evil")
        answer = secured.recv(4)
        if not answer:
            raise ConnectionResetError("reset")
        return answer, secured.session


async def test_a_revoked_certificate_is_refused_after_a_reload(site):
    settings = site.client("n7", "hall")
    async with connect(settings, "n7"):
        pass
    context = settings.tls()
    login, session = log_in(context, site.port, None)
    assert login == b"\x20\x02\x00\x00"
    assert revoke(site.ca, "n7") == 1
    site.write_acl()
    site.reload()
    assert "is revoked" in await why(settings)
    with pytest.raises(OSError, match=r"REVOKED|EOF|reset"):  # nor by an earlier session, which shows no certificate
        log_in(context, site.port, session)
    assert "user n7" not in (site.etc / "acl").read_text()


async def test_a_brokers_certificate_is_no_clients_and_a_clients_no_brokers(site, tmp_path):
    pem, key = server_certificate(site.ca, ["localhost"], 3)
    assert "refused our certificate" in await why(keep(site, "server", key, pem))
    stolen = site.client("n1", "hall")
    impostor = TlsBroker(tmp_path)
    for mine, theirs in (("server.pem", stolen.cert_file), ("server.key", stolen.key_file)):
        shutil.copy(theirs, impostor.etc / mine)
    try:
        impostor.start()
        stolen.port = impostor.port
        assert "not a server's" in await why(stolen)
    finally:
        impostor.stop()


async def test_a_broker_of_another_name_or_authority_is_not_spoken_to(site, tmp_path):
    settings = site.client("n1", "hall")
    settings.host = "127.1"  # the same address by another name
    assert "another host than '127.1'" in await why(settings)
    settings = site.client("n1", "hall")
    settings.ca_file = str(foreign(tmp_path / "theirs") / "ca.pem")
    assert "did not sign" in await why(settings)


async def test_a_plain_client_of_a_tls_port_and_the_other_way_round(site, broker):
    settings = site.settings()
    settings.ca_file = None
    assert "with or without TLS" in await why(settings)
    settings = site.client("n1", "hall")
    settings.host, settings.port = "127.0.0.1", broker.port
    assert "TLS on this port" in await why(settings)


async def test_an_old_protocol_is_refused(site):
    need(shutil.which("openssl"), "openssl", "openssl")
    where, mine = f"localhost:{site.port}", site.client("n1", "hall")
    command = ["openssl", "s_client", "-connect", where, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-cert",
               mine.cert_file, "-key", mine.key_file]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode != 0
    assert "alert protocol version" in done.stderr


async def test_a_renewed_certificate_is_used_at_the_next_connection(site):
    key, request = new_key_and_request("n1")
    past = datetime.now(UTC) - timedelta(days=3)
    settings = keep(site, "renewed", key, issue(site.ca, request, common_name="n1", days=2, zone="hall", now=past))
    assert "has expired" in await why(settings)
    keep(site, "renewed", key, issue(site.ca, request, common_name="n1", days=2, zone="hall"))
    async with connect(settings, "n1"):
        pass


def served(site):
    mine = site.client("n1", "hall")
    context = mine.tls()
    plain = socket.create_connection(("127.0.0.1", site.port))
    with context.wrap_socket(plain, server_hostname="localhost") as secured:
        return secured.getpeercert()["serialNumber"]


def test_the_brokers_own_certificate_is_renewed_by_a_reload(site):
    before = served(site)
    broker_site.write_site(site.ca, site.chosen, ["localhost", "127.0.0.1"], 30, site.conf)
    assert served(site) == before
    site.reload()
    assert served(site) != before


async def test_of_a_request_only_its_key_counts(site):
    """Whoever asks for a collector's name gets the one that it was given."""
    key, request = new_key_and_request("collector.main")
    settings = keep(site, "modest", key, issue(site.ca, request, common_name="n2", days=2, zone="hall"))
    async with ear(site.client("collector.main"), f"{PREFIX}/#") as middle, connect(settings, "modest") as modest:
        await modest.publish(f"{PREFIX}/hall/n1/cmd", b"order", qos=1, retain=False)
        await modest.publish(f"{PREFIX}/hall/n2/event", b"mine", qos=1, retain=False)
        assert [message.payload for message in await middle.heard()] == [b"mine"]


def keep(site, name, key, pem):
    folder = site.folder / "kept"
    folder.mkdir(exist_ok=True)
    certificates.write_file(folder / f"{name}.key", key, private=True)
    certificates.write_file(folder / f"{name}.pem", pem)
    return site.settings(cert_file=str(folder / f"{name}.pem"), key_file=str(folder / f"{name}.key"))


# --- files that cannot be used ------------------------------------------------------------------------------------


@pytest.fixture
def pair(site):
    key, request = new_key_and_request("n1")
    return keep(site, "pair", key, issue(site.ca, request, common_name="n1", days=30, zone="hall"))


def refused(settings):
    with pytest.raises(CredentialsError) as caught:
        settings.tls()
    return str(caught.value)


def test_a_key_that_others_may_read_is_refused(pair):
    Path(pair.key_file).chmod(0o644)
    assert f"chmod 600 {pair.key_file}" in refused(pair)
    Path(pair.key_file).chmod(0o640)
    assert pair.tls() is not None


def test_a_key_of_another_certificate_is_named(pair, site):
    other, _ = new_key_and_request("n1")
    certificates.write_file(site.folder / "kept" / "pair.key", other, private=True)
    assert "not the key of" in refused(pair)


def test_a_key_with_a_passphrase_is_not_asked_for(pair, site):
    need(shutil.which("openssl"), "openssl", "openssl")
    locked = site.folder / "kept" / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", pair.key_file, "-aes256", "-passout", "pass:x", "-out", locked], check=True
    )
    locked.chmod(0o600)
    pair.key_file = str(locked)
    assert "needs a passphrase" in refused(pair)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cert_file": "/nowhere.pem"}, "/nowhere.pem: no such file"),
        ({"key_file": None}, "mqtt.key_file is not; set both"),
        ({"cert_file": None}, "mqtt.cert_file is not; set both"),
        ({"ca_file": None}, "mqtt.ca_file is not"),
        ({"ca_file": "/dev/null"}, "mqtt.ca_file must be the PEM certificate"),
        ({"cert_file": "/dev/null"}, "no certificate in PEM form"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_fix(pair, fields, said):
    for field, value in fields.items():
        setattr(pair, field, value)
    assert said in refused(pair)


# --- when they end -------------------------------------------------------------------------------------------------


def test_a_certificates_days_are_read_without_a_library(site):
    for one in certificates.issued(site.ca):
        read = validity(certificates_pem(one))
        assert read.begins_s == one.not_valid_before_utc.timestamp()
        assert read.ends_s == one.not_valid_after_utc.timestamp()
    for broken in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 100):
        with pytest.raises(ValueError, match="no certificate"):
            validity(broken)


def certificates_pem(one):
    from cryptography.hazmat.primitives.serialization import Encoding

    return one.public_bytes(Encoding.PEM)


def test_it_is_said_two_weeks_before_once_a_day_and_no_more_when_renewed(site, pair):
    watch, wall_s = CertificateWatch(pair), datetime.now(UTC).timestamp()
    assert watch.look(0.0, wall_s) == []
    soon_s = wall_s + 20 * DAY_S
    told = [watch.look(3_600.0 * hour, soon_s + 3_600.0 * hour) for hour in range(1, 50)]
    assert [hour for hour, said in enumerate(told, 1) if said] == [1, 25, 49]
    assert "expires in 10 days" in told[0][0]
    assert watch.troubles
    key, request = new_key_and_request("n1")
    keep(site, "pair", key, issue(site.ca, request, common_name="n1", days=90, zone="hall"))
    assert watch.look(3_600.0 * 50, soon_s) == []
    assert watch.troubles == []


# --- the authority -------------------------------------------------------------------------------------------------


def test_an_authority_is_not_overwritten_and_its_key_is_its_own(site):
    assert (site.ca / "ca.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Failure, match="already"):
        certificates.make_authority(site.ca, "f")


@pytest.mark.parametrize(
    "request_pem", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
def test_a_bad_request_is_refused(site, request_pem):
    with pytest.raises(Failure, match="request"):
        issue(site.ca, request_pem, common_name="n1", days=1)


def test_a_request_signed_by_another_key_is_refused(site):
    """Its last bytes are the signature: who has somebody's public key only cannot have it certified."""
    import base64

    _, request = new_key_and_request("n1")
    body = bytearray(base64.b64decode(b"".join(request.splitlines()[1:-1])))
    body[-1] ^= 1
    forged = (
        b"-----BEGIN CERTIFICATE REQUEST-----\n"
        + base64.encodebytes(bytes(body))
        + b"-----END CERTIFICATE REQUEST-----\n"
    )
    with pytest.raises(Failure, match="not signed by the key in it"):
        issue(site.ca, forged, common_name="n1", days=1)


def test_there_is_no_way_in_without_tls(tmp_path):
    for passwords in (False, True):
        text = configuration(Site(tmp_path, passwords=passwords))
        rows = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert [row for row in rows if row.startswith("listener")] == ["listener 8883"]
        assert {"allow_anonymous false", f"certfile {tmp_path}/server.pem", f"acl_file {tmp_path}/acl"} <= set(rows)
        assert ("require_certificate true" in rows) is not passwords
        assert not any("websockets" in row for row in rows)


async def test_with_passwords_the_list_holds_too(tmp_path):
    need(shutil.which("mosquitto_passwd"), "mosquitto_passwd", "mosquitto")
    from evenwatt_cli.broker.site import parse_client, parse_node

    made = TlsBroker(tmp_path, passwords=True)
    made.extra = {parse_client("collector.main"), parse_node("hall/n1")}
    for name in ("collector.main", "n1"):
        subprocess.run(["mosquitto_passwd", "-b", made.etc / "passwords", name, f"secret of {name}"], check=True)
        (tmp_path / name).write_text(f"secret of {name}\n")
    try:
        made.start()
        login = {
            name: made.settings(username=name, password_file=str(tmp_path / name)) for name in ("collector.main", "n1")
        }
        async with ear(login["collector.main"], "#") as middle, connect(login["n1"], "n1") as node:
            for topic in ("hall/n1/cmd", "hall/n2/event", "hall/n1/event"):
                await node.publish(f"{PREFIX}/{topic}", topic.encode(), qos=1, retain=False)
            assert [message.payload for message in await middle.heard()] == [b"hall/n1/event"]
        wrong = made.settings(username="collector.main", password_file=str(tmp_path / "n1"))
        assert "refused the login" in await why(wrong)
        assert "refused the login" in await why(made.settings())
    finally:
        made.stop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Errno 111] Connection refused", "broker mq:1883: nothing listens there; does the broker run"),
        ("[Errno -3] Temporary failure in name resolution", "its name is not known here; check mqtt.host"),
        ("[Errno -2] Name or service not known", "its name is not known here; check mqtt.host"),
        ("[Errno 101] Network is unreachable", "no way leads there"),
        ("Disconnected during message iteration", "broker mq:1883: connection lost"),
    ],
)
def test_what_the_system_says_becomes_a_sentence_with_its_fix(text, expected):
    assert expected in BrokerSettings(host="mq").explain(OSError(text))
