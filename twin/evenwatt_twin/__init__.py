"""Machines that look like hardware from outside: simulated nodes for the demo, the tests, benchmarks and replay.

The shipping agent meets a twin only through files below a sysfs root and through a ``libnvidia-ml.so.1``, never by
import. The twin keeps the true joules, so that every claim of accuracy can be checked against them.
"""

from evenwatt_twin.errors import CompilerMissingError, SpecError, TwinError
from evenwatt_twin.fleet import FleetSpec, load_fleet, run_fleet
from evenwatt_twin.machine import Machine, MachineSpec, NodePlaces
from evenwatt_twin.presets import PRESETS, preset
from evenwatt_twin.profiles import Burst, Diurnal, Profile, Replay, Steady, TrainingSteps, load_function
from evenwatt_twin.truth import OverBudget, Truth, over_budget, peak_w, work_lost

__all__ = [
    "PRESETS",
    "Burst",
    "CompilerMissingError",
    "Diurnal",
    "FleetSpec",
    "Machine",
    "MachineSpec",
    "NodePlaces",
    "OverBudget",
    "Profile",
    "Replay",
    "SpecError",
    "Steady",
    "TrainingSteps",
    "Truth",
    "TwinError",
    "load_fleet",
    "load_function",
    "over_budget",
    "peak_w",
    "preset",
    "run_fleet",
    "work_lost",
]
