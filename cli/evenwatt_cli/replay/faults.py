"""What breaks in a replay, and when: ``WHAT@SECOND[+LENGTH][=VALUE]``, seconds after the warm-up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_cli.replay.loops import Loop
    from evenwatt_collector.control.arrays import Ints

KINDS: Final = ("collector", "broker", "nodes", "clocks")
_SHAPE: Final = re.compile(
    r"(?P<kind>\w+)@(?P<at>\d{1,9}(\.\d{1,9})?)(\+(?P<length>\d{1,9}(\.\d{1,9})?))?(=(?P<value>-?\d{1,9}(\.\d{1,9})?))?\Z"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks.

    ``collector`` dies, and another starts after the length; ``broker`` is away for the length; of ``nodes`` a share
    (the value) restarts its agents; ``clocks`` of a fifth of the nodes jump by the value in seconds.
    """

    kind: str
    at_s: float
    length_s: float = 30.0
    value: float = 0.0
    ends: bool = False
    """This is the end of such a fault."""


def parse_faults(texts: Sequence[str]) -> list[Fault]:
    """Read faults.

    Raises:
        Failure: one is not understood.
    """
    faults = []
    for text in texts:
        match = _SHAPE.match(text)
        if match is None or match["kind"] not in KINDS:
            raise Failure(
                f"--fault {text!r}: not understood; write WHAT@SECOND[+LENGTH][=VALUE] with WHAT one of "
                f"{', '.join(KINDS)}, such as collector@120+30 or clocks@60=3600"
            )
        at_s, length_s = float(match["at"]), float(match["length"] or 30.0)
        value = float(match["value"] or (0.2 if match["kind"] == "nodes" else 3600.0))
        faults.append(Fault(match["kind"], at_s, length_s, value))
        if match["kind"] in ("collector", "broker"):
            faults.append(Fault(match["kind"], at_s + length_s, 0.0, value, ends=True))
    return sorted(faults, key=lambda fault: fault.at_s)


def strike(loop: Loop, faults: list[Fault], now_s: float, origin_s: float) -> list[Fault]:
    """Let happen what is due, counted from ``origin_s``; return what is still to come."""
    while faults and origin_s + faults[0].at_s <= now_s:
        _happen(loop, faults.pop(0), now_s)
    return faults


def _happen(loop: Loop, fault: Fault, now_s: float) -> None:
    if fault.kind == "collector":
        if fault.ends:
            loop.start_collector(now_s)
        else:
            loop.kill_collector()
    elif fault.kind == "broker":
        loop.set_broker(up=fault.ends)
    elif fault.kind == "nodes":
        loop.restart_nodes(_some(loop.size, fault.value), now_s)
    else:
        loop.skew_clocks(_some(loop.size, 0.2), fault.value)


def _some(nodes: int, share: float) -> Ints:
    """Return a share of the nodes, from all over the fleet (multiples of the golden ratio fall evenly)."""
    return np.flatnonzero((np.arange(nodes) * 0.6180339887498949) % 1.0 < share)
