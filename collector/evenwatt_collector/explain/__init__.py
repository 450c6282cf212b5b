"""Why a node or zone is treated as it is: the numbers of every decision worth keeping, and plain words for them. Pure.

``narrate`` takes each step of control and keeps what has changed in a bounded ``log`` of ``records``; ``words`` puts
a record into sentences, and ``answer`` is what the collector replies to ``evenwatt explain``.
"""

from evenwatt_collector.explain.answer import UnknownNameError, explain
from evenwatt_collector.explain.log import Log, Spell
from evenwatt_collector.explain.narrate import Narrator, Scene
from evenwatt_collector.explain.records import Cause, NodeReason, Short, ZoneReason
from evenwatt_collector.explain.words import node_lines, zone_lines

__all__ = [
    "Cause",
    "Log",
    "Narrator",
    "NodeReason",
    "Scene",
    "Short",
    "Spell",
    "UnknownNameError",
    "ZoneReason",
    "explain",
    "node_lines",
    "zone_lines",
]
