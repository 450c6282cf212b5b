"""The collector's settings, one TOML file. Without one it watches every zone it hears and controls none."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from evenwatt_collector.carbon import IntensityTable, UnknownGridError
from evenwatt_collector.carbon.annual import annual_basis
from evenwatt_collector.carbon.budgets import BudgetSettings, check_budgets
from evenwatt_collector.carbon.labels import LabelSettings
from evenwatt_collector.carbon.places import Place, Places, Published, UnknownPlaceError
from evenwatt_collector.carbon.providers.settings import GridSettings, annual_row, check_grids
from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.carbon.site import YEAR_S, Contract, DeviceFacts, SiteFacts
from evenwatt_collector.http.settings import HttpSettings
from evenwatt_collector.jobs.settings import JobsSettings, check_jobs
from evenwatt_collector.neighbours.settings import HomeAssistantSettings, OtlpSettings, SparkplugSettings
from evenwatt_collector.standby.settings import ShardSettings, StandbySettings
from evenwatt_collector.storage.connection import is_url
from evenwatt_collector.storage.keeping import HOURS_DAYS, MINUTES_DAYS
from evenwatt_collector.webhook_settings import WebhookSettings
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


class KeySettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What makes this collector a controller."""

    private_key: str
    """Its Ed25519 key (PEM), with which it signs commands."""
    trust: str
    """The trust document, signed by the root; the collector tells it to its nodes."""
    root: str
    """The root's public key, or two while one takes over (PEM)."""


_WORLD: Final = "WORLD"


class ZoneSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """One power domain."""

    name: str
    """Identifier, as in topics and in the nodes' settings."""
    budget_w: Watts | None = None
    """Hard budget; without one the zone is measured and not controlled."""
    unmanaged_w: Watts = 0.0
    """Fixed load under the same budget that no node reports."""
    grid: str = _WORLD
    """Name of a ``[[grids]]``; or a row of the table of annual intensities: a country such as ``DE``, a state such as
    ``US-CA``, or ``WORLD``."""
    cloud: str = ""
    """``PROVIDER/REGION``, e.g. ``aws/eu-central-1``: gives grid, PUE and water where they are not set here."""
    pue: Annotated[float, Meta(ge=1, le=10)] | None = None
    """Power usage effectiveness. Default: the cloud region's, else 1."""
    intensity_g_per_kwh: Annotated[float, Meta(ge=0, le=5_000)] | None = None
    """Grams of CO2e per kilowatt-hour, instead of any table or source."""
    contract: Contract | None = None
    """What the electricity is bought as, for the market-based figures."""
    wue_l_per_kwh: Annotated[float, Meta(ge=0, le=100)] | None = None
    """Water used on the site per kilowatt-hour of the machines."""
    grid_water_l_per_kwh: Annotated[float, Meta(ge=0, le=100)] | None = None
    """Water used in generation per kilowatt-hour of the site."""
    price_per_kwh: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    """What a kilowatt-hour costs, in the fleet's currency; plans may count with it (``jobs.price_per_g``)."""
    since: datetime | None = None
    """From when on grid, PUE, contract and water hold. Default: when they are first seen here."""
    slot_s: Literal[300, 180, 60, 10] = 300
    """Energy is kept in slots of this length; as fine as the finest intensity of the grid."""


class DeviceSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What making machines weighs."""

    nodes: str
    """``NODE`` or ``ZONE:NODE``, with wildcards; the first table that fits a node counts."""
    embodied_kg: Annotated[float, Meta(gt=0, le=1e9)]
    """CO2e of raw materials, making, transport and end of life, each machine (ISO/IEC 21031: TE)."""
    lifetime_years: Annotated[float, Meta(gt=0, le=100)]
    """Expected life (EL)."""
    detail: str = ""
    """Where the figure is from."""
    since: datetime | None = None
    """From when on this holds. Default: when it is first seen here."""

    @property
    def facts(self) -> DeviceFacts:
        """Return them as they are stored."""
        return DeviceFacts(
            embodied_g=1000 * self.embodied_kg, lifetime_s=YEAR_S * self.lifetime_years, detail=self.detail
        )


class KeepSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How long what is kept; days are kept for good."""

    minutes_days: Annotated[float, Meta(ge=2, le=36_600)] = MINUTES_DAYS
    """Records as they came, about one a minute and node."""
    hours_days: Annotated[float, Meta(ge=2, le=36_600)] = HOURS_DAYS
    """Hours slot by slot; after that a day keeps the sum of each of its hours."""
    audit_mb: Annotated[int, Meta(ge=32, le=1_000_000)] = 512
    """Megabytes that the audit log may take in ``state_dir``."""


class LogSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The log on standard error."""

    level: LogLevel = "info"
    """Least level that is written."""
    style: LogFormat = "auto"
    """``console`` for people, ``json`` lines for machines; ``auto``: by whether it is a terminal."""


class CollectorSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    fleet: str = "fleet"
    """Name of the fleet; the same on all machines."""
    state_dir: str = field(
        default_factory=lambda: os.environ.get("STATE_DIRECTORY", "/var/lib/evenwatt-collector").split(":")[0]
    )
    """Folder of what must survive a restart. Default: ``$STATE_DIRECTORY``, else ``/var/lib/evenwatt-collector``."""
    database: str = ""
    """A file, or ``postgresql://USER@HOST/NAME`` (the password in ~/.pgpass or $PGPASSFILE). Default: ``collector.db``
    in ``state_dir``."""
    mqtt: CollectorBroker = field(default_factory=CollectorBroker)
    http: HttpSettings = field(default_factory=HttpSettings)
    keys: KeySettings | None = None
    zones: list[ZoneSettings] = []
    grids: list[GridSettings] = []
    """Where intensities come from; docs/intensity.md."""
    labels: list[LabelSettings] = []
    """Which workload, model, phase and team services, containers and pods are."""
    devices: list[DeviceSettings] = []
    budgets: list[BudgetSettings] = []
    """Grams per day or month that alerts watch over; docs/alerts.md."""
    webhooks: list[WebhookSettings] = []
    keep: KeepSettings = field(default_factory=KeepSettings)
    jobs: JobsSettings = field(default_factory=JobsSettings)
    models: str = ""
    """Registry of model variants (TOML); see docs/models.md."""
    policy: str = ""
    """Policy file (TOML): limits, timetables, classes of nodes; see docs/policy.md. With one, zones here have no
    ``budget_w``."""
    standby: StandbySettings | None = None
    """This is one of two collectors; docs/standby.md."""
    shard: ShardSettings | None = None
    """This is one of several collectors on one database, each with zones of its own; docs/scale.md."""
    otlp: OtlpSettings | None = None
    """Metrics to an OpenTelemetry receiver; docs/neighbours.md."""
    home_assistant: HomeAssistantSettings | None = None
    """Announce nodes and zones to Home Assistant; docs/neighbours.md."""
    sparkplug: SparkplugSettings | None = None
    """Tell zones and nodes to Sparkplug hosts; docs/neighbours.md."""
    log: LogSettings = field(default_factory=LogSettings)

    @property
    def client_id(self) -> str:
        """What MQTT knows it as; each zone's connection adds the zone's name."""
        if self.mqtt.client_id:
            return self.mqtt.client_id
        names = [one.name for one in (self.shard, self.standby) if one is not None]
        return "-".join(["evenwatt-collector", socket.gethostname(), *names])

    @property
    def shard_name(self) -> str:
        """Which of several collectors on one database this is; empty where there is one, or one pair."""
        return self.shard.name if self.shard else ""

    @property
    def where(self) -> str:
        """The database: a path or a URL."""
        return self.database or str(Path(self.state_dir) / "collector.db")

    def zone(self, name: str) -> ZoneSettings:
        """Return a zone's settings; one that is not in the file is on the world's average grid."""
        return next((known for known in self.zones if known.name == name), None) or ZoneSettings(name=name)

    def facts(self, name: str, table: IntensityTable) -> SiteFacts:
        """Return what a zone's energy is weighed with."""
        return site_facts(self.zone(name), self.grids, table)


def site_facts(zone: ZoneSettings, grids: list[GridSettings], table: IntensityTable) -> SiteFacts:
    """Return what a zone's energy is weighed with.

    Raises:
        UnknownGridError: the grid is neither configured nor in the table.
        UnknownPlaceError: the cloud region is not in its table.
    """
    place = _place(zone.cloud)
    name = place.annual if place is not None and zone.grid == _WORLD else zone.grid
    if zone.intensity_g_per_kwh is not None:
        base = SiteFacts(
            grid=f"operator:{zone.name}",  # no source speaks of it
            fallback_g_per_kwh=zone.intensity_g_per_kwh,
            fallback_detail="set by the operator",
            fallback_source="operator",
            fallback_standing=Standing.ESTIMATED,
        )
    else:
        grid = next((known for known in grids if known.name == name), None)
        row = annual_row(grid, table) if grid else table.row(name)
        base = SiteFacts(
            grid=name,
            basis=grid.basis if grid and grid.sources else annual_basis(row),
            order=tuple(source.name for source in grid.sources) if grid else (),
            fallback_g_per_kwh=row.intensity_g_per_kwh,
            fallback_detail=f"{row.code} {row.year} annual average, {row.source}",
            fallback_year=row.year,
        )
    return replace(
        base,
        pue=_given(zone.pue, place.pue if place else None) or 1.0,
        contract=zone.contract,
        wue_l_per_kwh=_given(zone.wue_l_per_kwh, place.wue_l_per_kwh if place else None),
        grid_water_l_per_kwh=zone.grid_water_l_per_kwh,
    )


