"""Which jobs come when: two kinds of batch work, spread over the demo, and now and then one that cannot wait. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from evenwatt_cli.demo.clean.files import MODEL, SERVICE, TASK, UNIT
from evenwatt_cli.demo.clean.scenario import RENDER, TRAIN

if TYPE_CHECKING:
    from evenwatt_cli.demo.clean.scenario import Workload

_POWER_W: Final = 410.0
"""What a job adds to its machine at full power; said by its owner."""
_MARGIN_S: Final = 12.0
"""Deadlines lie so long before the end, so that it is seen whether they are kept."""
_URGENT: Final = 1.25
"""An urgent job may take so many times its length, and some seconds to start: it cannot wait."""
_STARTING_S: Final = 10.0
_SLACK: Final = 1.8
"""What can wait is given at least so many times its length."""
_ALMOST: Final = 0.85
"""A later wave comes only where so much of a day is left; the first one always."""
_OVERHEAD: Final = 1.05
_OVERHEAD_S: Final = 3.0
"""Starting, stopping and telling so take a part of what is only seconds here; owners count it in."""
_AT_ONCE_S: Final = 22.0
"""The first ones have this long to start: their evening only gets dirtier, so that they do not wait."""
_BEFORE: Final = ((0.0, TRAIN, 20.0), (0.5, RENDER, 20.0))
"""The first two run at once, at full power: that is how it was before, and what scores are held against."""
BEFORE: Final = tuple(f"{workload.name}-before" for _, workload, _ in _BEFORE)
_WAVE: Final = (
    (4.0, TRAIN, 50.0, False),
    (7.0, RENDER, 35.0, False),
    (10.0, TRAIN, 40.0, False),
    (16.0, TRAIN, 50.0, False),
    (22.0, RENDER, 30.0, False),
    (32.0, RENDER, 25.0, True),
    (40.0, TRAIN, 30.0, False),
    (55.0, RENDER, 30.0, False),
)
"""Second, workload, seconds of work at full power, and whether it is urgent. A wave comes each evening of the grid."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job and when it is submitted, in seconds since the demo began."""

    at_s: float
    spec: dict[str, Any]


SERVICE_SPEC: Final[dict[str, Any]] = {
    "name": SERVICE,
    "workload": SERVICE,
    "model": MODEL,
    "phase": "infer",
    "team": "demo",
    "service": {"task": TASK, "unit": UNIT, "max_g_per_unit": 0.0011, "dwell": "15s"},
    "slo": {"min_quality": 0.39},
}
"""Either variant is good enough for its owner, who wants at most 1.1 mg of CO2e a request."""


def arrivals(seconds: float, day_s: float) -> list[Arrival]:
    """Return the jobs of a demo of that length, in order; each can be done before it ends.

    Args:
        seconds: Length of the demo.
        day_s: How long a day of the grid lasts.
    """
    found: list[Arrival] = []
    for at_s, workload, length_s in _BEFORE:
        deadline_s = _URGENT * length_s + _AT_ONCE_S
        found.append(_arrival(at_s, f"{workload.name}-before", workload, length_s, deadline_s, waits=False))
    for wave in range(int(seconds // day_s) + 1):
        for at_s, workload, length_s, urgent in _WAVE:
            come_s = wave * day_s + at_s
            left_s = seconds - _MARGIN_S - come_s
            least_s = (_URGENT if urgent else _SLACK) * length_s + _STARTING_S
            if left_s < least_s or (wave > 0 and not urgent and left_s < _ALMOST * day_s):
                continue
            name = f"{workload.name}-{len(found) + 1}{'-urgent' if urgent else ''}"
            deadline_s = least_s if urgent else min(day_s, left_s)
            found.append(_arrival(come_s, name, workload, length_s, deadline_s, waits=not urgent))
    return found


def _arrival(at_s: float, name: str, workload: Workload, length_s: float, deadline_s: float, *, waits: bool) -> Arrival:
    interruptible = workload.interruptible and waits
    amount = round(length_s * workload.units_per_s)
    spec = {
        "name": name,
        "workload": workload.name,
        "model": workload.name,
        "phase": "train" if workload is TRAIN else "",
        "team": "demo",
        "template": workload.name,
        "values": {"amount": str(amount)},
        "work": {"amount": amount, "unit": workload.unit},
        "length": f"{_OVERHEAD * length_s + _OVERHEAD_S:.1f}s",
        "power_w": _POWER_W,
        "deadline": f"+{deadline_s:.0f}s",
        "interruptible": interruptible,
        "checkpoint_s": 1.0 if interruptible else 0.0,
        "shared_state": True,  # all nodes of the demo have one work folder
        "priority": 5 if waits else 8,
    }
    return Arrival(at_s, spec)
