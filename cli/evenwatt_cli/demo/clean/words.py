"""The scenario's report for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenwatt_cli.demo.clean.seen import variant_words

if TYPE_CHECKING:
    from collections.abc import Iterator


def in_words(report: dict[str, Any]) -> str:
    """Return the report as text."""
    return "\n".join(_lines(report))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    jobs, clean, grams, energy = (report[key] for key in ("jobs", "clean", "grams", "energy"))
    yield f"time was {report['time']}: {report['grid_hours']:.0f} hours of the grid in {report['seconds']:.0f} s"
    yield (
        f"jobs: {jobs['done']} of {jobs['submitted']} done in {jobs['runs']} runs, {jobs['late']} late, "
        f"{jobs['open']} open; {jobs['interrupted']} were interrupted and went on"
    )
    if clean["share_pct"] is not None:
        yield (
            f"{clean['share_pct']:.0f} % of their energy was used in clean hours, below "
            f"{clean['median_g_per_kwh']:.0f} g/kWh; at once it would have been {clean['at_once_share_pct']:.0f} %"
        )
    if grams["saved_pct"] is not None:
        yield (
            f"{grams['counted_g']:.1f} g CO2e instead of {grams['at_once_g']:.1f} g at once and at full power: "
            f"{grams['saved_pct']:.0f} % saved"
        )
    if energy["error_pct"] is not None:
        yield (
            f"joules of the runs {energy['counted_j'] / 1e3:.1f} kJ, true {energy['true_j'] / 1e3:.1f} kJ "
            f"({energy['error_pct']:+.1f} %)"
        )
    for change in report["service"]["changes"]:
        yield (
            f"service at {change['grid_time']}, {change['g_per_kwh']:.0f} g/kWh: "
            f"{variant_words(change['variant'], change['why'])}"
        )
    for name, cap in report["caps"].items():
        if cap["cap_w"] is not None and cap["regret_pct"] is not None:
            yield (
                f"cap of {name}: {cap['cap_w']:.0f} W, {cap['regret_pct']:.1f} % above the least energy per "
                f"{cap['unit'].removesuffix('s')} there is (at {cap['best_power_w']:.0f} W); saves "
                f"{cap['saved_pct']:.0f} of {cap['most_saved_pct']:.0f} %"
            )
    for name, score in report["score"].items():
        factors = ", ".join(f"{key} x{ratio:.2f}" for key, ratio in score["factors"].items() if ratio is not None)
        points = f", {score['letter']} with {score['points']:.0f} of 100" if score["points"] is not None else ""
        yield (
            f"score of {name}: {1e3 * score['now_g_per_unit']:.3g} mg per {score['unit'].removesuffix('s')}, before "
            f"{1e3 * score['before_g_per_unit']:.3g}{points} ({factors})"
        )
    for failure in report["failures"]:
        yield f"failed: {failure}"
