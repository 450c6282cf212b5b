"""Grams the slow way: every record against every reading, in exact fractions. Shares no code with what it checks."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

RANK = {"measured": 2, "estimated": 2, "forecast": 1, "fallback": 0}


def grams(pieces, readings, line, fallback, known_at_s, order=()):
    """pieces: (start_ms, end_ms, joules); line: [(since_s, pue)], ascending; returns grams as a Fraction."""
    known = [r for r in readings if r.recorded_s <= known_at_s]
    total = Fraction(0)
    for start_ms, end_ms, joules in pieces:
        edges = {Fraction(start_ms), Fraction(end_ms)}
        edges |= {Fraction(at * 1000) for r in known for at in (r.start_s, r.end_s)}
        edges |= {Fraction(since * 1000) for since, _ in line}
        cuts = sorted(edge for edge in edges if start_ms <= edge <= end_ms)
        for begin, end in pairwise(cuts):
            middle_s = (begin + end) / 2000
            share = Fraction(joules) * (end - begin) / (end_ms - start_ms)
            pue = [value for since, value in line if since <= middle_s][-1]
            total += share / 3_600_000 * Fraction(pue) * Fraction(intensity(known, middle_s, fallback, order))
    return total


def intensity(known, at_s, fallback, order=()):
    speaking = [r for r in known if r.start_s <= at_s < r.end_s]
    if not speaking:
        return fallback
    return max(speaking, key=lambda r: (RANK[r.standing], place(r.source, order), r.issued_s, r.recorded_s)).g_per_kwh


def place(source, order):
    return -order.index(source) if source in order else -len(order)
