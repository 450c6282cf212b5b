"""Thousands of light nodes in one process, each with its own connection: ``python bench/scaling/swarm.py PLAN.json``.

One loop over all sockets; windows are spread evenly over the second. SIGTERM closes every node's last record, waits
until all are stored, says goodbye and writes the truth beside the plan.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from scaling import packets
from scaling.node import LightNode, facts

from evenwatt_wire import Kind
from evenwatt_wire.messages import NodeState

WINDOW_S = 1.0
JOIN_PER_S = 500
"""So many nodes join a second."""
LAST_WAIT_S = 30.0
SAID_EVERY_S = 1.0


class Connection:
    """A node and its socket."""

    __slots__ = ("node", "number", "received", "sock", "unsent")

    def __init__(self, node: LightNode, port: int, now_s: float) -> None:
        self.node, self.received, self.unsent, self.number = node, b"", b"", 0
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        topics = node.topics
        self.send(packets.connect(f"bench-{node.name}", topics[Kind.STATE], node.state(NodeState.LOST, now_s)))
        self.send(packets.subscribe(self._next(), [topics[Kind.COMMAND], topics[Kind.STORED], node.renew_topic]))
        for topic, payload in node.greeting(now_s):
            self.send(packets.publish(topic, payload, number=self._next(), retain=True))

    def send(self, data: bytes) -> None:
        """Send, or keep what the socket does not take."""
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        self.unsent = data[sent:]

    def flush(self) -> None:
        """Send what was kept."""
        data, self.unsent = self.unsent, b""
        if data:
            self.send(data)

    def say_window(self, now_s: float) -> None:
        """Say a window, and a record if it is time."""
        node = self.node
        data = packets.publish(node.topics[Kind.LIVE], node.window(now_s))
        if now_s >= node.next_record_s:
            data += packets.publish(node.topics[Kind.LEDGER], node.record(now_s), number=self._next())
        self.send(data)

    def hear(self, now_s: float) -> bool:
        """Take what has come; False when the connection is lost."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        found, self.received = packets.split(self.received + data)
        answer = b""
        for head, body in found:
            if head & 0xF0 == packets.PUBLISH:
                answer += self._take(head, body, now_s)
        if answer:
            self.send(answer)
        return True

    def _take(self, head: int, body: bytes, now_s: float) -> bytes:
        topic, number, payload = packets.message(head, body)
        answer = packets.puback(number) if number else b""
        if topic.endswith(b"/cmd"):
            signed = self.node.obey(payload, now_s)
            answer += packets.publish(self.node.topics[Kind.ACK], signed, number=self._next())
            if self.node.jumps(now_s):
                answer += packets.publish(self.node.topics[Kind.LIVE], self.node.window(now_s))
        elif topic.endswith(b"/renew"):
            self.node.go_on(payload, now_s)
        elif topic.endswith(b"/stored"):
            self.node.told_stored(payload)
        return answer

    def _next(self) -> int:
        self.number = self.number % 65_000 + 1
        return self.number


class Swarm:
    """All nodes of a plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan, self._port = plan, plan["port"]
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._due: deque[tuple[float, Connection]] = deque()
        self._late_s: deque[float] = deque(maxlen=100_000)
        self._lost = 0
        self._stop = False

    def run(self) -> None:
        """Join, speak until SIGTERM, and write the truth."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stop", True))
        rows, began_s = deque(self._plan["nodes"]), time.monotonic()
        joined, said_s, count = 0, 0.0, len(self._plan["nodes"])
        while not self._stop:
            now_s = time.monotonic()
            while rows and joined < (now_s - began_s) * JOIN_PER_S + 1:
                phase_s = WINDOW_S * joined / count
                self._join(rows.popleft(), began_s + phase_s)
                joined += 1
            self._speak(now_s)
            if now_s >= said_s:
                said_s = now_s + SAID_EVERY_S
                self._write(done=False)
            next_s = self._due[0][0] if self._due else now_s + 0.01
            self._hear(max(0.0, min(0.01, next_s - time.monotonic())))
        self._end()

    def _join(self, row: list[str], phase_s: float) -> None:
        zone, name, seed = row
        now_s = time.monotonic()
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
        node = LightNode(zone, name, private, self._plan["ledger_s"], (now_s, time.time()))
        connection = Connection(node, self._port, now_s)
        self._connections[connection.sock.fileno()] = connection
        self._poll.register(connection.sock.fileno(), select.EPOLLIN)
        first_s = phase_s + WINDOW_S * (int((now_s - phase_s) / WINDOW_S) + 1)
        at = len(self._due)
        while at and self._due[at - 1][0] > first_s:
            at -= 1
        self._due.insert(at, (first_s, connection))

    def _speak(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            due_s, connection = self._due.popleft()
            now_s = time.monotonic()
            self._late_s.append(now_s - due_s)
            if connection.sock.fileno() >= 0:
                connection.say_window(now_s)
                self._due.append((due_s + WINDOW_S, connection))  # all have one period: they stay in order

    def _hear(self, wait_s: float) -> None:
        for number, _ in self._poll.poll(wait_s, 256):
            connection = self._connections[number]
            connection.flush()
            if not connection.hear(time.monotonic()):
                self._lost += 1
                self._poll.unregister(number)
                connection.sock.close()
                del self._connections[number]

    def _end(self) -> None:
        now_s = time.monotonic()
        for connection in self._connections.values():
            connection.node.next_record_s = now_s
            connection.say_window(now_s)
        while time.monotonic() < now_s + LAST_WAIT_S and any(
            connection.node.stored < connection.node.records for connection in self._connections.values()
        ):
            self._hear(0.1)
        for connection in self._connections.values():
            state = connection.node.state(NodeState.DISCONNECTED, time.monotonic())
            connection.send(packets.publish(connection.node.topics[Kind.STATE], state, number=1, retain=True))
            connection.send(b"\xe0\x00")
        self._write(done=True)

    def _write(self, *, done: bool) -> None:
        nodes = [connection.node for connection in self._connections.values()]
        late_s = sorted(self._late_s)
        said = {
            "done": done,
            "joined": len(nodes),
            "capped": sum(node.lease.cap_w is not None for node in nodes),
            "lost_connections": self._lost,
            "late_p99_ms": round(1e3 * late_s[int(0.99 * len(late_s))], 1) if late_s else None,
            "truth": {node.name: facts(node) for node in nodes} if done else {},
        }
        path = Path(self._plan["truth"])
        path.with_suffix(".new").write_text(json.dumps(said))
        path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    Swarm(json.loads(Path(sys.argv[1]).read_text())).run()
