"""Grams the slow way: every record against every reading, in exact fractions. Shares no code with what it checks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from fractions import Fraction
from itertools import pairwise

RANK = {"measured": 2, "estimated": 2, "forecast": 1, "fallback": 0}


def grams(pieces, readings, line, fallback, known_at_s, order=()):
    """pieces: (start_ms, end_ms, joules); line: [(since_s, pue)], ascending; returns grams as a Fraction."""
    known = sorted((r for r in readings if r.recorded_s <= known_at_s), key=lambda r: r.start_s)
    starts = [r.start_s for r in known]
    longest_s = max((r.end_s - r.start_s for r in known), default=0)
    total = Fraction(0)
    for start_ms, end_ms, joules in pieces:
        near = known[bisect_left(starts, start_ms / 1e3 - longest_s - 1) : bisect_right(starts, end_ms / 1e3 + 1)]
        edges = {start_ms, end_ms}
        edges |= {at * 1000 for r in near for at in (r.start_s, r.end_s)}
        edges |= {since * 1000 for since, _ in line}
        cuts = sorted(edge for edge in edges if start_ms <= edge <= end_ms)
        for begin, end in pairwise(cuts):
            middle_s = (begin + end) / 2000
            share = Fraction(joules) * (end - begin) / (end_ms - start_ms)
            pue = [value for since, value in line if since <= middle_s][-1]
            total += share / 3_600_000 * Fraction(pue) * Fraction(intensity(near, middle_s, fallback, order))
    return total


def intensity(readings, at_s, fallback, order=()):
    speaking = [r for r in readings if r.start_s <= at_s < r.end_s]
    if not speaking:
        return fallback
    return max(speaking, key=lambda r: (RANK[r.standing], place(r.source, order), r.issued_s, r.recorded_s)).g_per_kwh


def place(source, order):
    return -order.index(source) if source in order else -len(order)
