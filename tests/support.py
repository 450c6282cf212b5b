"""Real things for tests: a broker, processes, keys, and waiting for a condition instead of for time."""

from __future__ import annotations

import asyncio
import getpass
import itertools
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from evenwatt_wire import Key, KeyRing, Trust, sign_trust, write_trust

if TYPE_CHECKING:
    from pathlib import Path

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def need(found, what, package):
    """Skip with the exact cure; on CI, where everything is installed, its absence is a failure."""
    if found:
        return
    message = f"{what} is not installed: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


_FIRST_PORT, _PORTS = 10_000, 22_000
"""Below 32,768: no connection that any program makes takes one of these as its own end."""


def _ports():
    """Number ports so that workers of one run, and runs beside each other, hardly ever try the same."""
    start = os.getpid() * 997
    for step in itertools.count():
        yield _FIRST_PORT + (start + step) % _PORTS


_next_port = _ports()


def free_port():
    """Return a port that nobody listens at; it is given once, and stays free until it is used."""
    while True:
        port = next(_next_port)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _me():
    """Run the broker as ourselves: as another user it could not read a test's own folder."""
    return getpass.getuser()


class Mosquitto:
    """A real broker on a free port of this machine's own, which can be killed and started again."""

    prefix = ()
    """What starts it, where that is not this process itself."""

    def __init__(self, folder: Path, extra: str = "", address: str = "127.0.0.1"):
        need(MOSQUITTO, "mosquitto", "mosquitto")
        self.port, self.address = free_port(), address
        self._config = folder / "mosquitto.conf"
        login = "" if "allow_anonymous" in extra else "allow_anonymous true\n"
        self._config.write_text(f"listener {self.port} {address}\npersistence false\nuser {_me()}\n{login}{extra}\n")
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [*self.prefix, MOSQUITTO, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.answers, "the broker listens")
        return self

    def answers(self):
        try:
            with socket.create_connection((self.address, self.port), timeout=5):
                return True
        except OSError:
            return False

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def wait_for(condition, what, timeout_s=60.0):
    """Return the condition's first true value; fail naming ``what`` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"waited {timeout_s:.0f} s in vain until {what}")


async def eventually(condition, what, timeout_s=60.0):
    """Like :func:`wait_for`, inside a loop."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        await asyncio.sleep(0.02)
    pytest.fail(f"waited {timeout_s:.0f} s in vain until {what}")


def make_key(path: Path):
    """Write a private key; return it and its public half in hexadecimal."""
    private = Ed25519PrivateKey.generate()
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return private, private.public_key().public_bytes_raw().hex()


def make_trust(folder: Path, rows, *, fleet="f", version=1, days=365.0, revoked=()):
    """Sign ``trust.json`` of these keys with the folder's root, which is made at first; return the ring of keys."""
    if not (folder / "root.pem").exists():
        root, _ = make_key(folder / "root.pem")
        pem = root.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "root.pub").write_bytes(pem)
    root = load_pem_private_key((folder / "root.pem").read_bytes(), None)
    now = datetime.now(UTC).replace(microsecond=0)
    issued = min(now, now + timedelta(days=days - 1))
    keys = [msgspec.convert(row, Key) for row in rows]
    trust = Trust(fleet, version, issued, now + timedelta(days=days), keys, list(revoked))
    document = sign_trust(write_trust(trust), [root])
    aside = folder / "trust.json.new"
    aside.write_bytes(document)
    aside.replace(folder / "trust.json")
    return KeyRing(keys, revoked=trust.revoked_ids, clock=lambda: time.time_ns() // 1_000_000)


class Suspends:
    """The clock that runs on while a machine is suspended, set forward by hand; the monotonic one stands still."""

    def __init__(self, monkeypatch):
        self.slept_s, read = 0.0, time.clock_gettime
        ours = {time.CLOCK_BOOTTIME: lambda: read(time.CLOCK_BOOTTIME) + self.slept_s}
        monkeypatch.setattr(time, "clock_gettime", lambda which: ours.get(which, lambda: read(which))())


@contextmanager
def process(command, log: Path, **environment):
    """Run a real process, its output in ``log``; it is killed in the end whatever happens."""
    with log.open("ab") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def fill(path):
    """Take all the room that is left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        until_it_fails(lambda: os.write(descriptor, b"x" * 4_096), OSError)
    finally:
        os.close(descriptor)


def until_it_fails(step, error):
    """Return how often a step worked before the disk was full."""
    done = 0
    while True:
        try:
            step()
        except error:
            return done
        done += 1
