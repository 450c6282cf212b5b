"""How fast nodes may send what they kept while nobody took it. Pure.

Each node has at most a window of records under way, and the windows of all nodes fit into the writer's queue: so it
never has to refuse what nodes were allowed to send.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 50
"""More would gain nothing: a round trip and a commit take less than the sending of as many."""
_LEAST: Final = 2
_NODES_PER_S: Final = 500.0
"""So many nodes begin each second: what a broker and one core take easily, at a first window of four records each."""
_SPREAD_LEAST_S: Final = 1.0
_SPREAD_MOST_S: Final = 60.0


def window(nodes: int, room: int) -> int:
    """Return how many records a node may have under way.

    Args:
        nodes: Nodes known.
        room: Records that still fit into the queue.
    """
    return max(_LEAST, min(MOST, room // (2 * max(1, nodes))))


def spread_s(nodes: int) -> float:
    """Return over how many seconds nodes spread the beginning."""
    return min(_SPREAD_MOST_S, max(_SPREAD_LEAST_S, nodes / _NODES_PER_S))
