"""What stands below the figures, in words: coverage, what is known, sources, scores, comparisons. For text and page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_cli.reporting import words
from evenwatt_collector.carbon.series import Kind, Standing
from evenwatt_collector.report.compare import NoComparison
from evenwatt_collector.report.sci import NoScore

if TYPE_CHECKING:
    from evenwatt_collector.report.compare import Change, Comparison
    from evenwatt_collector.report.document import Derived
    from evenwatt_collector.report.model import Report
    from evenwatt_collector.report.sci import Score


def coverage_lines(report: Report, derived: Derived) -> list[str]:
    """Say how the energy was metered and what is missing."""
    total = report.total
    names = ("measured", "integrated", "estimated", "unknown")
    parts = [(name, getattr(total, f"{name}_j")) for name in names]
    shares = ", ".join(f"{words.share(joules / total.energy_j)} {name}" for name, joules in parts if joules > 0)
    lines = [
        f"energy: {shares}"
        if total.energy_j > 0
        else "nothing was recorded in this period: no energy is not zero emissions"
    ]
    if total.missing_s > 0:
        missing = f"missing: {words.span(total.missing_s)} of node-time"
        if derived.time_coverage is not None:
            missing += f", {words.share(1 - derived.time_coverage)}; not filled in"
        lines.append(missing)
    elif total.covered_s > 0:
        lines.append("missing: nothing")
    return lines


def known_lines(report: Report) -> list[str]:
    """Say how the intensities are known."""
    energy_j = report.total.energy_j
    known = report.total.by_standing_j
    if energy_j <= 0 or not known:
        return []
    shares = (f"{words.share(known[s] / energy_j)} {s}" for s in Standing if known.get(s, 0) > 0)
    return [f"intensity: {', '.join(shares)}"]


def source_lines(report: Report) -> list[str]:
    """Name every source with its mean."""
    lines = []
    for used in report.used:
        said = f"{used.grid}: {used.source}, {used.kind} {used.basis}, {used.standing}"
        mean = f"{words.digits(used.mean_g_per_kwh)} g/kWh"
        lines.append(f"  {said}: {mean} over {words.energy(used.energy_j)}")
    return ["sources:", *lines] if lines else []


def score_lines(report: Report, derived: Derived) -> list[str]:
    """Say the score with its terms: of the whole, then of the groups that have one."""
    if derived.sci is None:
        return []
    if isinstance(derived.sci, NoScore):
        lines = [f"SCI: none, since {derived.sci.why}"]
    else:
        lines = [f"SCI of the whole: {score_text(derived.sci)}", f"  {terms(derived.sci)}"]
    for row, score in zip(report.rows, derived.sci_rows, strict=False):
        if not isinstance(score, NoScore):
            lines += [f"SCI of {row.name}: {score_text(score)}", f"  {terms(score)}"]
    return lines


def score_text(score: Score) -> str:
    """Return a score with its range."""
    said = f"{words.mass(score.g_per_unit)} CO2e per {score.unit}"
    return f"{said} (90 %: {words.mass_range(score.low_g_per_unit, score.high_g_per_unit)})"


def terms(score: Score) -> str:
    """Return a score's terms as the formula has them."""
    made = "M unknown" if score.embodied_g is None else words.mass(score.embodied_g)
    said = (
        f"((E {words.energy(3.6e6 * score.energy_kwh)} x I {words.digits(score.g_per_kwh)} g/kWh {score.kind}) + "
        f"M {made}) per R {words.digits(score.units)} {score.unit}"
    ).replace("M M unknown", "M unknown")
    if not score.complete:
        said += "; operation only, not a full SCI: configure the devices to have M"
    if score.kind is Kind.MARGINAL and score.intensity_share < 1:
        said += f"; I is known for {words.share(score.intensity_share)} of E"
    return said


def compared_lines(comparison: Comparison | NoComparison, timezone: str) -> list[str]:
    """Say what changed, by what, and why that may not be comparable."""
    if isinstance(comparison, NoComparison):
        return [f"comparison: none, since {comparison.why}"]
    earlier = words.period(comparison.earlier_start_s, comparison.earlier_end_s, timezone)
    lines = [f"against {earlier}:", f"  {verdict(comparison)}"]
    lines += [
        f"  {change.name} x {words.digits(change.ratio)} ({added(change, comparison)} per {comparison.per})"
        for change in comparison.changes
    ]
    lines += [f"  not comparable: {doubt}" for doubt in comparison.doubts]
    return lines


def added(change: Change, comparison: Comparison) -> str:
    """Return what a factor adds, with its sign; what is only the rounding of floats is nothing."""
    if abs(change.added_g) <= 1e-9 * max(comparison.earlier_g, comparison.later_g):
        return words.mass(0.0)
    return ("+" if change.added_g > 0 else "") + words.mass(change.added_g)


def verdict(comparison: Comparison) -> str:
    """Return the change in one line."""
    said = f"{words.mass(comparison.later_g)} CO2e per {comparison.per}, was {words.mass(comparison.earlier_g)}"
    return said if comparison.ratio is None else f"{said} ({words.signed(comparison.ratio - 1)})"
