"""How fast: learns joules per unit of work against power cap, and picks the cap. Pure. See docs/tuning.md."""

from evenwatt_collector.tuning.learner import CapLearner
from evenwatt_collector.tuning.objective import Objective
from evenwatt_collector.tuning.records import Candidate, Choice, Context, Estimate, Observed, Settings, Slo, grid

__all__ = [
    "Candidate",
    "CapLearner",
    "Choice",
    "Context",
    "Estimate",
    "Objective",
    "Observed",
    "Settings",
    "Slo",
    "grid",
]
