"""The whole agent as a process, with a broker: what it costs, and whether its joules are true."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from sensing.machine import BenchError, await_true, child, cpu_s, say, twin
from sensing.servers import free_port, listens

from evenwatt_twin.truth import Truth
from evenwatt_wire import Kind, Ledger, Topic, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensing.plan import Plan

_PROCESSES: Final = 200
_BUSY: Final = 20
_SETTLE_S: Final = 5.0
# Values just before the wrap points of 61 and 15.3 microjoule counters: a package wraps after about 10 s at 150 W.
_PACKAGE: Final = {"start_uj": 262_143_328_850 - 1_000_000_000}
_DRAM: Final = {"start_uj": 65_712_999_613 - 80_000_000}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The ledger against the truth, over exactly the ledger's own intervals."""

    error_pct: float
    records: int
    boots: int
    covered_pct: float
    """Share of the time between the first record's start and the last one's end that some record covers."""
    lost_records: int
    """Numbers missing within a boot."""


def agent_cost(folder: Path, plan: Plan, sysfs: Path) -> dict[str, Any]:
    """Run the agent at 100 Hz among 200 processes; return its share of a core and its memory."""
    with ExitStack() as stack:
        port, log = broker(stack, folder), folder / "agent.log"
        for _ in range(max(0, _PROCESSES - len(psutil.pids()))):
            stack.enter_context(child(["sleep", "86400"], folder / "sleep.log"))
        agent = stack.enter_context(child(agent_command(settings(folder, sysfs, port, ledger_s=60.0)), log))
        await_measuring(agent, folder)
        time.sleep(_SETTLE_S)  # what a start costs is not what running costs
        say(f"whole agent at 100 Hz among {len(psutil.pids())} processes, {plan.agent_s:.0f} s")
        used_s, begun, rss = cpu_s([agent.pid]), time.monotonic(), 0
        while time.monotonic() < begun + plan.agent_s:
            if agent.poll() is not None:
                raise BenchError(f"the agent ended with {agent.returncode}: {_last_line(log)}")
            rss = max(rss, psutil.Process(agent.pid).memory_info().rss)
            time.sleep(0.5)
        used_s, wall_s = cpu_s([agent.pid]) - used_s, time.monotonic() - begun
        return {"cpu_pct": round(100 * used_s / wall_s, 2), "rss_mb": round(rss / 1e6, 1)}


def undisturbed(folder: Path, plan: Plan) -> Accuracy:
    """Let it count in peace."""
    say(f"energy against the truth, undisturbed, {plan.calm_s:.0f} s")
    with ExitStack() as stack:
        sysfs = stack.enter_context(twin(folder, {"preset": "xeon_2s"}))
        port = broker(stack, folder)
        agent = stack.enter_context(
            child(agent_command(settings(folder, sysfs, port, ledger_s=1.0)), folder / "agent.log")
        )
        await_measuring(agent, folder)
        time.sleep(plan.calm_s)
        stop(agent)
    return _judge(folder)


def disturbed(folder: Path, plan: Plan) -> Accuracy:
    """Every counter wraps, the machine is overloaded, the broker goes for a while and the agent is killed."""
    say(f"energy against the truth, disturbed, {plan.disturbed_s:.0f} s")
    zones = {"0": _PACKAGE, "1": _PACKAGE, "0:2": _DRAM, "1:2": _DRAM}
    with ExitStack() as stack:
        sysfs = stack.enter_context(twin(folder, {"preset": "xeon_2s", "powercap": {"zones": zones}}))
        first = counts(sysfs)
        port = free_port()
        command = agent_command(settings(folder, sysfs, port, ledger_s=1.0))
        begun = time.monotonic()
        with broker_at(folder, port), child(command, folder / "agent.log") as agent:
            await_measuring(agent, folder)
            for _ in range(_BUSY):
                stack.enter_context(child([sys.executable, "-c", "while True: pass"], folder / "busy.log"))
            time.sleep(plan.disturbed_s / 8)
            agent.kill()  # both at once: the next agent starts without a broker
        second = stack.enter_context(child(command, folder / "agent.log"))
        await_measuring(second, folder)
        time.sleep(plan.broker_away_s)
        stack.enter_context(broker_at(folder, port))
        time.sleep(max(1.0, begun + plan.disturbed_s - time.monotonic()))
        wrapped = [name for name, value in counts(sysfs).items() if value < first[name]]
        if len(wrapped) < len(zones):
            raise BenchError(f"only {wrapped} wrapped: the run was too short to say anything about wraps")
        stop(second)
    return _judge(folder)


