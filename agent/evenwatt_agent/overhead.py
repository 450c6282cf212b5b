"""What the whole-machine meter sees beyond the counters: fans, drives, the power supplies' losses. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_wire import Domain


def unmetered_w(domains: Sequence[Domain], power_w: Mapping[str, float]) -> float | None:
    """Return the first machine meter's power less the node total, in watts.

    It is never clipped: less than nothing, over more than a moment, means that something is counted twice. None without
    a meter besides the total, or while a term or the meter is not read.
    """
    meter = next((d.id for d in domains if d.kind == "machine" and not d.in_total), None)
    terms = [power_w.get(d.id) for d in domains if d.in_total]
    if any(d.in_total and d.kind == "machine" for d in domains):
        return None  # the total is a meter itself: two of them differ by more than what is unmetered
    if meter is None or power_w.get(meter) is None or None in terms or not terms:
        return None
    return power_w[meter] - sum(term for term in terms if term is not None)
