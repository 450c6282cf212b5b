"""Hosts with a network of their own: a namespace each, and one for the wire between them, which can be made bad.

Where the kernel has ``netem`` the wire is a bridge and the kernel makes it bad; else it is a switch in user space
(``hosts_switch.py``). Either way TCP is real and loses real packets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict

from tests.chaos.hosts_line import Impairment
from tests.chaos.hosts_space import Space, need_namespaces

_WAYS = {"both": ("out", "in"), "out": ("out",), "in": ("in",)}
_CUT = Impairment(loss=1.0)


def has_netem():
    """Whether the kernel can make a network bad by itself."""
    command = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return not subprocess.run(command, capture_output=True, check=False).returncode


class Bridge:
    """The wire as the kernel's bridge, impaired by ``netem``: ``in`` at the bridge's port, ``out`` at the host's."""

    def __init__(self, wire, spaces, _seed):
        self._wire, self._spaces = wire, spaces
        wire.run("ip", "link", "add", "wire", "type", "bridge")
        wire.run("ip", "link", "set", "wire", "up")
        for port, space in enumerate(spaces):
            wire.run("ip", "link", "add", f"port{port}", "type", "veth", "peer", "name", "eth0", "netns",
                     str(space.pid))  # fmt: skip
            wire.run("ip", "link", "set", f"port{port}", "master", "wire", "up")

    def set(self, port, way, impairment, *, cut):
        space, device = (self._spaces[port], "eth0") if way == "out" else (self._wire, f"port{port}")
        words = (_CUT if cut else impairment).words()
        space.run("tc", "qdisc", "replace", "dev", device, "root", *(["netem", *words] if words else ["pfifo"]))

    def close(self):
        """Do nothing: links end with their namespaces."""


class UserSwitch:
    """The wire as a process that holds a TAP for each host."""

    def __init__(self, wire, spaces, seed):
        names = [f"ew{os.getpid()}-{port}" for port in range(len(spaces))]
        command = [*wire.prefix, sys.executable, "-m", "tests.chaos.hosts_switch", str(seed), *names]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._answer()
            for name, space in zip(names, spaces, strict=True):
                wire.run("ip", "link", "set", "dev", name, "netns", str(space.pid), "name", "eth0")
        except BaseException:
            self.close()
            raise

    def set(self, port, way, impairment, *, cut):
        said = {"port": port, "way": way, "cut": cut, **asdict(impairment)}
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        self._answer()

    def close(self):
        self._process.kill()
        self._process.communicate()

    def _answer(self):
        assert self._process.stdout.readline(), "the switch has ended"


class Network:
    """Hosts on one wire, in a subnet of their own.

    Args:
        hosts: Their names; the first one has the address ending in 1, and so on.
        seed: Of losses and delays, where the wire is a switch in user space.
        wire: ``Bridge`` or ``UserSwitch``; by default what the kernel can do.
    """

    def __init__(self, hosts, *, seed=0, wire=None):
        self._hosts, self._seed, self._kind = list(hosts), seed, wire
        self._wrong = {(host, way): Impairment() for host in hosts for way in _WAYS["both"]}
        self._cut = set()
        self._stack = ExitStack()
        self.spaces = {}

    def __enter__(self):
        need_namespaces()
        kind = self._kind or (Bridge if has_netem() else UserSwitch)
        with ExitStack() as stack:
            made = [stack.enter_context(closing(Space())) for _ in range(len(self._hosts) + 1)]
            self.spaces = dict(zip(self._hosts, made, strict=False))
            self._wire = stack.enter_context(closing(kind(made[-1], made[:-1], self._seed)))
            for host, space in self.spaces.items():
                space.run("ip", "address", "add", f"{self.address(host)}/24", "dev", "eth0")
                space.run("ip", "link", "set", "eth0", "up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._stack.close()

    @property
    def kind(self):
        """Who makes the wire bad, in words."""
        return "netem" if isinstance(self._wire, Bridge) else "a switch in user space"

    def address(self, host):
        return f"10.77.0.{self._hosts.index(host) + 1}"

    def impair(self, host, way="both", **wrong):
        """Make a host's line as bad as this, ``out`` of it, ``in`` to it or ``both``; as good as new by default."""
        for one in _WAYS[way]:
            self._wrong[host, one] = Impairment(**wrong)
            self._set(host, one)

    def partition(self, hosts, way="both"):
        """Let nothing out of some hosts, in to them, or both."""
        for host in hosts:
            for one in _WAYS[way]:
                self._cut.add((host, one))
                self._set(host, one)

    def heal(self):
        """End all partitions; lines are as bad as they were."""
        healed, self._cut = self._cut, set()
        for host, way in sorted(healed):
            self._set(host, way)

    def _set(self, host, way):
        port = self._hosts.index(host)
        self._wire.set(port, way, self._wrong[host, way], cut=(host, way) in self._cut)
