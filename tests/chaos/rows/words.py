"""Figures as they stand in the table, and what is asked of more than one row."""

from __future__ import annotations

import subprocess
import sys

from evenwatt_agent import restore
from tests.chaos.rig import RESERVE_W


def energy(report):
    """Return what the ledger missed of the truth, over all nodes."""
    counted_j = sum(row["counted_j"] for row in report.values())
    off_j = sum(row["off_j"] for row in report.values())
    true_j = sum(row["true_j"] for row in report.values())
    holes_s = sum(row["holes_s"] for row in report.values())
    holes = f", {holes_s:.1f} s not covered" if holes_s >= 0.05 else ""
    return f"{counted_j:.0f} J counted, {100 * off_j / true_j:+.2f} % of the truth{holes}, 0 records missing"


def within_leases(rig, limits, ear):
    """See to it that no machine's limits were ever above its own lease, less what they do not reach."""
    spare_w = limits.spare_w(ear.leases)
    assert spare_w.keys() == set(rig.names)
    assert min(spare_w.values()) >= RESERVE_W - 1.0, spare_w


def put_back(state):
    """Do what the service manager does after any death of what had limited power, with its folder of originals."""
    subprocess.run([sys.executable, "-I", restore.__file__, "--state-dir", str(state)], check=True)
