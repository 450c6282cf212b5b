"""Makes a baseline of what was done in a period, or says why it would be none to hold scores against. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from evenwatt_collector.jobs.times import in_words
from evenwatt_collector.report.totals import added
from evenwatt_collector.score.baseline import Baseline, seal
from evenwatt_collector.score.grade import LEAST_COVERAGE
from evenwatt_collector.score.material import Part
from evenwatt_collector.score.scoring import pins, score_fleet, score_part
from evenwatt_collector.score.terms import values
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_collector.jobs.model import Outcome
    from evenwatt_collector.report.model import Figures
    from evenwatt_collector.score.material import Material
    from evenwatt_collector.score.scoring import Scored

FLEET_NAME: Final = "fleet"
LEAST_S: Final = 86_400.0
"""Data of less than a day knows one time of day alone: our choice."""


def freeze(
    material: Material, name: str, pattern: str, unit: str | None, known: Iterable[Baseline], *, anyway: bool = False
) -> Baseline:
    """Return the next version of a class's baseline.

    Args:
        material: Of the period, by workload or by model.
        name: Of the class.
        pattern: Names that belong to it, with wildcards.
        unit: R; None: the only one that it reports.
        known: All versions of all classes.
        anyway: Also of a period that is too short or too little metered; the baseline says so for good.

    Raises:
        Failure: there is nothing to hold scores against; it says what is missing.
    """
    part, outcomes = matching(material, pattern)
    scored = score_part(material, part, None, unit, outcomes)
    return _freeze(material, name, scored, known, pattern=pattern, anyway=anyway)


def freeze_fleet(
    material: Material, known: Iterable[Baseline], classes: Iterable[Baseline], *, anyway: bool = False
) -> Baseline:
    """Return the next version of the fleet's baseline, in which work is valued by ``classes``; raises as above."""
    counted = list(classes)
    scored = score_fleet(material, None, None, counted)
    return _freeze(material, FLEET_NAME, scored, known, classes=counted, anyway=anyway)


def matching(material: Material, pattern: str) -> tuple[Part, Sequence[Outcome]]:
    """Return everything of a pattern as one part, and the outcomes of its jobs.

    Raises:
        Failure: nothing matches; it names what there is.
    """
    parts = [part for part in material.parts if fnmatchcase(part.name, pattern)]
    if not parts:
        names = ", ".join(sorted(part.name for part in material.parts)[:12]) or "none"
        raise Failure(f"no {material.by} matches {pattern!r} in this period; there are: {names}")
    by_zone: dict[str, list[Figures]] = {}
    for part in parts:
        for zone, figures in part.by_zone.items():
            by_zone.setdefault(zone, []).append(figures)
    whole = Part(name=pattern, by_zone={zone: added(group) for zone, group in by_zone.items()})
    return whole, [one for part in parts for one in material.outcomes_of(part.name)]


def _freeze(
    material: Material,
    name: str,
    scored: Scored,
    known: Iterable[Baseline],
    *,
    pattern: str = "",
    classes: Iterable[Baseline] = (),
    anyway: bool = False,
) -> Baseline:
    what = f"no baseline of {name!r} was frozen"
    if scored.sci is None or scored.terms is None:
        raise Failure(f"{what}: {scored.why}")
    thin = _thin(scored)
    if thin and not anyway:
        raise Failure(
            f"{what}: {thin}; choose another period with --from and --to, wait for more, or freeze it --anyway as "
            f"provisional"
        )
    if values(scored.terms) is None:
        raise Failure(f"{what}: a factor of it is 0, so that nothing can be held against it; choose another period")
    older = [one for one in known if one.name == name]
    before = max(older, key=lambda one: one.version, default=None)
    if before is not None and (before.subject, before.unit) != (scored.subject, scored.unit):
        raise Failure(
            f"{what}: version {before.version} is of a {before.subject} per {before.unit}, this would be of a "
            f"{scored.subject} per {scored.unit}; freeze it under another name"
        )
    return seal(
        Baseline(
            name=name,
            version=before.version + 1 if before else 1,
            subject=scored.subject,
            pattern=pattern,
            unit=scored.unit,
            made_s=max(material.made_s, before.made_s + 1 if before else 0.0),
            start_s=material.start_s,
            end_s=min(material.end_s, material.known_at_s),
            known_at_s=material.known_at_s,
            how=f"by evenwatt {material.version} from the ledger of fleet {material.fleet!r}; {scored.boundary}",
            terms=scored.terms,
            low_g_per_unit=scored.sci.low_g_per_unit,
            high_g_per_unit=scored.sci.high_g_per_unit,
            coverage=scored.coverage,
            weights=material.weights,
            mean_g_per_kwh=material.means,
            factors=list(material.factors),
            pins=pins(classes),
            previous_g_per_unit=before.g_per_unit if before else None,
            provisional=thin,
        )
    )


def _thin(scored: Scored) -> str:
    """Say why a period is too little to hold others against; empty if it is enough."""
    found = []
    if scored.coverage is None or scored.coverage < LEAST_COVERAGE:
        share = "an unknown share" if scored.coverage is None else f"{100 * scored.coverage:.3g} %"
        found.append(f"{share} of the period is metered, expected at least {100 * LEAST_COVERAGE:g} %")
    if scored.recorded_s < LEAST_S - 1:
        found.append(f"{in_words(scored.recorded_s)} of it are recorded, expected at least a day")
    return ", and ".join(found)
