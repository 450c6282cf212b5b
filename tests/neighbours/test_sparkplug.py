"""Zones and nodes as a Sparkplug host gets them: sessions, births, deaths, and no command obeyed but a rebirth."""

from __future__ import annotations

import asyncio
import random

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.transport import connect
from evenwatt_cli.broker.acl import Client, lines
from evenwatt_cli.broker.identities import parse_identity
from evenwatt_cli.broker.site import write_acl
from evenwatt_collector.__main__ import main
from evenwatt_collector.keeper import Keeper
from evenwatt_collector.neighbours import sparkplug_bridge
from evenwatt_collector.neighbours.desk import Middle as Around
from evenwatt_collector.neighbours.picture import Host as Machine
from evenwatt_collector.neighbours.sparkplug import Edge, RefusedError, of_node
from evenwatt_collector.neighbours.sparkplug_payload import PayloadError, switches
from evenwatt_collector.settings import CollectorBroker, CollectorSettings
from evenwatt_collector.store import Store
from evenwatt_daemon import Failure
from evenwatt_wire import Kind
from tests.broker.site import TlsBroker, ear
from tests.collector.middle import Middle, speaking, stop
from tests.collector.said import ZONE, ledger
from tests.neighbours.sparkplug_host import DOUBLE, Host, Told, command, listening, read, until
from tests.support import Mosquitto, eventually

SETTINGS = '[[zones]]\nname = "{zone}"\nintensity_g_per_kwh = 360.0\n[sparkplug]\ninterval_s = 1.0\n{more}'
WALL_MS = 1_790_000_000_000


def machine(**fields):
    base = {
        "zone": ZONE, "name": "n1", "quality": "measured", "energy_j": 1e7 + 0.4, "carbon_g": 1.5, "power_w": 100.04,
        "cap_w": None, "carbon_g_per_h": 36.0, "components": (),
    }  # fmt: skip
    return Machine(**(base | fields))


def readings(*, silent=False, stored=True, **fields):
    return of_node(machine(**fields), silent=silent, stored=stored)


class Ear(Host):
    """Hears an edge without a broker."""

    def __init__(self, edge):
        super().__init__(None, "f", ZONE)
        self.of = edge

    def hear(self, said):
        before = len(self.said)
        for topic, payload in said:
            self.take(read(topic, payload))
        return [(one.verb, one.device) for one in self.said[before:]]

    def births(self, **nodes):
        return self.hear(self.of.births({}, nodes, WALL_MS))

    def news(self, **nodes):
        return self.hear(self.of.news({}, nodes, WALL_MS))


@pytest.fixture
def heard():
    edge = Edge("f", ZONE)
    edge.begin()
    return Ear(edge)


def test_a_birth_describes_every_metric_with_its_unit_and_that_nothing_can_be_written(heard):
    assert heard.births(n1=readings()) == [("NBIRTH", ""), ("DBIRTH", "n1")]
    node = heard.values["n1"]
    assert node["power_w"] == Told(100.0, DOUBLE, {"engUnit": "W", "readOnly": True})
    assert node["cap_w"] == Told(None, DOUBLE, {"engUnit": "W", "readOnly": True})
    assert (node["energy_j"].value, node["carbon_g"].value, node["quality"].value) == (1e7, 1.5, "measured")
    assert heard.values[""]["Node Control/Rebirth"].value is False
    assert heard.session == 0


def test_only_what_has_changed_is_told(heard):
    heard.births(n1=readings(), n2=readings())
    assert heard.news(n1=readings(), n2=readings()) == []
    assert heard.news(n1=readings(power_w=100.01), n2=readings(cap_w=90.0)) == [("DDATA", "n2")]  # the first is noise
    assert heard.said[-1].metrics == {"cap_w": Told(90.0, DOUBLE, {})}
    assert heard.news(n1=readings(), n2=readings()) == [("DDATA", "n2")]
    assert heard.value("cap_w", "n2") is None


