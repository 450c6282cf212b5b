"""What a zone's energy is weighed with besides intensity: PUE, contracts, water; and what devices weigh. Pure.

Facts hold from a moment on, and are known from a moment on: a corrected PUE is a new fact with the same beginning, and
reports as of an earlier moment still find the old one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeVar

from msgspec import Meta, Struct

from evenwatt_collector.carbon.series import Basis, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

F = TypeVar("F")
YEAR_S: Final = 365.25 * 86_400


class Contract(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Electricity bought by contract: what the market-based method counts with (GHG Protocol, Scope 2, 2015)."""

    share: Annotated[float, Meta(ge=0, le=1)]
    """Of the energy that the contract (guarantees of origin, PPA, supplier's tariff) covers."""
    g_per_kwh: Annotated[float, Meta(ge=0, le=5_000)]
    """Of the contract's own generation."""
    rest_g_per_kwh: Annotated[float, Meta(ge=0, le=5_000)] | None = None
    """Residual mix, for what the contract does not cover; None: the grid's average, as the guidance allows where no
    residual mix is published."""
    detail: str = ""
    """Supplier, certificate, year."""


class SiteFacts(Struct, frozen=True, kw_only=True):
    """What holds for a zone."""

    grid: str
    basis: Basis = Basis.LIFECYCLE
    order: tuple[str, ...] = ()
    """Sources of the grid's intensity, the most trusted first."""
    fallback_g_per_kwh: float
    """Annual average, for what nothing is known of; or the one figure that the operator counts with."""
    fallback_detail: str = ""
    fallback_year: int | None = None
    fallback_source: str = "annual-average"
    fallback_standing: Standing = Standing.FALLBACK
    pue: float = 1.0
    contract: Contract | None = None
    wue_l_per_kwh: float | None = None
    """Water used on the site per kilowatt-hour of the machines."""
    grid_water_l_per_kwh: float | None = None
    """Water used in generation, per kilowatt-hour of the site."""


class DeviceFacts(Struct, frozen=True, kw_only=True):
    """What making a machine weighs, and how long it is used."""

    embodied_g: float
    lifetime_s: float
    detail: str = ""

    @property
    def rate_g_per_s(self) -> float:
        """Embodied grams per second of use: TE x TiR/EL of ISO/IEC 21031 for one second."""
        return self.embodied_g / self.lifetime_s


Devices = list[tuple[float, DeviceFacts]]


@dataclass(frozen=True, slots=True)
class Fact(Generic[F]):
    """A fact: what holds, since when, and since when that is known (Unix time)."""

    since_s: int
    recorded_s: int
    facts: F


def timeline(facts: Iterable[Fact[F]], known_at_s: float | None = None) -> list[tuple[float, F]]:
    """Return what held from when on, of one subject; the first holds for all time before as well."""
    newest: dict[int, Fact[F]] = {}
    for fact in sorted(facts, key=lambda fact: fact.recorded_s):
        if known_at_s is None or fact.recorded_s <= known_at_s:
            newest[fact.since_s] = fact
    ordered = [(float(since_s), newest[since_s].facts) for since_s in sorted(newest)]
    return [(float("-inf"), ordered[0][1]), *ordered[1:]] if ordered else []


def held_at(line: Sequence[tuple[float, F]], wall_s: float) -> F:
    """Return what held at a moment, of a time line that is not empty."""
    return line[bisect_right(line, wall_s, key=lambda entry: entry[0]) - 1][1]


def device_line(zone: str, node: str, lines: Mapping[str, Devices]) -> Devices:
    """Return the time line of the first pattern (``NODE`` or ``ZONE:NODE``, with wildcards) that fits a node."""
    for pattern, line in lines.items():
        if fnmatchcase(f"{zone}:{node}", pattern) or fnmatchcase(node, pattern):
            return line
    return []
