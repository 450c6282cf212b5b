"""Plans at work: the shell around ``plan``, ``jobs``, ``tuning``, ``models`` and ``feedback``."""

from evenwatt_collector.planning.shell import Planning
from evenwatt_collector.planning.surroundings import Surroundings

__all__ = ["Planning", "Surroundings"]
