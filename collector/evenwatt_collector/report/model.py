"""What a report says, as plain data. Storage makes it, the formats print it; nothing here computes.

Everything is in joules, grams, litres and seconds; formats choose units for people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from evenwatt_collector.carbon.series import Basis, Kind, Standing  # noqa: TC001  (msgspec reads reports back by these)


class By(StrEnum):
    """What a report's rows are."""

    ZONE = "zone"
    NODE = "node"
    WORKLOAD = "workload"
    MODEL = "model"
    PHASE = "phase"
    TEAM = "team"
    TASK = "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one row, or of the total. Sums of rows equal the total, residual rows included."""

    energy_j: float = 0.0
    """Metered at the nodes; ``dynamic_j + idle_j``."""
    dynamic_j: float = 0.0
    """Energy above idle: the dynamic-only view."""
    idle_j: float = 0.0
    site_j: float = 0.0
    """Energy times PUE."""
    location_g: float = 0.0
    """Operational CO2e, location-based: sum over intervals of site energy x average intensity of the grid."""
    location_dynamic_g: float = 0.0
    """That of ``dynamic_j`` only."""
    market_g: float | None = None
    """Operational CO2e, market-based; None where no contract is configured."""
    marginal_g: float | None = None
    """Operational CO2e by marginal intensity, over ``marginal_j`` only; None where no provider gives it."""
    marginal_j: float = 0.0
    """Node energy for which a marginal intensity was known."""
    embodied_g: float | None = None
    """Share of the making of the devices; None where no device is configured."""
    water_l: float | None = None
    """Water at the site and in generation; None where neither is configured."""
    measured_j: float = 0.0
    """Of ``energy_j``: counted by hardware. The three below likewise; the four sum to ``energy_j``."""
    integrated_j: float = 0.0
    estimated_j: float = 0.0
    unknown_j: float = 0.0
    by_standing_j: dict[Standing, float] = field(default_factory=dict)
    """Node energy by how the location-based intensity of its interval is known; sums to ``energy_j``."""
    missing_s: float = 0.0
    """Node-seconds of the period in which a known node sent nothing or could not measure; 0 in rows below nodes."""
    covered_s: float = 0.0
    """Node-seconds that records cover; 0 in rows below nodes."""
    units: dict[str, float] = field(default_factory=dict)
    """Units of work done (by their names, as tasks report them)."""
    duration_s: float = 0.0
    """Of tasks: time they ran within the period, summed."""
    gpu_j: float = 0.0
    """Of ``dynamic_j``: by GPU boards; the rest is by processors and memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group of a report."""

    name: str
    """As shown, e.g. ``resnet``, ``unit/nginx.service``, ``(idle)``."""
    residual: bool = False
    """Whether it is a rest that belongs to nobody: idle, system, other, unattributed."""
    zone: str = ""
    """For nodes and tasks: where."""
    node: str = ""
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One factor that went into a report, with its share; ``source`` as the provider is named."""

    grid: str
    zones: tuple[str, ...]
    kind: Kind
    basis: Basis
    source: str
    standing: Standing
    mean_g_per_kwh: float
    """Energy-weighted, over what it was used for."""
    least_g_per_kwh: float
    most_g_per_kwh: float
    energy_j: float
    """Node energy it was used for."""
    detail: str = ""
    """Year, licence, attribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFactor:
    """PUE, contracts and water of a zone over a stretch of the report's period."""

    zone: str
    start_s: float
    end_s: float
    pue: float
    market_g_per_kwh: float | None = None
    market_detail: str = ""
    wue_l_per_kwh: float | None = None
    """Water used at the site per kilowatt-hour of IT energy."""
    grid_water_l_per_kwh: float | None = None
    """Water used in generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFactor:
    """What making a node's hardware weighs."""

    node: str
    embodied_g: float
    lifetime_s: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One point of a report's time line."""

    start_s: float
    end_s: float
    energy_j: float
    location_g: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a report says."""

    by: By
    start_s: float
    """Unix time; the period is [start, end)."""
    end_s: float
    timezone: str
    """IANA name; of labels and of the days in the time line."""
    known_at_s: float
    """What was known then: energy stored and readings recorded up to this moment."""
    made_s: float
    version: str
    fleet: str
    rows: tuple[Row, ...]
    """By emissions, largest first; residual rows last."""
    total: Figures
    used: tuple[Used, ...]
    sites: tuple[SiteFactor, ...]
    devices: tuple[DeviceFactor, ...]
    line: tuple[Moment, ...]
    """The period in hours or days, for plots."""
    recorded_from_s: float | None = None
    """When the first record of anything in the report began; before that nothing can be missing, nor known."""
    notes: tuple[str, ...] = ()
    """What a reader has to know: hours still open, nodes missing, fallbacks, retention."""
