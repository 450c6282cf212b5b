"""Variants of models that do the same task, as their owner states them, and published figures of them. Pure.

A variant is known everywhere by its *label*, ``MODEL`` or ``MODEL:VARIANT``: tasks that run it say so in their
``model``, and that is how what they measured finds its way back here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Meta, Struct

from evenwatt_collector.report.groups import of_model
from evenwatt_daemon import Failure

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\s:](?:[^:]*[^\s:])?(?!\n)$")]
VariantName = Annotated[str, Meta(max_length=200, pattern=r"^(?:[^\s:](?:[^:]*[^\s:])?)?(?!\n)$")]
Positive = Annotated[float, Meta(gt=0, le=1e18)]


class Quality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well a variant does its task."""

    metric: Annotated[str, Meta(min_length=1, max_length=100)]
    """What is measured and on what, e.g. ``top-1 imagenet``, ``mmlu``, ``wer librispeech``."""
    value: Annotated[float, Meta(ge=-1e12, le=1e12)]
    """The figure."""
    source: Annotated[str, Meta(min_length=1, max_length=400)]
    """Where the figure is from."""
    better: Literal["higher", "lower"] = "higher"
    """Which way it is better."""

    @property
    def goodness(self) -> float:
        """The value with its sign turned where less is better."""
        return self.value if self.better == "higher" else -self.value


class Variant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[models]]`` table."""

    task: Name
    """What it does, e.g. ``image-classification``; variants of one task can stand in for each other."""
    model: Name
    """Name of the model."""
    variant: VariantName = ""
    """Which of its variants, e.g. ``int8``; empty where there is one."""
    unit: Name = "request"
    """What its tasks count."""
    parameters: Positive | None = None
    """How many."""
    precision: str = ""
    """Of its weights, e.g. ``fp16``, ``int8``."""
    quality: Quality | None = None
    memory_gb: Positive | None = None
    """What it needs on its device."""
    devices: list[Name] = []
    """Kinds of devices (``[[devices]]``) that it runs on; empty: all."""
    load_s: Positive | None = None
    """How long it takes until it is loaded and answers."""
    expected_uses: Positive | None = None
    """Over its life, in units, as its owner expects them."""

    @property
    def label(self) -> str:
        """What tasks that run it say in ``model``."""
        return f"{self.model}:{self.variant}" if self.variant else self.model


class DeviceKind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[devices]]`` table: nodes that are alike. What one of them measures holds for the others."""

    name: Name
    """What variants call it."""
    nodes: Annotated[list[str], Meta(min_length=1)]
    """``NODE`` or ``ZONE:NODE``, with wildcards; the first kind that fits a node counts."""
    memory_gb: Positive | None = None
    """Memory of one such device, in gigabytes."""
    price_per_h: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    """What an hour of such a node costs, in any currency."""

    def fits(self, zone: str, node: str) -> bool:
        """Return whether a node is of this kind."""
        return any(fnmatchcase(node, nodes) or fnmatchcase(f"{zone}:{node}", nodes) for nodes in self.nodes)


class Published(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table from elsewhere says of a variant; see ``tables``."""

    label: str
    unit: str
    joules_per_unit: Positive
    latency_s: Positive | None = None
    units_per_s: Positive | None = None
    device: str = ""
    """Kind of device it was measured on; empty: not said, so it stands for any."""
    boundary: str = ""
    """What the energy counts, in the table's words, e.g. ``gpu``, ``node``."""
    source: str
    imported_s: float
    """When it was imported, Unix time."""


class ModelsFile(Struct, kw_only=True, forbid_unknown_fields=True):
    """The file that the collector's key ``models`` names."""

    models: list[Variant] = []
    devices: list[DeviceKind] = []


@dataclass(frozen=True, slots=True)
class Registry:
    """All variants that are known, the owner's before imported ones."""

    variants: tuple[Variant, ...] = ()
    devices: tuple[DeviceKind, ...] = ()
    published: tuple[Published, ...] = ()
    imported: frozenset[str] = field(default_factory=frozenset)
    """Labels that only an imported table tells of."""

    def of_task(self, task: str) -> list[Variant]:
        """Return a task's variants, by label.

        Raises:
            Failure: there are none; it names those tasks that there are.
        """
        found = sorted((variant for variant in self.variants if variant.task == task), key=lambda one: one.label)
        if not found:
            raise Failure(_unknown("task", task, {variant.task for variant in self.variants}))
        return found

    def unit_of(self, task: str) -> str:
        """Return what a task is counted in: as the owner's first variant says, else as an imported one does."""
        variants = self.of_task(task)
        return next((one.unit for one in variants if one.label not in self.imported), variants[0].unit)

    def labels_of(self, name: str) -> list[str]:
        """Return the labels of a model and its variants, or of one variant; none if the registry does not know it."""
        return sorted(variant.label for variant in self.variants if of_model(variant.label, name))

    def find(self, label: str) -> Variant | None:
        """Return a variant by its label."""
        return next((variant for variant in self.variants if variant.label == label), None)

    def kind_of(self, zone: str, node: str) -> DeviceKind | None:
        """Return the kind of a node; None: it is like no other."""
        return next((kind for kind in self.devices if kind.fits(zone, node)), None)


def make_registry(
    stated: ModelsFile, imported: list[Variant], published: list[Published], where: str = "models"
) -> Registry:
    """Put together what the owner states and what was imported; of a variant that both tell of, the owner counts.

    Raises:
        Failure: a label or kind stands twice, or a variant names a kind that there is not.
    """
    _check(stated, where)
    own = {variant.label for variant in stated.models}
    others = {variant.label: variant for variant in imported if variant.label not in own}
    return Registry(
        variants=(*stated.models, *others.values()),
        devices=tuple(stated.devices),
        published=tuple(published),
        imported=frozenset(others),
    )


def _check(stated: ModelsFile, where: str) -> None:
    labels = [variant.label for variant in stated.models]
    kinds = [kind.name for kind in stated.devices]
    for what, names in (("models", labels), ("devices", kinds)):
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise Failure(f"{where}: {doubled!r} stands twice in [[{what}]]; give each its own name")
    units: dict[str, str] = {}
    for i, variant in enumerate(stated.models):
        unit = units.setdefault(variant.task, variant.unit)
        if variant.unit != unit:
            raise Failure(
                f"{where}: key 'models[{i}].unit': found {variant.unit!r}, and another variant of {variant.task!r} "
                f"counts in {unit!r}; what stands in for each other is counted in one unit"
            )
        for name in variant.devices:
            if name not in kinds:
                raise Failure(f"{where}: key 'models[{i}].devices': {_unknown('[[devices]]', name, set(kinds))}")


def _unknown(what: str, name: str, known: set[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
    return f"no {what} {name!r}; {hint}"
