"""Several brokers for one client: how they are named, which is next, and what happens when one is lost."""

from __future__ import annotations

import asyncio

import pytest

from evenwatt_agent.transport import LinkLostError, connect
from evenwatt_collector.link import Link as CollectorLink
from evenwatt_collector.link import Post
from evenwatt_daemon import Failure
from evenwatt_daemon.broker import BrokerSettings, Roster
from evenwatt_daemon.settings import load_settings
from tests.support import Mosquitto, eventually, free_port


class _File(BrokerSettings):
    pass


def test_brokers_are_named_with_and_without_a_port():
    settings = BrokerSettings(hosts=["a.example", "b.example:1884", "[::1]:1885"], port=8883, keepalive_s=5)
    assert [(one.host, one.port) for one in settings.brokers] == [
        ("a.example", 8883), ("b.example", 1884), ("::1", 1885)
    ]  # fmt: skip
    assert all(one.keepalive_s == 5 and one.brokers == [one] for one in settings.brokers)
    assert "b.example:1884" in settings.where
    assert BrokerSettings(host="x", port=7).where == "x:7"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('hosts = ["a:0"]', "'a:0' is no broker"),
        ('hosts = ["mqtt://a"]', "is no broker"),
        ('hosts = ["a:port"]', "is no broker"),
        ('hosts = ["a", "a:1883"]', "twice"),
        ('host = "b"\nhosts = ["a"]', "both set"),
        ("qos = 2", "qos"),
    ],
)
def test_what_is_wrong_with_brokers_is_said(tmp_path, line, said):
    path = tmp_path / "c.toml"
    path.write_text(line)
    with pytest.raises(Failure, match=said):
        load_settings(_File, str(path))


def test_the_next_broker_is_another_one_and_a_fleet_spreads():
    settings = BrokerSettings(hosts=["a", "b", "c"])
    first, after = {}, {}
    for _ in range(300):
        roster = Roster(settings)
        one = roster.next()
        two = roster.next()
        assert one.where != two.where
        assert roster.beside(two).where != two.where
        first[one.host] = first.get(one.host, 0) + 1
        if one.host == "a":
            after[two.host] = after.get(two.host, 0) + 1
    assert set(first) == {"a", "b", "c"}
    assert set(after) == {"b", "c"}
    alone = Roster(BrokerSettings())
    assert alone.next() is alone.next()
    assert not alone.several


async def test_a_command_asks_the_brokers_one_by_one(tmp_path):
    broker = Mosquitto(tmp_path)
    broker.start()
    try:
        for _ in range(4):
            settings = BrokerSettings(hosts=[f"127.0.0.1:{free_port()}", f"127.0.0.1:{broker.port}"])
            async with connect(settings, "asks") as connection:
                assert connection.broker.port == broker.port
    finally:
        broker.kill()
    with pytest.raises(LinkLostError):
        async with connect(settings, "asks"):
            pass


async def test_a_collector_goes_on_by_its_second_connection(tmp_path):
    """Two brokers that know nothing of each other show which one is used."""
    brokers = []
    for name in "ab":
        (tmp_path / name).mkdir()
        brokers.append(Mosquitto(tmp_path / name))
        brokers[-1].start()
    heard, stop = [], asyncio.Event()
    settings = BrokerSettings(hosts=[f"127.0.0.1:{one.port}" for one in brokers], qos=0)
    link = CollectorLink(
        settings, "c", ["t/#"], receive=lambda topic, _payload, _retained: heard.append(topic),
        greeting=lambda: [Post("t/hello", b"", 1, retain=False)], will=None, oversized=lambda _size: None,
    )  # fmt: skip
    running = asyncio.create_task(link.run(stop))
    try:
        await eventually(lambda: "t/hello" in heard, "its own words are heard")
        await eventually(lambda: link._spare is not None, "a second connection is there")
        used = link._used.broker.port
        gone = next(one for one in brokers if one.port == used)
        heard.clear()
        gone.kill()
        await eventually(lambda: "t/hello" in heard, "it goes on by the other one")
        assert link._used.broker.port != used
        assert link.online
    finally:
        stop.set()
        await running
        for one in brokers:
            one.kill()