def test_what_is_not_known_any_more_is_stale_and_then_good_again(heard):
    heard.births(n1=readings())
    heard.news(n1=readings(silent=True))
    assert (heard.quality("power_w", "n1"), heard.quality("energy_j", "n1")) == (500, 192)
    heard.news(n1=readings(stored=False))
    assert (heard.quality("power_w", "n1"), heard.quality("energy_j", "n1")) == (192, 500)
    heard.births(n1=readings(stored=False))
    assert heard.quality("carbon_g", "n1") == 500


def test_a_silent_node_dies_and_is_born_again(heard):
    heard.births(n1=readings(), n2=None)
    assert heard.news(n1=None, n2=readings()) == [("DBIRTH", "n2"), ("DDEATH", "n1")]
    assert heard.news() == [("DDEATH", "n2")]
    assert heard.news(n1=readings()) == [("DBIRTH", "n1")]


def test_numbers_go_round(heard):
    heard.births(n1=readings())
    for power_w in range(600):  # the host checks each number
        heard.news(n1=readings(power_w=float(power_w)))
    sessions = []
    for _ in range(300):
        heard.of.begin()
        heard.births()
        sessions.append(heard.session)
    assert sessions == [(1 + i) % 256 for i in range(300)]


def test_the_will_is_the_death_of_this_session_and_no_other(heard):
    heard.births(n1=readings())
    late = heard.of.death(WALL_MS)
    heard.of.begin()
    heard.births()
    heard.hear([late])
    assert heard.session == 1
    heard.hear([heard.of.death(WALL_MS)])
    assert heard.session is None


NCMD, DCMD = f"spBv1.0/f/NCMD/{ZONE}", f"spBv1.0/f/DCMD/{ZONE}/n1"


def test_a_rebirth_is_all_that_is_obeyed():
    edge = Edge("f", ZONE)
    edge.obey(NCMD, command(), retained=False)
    for topic, wish, retained in (
        (NCMD, command(), True),
        (NCMD, command(value=False), False),
        (NCMD, command("cap_w", 1.0), False),
        (NCMD, command(value=1.0), False),
        (NCMD, command("Node Control/Reboot"), False),
        (DCMD, command(), False),
        (DCMD, command("cap_w", 1.0), False),
        (f"spBv1.0/f/NCMD/{ZONE}2", command(), False),
        (NCMD, b"", False),
        (NCMD, command() * 200, False),
        (NCMD, command()[:-1], False),
    ):
        with pytest.raises(RefusedError):
            edge.obey(topic, wish, retained=retained)


@given(st.one_of(st.binary(max_size=200), st.builds(lambda seed: damaged(random.Random(seed)), st.integers(0, 2**32))))
def test_hostile_bytes_are_read_or_refused(data):
    try:
        found = switches(data)
    except PayloadError:
        return
    assert all(isinstance(name, str) and isinstance(true, bool) for name, true in found.items())


def damaged(rng):
    whole = bytearray(command())
    for _ in range(rng.randint(1, 4)):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return bytes(whole)


def write(middle, more=""):
    middle.write(zone=SETTINGS.format(zone=ZONE, more=more))


async def test_a_real_collector_is_born_tells_dies_and_comes_again(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "hosts").mkdir()
    own, hosts = Mosquitto(tmp_path / "own").start(), Mosquitto(tmp_path / "hosts").start()
    middle = Middle(tmp_path, own.port)
    write(middle, f'group = "plant"\n[sparkplug.mqtt]\nport = {hosts.port}\n')
    try:
        with middle.run() as collector:
            await middle.ready()
            async with (
                speaking(middle) as node,
                speaking(middle, "n2") as steady,
                listening(hosts.port, "plant", ZONE) as host,
            ):
                await told(node, steady, host)
                node.tasks.pop().cancel()  # it falls silent
                await refused_and_reborn(middle, steady, host)
                await dead_and_back(node, host)
                before = host.session
                collector.kill()
                await until(lambda: host.session is None, "the broker says that it is dead")
                assert host.said[-1].verb == "NDEATH"
                with middle.run() as second:
                    await until(lambda: host.value("power_w", "n1"), "it is back")
                    assert host.session == (before + 1) % 256
                    assert stop(second) == 0
                await until(lambda: host.session is None, "it has said that it leaves")
                assert (host.count("NDEATH"), host.orphans) == (2, 0)
    finally:
        own.kill()
        hosts.kill()


