"""What a captured agent can do to the actuator: nothing but what it is there for."""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from evenwatt_agent.actuator.protocol import (
    MAX_BYTES,
    MAX_ORDER_BYTES,
    Answer,
    Borrow,
    Hello,
    Now,
    Order,
    Power,
    Purpose,
    Refused,
    Trust,
    Welcome,
    encode,
)
from evenwatt_wire.command import Code, Op, open_ack
from evenwatt_wire.messages import LeaseState
from tests.agent.split.yard import Hostile
from tests.support import make_key, wait_for


@pytest.fixture
def actuator(site):
    with site.actuator() as running:
        site.await_actuator()
        yield running
        assert running.poll() is None, "nothing that was sent has stopped it"


def order(client, payload, number=1, *, retained=False):
    client.say(Order(number, payload, retained))
    return client.hear_kind(Answer)


def test_a_command_counts_only_as_it_was_signed_and_once(site, actuator):
    stranger, _ = make_key(site.folder / "stranger.pem")
    held = site.limits()
    with closing(Hostile(site.path)) as client:
        good, payload = site.command(Op.CAP, cap_w=320.0, ttl_s=600.0)
        flipped = bytearray(payload)
        flipped[-1] ^= 1
        for bad in (b"", b"\x00", bytes(flipped), payload[:-1], site.command(Op.CAP, key=stranger, cap_w=400.0)[1]):
            assert order(client, bad).ack is None
        assert order(client, payload, retained=True).ack is None
        assert order(client, b"\x94" * MAX_ORDER_BYTES).ack is None
        assert site.limits() == held
        ack = open_ack(order(client, payload).ack, site.ring)
        assert (ack.code, ack.command_id) == (Code.APPLIED, good.id)
        lower, second = site.command(Op.CAP, cap_w=300.0, ttl_s=600.0)
        assert open_ack(order(client, second).ack, site.ring).command_id == lower.id
        now = site.limits()
        assert open_ack(order(client, payload).ack, site.ring).command_id == good.id  # the answer of then, again
        assert site.limits() == now


def test_the_mark_outlives_the_actuator(site):
    _, payload = site.command(Op.CAP, cap_w=320.0, ttl_s=600.0)
    with site.actuator() as running:
        site.await_actuator()
        with closing(Hostile(site.path)) as client:
            assert open_ack(order(client, payload).ack, site.ring).code is Code.APPLIED
        running.kill()
        running.wait()
    site.restore()
    with site.actuator():
        site.await_actuator(2)
        with closing(Hostile(site.path)) as client:
            again = open_ack(order(client, payload).ack, site.ring)
            assert (again.code, again.detail.split(":")[0]) == (Code.REJECTED, "replay")


def test_only_energy_counters_that_the_actuator_finds_itself_are_lent(site, actuator):
    counters = [str(path.resolve()) for path in site.sysfs.rglob("energy_uj")]
    zone = Path(counters[0]).parent
    link = site.folder / "run" / "energy_uj"
    link.symlink_to("/etc/shadow")
    asked = [
        "/etc/shadow",
        str(site.folder / "node.pem"),
        str(link),
        f"{zone}/constraint_0_power_limit_uw",
        f"{zone}/../{zone.name}/energy_uj",
        f"{zone}/energy_uj/../../../../../../../../etc/shadow",
        f"{counters[0]}\0",
        "",
        ".",
        "energy_uj",
    ]
    for path in asked:
        with closing(Hostile(site.path, Purpose.LEND)) as client:
            assert isinstance(client.hear(), Welcome)
            client.say(Borrow(path))
            said, descriptors, _, _ = socket.recv_fds(client.sock, 1 << 16, 4)
            assert msgspec.msgpack.decode(said)["type"] == "refused"
            assert not descriptors
    with closing(Hostile(site.path, Purpose.LEND)) as client:
        client.hear()
        client.say(Borrow(counters[0]))
        said, (descriptor,), _, _ = socket.recv_fds(client.sock, 1 << 16, 4)
        assert msgspec.msgpack.decode(said)["type"] == "lent"
        assert int(os.pread(descriptor, 32, 0)) > 0
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(descriptor, b"1", 0)
        os.close(descriptor)


def test_a_counter_that_is_no_file_is_not_lent(site, actuator):
    """A link that somebody has put in a counter's place is not followed, and a pipe does not hold the worker up."""
    first, second, *_ = sorted(path.resolve() for path in site.sysfs.rglob("energy_uj"))
    site.hardware.send_signal(signal.SIGSTOP)
    first.unlink()
    first.symlink_to("/etc/passwd")
    second.unlink()
    os.mkfifo(second)
    for path in (first, second):
        with closing(Hostile(site.path, Purpose.LEND)) as client:
            client.hear()
            client.say(Borrow(str(path)))
            assert isinstance(client.hear(), Refused)


MALFORMED = [
    b"\xc1",
    b"\x00",
    b"\x93" * 1_000,
    b"\xdf\xff\xff\xff\xff",
    encode(Hello(1, Purpose.CONTROL, "0")),
    encode(Borrow("/etc/shadow")),
    b"\x00" * (MAX_BYTES + 1),
    msgspec.msgpack.encode({"type": "order", "number": -1, "payload": b"", "retained": False}),
    msgspec.msgpack.encode({"type": "order", "number": 1, "payload": b"x" * 5_000, "retained": False}),
    msgspec.msgpack.encode({"type": "order", "number": 1, "payload": b"", "retained": False, "force": True}),
    msgspec.msgpack.encode({"type": "power", "total_w": -1.0, "domains": {}}),
    msgspec.msgpack.encode({"type": "power", "total_w": 1e300, "domains": {}}),
    msgspec.msgpack.encode({"type": "power", "total_w": 1.0, "domains": {"../x y": 1.0}}),
    msgspec.msgpack.encode({"type": "restore"}),
]


