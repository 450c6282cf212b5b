"""What a person sees while the scenario runs: a live picture of 80 columns, or a line every few seconds."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from evenwatt_cli.demo.clean.bars import HOURS_SHOWN, curve, job_bar, ruler

if TYPE_CHECKING:
    from types import TracebackType

    from evenwatt_cli.demo.clean.seen import Seen

Document = dict[str, Any]

_WIDTH: Final = 80
_NAME: Final = 16
_JOBS: Final = 9
_PROGRESS_S: Final = 5.0
_BAR: Final = 16


class View(Protocol):
    """Something that shows again and again how things are."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, seen: Seen, elapsed_s: float, seconds: float) -> None:
        """Show what has been seen."""


class Progress:
    """Lines on standard error."""

    def __init__(self) -> None:
        self._due_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, seen: Seen, elapsed_s: float, seconds: float) -> None:
        """Say where the run is."""
        if elapsed_s < self._due_s:
            return
        self._due_s = elapsed_s + _PROGRESS_S
        caps = " ".join(f"{node['node']} {_cap(node)}" for node in seen.nodes)
        print(
            f"demo: {elapsed_s:3.0f} of {seconds:.0f} s  grid {_grid(seen).plain}\n"
            f"      jobs: {_jobs_line(seen)}  service: {seen.service.get('variant', '-')}  {_saved(seen)}\n"
            f"      caps: {caps}",
            file=sys.stderr,
        )


class LiveView:
    """The grid's hours with the jobs in them, the machines, the service, and what it was worth; twice a second."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._width = min(_WIDTH, console.width)
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, seen: Seen, elapsed_s: float, seconds: float) -> None:
        """Draw the picture."""
        self._live.update(picture(seen, elapsed_s, seconds, time.time(), self._width))


def picture(seen: Seen, elapsed_s: float, seconds: float, now_s: float, width: int = _WIDTH) -> Panel:
    """Return the picture at a moment."""
    title = f"clean hours: a grid hour is {seen.day.hour_s} s"
    left = f"{max(0.0, seconds - elapsed_s):.0f} s left, Ctrl-C ends"
    parts = Group(_grid(seen, now_s), _timeline(seen, now_s), _nodes(seen), _service(seen), _worth(seen))
    return Panel(parts, title=title, subtitle=left, width=width)


def _grid(seen: Seen, now_s: float | None = None) -> Text:
    wall_s = time.time() if now_s is None else now_s
    now_g, median_g = seen.day.intensity_g(wall_s), seen.day.median_g
    clean = now_g < median_g
    text = Text(f"{seen.day.clock(wall_s)}  {now_g:.0f} g/kWh, ")
    text.append("clean" if clean else "dirty", style="green" if clean else "dark_orange")
    text.append(f" (median {median_g:.0f})", style="dim")
    return text


def _timeline(seen: Seen, now_s: float) -> Table:
    first = seen.day.number(now_s) - HOURS_SHOWN // 3
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=_NAME, no_wrap=True)
    table.add_column(width=HOURS_SHOWN, no_wrap=True)
    for line in curve(seen.day, first, now_s):
        table.add_row(Text("g/kWh", style="dim"), line)
    table.add_row(Text("hour", style="dim"), ruler(seen.day, first, now_s))
    for job in _shown(seen):
        style = {"done": "dim", "failed": "red"}.get(job["state"], "")
        table.add_row(Text(_short(job["spec"]["name"]), style=style), job_bar(job, seen.day, first, now_s))
    return table


def _shown(seen: Seen) -> list[Document]:
    """Return the jobs that are open, and those that ended last, as they came."""
    batch = [job for job in seen.jobs.values() if not job["spec"].get("service")]
    ranked = sorted(batch, key=lambda job: (job["ended_s"] is not None, -(job["ended_s"] or job["submitted_s"])))
    return sorted(ranked[:_JOBS], key=lambda job: float(job["submitted_s"]))


def _nodes(seen: Seen) -> Table:
    running = {run["node"]: job["spec"]["name"] for job, run in seen.running()}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for column, side in (("node", "left"), ("power", "right"), ("", "left"), ("cap", "right"), ("runs", "left")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]  # rich's literal type
    for node in seen.nodes:
        power_w = node.get("power_w") or 0.0
        runs = running.get(node["node"]) or (seen.service.get("variant", "") if _serves(seen, node) else "")
        table.add_row(node["node"], f"{power_w:.0f} W", _bar(node), _cap(node), Text(_short(runs), style="green"))
    return table


def _bar(node: Document) -> str:
    """Draw a node's power; ``|`` stands where its cap is, if that is below what it could draw."""
    power_w, cap_w = node.get("power_w") or 0.0, node.get("cap_w")
    full_w = max(node.get("ceiling_w") or 0.0, power_w, 1.0)
    cells = round(_BAR * min(1.0, power_w / full_w))
    bar = ["█"] * cells + ["·"] * (_BAR - cells)
    if cap_w is not None and cap_w < 0.99 * full_w:
        bar[min(_BAR - 1, round(_BAR * cap_w / full_w))] = "|"
    return "".join(bar)


