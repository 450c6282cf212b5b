"""The last resort on a machine with no counter at all: utilisation and a stated curve.

``power = idle + (max - idle) * utilisation``, the linear model of Fan, Weber and Barroso, "Power Provisioning for a
Warehouse-sized Computer", ISCA 2007. The two ends come from the settings or, failing that, from the number of
processors; every joule of it is tagged ``estimated``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_agent.sources.model import Found, Probe, Unit
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable

# Round defaults in watts per logical processor, within the wide range of published SPECpower_ssj2008 results. They are
# only a beginning: the settings take this machine's own two figures.
IDLE_W_PER_CPU: Final = 0.5
MAX_W_PER_CPU: Final = 3.0


def discover(idle_w: float, max_w: float, utilisation: Callable[[], float]) -> Found:
    """Return one probe that estimates the machine's power.

    Args:
        idle_w: Power at no load.
        max_w: Power at full load.
        utilisation: Returns the share of processor time in use since its last call, 0 to 1.
    """

    def read() -> int:
        return int((idle_w + (max_w - idle_w) * min(1.0, max(0.0, utilisation()))) * 1e6)

    domain = Domain(id="estimate", kind="estimate", source="estimate", quality=Quality.ESTIMATED)
    probe = Probe(
        domain=domain,
        unit=Unit.POWER_UW,
        read=read,
        reopen=_nothing,
        close=_nothing,
        slow=True,
        max_power_w=max(max_w, 1.0),
    )
    return Found([probe])


def _nothing() -> None:
    """There is nothing to open or close."""
