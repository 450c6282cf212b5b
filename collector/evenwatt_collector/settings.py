"""The collector's settings, one TOML file. Without one it watches every zone it hears and controls none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, field

from evenwatt_collector.carbon import Factor, IntensityTable, UnknownGridError
from evenwatt_daemon import Failure, load_settings
from evenwatt_daemon.broker import BrokerSettings
from evenwatt_daemon.logs import LogFormat, LogLevel
from evenwatt_wire import TopicError
from evenwatt_wire.topics import check_id

Watts = Annotated[float, Meta(ge=0, le=1e9)]


class CollectorBroker(BrokerSettings, forbid_unknown_fields=True):
    """The ``mqtt`` table."""

    client_id: str = ""
    """Default: ``evenwatt-collector-HOST``; each zone's connection adds the zone's name."""


class HttpSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Where status and metrics are served. There is no login: keep it on the loopback, or behind a proxy."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9730


class KeySettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What makes this collector a controller."""

    private_key: str
    """Its Ed25519 key (PEM), with which it signs commands."""
    trust: str
    """Keys that may acknowledge (JSON), one per node."""


class ZoneSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """One power domain."""

    name: str
    budget_w: Watts | None = None
    """Hard budget; without one the zone is measured and not controlled."""
    unmanaged_w: Watts = 0.0
    """Fixed load under the same budget that no node reports."""
    grid: str = "WORLD"
    """Row of the table of annual intensities: a country such as ``DE``, a state such as ``US-CA``, or ``WORLD``."""
    pue: Annotated[float, Meta(ge=1, le=10)] = 1.0
    intensity_g_per_kwh: Annotated[float, Meta(ge=0, le=10_000)] | None = None
    """Grams of CO2e per kilowatt-hour, instead of the table's."""


class LogSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The log on standard error."""

    level: LogLevel = "info"
    style: LogFormat = "auto"


class CollectorSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    fleet: str = "fleet"
    state_dir: str = field(
        default_factory=lambda: os.environ.get("STATE_DIRECTORY", "/var/lib/evenwatt-collector").split(":")[0]
    )
    database: str = ""
    """Default: ``collector.db`` in ``state_dir``."""
    mqtt: CollectorBroker = field(default_factory=CollectorBroker)
    http: HttpSettings = field(default_factory=HttpSettings)
    keys: KeySettings | None = None
    zones: list[ZoneSettings] = []
    policy: str = ""
    """Policy file (TOML): limits, timetables, classes of nodes; see docs/policy.md. With one, zones here have no
    ``budget_w``."""
    log: LogSettings = field(default_factory=LogSettings)

    @property
    def database_path(self) -> Path:
        """Where the ledger is kept."""
        return Path(self.database) if self.database else Path(self.state_dir) / "collector.db"

    def factor(self, zone: str, table: IntensityTable) -> Factor:
        """Return what a joule of ``zone`` weighs; a zone that is not in the settings is on the world's average grid."""
        chosen = next((known for known in self.zones if known.name == zone), None) or ZoneSettings(name=zone)
        return factor_of(chosen, table)


def factor_of(zone: ZoneSettings, table: IntensityTable) -> Factor:
    """Return a configured zone's factor.

    Raises:
        UnknownGridError: the grid is not in the table.
    """
    if zone.intensity_g_per_kwh is not None:
        return Factor(zone.intensity_g_per_kwh, zone.pue, "set by the operator", None)
    row = table.row(zone.grid)
    return Factor(row.intensity_g_per_kwh, zone.pue, f"{row.code} {row.year} annual average, {row.source}", row.year)


def load(path: str | None, table: IntensityTable) -> CollectorSettings:
    """Read and check the collector's settings.

    Raises:
        Failure: naming the file, the key, what was found and the fix.
    """
    settings = load_settings(CollectorSettings, path)
    where = path or "built-in defaults"
    try:
        check_id(settings.fleet, "fleet")
        for zone in settings.zones:
            check_id(zone.name, "zone")
    except TopicError as error:
        raise Failure(f"{where}: {error}") from None
    _check_names(where, settings.zones)
    if settings.policy:
        _check_policy(where, settings)
    for i, zone in enumerate(settings.zones):
        _check_zone(f"{where}: key 'zones[{i}]", zone, settings.keys, table)
    return settings


def _check_names(where: str, zones: list[ZoneSettings]) -> None:
    names = [zone.name for zone in zones]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise Failure(f"{where}: zone {doubled[0]!r} stands twice; give each [[zones]] its own name")


def _check_policy(where: str, settings: CollectorSettings) -> None:
    both = next((zone for zone in settings.zones if zone.budget_w is not None), None)
    if both is not None:
        raise Failure(
            f"{where}: zone {both.name!r} has a budget_w, and there is a policy ({settings.policy}); "
            "move the budget into the policy"
        )
    if settings.keys is None:
        raise Failure(
            f"{where}: key 'policy': there is no [keys] table; set keys.private_key and keys.trust so that commands "
            "can be signed"
        )


def _check_zone(where: str, zone: ZoneSettings, keys: KeySettings | None, table: IntensityTable) -> None:
    if zone.budget_w is not None and keys is None:
        raise Failure(
            f"{where}.budget_w': zone {zone.name!r} has a budget of {zone.budget_w:g} W, but there is no [keys] table; "
            f"set keys.private_key and keys.trust so that commands can be signed, or leave budget_w out to measure only"
        )
    if zone.budget_w is not None and zone.unmanaged_w >= zone.budget_w:
        raise Failure(
            f"{where}.unmanaged_w': {zone.unmanaged_w:g} W leaves nothing of the budget of {zone.budget_w:g} W; "
            f"it must be below budget_w"
        )
    try:
        factor_of(zone, table)
    except UnknownGridError as error:
        near = table.nearest(zone.grid)
        hint = f"did you mean {near!r}?" if near else "use an ISO 3166 code such as 'DE' or 'US-CA', or 'WORLD'"
        raise Failure(f"{where}.grid': {error}; {hint}") from None