def test_what_does_not_fit_ends_its_own_connection(site, actuator):
    for raw in MALFORMED:
        with closing(Hostile(site.path)) as client:
            assert isinstance(client.hear_kind(Now), Now), raw[:40]
            client.send(raw)
            assert isinstance(list(client.hear_all())[-1], Refused), raw[:40]
        await_vacancy(site)
    assert '"level": "error"' not in (site.folder / "actuator.log").read_text()


def test_too_much_of_a_trust_document_and_descriptors_nobody_asked_for(site, actuator):
    with closing(Hostile(site.path)) as client:
        client.hear_kind(Now)
        for _ in range(30):  # 1.4 MB in parts that each fit
            try:
                client.say(Trust(b"x" * 48 * 1024, last=False))
            except OSError:
                break
        assert isinstance(list(client.hear_all())[-1], Refused)
    await_vacancy(site)
    before = len(os.listdir(f"/proc/{actuator.pid}/fd"))
    with closing(Hostile(site.path)) as client:
        client.hear_kind(Now)
        with open("/dev/null", "rb") as file:
            row = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()] * 50))
            client.sock.sendmsg([encode(Power(100.0, {}))], [row])
        order(client, b"")
    wait_for(lambda: len(os.listdir(f"/proc/{actuator.pid}/fd")) <= before, "none of them is kept")


def test_false_power_can_tighten_down_to_the_floor_and_never_loosen(site, actuator):
    with closing(Hostile(site.path)) as client:
        standing = client.hear_kind(Now).standing
        _, payload = site.command(Op.CAP, cap_w=320.0, ttl_s=600.0)
        open_ack(order(client, payload).ack, site.ring)
        for lie in (0.0, float("inf"), float("nan"), 1e8, 0.0):
            for _ in range(40):
                try:
                    client.say(Power(lie, {"package-0": lie, "package-1": lie, "made-up": 1e8}))
                except OSError:  # what is no number at all has ended the connection
                    break
                time.sleep(0.01)
                limits_w = site.package_limits_w()
                assert sum(limits_w) <= 322
                assert min(limits_w) >= 0.9 * standing.actuators[0].floor_w
            if client_gone(client):
                client.close()
                await_vacancy(site)
                client.sock = Hostile(site.path).sock
    with closing(Hostile(site.path, Purpose.LOOK)) as client:
        now = client.hear_kind(Now)
        assert now.standing.ceiling_w < 10_000  # a lie, but none that such a machine could not tell


def client_gone(client):
    client.sock.settimeout(0.05)
    try:
        while True:
            if client.hear() is None:
                return True
    except TimeoutError:
        return False
    finally:
        client.sock.settimeout(60)


def await_vacancy(site):
    """Return when nobody has control."""

    def vacant():
        with closing(Hostile(site.path, Purpose.LOOK)) as client:
            said = client.hear_kind(Welcome)
            return said is not None and said.agent_pid == 0

    wait_for(vacant, "the seat is free")


def test_one_agent_at_a_time_of_one_version_and_of_the_right_user(site, actuator):
    with closing(Hostile(site.path)) as first:
        assert isinstance(first.hear_kind(Now), Now)
        with closing(Hostile(site.path)) as second:
            assert f"pid {os.getpid()} has control" in second.hear().why
        assert order(first, b"").ack is None  # and has kept it
    await_vacancy(site)
    with closing(Hostile(site.path, version=2)) as newer:
        assert "install one version of both" in newer.hear().why
    with closing(Hostile(site.path, purpose=None)) as rude:
        rude.say(Power(1.0, {}))
        assert "expected hello" in rude.hear().why
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
        f"s.connect({site.path!r}); print(s.recv(9999))"
    )
    other = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups", "--", sys.executable, "-c", script]
    said = subprocess.run(other, capture_output=True, text=True, check=True).stdout
    assert "user 1 is not heard here" in said


def test_a_flood_takes_neither_the_processor_nor_the_seat_of_others(site, actuator):
    """Sixteen silent connections are the most, and a flood of orders is read slowly."""
    silent = [Hostile(site.path, purpose=None) for _ in range(16)]
    with closing(Hostile(site.path, Purpose.LOOK)) as late:
        assert isinstance(late.hear(), Refused | None)
    for client in silent:
        client.close()
    await_vacancy(site)
    with closing(Hostile(site.path)) as flood:
        flood.hear_kind(Now)
        flood.sock.setblocking(False)
        sent, until = 0, time.monotonic() + 3.0
        while time.monotonic() < until:
            try:
                flood.say(Order(sent, b"\x94" * 4_000, False))
                sent += 1
            except BlockingIOError:
                time.sleep(0.005)
            except OSError:
                break  # it has been cut off for not reading what it is told
        with closing(Hostile(site.path, Purpose.LOOK)) as other:
            assert isinstance(other.hear(), Welcome)
    log = (site.folder / "actuator.log").read_text()
    assert log.count("command-refused") <= 2
    await_vacancy(site)
    assert sent < 1_500


def test_withheld_commands_end_in_the_fallback(site, actuator):
    with closing(Hostile(site.path)) as client:
        _, payload = site.command(Op.CAP, cap_w=320.0, fallback_w=240.0, ttl_s=0.5)
        assert open_ack(order(client, payload).ack, site.ring).code is Code.APPLIED
        while client.hear_kind(Now).lease.state is not LeaseState.FALLBACK:
            client.say(Power(100.0, {}))
        limits_w = site.package_limits_w()
        assert sum(limits_w) <= 242
