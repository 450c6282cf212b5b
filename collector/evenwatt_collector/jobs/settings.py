"""The collector's ``[jobs]`` table: whether it starts work, who may submit, and what plans are made with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from evenwatt_collector.jobs.times import duration_s
from evenwatt_daemon import Failure

Price = Annotated[float, Meta(ge=0, le=1e9)]

_MOST_SLOTS = 2_000
_LEAST_SLOT_S = 5.0


class TuningSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The ``[jobs.tuning]`` table: learning the best power cap of each workload."""

    enabled: bool = False
    """Hold nodes on which one job runs alone at the cap that its workload was found to need the least at. Only in zones
    with a budget, on nodes whose owner lets them be capped, for jobs that count their work."""
    aim: Literal["energy", "carbon", "weighted"] = "energy"
    """What is least at the best cap: joules, grams, or a mix of joules and time."""
    eta: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Of ``weighted``: 1 counts energy alone, 0 time alone."""
    explore_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.04
    """Of the work, so much may be done while other caps are tried."""
    horizon: str = "1h"
    """How long work is taken to be while nobody says."""
    warmup_s: Annotated[float, Meta(ge=0, le=600)] = 3.0
    """After a change of cap so much is not measured."""


class PolicySettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The ``[jobs.policy]`` table: what watches over the decisions."""

    version: Annotated[str, Meta(min_length=1, max_length=60)] = "1"
    """Of how decisions are made; another one begins its own trial."""
    control_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    """Of jobs without pressure, so many run at once, to know what the decisions are worth."""


class JobsSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How jobs are planned and started."""

    enabled: bool = False
    """Start jobs on nodes. Without it jobs are taken, planned and advised, and nothing is started. Needs ``[keys]``."""
    slot: str = "30m"
    """Plans are made in slots of this length."""
    horizon: str = "96h"
    """Plans reach so far."""
    replan_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    """Plans are looked at again so often; at once where something has changed that they rest on."""
    price_per_g: Price = 0.0
    """What a gram of CO2e is worth, in the currency of ``price_per_kwh``; 0: only grams count."""
    price_per_kwh: Price = 0.0
    """What a kilowatt-hour costs in zones that have no ``price_per_kwh`` of their own."""
    risk: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """0 plans with the median of the forecast; 1 moves work only where even its bad side is better."""
    least_gain: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """A plan is changed for more than this share of a job's grams only."""
    kwh_per_gb: Annotated[float, Meta(ge=0, le=100)] = 0.06
    """Energy of moving a gigabyte from zone to zone."""
    kwh_per_gb_source: str = "Aslan et al. 2018, doi:10.1111/jiec.12630, for 2015; networks have become better since"
    """Where that figure is from."""
    mb_per_s: Annotated[float, Meta(gt=0, le=1e6)] = 100.0
    """How fast data is moved from zone to zone."""
    power_w: Annotated[float, Meta(gt=0, le=1e6)] = 100.0
    """What a job adds to a node's power while nothing is known of its workload."""
    tuning: TuningSettings = field(default_factory=TuningSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)

    @property
    def slot_s(self) -> float:
        """Length of a slot."""
        return duration_s(self.slot)

    @property
    def horizon_s(self) -> float:
        """How far plans reach."""
        return duration_s(self.horizon)


def check_jobs(where: str, settings: JobsSettings, *, has_keys: bool) -> None:
    """See that the settings make sense together.

    Raises:
        Failure: naming the key, what was found and the fix.
    """
    for key, text in (
        ("slot", settings.slot),
        ("horizon", settings.horizon),
        ("tuning.horizon", settings.tuning.horizon),
    ):
        try:
            duration_s(text)
        except ValueError as error:
            raise Failure(f"{where}: key 'jobs.{key}': found {text!r}: {error}") from None
    if settings.slot_s < _LEAST_SLOT_S or 86_400 % settings.slot_s:
        raise Failure(
            f"{where}: key 'jobs.slot': found {settings.slot!r}, expected a length of at least {_LEAST_SLOT_S:g} s "
            f'that divides a day, such as "30m"'
        )
    if not 2 <= settings.horizon_s / settings.slot_s <= _MOST_SLOTS:
        raise Failure(
            f"{where}: key 'jobs.horizon': {settings.horizon!r} in slots of {settings.slot!r}: expected 2 to "
            f"{_MOST_SLOTS:,} of them; set another horizon or slot"
        )
    if settings.enabled and not has_keys:
        raise Failure(
            f"{where}: key 'jobs.enabled': there is no [keys] table; set keys.private_key, keys.trust and keys.root so "
            "that starts can be signed, or leave it out to plan and advise only"
        )
