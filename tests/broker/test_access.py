"""What the access list allows goes through, and what it forbids reaches nobody: on a real broker, for every role."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack

import pytest

from evenwatt_agent.transport import connect
from evenwatt_cli.broker.acl import Client, lines
from evenwatt_cli.broker.identities import parse_identity
from evenwatt_daemon import Failure
from evenwatt_wire import Kind
from evenwatt_wire.rights import RIGHTS, Party, Place
from evenwatt_wire.topics import DELIVERY, PREFIX
from tests.broker.conftest import CLIENTS
from tests.broker.site import ear
from tests.support import need, process, wait_for

HOMES = [("hall", "n1"), ("hall", "n2"), ("yard", "n3"), *((z, p) for z in ("hall", "yard") for p in ("_zone", "_ctl"))]
TOPICS = [f"{PREFIX}/{zone}/{node}/{kind.value}" for zone, node in HOMES for kind in Kind]
EVERYTHING = ("#", "$SYS/#", f"{PREFIX}/#", f"{PREFIX}/+/+/cmd", "$share/all/evenwatt/#")


def test_every_kind_of_message_has_its_right_and_no_more_is_delivered_than_is_said():
    assert {right.kind for right in RIGHTS} == set(Kind) == set(DELIVERY)
    assert len({(right.place, right.kind) for right in RIGHTS}) == len(RIGHTS)
    assert all(right.said_by for right in RIGHTS)


def may(name, topic, which):
    """Whether the table of rights lets a client say (or hear) a topic."""
    _, _, zone, place, kind = topic.split("/")
    client = Client(parse_identity(name), CLIENTS[name])
    party = client.identity.party
    for right in RIGHTS:
        if right.kind.value != kind or party not in getattr(right, which):
            continue
        if party is not Party.NODE:
            if right.place is Place.NODE or right.place.value == place:  # whose right is for all nodes has a +
                return True
            continue
        home = client.identity.name if right.place is Place.NODE else right.place.value
        if (zone, place) == (client.zone, home):
            return True
    return False


async def test_what_is_allowed_goes_through_and_what_is_forbidden_does_not(site):
    """Each client says something on each topic, and listens to all there is."""
    async with AsyncExitStack() as stack:
        ears = {name: await stack.enter_async_context(ear(site.client(name), *EVERYTHING)) for name in CLIENTS}
        mouths = {
            name: await stack.enter_async_context(connect(site.client(name), f"mouth-{name}")) for name in CLIENTS
        }
        for name, mouth in mouths.items():
            for topic in TOPICS:
                await mouth.publish(topic, name.encode(), qos=0, retain=False)
            await mouth.publish(TOPICS[0], name.encode(), qos=1, retain=False)  # its answer comes after all of these
        for listener, one in ears.items():
            heard = {(str(message.topic), message.payload.decode()) for message in await one.heard()}
            wanted = {
                (topic, name)
                for topic in TOPICS
                for name in CLIENTS
                if may(name, topic, "said_by") and may(listener, topic, "heard_by")
            }
            assert heard - wanted == set(), f"{listener} hears what it must not"
            assert wanted - heard == set(), f"{listener} misses what it may hear"


FORBIDDEN = [
    ("n1", "hall/n2/state", "a node speaks as another"),
    ("n1", "hall/n2/ledger", "a node writes another's account"),
    ("n1", "hall/n2/ack", "a node answers for another"),
    ("n1", "yard/n1/state", "a node speaks in a zone that is not its own"),
    ("n1", "hall/n1/cmd", "a node commands itself"),
    ("n1", "hall/n2/cmd", "a node commands another"),
    ("n1", "hall/n1/stored", "a node calls its own records stored"),
    ("n1", "hall/_ctl/state", "a node passes for a collector"),
    ("n1", "hall/_ctl/trust", "a node hands out keys"),
    ("n1", "hall/_ctl/submit", "a node submits jobs"),
    ("n1", "hall/_zone/summary", "a node speaks for its zone"),
    ("operator.alice", "hall/n1/ledger", "an operator writes accounts"),
    ("operator.alice", "hall/n1/ack", "an operator answers for a node"),
    ("operator.alice", "hall/n1/stored", "an operator lets nodes forget"),
    ("operator.alice", "hall/_ctl/state", "an operator passes for a collector"),
    ("viewer.screen", "hall/n1/cmd", "a viewer commands"),
    ("viewer.screen", "hall/_ctl/submit", "a viewer submits jobs"),
    ("viewer.screen", "hall/n1/state", "a viewer speaks for a node"),
    ("viewer.screen", "hall/_ctl/probe", "a viewer speaks at all"),
    ("collector.main", "hall/n1/ledger", "a collector writes a node's account"),
    ("collector.main", "hall/n1/ack", "a collector answers for a node"),
    ("collector.main", "hall/_ctl/submit", "a collector submits jobs"),
]


async def test_nobody_says_what_is_not_theirs_to_say(site):
    """Nor is what is forbidden kept: a retained one would meet whoever subscribes later."""
    async with ear(site.client("collector.main"), "#") as middle, ear(site.client("n2"), "#") as node:
        for liar in {name for name, _, _ in FORBIDDEN}:
            async with connect(site.client(liar), f"liar-{liar}") as mouth:
                for topic, what in [(topic, what) for name, topic, what in FORBIDDEN if name == liar]:
                    for retain in (False, True):
                        await mouth.publish(f"{PREFIX}/{topic}", what.encode(), qos=1, retain=retain)
        heard = [*await middle.heard(), *await node.heard()]
    async with ear(site.client("collector.main"), "#") as late:
        heard += await late.heard()
    assert {message.payload.decode(errors="replace") for message in heard} & {what for _, _, what in FORBIDDEN} == set()


UNHEARD = [
    ("n2", "hall/n1/cmd"), ("n2", "hall/n1/ack"), ("n2", "hall/n1/ledger"), ("n2", "hall/n1/live"),
    ("n2", "hall/n1/state"), ("n2", "hall/n1/stored"), ("n2", "hall/_ctl/submit"), ("n2", "hall/_ctl/jobs"),
    ("n3", "hall/_ctl/state"), ("viewer.screen", "hall/n1/cmd"), ("viewer.screen", "hall/n1/run"),
    ("viewer.screen", "hall/_ctl/submit"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "topic"), UNHEARD)
async def test_nobody_hears_what_is_not_for_them(site, name, topic):
    speaker = next(one for one in CLIENTS if may(one, f"{PREFIX}/{topic}", "said_by"))
    async with ear(site.client(name), f"{PREFIX}/{topic}", "+/+/+/+/+", f"$share/x/{PREFIX}/+/+/+") as spy:
        async with connect(site.client(speaker), "speaker") as mouth:
            await mouth.publish(f"{PREFIX}/{topic}", b"secret", qos=1, retain=False)
        assert [message for message in await spy.heard() if message.payload == b"secret"] == []


async def test_the_brokers_own_topics_are_closed(site):
    async with ear(site.client("n1"), "$SYS/#", "$SYS/broker/version") as spy:
        await spy.connection.publish("$SYS/broker/version", b"mine", qos=1, retain=True)
        assert await spy.heard() == []


def dying(site, name, topic):
    """A client that is killed, so that the broker says its will."""
    need(shutil.which("mosquitto_sub"), "mosquitto_sub", "mosquitto-clients")
    mine, me = site.client(name), f"dying-{topic.replace('/', '-')}"
    login = ["--cafile", mine.ca_file, "--cert", mine.cert_file, "--key", mine.key_file, "-i", me]
    will = ["--will-topic", topic, "--will-payload", "last"]
    command = ["mosquitto_sub", "-h", mine.host, "-p", str(mine.port), "-t", "x", *login, *will]
    with process(command, site.folder / "dying.log"):
        wait_for(lambda: f"as {me} " in site.log.read_text(), "it is connected")


async def test_a_will_says_no_more_than_its_owner_may(site):
    async with ear(site.client("collector.main"), "#") as middle:
        heard = []
        for topic in (f"{PREFIX}/hall/n2/state", f"{PREFIX}/hall/n1/event"):
            await asyncio.to_thread(dying, site, "n1", topic)
        for _ in range(600):
            heard += [str(message.topic) for message in await middle.heard() if message.payload == b"last"]
            if heard:
                break
            await asyncio.sleep(0.1)
        assert heard == [f"{PREFIX}/hall/n1/event"]


async def test_a_changed_list_holds_at_once_for_who_is_connected(site):
    site.client("n9", "hall")
    site.write_acl()
    site.reload()
    topic = f"{PREFIX}/hall/n9/event"
    async with ear(site.client("collector.main"), topic) as middle, ear(site.client("n9"), f"{PREFIX}/#") as node:
        await node.connection.publish(topic, b"before", qos=1, retain=False)
        assert [message.payload for message in await middle.heard()] == [b"before"]
        (site.ca / "issued").joinpath(_file_of(site, "n9")).unlink()
        site.write_acl()
        site.reload()
        await node.connection.publish(topic, b"after", qos=1, retain=False)
        await middle.connection.publish(f"{PREFIX}/hall/n9/cmd", b"order", qos=1, retain=False)
        assert [message.payload for message in await middle.heard()] == []
        assert await node.heard() == []


def _file_of(site, name):
    from evenwatt_cli.broker.certificates import issued, name_of

    return next(f"{one.serial_number:040x}.pem" for one in issued(site.ca) if name_of(one) == name)


@pytest.mark.parametrize(
    "name", ["collector", "collector.", "root.x", "a b", "a\nuser x", "#", "+", "../x", "n1.", "É"]
)
def test_a_name_that_could_be_taken_for_another_is_none(name):
    if name == "collector":
        assert parse_identity(name).party is Party.NODE  # a node may be called so, and gets nothing by it
        assert not any("cmd" in line and "write" in line for line in lines(Client(parse_identity(name), "hall")))
        return
    with pytest.raises(Failure):
        parse_identity(name)
