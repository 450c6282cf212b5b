"""Figures as they stand in the table."""

from __future__ import annotations


def energy(report):
    """Return what the ledger missed of the truth, over all nodes."""
    counted_j = sum(row["counted_j"] for row in report.values())
    off_j = sum(row["off_j"] for row in report.values())
    true_j = sum(row["true_j"] for row in report.values())
    holes_s = sum(row["holes_s"] for row in report.values())
    holes = f", {holes_s:.1f} s not covered" if holes_s >= 0.05 else ""
    return f"{counted_j:.0f} J counted, {100 * off_j / true_j:+.2f} % of the truth{holes}, 0 records missing"
