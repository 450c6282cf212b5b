"""What a machine is made of, as a spec file says it, and the checks across its parts.

Pure. Dictionaries, not lists, wherever parts have names, so that a JSON merge patch can change one part of a preset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from evenwatt_twin.hwmon import Hwmon
from evenwatt_twin.nvml import Nvml
from evenwatt_twin.plant import Component
from evenwatt_twin.power_supply import PowerSupply
from evenwatt_twin.powercap import Powercap
from evenwatt_twin.processors import Processors
from evenwatt_twin.profiles import Burst, Profile
from evenwatt_twin.services import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

MachineId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class MachineSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One machine."""

    id: MachineId
    components: Annotated[dict[str, Component], Meta(min_length=1)]
    profile: Profile = Burst()
    powercap: Powercap | None = None
    processors: Processors | None = None
    hwmon: dict[Annotated[str, Meta(pattern=r"^hwmon\d+$")], Hwmon] = {}
    power_supply: PowerSupply | None = None
    nvml: Nvml | None = None
    services: dict[Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")], Service] = {}
    """Who works on it; empty: nobody is seen."""
    guests: bool = False
    """Whether real processes may work on it; see ``guests``. Their load comes on top of the profile's."""
    job_pidfile: str | None = None
    """File with the number of a process; while that is stopped or frozen, this machine's load is 0."""

    def __post_init__(self) -> None:
        for kind in ("cpu_share", "gpu_share", "reserved"):
            if sum(getattr(service, kind) for service in self.services.values()) > 1 + 1e-9:
                raise ValueError(f"the {kind} of services come to more than 1")
        for where, name in self._mentions():
            if name not in self.components:
                have = ", ".join(self.components)
                raise ValueError(f"{where} names component {name!r}; this machine has {have}")
        for name, component in self.components.items():
            if component.follows is not None and self.components[component.follows].follows is not None:
                raise ValueError(f"component {name!r} follows {component.follows!r}, which follows another itself")

    def _mentions(self) -> Iterator[tuple[str, str]]:
        for name, component in self.components.items():
            if component.follows is not None:
                yield f"components.{name}.follows", component.follows
        if self.powercap is not None:
            for number, zone in self.powercap.zones.items():
                yield from ((f"powercap.zones.{number}.measures", name) for name in zone.measures)
        if self.processors is not None:
            for name, policy in self.processors.policies.items():
                yield f"processors.policies.{name}.slows", policy.slows
            for name, group in self.processors.cgroups.items():
                yield from ((f"processors.cgroups.{name}.slows", component) for component in group.slows)
        for folder, device in self.hwmon.items():
            measured = [sensor.measures for sensor in device.power] + [rail.measures for rail in device.rails]
            yield from ((f"hwmon.{folder}", name) for names in measured for name in names)
            yield from ((f"hwmon.{folder}.power.caps", sensor.caps) for sensor in device.power if sensor.caps)
        if self.nvml is not None:
            yield from (("nvml.boards.component", board.component) for board in self.nvml.boards)
