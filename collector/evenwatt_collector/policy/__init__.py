"""The policy: what zones may draw and when, which nodes matter more, and what may be paused.

``load_policy`` reads and checks the file (``schema`` has its shape, ``reading`` and ``lines`` find what is wrong and
where, ``check`` and ``check_fleet`` contradictions); ``limits_at``, ``next_change_s`` and ``class_of`` ask it;
``timetable`` knows the hours; ``PolicyRules`` puts it as control wants it, and
``Watcher`` reloads it while the collector runs.
"""

from evenwatt_collector.policy.check import over
from evenwatt_collector.policy.check_fleet import KnownNode, misfits
from evenwatt_collector.policy.policy import (
    Limit,
    Policy,
    PolicyError,
    class_of,
    limits_at,
    load_policy,
    next_change_s,
    parse_policy,
)
from evenwatt_collector.policy.problems import Problem, Severity, errors, listed
from evenwatt_collector.policy.reading import located
from evenwatt_collector.policy.rules import PolicyRules
from evenwatt_collector.policy.timetable import Bound, Source, in_utc
from evenwatt_collector.policy.watch import Watcher

__all__ = [
    "Bound",
    "KnownNode",
    "Limit",
    "Policy",
    "PolicyError",
    "PolicyRules",
    "Problem",
    "Severity",
    "Source",
    "Watcher",
    "class_of",
    "errors",
    "in_utc",
    "limits_at",
    "listed",
    "load_policy",
    "located",
    "misfits",
    "next_change_s",
    "over",
    "parse_policy",
]
