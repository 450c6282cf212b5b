"""A model's carbon card: everything that a reader needs to judge the figures. Pure; ``card_text`` prints it."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import fsum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.models.hints import Hint, hints
from evenwatt_collector.models.lifecycle import EVALUATE, FINE_TUNE, TRAIN, Lifecycle, lifecycle, share
from evenwatt_collector.models.measured import Measured
from evenwatt_collector.models.registry import Variant
from evenwatt_collector.models.runs import task_of
from evenwatt_collector.report.totals import metered_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.models.registry import Registry
    from evenwatt_collector.models.runs import Labels
    from evenwatt_collector.report.model import Report, Row, SiteFactor, Used

SCHEMA: Final = "evenwatt-card/1"
BOUNDARY: Final = (
    "Electricity of the machines for the tasks that name this model: their dynamic energy and their share of idle "
    "energy, times the site's PUE, times the average intensity of the grid at the time of use (location-based; no "
    "contract and no offset lowers it)."
)
EMBODIED: Final = "The making of the devices is counted by their energy share of the time that they were in use."
NO_EMBODIED: Final = "The making of the devices is not counted: none is configured."
LEFT_OUT: Final = (
    "Not in it: making and training on machines that evenwatt does not meter, data storage, networks, users' devices."
)


class Place(Struct, frozen=True, kw_only=True):
    """Where some of the energy was used."""

    zone: str
    node: str
    kind: str
    """Of device, if the registry names one."""
    energy_share: float
    detail: str = ""
    """Of the machine, as the settings describe it."""


class Factor(Struct, frozen=True, kw_only=True):
    """An intensity that went into it."""

    grid: str
    zones: tuple[str, ...]
    source: str
    standing: str
    basis: str
    mean_g_per_kwh: float
    least_g_per_kwh: float
    most_g_per_kwh: float
    detail: str = ""


class Overhead(Struct, frozen=True, kw_only=True):
    """PUE of a zone over a stretch of time."""

    zone: str
    pue: float
    start_s: float
    end_s: float


class Training(Struct, frozen=True, kw_only=True):
    """What the front matter of a model card asks for (huggingface.co/docs/hub/model-cards-co2)."""

    emissions: float
    """Grams of CO2e of train, fine-tune and evaluate; operational, location-based."""
    source: str
    training_type: str
    geographical_location: str
    hardware_used: str


class Card(Struct, frozen=True, kw_only=True):
    """The document."""

    schema: str = SCHEMA
    model: str
    fleet: str
    version: str
    made_s: float
    known_at_s: float
    recorded_from_s: float | None
    lifecycle: Lifecycle
    training: Training | None
    """None: no training of it was recorded here."""
    places: list[Place]
    """The largest share first."""
    factors: list[Factor]
    overheads: list[Overhead]
    metered_share: float | None
    """Of the energy: counted or sampled by hardware; the rest is estimated."""
    by_standing: dict[str, float]
    """Shares of the energy by how the intensity of its time is known."""
    boundary: list[str]
    variants: list[Variant]
    measured: list[Measured]
    hints: list[Hint]
    notes: list[str]


class Asked(Struct, frozen=True, kw_only=True):
    """Which card."""

    model: str
    start_s: float | None = None
    """None: since the first record."""
    end_s: float | None = None
    """None: now."""
    known_at_s: float | None = None
    unit: str | None = None
    expected_uses: float | None = None
    """None: as the registry states them."""


def make_card(
    asked: Asked,
    by_phase: Report,
    by_task: Report,
    labels: Labels,
    registry: Registry,
    measured: Iterable[Measured],
) -> Card:
    """Return a model's card.

    Args:
        asked: What is asked.
        by_phase: Report of the model by phase.
        by_task: The same by task.
        labels: Model and phase of tasks, by their ids.
        registry: What is known of the model.
        measured: What its variants cost.
    """
    names = registry.labels_of(asked.model)
    variants = [variant for variant in registry.variants if variant.label in names]
    expected = asked.expected_uses or _stated(variants)
    unit = asked.unit or (variants[0].unit if variants and _counted(by_phase, variants[0].unit) else None)
    life = lifecycle(by_phase, asked.model, unit, expected)
    places = _places(by_task.rows, registry, _details(by_phase))
    trained = [row for row in by_task.rows if labels.get(task_of(row), ("", ""))[1] in {TRAIN, FINE_TUNE, EVALUATE}]
    standing = by_phase.total.by_standing_j
    return Card(
        model=asked.model,
        fleet=by_phase.fleet,
        version=by_phase.version,
        made_s=by_phase.made_s,
        known_at_s=by_phase.known_at_s,
        recorded_from_s=by_phase.recorded_from_s,
        lifecycle=life,
        training=_training(life, _places(trained, registry, _details(by_phase)) or places, by_phase),
        places=places,
        factors=[_factor(used) for used in _here(by_phase.used, places)],
        overheads=[_overhead(site) for site in by_phase.sites if any(site.zone == one.zone for one in places)],
        metered_share=metered_share(by_phase.total),
        by_standing={kind.value: share(joules, by_phase.total.energy_j) for kind, joules in standing.items()},
        boundary=[BOUNDARY, NO_EMBODIED if life.total.embodied_g is None else EMBODIED, LEFT_OUT],
        variants=variants,
        measured=[one for one in measured if one.label in names],
        hints=hints(life, variants),
        notes=[*_alone(asked.model), *by_phase.notes],
    )


def _alone(model: str) -> list[str]:
    """Return what has to be said of the card of a variant."""
    base, _, variant = model.partition(":")
    if not variant:
        return []
    return [f"only what names {model} is in it: what made {base} for all its variants is in the card of {base}"]


def _stated(variants: Sequence[Variant]) -> float | None:
    """Return the uses that the owner expects of all variants together."""
    stated = [variant.expected_uses for variant in variants if variant.expected_uses is not None]
    return fsum(stated) if stated else None


def _counted(report: Report, unit: str) -> bool:
    return any(row.figures.units.get(unit, 0.0) > 0 for row in report.rows)


def _details(report: Report) -> dict[str, str]:
    return {device.node: device.detail for device in report.devices}


def _places(rows: Iterable[Row], registry: Registry, details: Mapping[str, str]) -> list[Place]:
    joules: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in rows:
        if row.node:
            joules[row.zone, row.node] += row.figures.energy_j
    whole_j = fsum(joules.values())
    found = []
    for (zone, node), energy_j in sorted(joules.items(), key=lambda item: -item[1]):
        kind = registry.kind_of(zone, node)
        name = kind.name if kind else ""
        found.append(
            Place(zone=zone, node=node, kind=name, energy_share=share(energy_j, whole_j), detail=details.get(node, ""))
        )
    return found


def _here(used: Iterable[Used], places: Sequence[Place]) -> list[Used]:
    zones = {place.zone for place in places}
    return [one for one in used if not zones or zones & set(one.zones)]


def _factor(used: Used) -> Factor:
    return Factor(
        grid=used.grid,
        zones=used.zones,
        source=used.source,
        standing=used.standing.value,
        basis=f"{used.kind.value}, {used.basis.value}",
        mean_g_per_kwh=used.mean_g_per_kwh,
        least_g_per_kwh=used.least_g_per_kwh,
        most_g_per_kwh=used.most_g_per_kwh,
        detail=used.detail,
    )


def _overhead(site: SiteFactor) -> Overhead:
    return Overhead(zone=site.zone, pue=site.pue, start_s=site.start_s, end_s=site.end_s)


def _training(life: Lifecycle, places: Sequence[Place], report: Report) -> Training | None:
    phases = [one for name in (TRAIN, FINE_TUNE, EVALUATE) if (one := life.phase(name)) is not None]
    names = {one.phase for one in phases}
    if not names & {TRAIN, FINE_TUNE}:
        return None
    kinds = [word for name, word in ((TRAIN, "pre-training"), (FINE_TUNE, "fine-tuning")) if name in names]
    grids = {zone: used.grid for used in report.used for zone in used.zones}
    where = dict.fromkeys(f"{grids.get(place.zone, '?')} ({place.zone})" for place in places)
    metered = share(fsum((one.metered_share or 0.0) * one.energy_j for one in phases), fsum(p.energy_j for p in phases))
    how = "measured" if metered >= 1 - 1e-9 else f"{metered:.0%} measured, the rest estimated"
    source = (
        f"evenwatt {report.version}: energy {how}, times PUE, times the grid's average intensity at the time; "
        "location-based, without the making of devices"
    )
    return Training(
        emissions=fsum(one.operational.grams for one in phases),
        source=source,
        training_type=" and ".join(kinds),
        geographical_location=", ".join(where),
        hardware_used=_hardware(places),
    )


def _hardware(places: Sequence[Place]) -> str:
    """Return what was used, such as ``2 x a100``; the devices as the registry or the settings call them."""
    kinds = Counter(place.kind or place.detail for place in places)
    named = [f"{count} x {kind}" for kind, count in sorted(kinds.items()) if kind]
    nodes = f"{kinds['']} node{'s' if kinds[''] > 1 else ''}"
    rest = [f"{nodes} of unknown kind, set with [[devices]] in the registry of models"] if kinds[""] else []
    return ", ".join([*named, *rest]) or "unknown, set with [[devices]] in the registry of models"