def _place(cloud: str) -> Place | None:
    if not cloud:
        return None
    provider, _, region = cloud.partition("/")
    return Places.packaged().find(provider, region)


def _given(own: float | None, published: Published | None) -> float | None:
    return own if own is not None or published is None else published.value


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
    check_grids(where, settings.grids, table)
    check_budgets(where, settings.budgets, [webhook.name for webhook in settings.webhooks])
    _check_scopes(where, settings)
    check_jobs(where, settings.jobs, has_keys=settings.keys is not None)
    if settings.policy:
        _check_policy(where, settings)
    if settings.standby is not None:
        _check_standby(where, settings)
    if settings.shard is not None:
        _check_shard(where, settings)
    if settings.sparkplug is not None and not settings.zones and not settings.policy:
        raise Failure(f"{where}: key 'sparkplug': there are no [[zones]]; list the zones that are to be told")
    for i, zone in enumerate(settings.zones):
        _check_zone(f"{where}: key 'zones[{i}]", zone, settings, table)
    return settings


def _check_names(where: str, zones: list[ZoneSettings]) -> None:
    names = [zone.name for zone in zones]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise Failure(f"{where}: zone {doubled[0]!r} stands twice; give each [[zones]] its own name")


def _check_scopes(where: str, settings: CollectorSettings) -> None:
    zones = [zone.name for zone in settings.zones]
    for i, budget in enumerate(settings.budgets):
        kind, _, name = budget.scope.partition(":")
        if kind == "zone" and zones and name not in zones:
            raise Failure(f"{where}: key 'budgets[{i}].scope': no zone {name!r}; there are {', '.join(zones)}")


def _check_standby(where: str, settings: CollectorSettings) -> None:
    if not settings.zones:
        raise Failure(f"{where}: key 'standby': there are no [[zones]]; list the zones that the two collectors steer")
    if not settings.database or Path(settings.where).parent.resolve() == Path(settings.state_dir).resolve():
        raise Failure(
            f"{where}: key 'standby': the two collectors need one 'database' between them, outside of state_dir "
            f"({settings.state_dir}); set 'database' to a PostgreSQL URL, or on one machine to a file elsewhere"
        )


def _check_shard(where: str, settings: CollectorSettings) -> None:
    if not settings.zones:
        raise Failure(f"{where}: key 'shard': there are no [[zones]]; list the zones that this shard has")
    if not is_url(settings.where):
        raise Failure(
            f"{where}: key 'shard': the database is a file ({settings.where}), which one collector or pair can write; "
            "set 'database' to the PostgreSQL URL that all shards share"
        )


def _check_policy(where: str, settings: CollectorSettings) -> None:
    both = next((zone for zone in settings.zones if zone.budget_w is not None), None)
    if both is not None:
        raise Failure(
            f"{where}: zone {both.name!r} has a budget_w, and there is a policy ({settings.policy}); "
            "move the budget into the policy"
        )
    if settings.keys is None:
        raise Failure(
            f"{where}: key 'policy': there is no [keys] table; set keys.private_key, keys.trust and keys.root so "
            "that commands can be signed"
        )


def _check_zone(where: str, zone: ZoneSettings, settings: CollectorSettings, table: IntensityTable) -> None:
    if zone.budget_w is not None and settings.keys is None:
        raise Failure(
            f"{where}.budget_w': zone {zone.name!r} has a budget of {zone.budget_w:g} W, but there is no [keys] table; "
            f"set keys.private_key, keys.trust and keys.root so that commands can be signed, or leave budget_w out to "
            f"measure only"
        )
    if zone.budget_w == 0:
        raise Failure(
            f"{where}.budget_w': found 0, expected more: no machine that runs draws nothing; leave it out to measure "
            f"only"
        )
    if zone.budget_w is not None and zone.unmanaged_w >= zone.budget_w:
        raise Failure(
            f"{where}.unmanaged_w': {zone.unmanaged_w:g} W leaves nothing of the budget of {zone.budget_w:g} W; "
            f"it must be below budget_w"
        )
    try:
        site_facts(zone, settings.grids, table)
    except UnknownPlaceError as error:
        raise Failure(f"{where}.cloud': {error}") from None
    except UnknownGridError as error:
        near = table.nearest(zone.grid)
        known = "a [[grids]] name, or an ISO 3166 code such as 'DE' or 'US-CA', or 'WORLD'"
        hint = f"did you mean {near!r}?" if near else f"use {known}"
        raise Failure(f"{where}.grid': {error}; {hint}") from None
