"""A broker that is absent, refuses, or is not who it says: one clear line with the fix, and patience."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from evenwatt_agent.transport import LinkLostError, connect
from evenwatt_daemon.broker import BrokerSettings, full_jitter_s
from tests.support import Mosquitto, free_port, need


async def why(settings):
    with pytest.raises(LinkLostError) as caught:
        async with connect(settings, "somebody"):
            pass
    return str(caught.value)


async def test_an_absent_broker_is_named():
    port = free_port()
    assert f"127.0.0.1:{port}" in await why(BrokerSettings(port=port))


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_a_refused_login_says_what_to_check(tmp_path, protocol):
    need(shutil.which("mosquitto_passwd"), "mosquitto_passwd", "mosquitto")
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "n1", "right"], check=True)
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}").start()
    (tmp_path / "password").write_text("wrong\n")
    settings = BrokerSettings(
        port=broker.port, protocol=protocol, username="n1", password_file=str(tmp_path / "password")
    )
    assert "refused the login" in await why(settings)
    assert "mqtt.password_file" in await why(settings)
    (tmp_path / "password").write_text("right\n")
    async with connect(settings, "n1"):
        pass
    broker.kill()


def certificate(folder, name):
    key, pem = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem, key


async def test_a_certificate_of_another_authority_is_refused(tmp_path):
    need(shutil.which("openssl"), "openssl", "openssl")
    pem, key = certificate(tmp_path, "ours")
    other, _ = certificate(tmp_path, "other")
    broker = Mosquitto(tmp_path, f"certfile {pem}\nkeyfile {key}").start()
    assert "did not sign" in await why(BrokerSettings(port=broker.port, ca_file=str(other)))
    async with connect(BrokerSettings(port=broker.port, ca_file=str(pem)), "n1"):
        pass
    broker.kill()


def test_reconnections_spread_and_are_bounded():
    waits = [full_jitter_s(attempt) for attempt in range(50) for _ in range(20)]
    assert all(0 <= wait <= 8 for wait in waits)
    assert len({round(wait, 3) for wait in waits}) > 500