def counts(sysfs: Path) -> dict[str, int]:
    """Outermost packages and their memory as they stand."""
    paths = sorted((sysfs / "class" / "powercap").glob("*:*"))
    wanted = [path for path in paths if (path / "name").read_text().startswith(("package", "dram"))]
    return {path.name: int((path / "energy_uj").read_text()) for path in wanted}


def records_of(folder: Path) -> list[Ledger]:
    """Every record: nobody acknowledges them here, so the spool still has them all."""
    with sqlite3.connect(folder / "state" / "agent.db") as database:
        payloads = [row[0] for row in database.execute("SELECT payload FROM ledger ORDER BY row")]
    topic = Topic("bench", "n1", Kind.LEDGER)
    records = [record for payload in payloads if isinstance(record := decode(topic, bytes(payload)), Ledger)]
    if not records:
        raise BenchError(f"the agent wrote no record: {_last_line(folder / 'agent.log')}")
    return records


def _judge(folder: Path) -> Accuracy:
    records = records_of(folder)
    truth = Truth.load(folder / "n1" / "truth.bin")
    true_j = sum(truth.energy_j(record.start_mono_ns, record.end_mono_ns) for record in records)
    counted_j = sum(record.total.energy_j for record in records)
    spans = [(record.start_mono_ns, record.end_mono_ns) for record in records]
    whole_ns = max(end for _, end in spans) - min(start for start, _ in spans)
    seqs: dict[str, list[int]] = {}
    for record in records:
        seqs.setdefault(record.boot, []).append(record.seq)
    return Accuracy(
        error_pct=round(100 * abs(counted_j - true_j) / true_j, 4),
        records=len(records),
        boots=len(seqs),
        covered_pct=round(100 * sum(end - start for start, end in spans) / whole_ns, 3),
        lost_records=sum(max(numbers) - len(numbers) for numbers in seqs.values()),
    )


def settings(folder: Path, sysfs: Path, port: int, ledger_s: float) -> Path:
    lines = {"fleet": "bench", "zone": "bench", "node": "n1"}
    lines |= {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    text += f'[mqtt]\nport = {port}\n[sources]\nsysfs = "{sysfs}"\nrate_hz = 100\n[report]\nledger_s = {ledger_s}\n'
    (folder / "agent.toml").write_text(text)
    return folder / "agent.toml"


def agent_command(settings: Path) -> list[str]:
    return [sys.executable, "-m", "evenwatt_agent", "--config", str(settings)]


def broker(stack: ExitStack, folder: Path) -> int:
    port = free_port()
    stack.enter_context(broker_at(folder, port))
    return port


@contextmanager
def broker_at(folder: Path, port: int) -> Iterator[None]:
    command = [sys.executable, str(Path(__file__).with_name("broker.py")), str(port)]
    with child(command, folder / "broker.log"):
        await_true(lambda: listens(port), f"the broker listens: {folder / 'broker.log'}")
        yield


def await_measuring(agent: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the agent's local socket answers; say its last words if it ends instead."""

    def answers() -> bool:
        if agent.poll() is not None:
            raise BenchError(f"the agent ended with {agent.returncode}: {_last_line(folder / 'agent.log')}")
        return (folder / "run" / "agent.sock").exists()

    await_true(answers, "the agent measures", 60.0)


def stop(agent: subprocess.Popen[bytes]) -> None:
    agent.send_signal(signal.SIGTERM)
    try:
        agent.wait(60)
    except subprocess.TimeoutExpired:
        raise BenchError("the agent did not stop within 60 s") from None


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip() or "(nothing)").splitlines()[-1]
