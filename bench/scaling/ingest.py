"""How many live windows a second one core decodes, validates and folds: the shipping link, ingest and fleet.

A stand-in for a broker sends the same bytes, windows of a real encoder, to three receivers one after the other: ours,
bare gmqtt that only counts messages, and ``mosquitto_sub`` (C) that only prints an empty line for each. Rates are per
second of the receiver's own processor time, so that whatever else the machine does, and the sender, do not count.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from scaling import packets
from scaling.files import program

from evenwatt_daemon import EXIT_FAILURE, Failure
from evenwatt_wire import DomainWindow, LeaseInForce, Live, Quality, WorkPower, encode
from evenwatt_wire.messages import LeaseState

NODES = 5_000
ROUNDS, QUICK_ROUNDS = 60, 15
ZONES = 10
WITHIN_S = 120.0
_PUBLISH_TYPES = {"connect": 0x10, "subscribe": 0x82, "ping": 0xC0, "disconnect": 0xE0}


def measure_ingest(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure all three.

    Raises:
        Failure: a receiver did not get through.
    """
    stream = make_stream(rounds)
    count = NODES * rounds
    here = str(Path(__file__).with_name("receivers.py"))
    ours = _receive(stream, lambda port: [sys.executable, here, "ours", str(port), str(count)])
    gmqtt = _receive(stream, lambda port: [sys.executable, here, "gmqtt", str(port), str(count)])
    found = {"ours": _rate(ours, count), "gmqtt": _rate(gmqtt, count)}
    sub = program("mosquitto_sub", "mosquitto-clients")
    before_s = _children_s()
    command = [sub, "-h", "127.0.0.1", "-t", "evenwatt/#", "-C", str(count), "-F", "", "-p"]
    _receive(stream, lambda port: [*command, str(port)], told=False)
    found["mosquitto_sub"] = round(count / (_children_s() - before_s))
    return {
        "ingest_windows_per_s": found["ours"],
        "ingest": {
            "windows": count,
            "bytes_a_window": round(len(stream) / count),
            "windows_per_wall_s": round(count / ours["wall_s"]),
            "gmqtt_per_s": found["gmqtt"],
            "mosquitto_sub_per_s": found["mosquitto_sub"],
            "ratio_to_gmqtt": round(found["ours"] / found["gmqtt"], 2),
            "ratio_to_mosquitto_sub": round(found["ours"] / found["mosquitto_sub"], 2),
        },
    }


def make_stream(rounds: int) -> bytes:
    """Return windows of all nodes, round after round, as MQTT packets of QoS 0."""
    made = bytearray()
    for seq in range(1, rounds + 1):
        for i in range(NODES):
            name, power_w = f"n{i:05d}", 100.0 + i % 400 + 0.1 * seq
            total = DomainWindow("node", power_w, seq * power_w, power_w, power_w, power_w, power_w, Quality.MEASURED)
            parts = [
                DomainWindow(f"package-{k}", power_w / 2, seq * power_w / 2, *[power_w / 2] * 4, Quality.MEASURED)
                for k in range(2)
            ]
            lease = LeaseInForce(LeaseState.LEASED, 500.0, 1, seq, 9.5)
            work = [WorkPower("workload", f"train-{i % 20}", power_w / 2), WorkPower("unit", "nginx.service", 12.5)]
            live = Live(name, f"{i:016x}", seq, seq * 10**9, 0, 1.0, total, parts, 100, 0, lease, work)
            made += packets.publish(f"evenwatt/v1/zone-{i % ZONES}/{name}/live", encode(live))
    return bytes(made)


def _receive(stream: bytes, command: Any, *, told: bool = True) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=_send, args=(server, stream), daemon=True)
        sender.start()
        child = subprocess.Popen(
            command(server.getsockname()[1]),
            stdout=subprocess.PIPE if told else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            out, error = child.communicate(timeout=WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            raise Failure(f"bench: {child.args} did not get through", exit_code=EXIT_FAILURE) from None
        if child.returncode:
            raise Failure(f"bench: {child.args} failed: {error.decode()[-500:]}", exit_code=EXIT_FAILURE)
        return dict(json.loads(out.splitlines()[-1])) if told else {}  # before it, logs


def _send(server: socket.socket, stream: bytes) -> None:
    """Let one client in and subscribe, then send it everything."""
    with suppress(OSError):
        client, _ = server.accept()
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            rest = b""
            while True:
                data = client.recv(65536)
                if not data:
                    return
                found, rest = packets.split(rest + data)
                for head, body in found:
                    if head == _PUBLISH_TYPES["connect"]:
                        client.sendall(b"\x20\x02\0\0")
                    elif head == _PUBLISH_TYPES["subscribe"]:
                        client.sendall(bytes((0x90, 2 + _filters(body))) + body[:2] + b"\1" * _filters(body))
                        client.sendall(stream)
                        client.recv(65536)  # until it goes
                        return


def _filters(body: bytes) -> int:
    at, count = 2, 0
    while at < len(body):
        at += 3 + int.from_bytes(body[at : at + 2], "big")
        count += 1
    return count


def _rate(told: dict[str, Any], count: int) -> int:
    if told["windows"] != count:
        raise Failure(f"bench: {told['windows']} of {count} windows were taken", exit_code=EXIT_FAILURE)
    return round(count / told["cpu_s"])


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
