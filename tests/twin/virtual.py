"""Virtual time for twins."""

import msgspec

from evenwatt_twin import MachineSpec, Steady, preset

MS = 1_000_000
SECOND = 1_000_000_000


def steady(name: str, load: float = 1.0) -> MachineSpec:
    """Return a preset under constant load."""
    return msgspec.structs.replace(preset(name, name.replace("_", "-")), profile=Steady(load=load))
