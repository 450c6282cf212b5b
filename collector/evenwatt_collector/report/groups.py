"""Which row of a report something belongs to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_collector.report.model import By

if TYPE_CHECKING:
    from evenwatt_collector.carbon.shares import Owner

RESIDUALS: Final = frozenset({"idle", "system", "other", "unattributed"})
"""Kinds that belong to nobody."""
NO_LABEL: Final = "(no {})"
"""What has an owner, and the owner no label of this kind."""


@dataclass(frozen=True, slots=True)
class Group:
    """A row's identity."""

    name: str
    residual: bool = False
    zone: str = ""
    node: str = ""


def place_group(by: By, zone: str, node: str) -> Group:
    """Return the row of a whole node."""
    return Group(zone) if by is By.ZONE else Group(node, zone=zone, node=node)


def owner_group(by: By, owner: Owner, zone: str, node: str) -> Group:
    """Return the row of an owner's energy.

    What has no workload is named by what it is (``unit/nginx.service``); other labels that are missing make one row.
    """
    if owner.kind in RESIDUALS:
        return Group(f"({owner.kind})", residual=True)
    if by is By.TASK:
        return Group(f"{owner.name or '?'} {owner.task}", zone=zone, node=node) if owner.task else Group("(no task)")
    label: str = getattr(owner, by.value)
    if label:
        return Group(label)
    if by is By.WORKLOAD and owner.kind != "task":
        return Group(f"{owner.kind}/{owner.name}" if owner.name else owner.kind)
    return Group(NO_LABEL.format(by.value))


def of_model(label: str, name: str) -> bool:
    """Return whether a task's ``model`` is a model or one of its variants (``MODEL:VARIANT``), or the variant named."""
    return label == name or label.startswith(f"{name}:")