async def told(node, steady, host):
    await node.say(ledger(seq=1, energy_j=60.0), Kind.LEDGER)
    for one in (node, steady):
        await one.join()
        one.start_speaking(120.0)
    await until(lambda: host.value("power_w", "n1") == 120.0, "a node's power is told")
    await until(lambda: host.value("power_w") == 240.0, "the zone's is told")
    assert host.value("cap_w", "n1") is None
    assert host.value("intensity_g_per_kwh") == pytest.approx(360.0)
    assert host.values[""]["budget_w"] == Told(None, DOUBLE, {"engUnit": "W", "readOnly": True})


async def refused_and_reborn(middle, node, host):
    births = host.count("NBIRTH"), host.count("DBIRTH", "n2")
    for order in (command("cap_w", 10.0), command("Node Control/Reboot"), b"\xff" * 300, b"", command()[:-3]):
        await host.order(order)
        await host.order(order, "n2")
    await host.order(command(), "n2")
    await until(lambda: "was refused" in middle.log.read_text(), "it is said that a command was refused")
    assert (host.count("NBIRTH"), host.count("DBIRTH", "n2")) == births
    session = host.session
    await host.order(command())
    await until(lambda: host.count("NBIRTH") > births[0] and host.count("DBIRTH", "n2") > births[1], "births come")
    assert host.session == session
    assert node.commands == []
    assert middle.log.read_text().count("was refused") == 1


async def dead_and_back(node, host):
    await until(lambda: host.quality("power_w", "n1") in {500, None}, "its power is stale")  # None: it was too slow
    await until(lambda: "n1" not in host.values, "it is dead")
    assert host.session is not None
    node.tasks.append(asyncio.create_task(node._speak(80.0, first=9_001)))
    await until(lambda: host.value("power_w", "n1") == 80.0, "it is born again")
    await until(lambda: host.value("energy_j", "n1") == 60.0, "its joules are told")
    assert host.value("carbon_g", "n1") == pytest.approx(60 / 3.6e6 * 360, abs=1e-3)


async def test_after_a_restart_of_the_broker_the_next_session_begins(tmp_path, broker):
    middle = Middle(tmp_path, broker.port)
    write(middle, f"[sparkplug.mqtt]\nport = {broker.port}\n")  # with a patience that a busy machine does not exhaust
    with middle.run() as collector:
        async with listening(broker.port, "f", ZONE) as host:
            await until(lambda: host.session is not None, "it is born")
            first = host.session
        broker.kill()
        broker.start()
        async with listening(broker.port, "f", ZONE) as host:
            await eventually(lambda: host.session is not None or host.orphans, "it tells again", 60)
            if host.session is None:  # it was there before this host
                await host.order(command())
                await until(lambda: host.session is not None, "it is born on command")
            assert host.session == first + 1
        assert stop(collector) == 0


