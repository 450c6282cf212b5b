"""``./dev bench soak [--minutes 60] [--json]``: is the agent's memory flat while tasks and processes come and go?

A real agent on a simulated server, with a real broker that is away for 20 s in every five minutes, runs under churn: a
few short-lived processes a second and a task every two seconds, some in a cgroup, some in Python, some killed. Every
ten seconds its resident memory, descriptors and threads are read from ``/proc``. The last line (``--json``) has the
first and last quarter's medians: flat means that they agree.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from sensing.servers import free_port

SAMPLE_S = 10.0
SETTINGS = """
node = "soak"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[mqtt]
port = {port}
[sources]
sysfs = "{folder}/twin/soak/sys"
[report]
ledger_s = 10.0
"""
PYTHON_TASK = "import time\nfrom evenwatt_agent import task\nwith task('py', workload='soak'): time.sleep(0.5)\n"


def main() -> int:
    options = _parse()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="evenwatt-soak-") as name:
        folder = Path(name)
        children: list[subprocess.Popen[bytes]] = []
        try:
            report = _soak(options.minutes * 60, folder, children, rng)
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                child.wait()
    if options.json:
        print(json.dumps(report))
    else:
        for key, row in report["measures"].items():
            print(f"{key:>12}: first quarter {row['first']:.1f}, last {row['last']:.1f}, most {row['most']:.1f}")
        print(f"{report['tasks']} tasks, {report['processes']} processes in {report['minutes']:.0f} min")
    return 0 if report["alive"] else 1


def _soak(seconds: float, folder: Path, children: list[subprocess.Popen[bytes]], rng: random.Random) -> dict:
    port = free_port()
    spec = {"machines": [{"id": "soak", "preset": "xeon_2s"}]}
    (folder / "twin.json").write_text(json.dumps(spec))
    (folder / "agent.toml").write_text(SETTINGS.format(folder=folder, port=port))
    twin = [sys.executable, "-m", "evenwatt_twin", str(folder / "twin.json"), "--dir", str(folder / "twin")]
    children.append(subprocess.Popen(twin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    children[0].stdout.readline()
    broker = _broker(port, folder)
    children.append(broker)
    log = (folder / "agent.log").open("wb")
    agent = subprocess.Popen(
        [sys.executable, "-m", "evenwatt_agent", "--config", str(folder / "agent.toml")], stdout=log, stderr=log
    )
    children.append(agent)
    environment = {**os.environ, "EVENWATT_TASK_SOCKET": str(folder / "run" / "task.sock")}
    began = time.monotonic()
    samples, tasks, processes, churn = [], 0, 0, []
    next_sample, next_task = began + 5 * SAMPLE_S, began + 2
    while (now := time.monotonic()) < began + seconds and agent.poll() is None:
        away = 240 <= (now - began) % 300 < 260
        if away == (broker.poll() is None):
            if away:
                broker.kill()
                broker.wait()
            else:
                broker = _broker(port, folder)
                children.append(broker)
        churn = [child for child in churn if child.poll() is None]
        if now >= next_task:
            churn.append(_task(rng, environment))
            tasks, next_task = tasks + 1, now + 2
        churn.append(subprocess.Popen(["sleep", f"{rng.uniform(0.01, 3):.2f}"]))
        processes += 1
        if now >= next_sample:
            samples.append(_sample(agent.pid))
            next_sample += SAMPLE_S
            _say(now - began, seconds, samples[-1])
        time.sleep(0.3)
    return {
        "minutes": (time.monotonic() - began) / 60,
        "alive": agent.poll() is None,
        "tasks": tasks,
        "processes": processes,
        "measures": {key: _trend([sample[key] for sample in samples]) for key in ("rss_mb", "fds", "threads", "cpu_s")},
        "cpu_pct": 100 * (samples[-1]["cpu_s"] - samples[0]["cpu_s"]) / (SAMPLE_S * (len(samples) - 1)),
    }


def _task(rng: random.Random, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    kind = rng.choice(["run", "run", "python", "killed"])
    if kind == "python":
        command = [sys.executable, "-c", PYTHON_TASK]
    else:
        duration = rng.uniform(0.1, 5)
        command = [sys.executable, "-m", "evenwatt_cli", "run", "--workload", "soak", "--", "sleep", f"{duration:.2f}"]
    if kind == "killed":
        command = ["timeout", "-s", "KILL", "1.5", *command]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _broker(port: int, folder: Path) -> subprocess.Popen[bytes]:
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    path = os.environ["PATH"] + ":/usr/sbin"
    return subprocess.Popen(
        ["mosquitto", "-c", str(config)],
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _sample(pid: int) -> dict[str, float]:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {
        "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "fds": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(fields[17]),
        "cpu_s": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
    }


def _trend(values: list[float]) -> dict[str, float]:
    quarter = max(1, len(values) // 4)
    first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
    return {"first": first, "last": last, "most": max(values)}


def _say(elapsed_s: float, seconds: float, sample: dict[str, float]) -> None:
    rss, fds, threads = sample["rss_mb"], sample["fds"], sample["threads"]
    words = f"{elapsed_s / 60:5.1f} of {seconds / 60:.0f} min: {rss:.1f} MB, {fds} descriptors, {threads} threads"
    print(words, file=sys.stderr, flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench soak", description="Memory under churn.")
    parser.add_argument("--minutes", type=float, default=60, help="at least 2")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