def _serves(seen: Seen, node: Document) -> bool:
    return bool(seen.service.get("node") == node["node"])


def _cap(node: Document) -> str:
    cap_w, ceiling_w = node.get("cap_w"), node.get("ceiling_w")
    if cap_w is None or (ceiling_w and cap_w > 0.99 * ceiling_w):
        return "open"
    return f"{cap_w:.0f} W"


def _service(seen: Seen) -> Text:
    text = Text()
    if not seen.service:
        return text
    text.append(f"service runs {seen.service['variant']}: ")
    text.append(str(seen.service["why"]).partition(";")[0], style="dim")
    return text


def _worth(seen: Seen) -> Text:
    lines = [f"jobs: {_jobs_line(seen)}; {_saved(seen)}"]
    lines += [f"cap of {name}: {words.partition(',')[0]}" for name, words in sorted(seen.caps.items())]
    lines += [_score_line(score) for score in seen.score.get("scores", []) if score.get("against")]
    return Text("\n".join(lines))


def _score_line(score: Document) -> str:
    sci, grade, before_g = score.get("sci"), score.get("grade") or {}, score["against"]["g_per_unit"]
    if not sci:
        return f"{score['name']}: no score yet"
    ratios = {factor["name"]: factor["ratio"] for factor in score["factors"] if factor["ratio"]}
    parts = [f"{name} x{ratios[name]:.2f}" for name in ("energy", "idle", "grid", "timing") if name in ratios]
    points = f", {grade['letter']} {grade['points']:.0f} of 100" if grade else ""
    return (
        f"{score['name']}: {1e3 * sci['g_per_unit']:.3g} mg per {score['unit'].removesuffix('s')}, "
        f"before {1e3 * before_g:.3g}{points} ({', '.join(parts)})"
    )


def _jobs_line(seen: Seen) -> str:
    jobs = [job for job in seen.jobs.values() if not job["spec"].get("service")]
    ended = [job for job in jobs if job["state"] == "done"]
    late = sum(bool(job["deadline_s"]) and job["ended_s"] > job["deadline_s"] for job in ended)
    running = sum(1 for job, _ in seen.running())
    return f"{len(ended)} of {len(jobs)} done, {running} running, {late} late"


def _saved(seen: Seen) -> str:
    outcomes = [job["outcome"] for job in seen.jobs.values() if job.get("outcome")]
    at_once_g = sum(one["counterfactual_g"] for one in outcomes)
    if not at_once_g:
        return "nothing to compare yet"
    grams = sum(one["grams"] for one in outcomes)
    return f"{grams:.1f} g instead of {at_once_g:.1f} g at once: {100 * (1 - grams / at_once_g):.0f} % saved"


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
