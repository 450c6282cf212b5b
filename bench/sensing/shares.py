"""Two tasks whose processor time stands 3 to 1: does their energy?"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from sensing import node
from sensing.machine import BenchError, child, say, twin

if TYPE_CHECKING:
    from pathlib import Path

    from sensing.plan import Plan

    from evenwatt_wire import Ledger

_CYCLE_S: Final = 0.2
_SHARES: Final = {"three": 0.36, "one": 0.12}
"""Of one processor: together well below it, so that both get what they ask for."""

# Uses SHARE of a processor in cycles, by its own processor clock, and says in the end what it has used.
_PROGRAM: Final = """
import json, sys, time
share, cycle_s, seconds, path = float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
began, used = time.monotonic(), time.process_time()
for cycle in range(1, round(seconds / cycle_s) + 1):
    while time.process_time() - used < share * cycle_s * cycle:
        pass
    time.sleep(max(0.0, began + cycle * cycle_s - time.monotonic()))
open(path, "w").write(json.dumps(time.process_time()))
"""


def share_error(folder: Path, plan: Plan) -> dict[str, Any]:
    """Run both tasks at once under the agent.

    Returns:
        ``error_pct``: how far the ratio of their dynamic energy is from the ratio of their processor time as they saw
        it themselves; ``energy_ratio``, ``cpu_ratio``; ``sum_error_uj``: the largest difference between a record's
        parts and its total.
    """
    say(f"two tasks that use 3 to 1, {plan.share_s:.0f} s")
    with ExitStack() as stack:
        spec = {"preset": "xeon_2s", "profile": {"kind": "steady", "load": 0.8}}
        tree = stack.enter_context(twin(folder, spec))
        settings = node.settings(folder, tree, node.broker(stack, folder), ledger_s=1.0)
        agent = stack.enter_context(child(node.agent_command(settings), folder / "agent.log"))
        node.await_measuring(agent, folder)
        (folder / "operator.toml").write_text(f'socket = "{folder}/run/agent.sock"\n')
        runs = {name: _start(folder, name, plan.share_s) for name in _SHARES}
        summaries = {name: _end(name, run) for name, run in runs.items()}
        node.stop(agent)
    energy = {name: summary["cpu_energy_j"] for name, summary in summaries.items()}
    used = {name: float((folder / f"{name}.json").read_text()) for name in _SHARES}
    ratios = {"energy_ratio": energy["three"] / energy["one"], "cpu_ratio": used["three"] / used["one"]}
    error_pct = 100 * abs(ratios["energy_ratio"] / ratios["cpu_ratio"] - 1)
    rounded = {name: round(value, 4) for name, value in ratios.items()}
    return {"error_pct": round(error_pct, 3), "sum_error_uj": _sum_error_uj(folder), **rounded}


def _start(folder: Path, name: str, seconds: float) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", _PROGRAM, str(_SHARES[name]), str(_CYCLE_S), str(seconds)]
    run = [sys.executable, "-m", "evenwatt_cli", "run", "--json", "--name", name, "--workload", "bench"]
    run += ["-c", str(folder / "operator.toml"), "--", *program, str(folder / f"{name}.json")]
    return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _end(name: str, run: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = run.communicate(timeout=300)
    report: dict[str, Any] = json.loads(out.splitlines()[-1]) if out.strip() else {}
    task: dict[str, Any] | None = report.get("task")
    if task is None:
        raise BenchError(f"task {name} was not measured: {err.strip() or 'it said nothing'}")
    return task


def _sum_error_uj(folder: Path) -> int:
    return max(round(1e6 * abs(sum(_joules(r)) - r.total.energy_j)) for r in node.records_of(folder))


def _joules(record: Ledger) -> list[float]:
    return [part.cpu_j + part.gpu_j + part.idle_j for part in record.parts]
