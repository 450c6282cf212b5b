"""A broker set up as `evenwatt broker` sets it up, on a free loopback port, and clients with certificates."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
from contextlib import asynccontextmanager

from evenwatt_agent.transport import connect
from evenwatt_cli.broker import site as broker_site
from evenwatt_cli.broker.certificates import make_authority, new_key_and_request
from evenwatt_cli.broker.config import Site
from evenwatt_cli.broker.identities import parse_identity
from evenwatt_daemon.broker import BrokerSettings
from tests.support import MOSQUITTO, free_port, need, wait_for


class TlsBroker:
    """The folder of an authority, of a broker, and of each client."""

    def __init__(self, folder, *, passwords=False):
        need(MOSQUITTO, "mosquitto", "mosquitto")
        self.folder, self.port, self.ca = folder, free_port(), folder / "ca"
        self.etc, self.conf, self.log = folder / "etc", folder / "mosquitto.conf", folder / "mosquitto.log"
        self.extra = set()
        self.discovery = self.group = ""
        make_authority(self.ca, "f")
        self.chosen = Site(
            self.etc, self.port, "127.0.0.1", passwords=passwords, state=folder / "db", user=getpass.getuser()
        )
        broker_site.write_site(self.ca, self.chosen, ["localhost", "127.0.0.1"], 30, self.conf)
        self._process = None

    def client(self, name, zone="", ca=None):
        """Certify a client once; return its settings."""
        out = self.folder / (ca.name if ca else "clients")
        if not (out / f"{name}.key").exists():
            broker_site.write_client(ca or self.ca, parse_identity(name), zone, 30, None, out)
        return self.settings(cert_file=str(out / f"{name}.pem"), key_file=str(out / f"{name}.key"))

    def settings(self, **more):
        return BrokerSettings(host="localhost", port=self.port, ca_file=str(self.ca / "ca.pem"), keepalive_s=5, **more)

    def write_acl(self):
        broker_site.write_acl(self.etc, broker_site.certified(self.ca) | self.extra, self.discovery, self.group)
        broker_site.hand_over(self.ca, self.etc)

    def start(self):
        self.write_acl()
        with self.log.open("ab") as out:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(self.conf)], stdout=out, stderr=out)
        wait_for(self._listens, "the broker listens")
        return self

    def reload(self):
        """Let it read its files anew, and wait until it has: it forgets a second wish while it is busy with one."""
        before = self.log.read_text().count("Reloading config")
        self._process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.log.read_text().count("Reloading config") > before, "the broker begins to read")
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.settings().tls().wrap_socket(plain, server_hostname="localhost").close()  # its loop goes on

    def _listens(self):
        return subprocess.run(
            ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{self.port}"], capture_output=True, check=False
        ).returncode == 0  # fmt: skip

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@asynccontextmanager
async def ear(settings, *filters, name="ear"):
    """A connection that keeps what it hears, and can be asked to have heard all that was said before."""
    async with connect(settings, f"{name}-{os.urandom(8).hex()}") as connection:
        await connection.subscribe(*filters)
        yield Ear(connection)


class Ear:
    def __init__(self, connection):
        self.connection = connection

    async def heard(self):
        """All that has come: the broker answers in order, so what it has sent before stands in the queue."""
        await self.connection.subscribe("end/of/what/was/said")
        queue = self.connection._client._queue
        return [queue.get_nowait() for _ in range(queue.qsize())]


def foreign(folder):
    """An authority of somebody else, that signs the same names."""
    make_authority(folder, "f")
    return folder


__all__ = ["Ear", "TlsBroker", "ear", "foreign", "new_key_and_request"]
