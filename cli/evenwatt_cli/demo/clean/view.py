"""What a person sees while the scenario runs: a live picture as large as the terminal, or a line every few seconds."""

from __future__ import annotations

import sys
import time
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from evenwatt_cli.demo.clean.bars import curve, job_bar, legend, ruler
from evenwatt_cli.demo.clean.seen import is_late, variant_words, will_be_late

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from evenwatt_cli.demo.clean.seen import Seen

Document = dict[str, Any]

_WIDTH: Final = 80
_HEIGHT: Final = 40
_WIDEST: Final = 120
_FRAME: Final = 5
"""Columns of the frame, its padding, and the blank before a bar."""
_LEAST_HOURS: Final = 8
_NAME: Final = 16
_JOBS: Final = 20
_IMPORTANT: Final = 5
"""So many open jobs are shown before machines are left out."""
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
            f"      jobs: {_jobs_line(seen, time.time())}  {_saved(seen)}\n"
            f"      service: {seen.service.get('variant', '-')}\n"
            f"      caps: {caps}",
            file=sys.stderr,
        )


class LiveView:
    """The grid's hours with the jobs in them, the machines, the service, and what it was worth; twice a second."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, seen: Seen, elapsed_s: float, seconds: float) -> None:
        """Draw the picture as large as the terminal is now."""
        width, height = self._console.size
        self._live.update(picture(seen, elapsed_s, seconds, time.time(), width, height))


def picture(
    seen: Seen, elapsed_s: float, seconds: float, now_s: float, width: int = _WIDTH, height: int = _HEIGHT
) -> Panel:
    """Return the picture at a moment; what is least important is left out where the terminal is too low.

    Args:
        seen: What there is to show.
        elapsed_s: Since the demo began.
        seconds: How long it lasts.
        now_s: Unix time.
        width: Columns of the terminal.
        height: Lines of the terminal; the frame, with the seconds left, is always drawn.
    """
    width = min(width, _WIDEST)
    title = f"clean hours: a grid hour is {seen.day.hour_s} s"
    left = f"{max(0.0, seconds - elapsed_s):.0f} s left, Ctrl-C ends"
    lines = fitting(list(_lines(seen, now_s, max(_LEAST_HOURS, width - _NAME - _FRAME))), height - 2)
    return Panel(Group(*lines), title=title, subtitle=left, width=width)


def fitting(lines: list[tuple[int, Text]], height: int) -> list[Text]:
    """Return as many lines as fit, in order; those of the highest rank go first, and of one rank the last."""
    ranked = sorted(range(len(lines)), key=lambda i: (lines[i][0], i))[: max(0, height)]
    return [_one_line(lines[i][1]) for i in sorted(ranked)]


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _lines(seen: Seen, now_s: float, hours: int) -> Iterator[tuple[int, Text]]:
    """Yield each line with its rank: 0 is shown in the lowest terminal."""
    yield 0, _grid(seen, now_s)
    yield from _timeline(seen, now_s, hours)
    yield from ((3, line) for line in _nodes(seen))
    for i, part in enumerate(wrap(_service(seen), hours + _NAME, subsequent_indent="  ")):
        yield 4 if i else 2, Text(part, style="dim" if i else "")
    yield 0, Text(f"jobs: {_jobs_line(seen, now_s)}")
    yield 1, Text(f"      {_saved(seen)}")
    yield from ((5, Text(f"cap of {name}: {words.partition(',')[0]}")) for name, words in sorted(seen.caps.items()))
    for one in seen.score.get("scores", []):
        if one.get("against"):
            yield 4, Text(_score_line(one))
            yield 6, Text(f"  {_factors(one)}", style="dim")


def _grid(seen: Seen, now_s: float | None = None) -> Text:
    wall_s = time.time() if now_s is None else now_s
    now_g, median_g = seen.day.intensity_g(wall_s), seen.day.median_g
    clean = now_g < median_g
    text = Text(f"{seen.day.clock(wall_s)}  {now_g:.0f} g/kWh, ")
    text.append("clean" if clean else "dirty", style="green" if clean else "dark_orange")
    text.append(f" (median {median_g:.0f})", style="dim")
    return text


def _timeline(seen: Seen, now_s: float, hours: int) -> Iterator[tuple[int, Text]]:
    first = seen.day.number(now_s) - hours // 3
    for line in curve(seen.day, first, now_s, hours):
        yield 1, _row("g/kWh", "dim", line)
    yield 1, _row("hour", "dim", ruler(seen.day, first, now_s, hours))
    yield 2, legend()
    shown = _shown(seen)
    important = {job["id"] for job in [one for one in shown if one["ended_s"] is None][:_IMPORTANT]}
    for job in shown:
        style = {"done": "dim", "failed": "red"}.get(job["state"], "")
        bar = job_bar(job, seen.day, first, now_s, hours)
        rank = 2 if job["id"] in important else 6 if job["ended_s"] is None else 7
        yield rank, _row(_short(job["spec"]["name"]), style, bar)


def _row(name: str, style: str, bar: Text) -> Text:
    return Text.assemble((f"{name:<{_NAME + 1}}", style), bar)


def _shown(seen: Seen) -> list[Document]:
    """Return the jobs that are open, and those that ended last, as they came."""
    batch = [job for job in seen.jobs.values() if not job["spec"].get("service")]
    ranked = sorted(batch, key=lambda job: (job["ended_s"] is not None, -(job["ended_s"] or job["submitted_s"])))
    return sorted(ranked[:_JOBS], key=lambda job: float(job["submitted_s"]))


def _nodes(seen: Seen) -> Iterator[Text]:
    running = {run["node"]: job["spec"]["name"] for job, run in seen.running()}
    names = max((len(node["node"]) for node in seen.nodes), default=4)
    yield Text(f"{'node':<{names}} {'power':>7} {'':<{_BAR}} {'cap':>7} runs", style="dim")
    for node in seen.nodes:
        power = f"{node.get('power_w') or 0.0:.0f} W"
        runs = running.get(node["node"]) or (seen.service.get("variant", "") if _serves(seen, node) else "")
        yield Text.assemble(
            f"{node['node']:<{names}} {power:>7} {_bar(node)} {_cap(node):>7} ", (_short(runs), "green")
        )


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


def _service(seen: Seen) -> str:
    """Return what the service runs and why."""
    service = seen.service
    return f"service: {variant_words(str(service['variant']), str(service['why']))}" if service else ""


def _score_line(score: Document) -> str:
    sci, grade, before_g = score.get("sci"), score.get("grade") or {}, score["against"]["g_per_unit"]
    if not sci:
        return f"{score['name']}: no score yet"
    points = f", {grade['letter']} {grade['points']:.0f} of 100" if grade else ""
    unit = score["unit"].removesuffix("s")
    return f"{score['name']}: {1e3 * sci['g_per_unit']:.3g} mg per {unit}, before {1e3 * before_g:.3g}{points}"


def _factors(score: Document) -> str:
    ratios = {factor["name"]: factor["ratio"] for factor in score["factors"] if factor["ratio"]}
    parts = [f"{name} x{ratios[name]:.2f}" for name in ("energy", "idle", "grid", "timing") if name in ratios]
    return ", ".join(parts)


def _jobs_line(seen: Seen, now_s: float) -> str:
    jobs = [job for job in seen.jobs.values() if not job["spec"].get("service")]
    done = sum(job["state"] == "done" for job in jobs)
    late, foreseen = (sum(is_so(job, now_s) for job in jobs) for is_so in (is_late, will_be_late))
    running = sum(1 for job, _ in seen.running())
    more = f" ({foreseen} foreseen)" if foreseen else ""
    return f"{done} of {len(jobs)} done, {running} running, {late + foreseen} late{more}"


def _saved(seen: Seen) -> str:
    outcomes = [job["outcome"] for job in seen.jobs.values() if job.get("outcome")]
    at_once_g = sum(one["counterfactual_g"] for one in outcomes)
    if not at_once_g:
        return "nothing to compare yet"
    grams = sum(one["grams"] for one in outcomes)
    return f"{grams:.1f} g instead of {at_once_g:.1f} g at once: {100 * (1 - grams / at_once_g):.0f} % saved"


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
