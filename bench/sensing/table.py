"""The result, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from sensing import costs

if TYPE_CHECKING:
    from sensing.node import Accuracy


def show(
    result: dict[str, Any], rows: list[costs.Cost], ours: dict[int, costs.Cost], runs: dict[str, Accuracy]
) -> None:
    """Print every measurement and the ratios."""
    console = Console()
    table = Table(title="one sample of the counters")
    for heading in ("subject", "asked Hz", "reached Hz", "% of a core", "us per sample", "reads", "late", "/ ours"):
        table.add_column(heading, justify="left" if heading == "subject" else "right")
    for row in sorted(rows, key=lambda one: (one.asked_hz, one.sample_us)):
        base = ours.get(round(row.asked_hz), ours[100])
        reached = f"{row.rate_hz:.0f}" + ("" if costs.reached(row) else " (!)")
        ratio = f"{row.sample_us / base.sample_us:.2f}"
        figures = (f"{row.asked_hz:.0f}", reached, f"{row.cpu_pct:.2f}", f"{row.sample_us:.1f}")
        table.add_row(row.name, *figures, str(row.counters), str(row.late), ratio)
    console.print(table)
    for rate, ratio in result["cpu_ratio_to_c"].items():
        console.print(f"sampler / C loop at {rate} Hz: {ratio:.2f}")
    agent = result["agent"]
    console.print(f"whole agent at 100 Hz: {agent['cpu_pct']:.2f} % of a core, {agent['rss_mb']:.1f} MB")
    for name, run in runs.items():
        console.print(
            f"energy {name}: {run.error_pct:.4f} % off over {run.records} records of {run.boots} boot(s), "
            f"{run.covered_pct:.2f} % of the time covered, {run.lost_records} records lost"
        )
    share = result["shares"]
    console.print(
        f"two tasks: energy {share['energy_ratio']:.3f} to 1, processor time {share['cpu_ratio']:.3f} to 1, "
        f"{share['error_pct']:.2f} % off; parts of a record sum to its total within {share['sum_error_uj']} uJ"
    )
    for name, version in result["peers"].items():
        console.print(f"{name}: {version}", highlight=False)