async def test_the_access_list_makes_collectors_edge_nodes_viewers_hosts_and_lets_nobody_else_in(tmp_path):
    site = TlsBroker(tmp_path)
    site.group = "plant"
    names = {"n1": "hall", "collector.main": "", "operator.alice": "", "viewer.scada": ""}
    settings = {name: site.client(name, zone) for name, zone in names.items()}
    site.start()
    says = [f"spBv1.0/plant/{verb}/hall" for verb in ("NBIRTH", "NDATA", "NDEATH")]
    says += [f"spBv1.0/plant/{verb}/hall/n1" for verb in ("DBIRTH", "DDATA", "DDEATH")]
    orders = ["spBv1.0/plant/NCMD/hall", "spBv1.0/plant/DCMD/hall/n1"]
    others = ["spBv1.0/other/NBIRTH/hall", "spBv1.0/other/NCMD/hall", "spBv1.0/STATE/scada"]
    try:
        async with (
            ear(settings["viewer.scada"], "spBv1.0/#") as host,
            ear(settings["collector.main"], "spBv1.0/#", name="edge") as edge,
            ear(settings["n1"], "#", name="node") as node,
        ):
            for name in names:
                async with connect(settings[name], f"mouth-{name}") as mouth:
                    for topic in [*says, *orders, *others]:
                        await mouth.publish(topic, name.encode(), qos=1, retain=False)
            heard = sorted((str(one.topic), one.payload.decode()) for one in await host.heard())
            wanted = [(topic, "collector.main") for topic in says] + [("spBv1.0/STATE/scada", "viewer.scada")]
            assert heard == sorted(wanted)
            heard = [(str(one.topic), one.payload.decode()) for one in await edge.heard()]
            assert heard == [(says[0], "collector.main"), (orders[0], "viewer.scada")]
            assert [one for one in await node.heard() if "spBv1.0" in str(one.topic)] == []
    finally:
        site.stop()


def test_without_a_group_the_access_list_has_nothing_of_it(tmp_path):
    for name in ("collector.main", "viewer.screen"):
        assert [line for line in lines(Client(parse_identity(name))) if "spBv1.0" in line] == []
    for group in ("a\ntopic write #", "+", "#", "a b", "a/b"):
        with pytest.raises(Failure, match="--sparkplug"):
            write_acl(tmp_path, [], "", group)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sparkplug]\n", "list the zones"),
        ('[[zones]]\nname = "a"\n[sparkplug]\ngroup = "a/b"\n', "group"),
        ('[[zones]]\nname = "a"\n[sparkplug.mqtt]\nca_file = "/nowhere.pem"\n', "/nowhere.pem"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path, capsys, text, said):
    (tmp_path / "collector.toml").write_text(text)
    assert main(["--config", str(tmp_path / "collector.toml"), "--check"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_broker_that_passes_nothing_on_is_named_once(tmp_path, monkeypatch, allowed):
    monkeypatch.setattr(sparkplug_bridge, "_ECHO_S", 0.0)
    (tmp_path / "acl").write_text("topic readwrite spBv1.0/#\n" if allowed else "topic readwrite evenwatt/#\n")
    broker = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}\n").start()
    settings = CollectorSettings(mqtt=CollectorBroker(port=broker.port))
    Store(str(tmp_path / "collector.db"), lambda _commit: None).close()
    keeper = Keeper(str(tmp_path / "collector.db"), 30, 30)
    middle = Around(
        settings=settings, keeper=keeper, nodes=list, zones=None, named=list, publish=lambda *_: True, acts=lambda: True
    )  # fmt: skip
    stop_it = asyncio.Event()
    try:
        with structlog.testing.capture_logs() as logs:
            session = sparkplug_bridge._Session(middle, "f", settings.mqtt, ZONE, None)
            running = asyncio.create_task(session.run(stop_it))
            await eventually(lambda: session.births_wanted, "it is connected")
            await session.tell({}, {})
            if allowed:
                await eventually(lambda: session._echoed, "its own birth comes back")
            for _ in range(3):
                await session.tell({}, {})
            stop_it.set()
            await running
        warned = [one["event"] for one in logs if one["log_level"] == "warning"]
        assert len(warned) == (0 if allowed else 1)
        assert all("evenwatt broker acl --sparkplug f" in event for event in warned)
    finally:
        keeper.close()
        broker.kill()
