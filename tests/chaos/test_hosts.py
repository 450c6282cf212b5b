"""The network between hosts does what it says, or what is measured on it says nothing."""

from __future__ import annotations

import itertools
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.hosts import Bridge, Network, UserSwitch, has_netem
from tests.chaos.hosts_line import Impairment, Line
from tests.support import wait_for

_PROBES = 400
_BURST = 100
"""Datagrams that a socket can hold while nobody reads."""
_QUIET_S = 1.0
"""What has not come for so long does not come, also on a busy machine."""


def _line(**wrong):
    line = Line(random.Random(1))
    line.impairment = Impairment(**wrong)
    return line


def test_a_good_line_brings_everything_on_at_once():
    assert _line().due(7.0, 1000) == [7.0]


def test_delays_spread_evenly_and_frames_overtake_each_other():
    line = _line(delay_ms=100, jitter_ms=50)
    found = [line.due(i * 0.001, 100)[0] - i * 0.001 for i in range(2000)]
    assert 0.05 <= min(found) < 0.052
    assert 0.148 < max(found) <= 0.15
    assert sum(found) / len(found) == pytest.approx(0.1, abs=0.002)
    assert any(found[i] > found[i + 1] + 0.001 for i in range(len(found) - 1))


def test_losses_and_copies_are_as_many_as_asked():
    line = _line(loss=0.1, duplicate=0.2)
    counts = [len(line.due(0.0, 100)) for _ in range(10_000)]
    assert counts.count(0) == pytest.approx(1000, abs=120)
    assert counts.count(2) == pytest.approx(1800, abs=160)


def test_a_rate_spaces_frames():
    line = _line(rate_kbit=80)
    assert [line.due(0.0, 100)[0] for _ in range(3)] == pytest.approx([0.01, 0.02, 0.03])


def test_some_frames_do_not_wait():
    line = _line(delay_ms=100, reorder=0.25)
    assert [line.due(0.0, 100)[0] for _ in range(4000)].count(0.0) == pytest.approx(1000, abs=110)


def test_a_cut_line_brings_nothing():
    line = _line()
    line.cut = True
    assert line.due(0.0, 100) == []


def _wires():
    yield pytest.param(UserSwitch, id="user")
    yield pytest.param(Bridge, id="netem")


@pytest.fixture(params=_wires())
def network(request):
    if request.param is Bridge and not has_netem():
        pytest.skip("this kernel has no netem, or only root may use it")
    with Network(["a", "b"], seed=3, wire=request.param) as made:
        yield made


class Echo:
    """Answers datagrams on one host and counts them; another host asks."""

    def __init__(self, network, here, there):
        self.heard = 0
        self._address = (network.address(here), 7007)
        self._server, self._client = (network.spaces[host].call(_datagrams) for host in (here, there))
        self._server.bind(self._address)
        self._server.settimeout(0.1)
        self._client.settimeout(_QUIET_S)
        self._numbers = itertools.count()
        self._open = True
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()
        wait_for(lambda: self.ask(1), "the hosts know each other's addresses")
        self.heard = 0

    def close(self):
        self._open = False
        self._thread.join()
        self._server.close()
        self._client.close()

    def ask(self, count):
        """Send some datagrams; return the seconds until each answer."""
        return [took_s for _ in range(0, count, _BURST) for took_s in self._burst(min(count, _BURST))]

    def _burst(self, count):
        numbers = [next(self._numbers) for _ in range(count)]
        for number in numbers:
            self._client.sendto(struct.pack("!Id", number, time.monotonic()), self._address)
            time.sleep(0.001)
        took_s = []
        while len(took_s) < count:
            try:
                number, sent_s = struct.unpack("!Id", self._client.recv(100))
            except TimeoutError:
                break
            if number >= numbers[0]:  # else one of an earlier burst, that was given up
                took_s.append(time.monotonic() - sent_s)
        return took_s

    def _answer(self):
        while self._open:
            try:
                data, sender = self._server.recvfrom(100)
            except TimeoutError:
                continue
            self.heard += 1
            self._server.sendto(data, sender)


def _datagrams():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@pytest.fixture
def echo(network):
    with closing(Echo(network, "a", "b")) as made:
        yield made


def test_packets_are_lost_one_way_only(network, echo):
    network.impair("b", "out", loss=0.1)
    answers = echo.ask(_PROBES)
    assert 0.03 * _PROBES < _PROBES - echo.heard < 0.2 * _PROBES
    assert len(answers) == echo.heard


def test_packets_are_late(network, echo):
    network.impair("b", delay_ms=60, jitter_ms=20)
    answers = echo.ask(50)
    assert len(answers) == 50
    assert min(answers) >= 0.08
    network.impair("b")
    assert len(echo.ask(50)) == 50


def test_a_partition_lets_nothing_through_until_it_heals(network, echo):
    network.partition(["b"])
    assert echo.ask(20) == []
    assert echo.heard == 0
    network.heal()
    network.partition(["b"], "in")
    assert echo.ask(20) == []
    assert echo.heard == 20
    network.heal()
    assert len(echo.ask(20)) == 20


def test_tcp_brings_everything_over_a_lossy_line(network):
    network.impair("b", delay_ms=5, jitter_ms=4, loss=0.05, duplicate=0.02)
    sent = random.Random(5).randbytes(200_000)
    address = (network.address("a"), 7008)
    with closing(network.spaces["a"].call(socket.create_server, address)) as server:
        client = network.spaces["b"].call(socket.create_connection, address, 30)
        there, _ = server.accept()
        with client, there:
            thread = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
            thread.start()
            found = b"".join(iter(lambda: there.recv(65_536), b""))
            thread.join()
    assert found == sent


_ABANDONED = """
import sys, time
from tests.chaos.hosts import Network
with Network(["a", "b"]) as network:
    print(*(space.pid for space in network.spaces.values()), flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_of_a_test_that_was_killed(network, tmp_path):
    child = subprocess.Popen([sys.executable, "-c", _ABANDONED], stdout=subprocess.PIPE, text=True)
    try:
        holders = child.stdout.readline().split()
        assert len(holders) == 2
    finally:
        child.kill()
        child.communicate()
    wait_for(lambda: not any(map(_lives, holders)), "its namespaces are gone")
    assert f"ew{child.pid}-" not in Path("/proc/net/dev").read_text()


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
