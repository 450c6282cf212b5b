"""One zone: its grid, who says that they steer it, and its figures. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from evenwatt_collector.carbon import grams, grams_per_hour, unrecorded_j
from evenwatt_collector.carbon.shares import Owner
from evenwatt_wire import ControllerState, WorkloadRate, ZoneSummary
from evenwatt_wire.messages import MAX_WORK, NodeState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_collector.books import Books
    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.carbon.labels import Labels
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.settings import ZoneSettings
    from evenwatt_collector.steering import ZoneView

_RIVAL_S: Final = 75.0
"""A collector says every half minute that it is there."""
_TEXT_CHARACTERS: Final = 400


class Zone:
    """A zone of the settings, or one that was heard of.

    Args:
        settings: Its name and grid.
        factor: Returns what its joules weigh now.
        labels: Name workloads that are no tasks.
        epoch: This collector's epoch.
    """

    def __init__(self, settings: ZoneSettings, factor: Callable[[], Factor], labels: Labels, epoch: int) -> None:
        self.settings, self.name, self._factor, self._labels = settings, settings.name, factor, labels
        self._epoch = epoch
        self._rival: ControllerState | None = None
        self._rival_s = float("-inf")

    @property
    def factor(self) -> Factor:
        """What its joules weigh now."""
        return self._factor()

    # --- who steers it --------------------------------------------------------------------------------------------

    def on_controller(self, state: ControllerState, now_s: float, *, retained: bool) -> None:
        """Note what a collector of this zone says of itself; what is retained may be long dead, unless it is newer."""
        if state.epoch == self._epoch or (retained and state.epoch < self._epoch):
            return
        if state.state is NodeState.READY:
            self._rival, self._rival_s = state, now_s
        elif self._rival is not None and self._rival.epoch == state.epoch:
            self._rival = None

    def superseded(self, now_s: float) -> bool:
        """Whether a collector of a higher epoch steers this zone: then this one is fenced off, and says no more."""
        rival = self._current_rival(now_s)
        return rival is not None and rival.epoch > self._epoch

    def _current_rival(self, now_s: float) -> ControllerState | None:
        return self._rival if now_s - self._rival_s < _RIVAL_S else None

    # --- figures --------------------------------------------------------------------------------------------------

    def unrecorded_g(self, fleet: Fleet, books: Books) -> float:
        """Emissions that live windows have shown and the ledger does not hold yet."""
        joules = []
        for node in fleet.in_zone(self.name):
            if node.live is not None:
                boot = books.node(self.name, node.name).boots.get(node.live.boot)
                stored_j = boot.last_total_j if boot else None
                joules.append(unrecorded_j(node.live.total.total_j, stored_j, node.first_total_j))
        return grams(fsum(joules), self.factor)

    def summary(
        self,
        now_s: float,
        wall_ms: int,
        fleet: Fleet,
        books: Books,
        view: ZoneView | None,
        troubles: list[str],
        *,
        linked: bool = True,
    ) -> ZoneSummary:
        """Return the zone at a glance.

        Args:
            now_s: Monotonic time.
            wall_ms: Wall time, for people.
            fleet: The live view.
            books: What is stored.
            view: The zone as control sees it; None where nothing is steered.
            troubles: What is wrong with the collector itself.
            linked: Whether its connection for this zone stands.
        """
        nodes, factor = fleet.in_zone(self.name), self.factor
        present = [node for node in nodes if node.present]
        metered_w = fsum(node.power_w for node in present)
        power_w = metered_w + (view.unmanaged_w if view else self.settings.unmanaged_w)
        return ZoneSummary(
            zone=self.name,
            wall_ms=wall_ms,
            epoch=self._epoch,
            band=view.band if view else "off",
            power_w=power_w,
            budget_w=view.budget_w if view else self.settings.budget_w,
            leased_w=view.most_w if view else power_w,
            emissions_g_per_h=grams_per_hour(metered_w, factor),
            emissions_g=books.grams(self.name) + self.unrecorded_g(fleet, books),
            intensity_g_per_kwh=factor.intensity_g_per_kwh,
            intensity_source=factor.source,
            intensity_standing=factor.standing.value,
            pue=factor.pue,
            nodes=len(nodes),
            silent=sum(node.silent(now_s) or node.state is NodeState.LOST for node in nodes),
            capped=sum(node.at_cap for node in present),
            workloads=[
                WorkloadRate(
                    workload=one.name[:_TEXT_CHARACTERS], power_w=one.power_w, emissions_g_per_h=one.emissions_g_per_h
                )
                for one in self.working(fleet)[:MAX_WORK]
            ],
            alarms=[
                alarm[:_TEXT_CHARACTERS]
                for alarm in self._alarms(now_s, wall_ms, fleet, view, troubles, linked=linked)
                + books.alarms(self.name)
            ],
        )

    def working(self, fleet: Fleet) -> list[Working]:
        """Return who draws most, as nodes tell it in their live windows, the largest first."""
        found: dict[str, Working] = {}
        factor = self.factor
        for node in fleet.in_zone(self.name):
            for work in node.live.work if node.present and node.live else []:
                name = work.name
                if work.kind != "workload":
                    owner = self._labels.apply(Owner(work.kind, work.name), node.name)
                    name = owner.workload or f"{work.kind}/{work.name}"
                one = found.setdefault(name, Working(name))
                one.power_w += work.power_w
                one.emissions_g_per_h += grams_per_hour(work.power_w, factor)
                one.nodes += 1
        return sorted(found.values(), key=lambda one: -one.power_w)

    def _alarms(
        self, now_s: float, wall_ms: int, fleet: Fleet, view: ZoneView | None, troubles: list[str], *, linked: bool
    ) -> list[str]:
        alarms = troubles + (list(view.alarms) if view else [])
        alarms += fleet.alarms(self.name, now_s, linked=linked, wall_ms=wall_ms)
        rival = self._current_rival(now_s)
        if rival is not None:
            consequence = "this one is fenced off" if rival.epoch > self._epoch else "nodes obey this one"
            alarms.append(f"another collector (epoch {rival.epoch}) says it steers this zone; {consequence}; stop one")
        return alarms


@dataclass(slots=True)
class Working:
    """What one workload draws and emits in a zone now."""

    name: str
    power_w: float = 0.0
    emissions_g_per_h: float = 0.0
    nodes: int = 0


def with_inner(own: ZoneSummary, inner: Sequence[ZoneSummary]) -> ZoneSummary:
    """Return a zone's summary with the figures of the zones inside it added; what control says covers them already."""

    def total(pick: Callable[[ZoneSummary], float]) -> float:
        return fsum(pick(summary) for summary in (own, *inner))

    return replace(
        own,
        power_w=total(lambda s: s.power_w),
        emissions_g_per_h=total(lambda s: s.emissions_g_per_h),
        emissions_g=total(lambda s: s.emissions_g),
        nodes=sum(s.nodes for s in (own, *inner)),
        silent=sum(s.silent for s in (own, *inner)),
        capped=sum(s.capped for s in (own, *inner)),
    )
