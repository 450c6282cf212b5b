"""Peers that are servers: scraped or fetched by a client whose own processor time does not count."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil
from sensing import peers
from sensing.machine import BenchError, await_true, child, cpu_s

if TYPE_CHECKING:
    from pathlib import Path

_PMNS = "root {\n denki\n}\ndenki {\n rapl\n}\ndenki.rapl {\n rate 156:0:0\n raw 156:0:1\n}\n"


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False


def node_exporter(folder: Path, rate_hz: float, seconds: float) -> dict[str, Any]:
    """Scrape it with nothing but its RAPL collector, over one connection that stays open."""
    port = free_port()
    command = [str(peers.EXPORTER), "--collector.disable-defaults", "--collector.rapl"]
    command += ["--web.disable-exporter-metrics", f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "node_exporter.log"
    with child(command, log) as process:
        await_true(lambda: listens(port), f"node_exporter listens: {log}")
        return _scrape(port, process.pid, rate_hz, seconds)


def _scrape(port: int, pid: int, rate_hz: float, seconds: float) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    body = _get(connection)
    counters = body.count(b"\nnode_rapl_")
    if not counters:
        raise BenchError("node_exporter shows no node_rapl_ series")
    period, samples, late = 1.0 / rate_hz, 0, 0
    used_s, begun = cpu_s([pid]), time.monotonic()
    deadline = begun
    while deadline < begun + seconds:
        time.sleep(max(0.0, deadline - time.monotonic()))
        _get(connection)
        samples += 1
        deadline += period
        missed = max(0, int((time.monotonic() - deadline) / period))
        late += missed
        deadline += missed * period
    used_s, wall_s = cpu_s([pid]) - used_s, time.monotonic() - begun
    connection.close()
    return {"samples": samples, "late": late, "cpu_s": used_s, "wall_s": wall_s, "counters": counters}


def _get(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


def denki(folder: Path, rate_hz: float, seconds: float) -> dict[str, Any]:
    """Fetch ``denki.rapl.raw`` through pmcd with pmval; pmcd and the agent it starts are counted, pmval is not."""
    environment = peers.pcp_environment(folder)
    port, log = free_port(), folder / "pmcd.log"
    (folder / "pmns").write_text(_PMNS)
    agent = f"{peers.DENKI} -d 156 -l {folder}/denki.log -U root"
    (folder / "pmcd.conf").write_text(f"denki 156 pipe binary {agent}\n")
    command = [str(peers.ROOT / "usr" / "lib" / "pcp" / "bin" / "pmcd"), "-f", "-A", "-i", "127.0.0.1", "-U", "root"]
    command += ["-p", str(port), "-c", str(folder / "pmcd.conf"), "-n", str(folder / "pmns")]
    command += ["-l", str(log), "-s", str(folder / "pmcd.socket")]
    with child(command, folder / "pmcd.out", env=environment) as process:
        await_true(lambda: listens(port), f"pmcd listens: {log}")
        pids = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(recursive=True))]
        samples = round(rate_hz * seconds)
        pmval = [str(peers.ROOT / "usr" / "bin" / "pmval"), "-h", f"127.0.0.1:{port}", "-r", "-s", str(samples)]
        used_s, begun = cpu_s(pids), time.monotonic()
        done = subprocess.run(
            [*pmval, "-t", f"{1.0 / rate_hz:.6f}", "denki.rapl.raw"],
            check=False, capture_output=True, text=True, env=environment, timeout=5 * seconds + 30,
        )  # fmt: skip
        wall_s, used_s = time.monotonic() - begun, cpu_s(pids) - used_s
        process.terminate()
        process.wait(10)
    return _fetched(done, used_s, wall_s)


def _fetched(done: subprocess.CompletedProcess[str], used_s: float, wall_s: float) -> dict[str, Any]:
    rows = [line.split() for line in done.stdout.splitlines()]
    values = [row for row in rows if row and all(word.isdigit() for word in row)]
    if done.returncode or not values:
        raise BenchError(f"pmval: {(done.stderr.strip() or 'no values').splitlines()[-1]}")
    return {"samples": len(values), "late": 0, "cpu_s": used_s, "wall_s": wall_s, "counters": len(values[-1])}
