"""Who answers for scores and improvement: reads the database on a connection of its own, and asks the pure parts."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from evenwatt_collector.feedback.asking import ImprovementQuery, Improvements, Policy, improvements
from evenwatt_collector.feedback.guard import Guard
from evenwatt_collector.feedback.weeks import WEEK_S
from evenwatt_collector.report.build import Made
from evenwatt_collector.score.answer import Scores, freeze_class, scores
from evenwatt_collector.storage import DatabaseError, connect
from evenwatt_collector.storage.connection import shown
from evenwatt_collector.storage.jobs import outcomes
from evenwatt_collector.storage.memory import recall
from evenwatt_collector.storage.schema import check
from evenwatt_collector.storage.shards import shards
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.score.asking import ScoreQuery
    from evenwatt_collector.score.baseline import Baseline
    from evenwatt_collector.storage import Connection

T = TypeVar("T")

GUARD: Final = "jobs:guard"
"""Under which the policy guard's state is remembered."""


class ScoreDesk(Protocol):
    """What HTTP asks; a Failure says what was wrong with the question, or that the database cannot be read."""

    async def score(self, query: ScoreQuery) -> Scores:
        """Return scores."""

    async def improvement(self, query: ImprovementQuery) -> Improvements:
        """Return what was saved week by week."""


class DatabaseDesk:
    """Answers from a database.

    Args:
        where: A file or a URL.
        fleet: Its name.
        version: Of this program.
        shard: Whose policy is told, of several collectors on the database.
    """

    def __init__(self, where: str, fleet: str, version: str, shard: str = "") -> None:
        self._where, self._fleet, self._version, self._shard = where, fleet, version, shard

    async def score(self, query: ScoreQuery) -> Scores:
        """See ScoreDesk."""
        return await asyncio.to_thread(open_and_score, self._where, query, self._made())

    async def improvement(self, query: ImprovementQuery) -> Improvements:
        """See ScoreDesk."""
        return await asyncio.to_thread(open_and_improve, self._where, query, self._made(), self._shard)

    def _made(self) -> Made:
        return Made(now_s=time.time(), version=self._version, fleet=self._fleet)


def open_and_score(where: str, query: ScoreQuery, made: Made) -> Scores:
    """Return scores from a database that may be in use by a collector.

    Raises:
        Failure: it cannot be opened or read, or what is asked for is not in it.
    """
    return _open(where, lambda connection: scores(connection, query, made))


def open_and_improve(where: str, query: ImprovementQuery, made: Made, shard: str | None = None) -> Improvements:
    """Return what was saved week by week; raises as above.

    Args:
        where: The database.
        query: What is asked.
        made: When and by what.
        shard: Whose policy is told; None: one that was rolled back, if any was, else the first that is known.
    """

    def read(connection: Connection) -> Improvements:
        found = outcomes(connection, made.now_s - (query.weeks + 1) * WEEK_S, made.now_s + WEEK_S)
        policy = _one_policy(connection) if shard is None else _policy(connection, shard)
        return improvements(found, query, (made.now_s, made.version, made.fleet), policy)

    return _open(where, read)


def open_and_freeze(
    where: str, query: ScoreQuery, name: str, made: Made, pattern: str | None = None, *, anyway: bool = False
) -> Baseline:
    """Freeze the next version of a class's baseline (see ``freeze_class``); raises as above."""

    def write(connection: Connection) -> Baseline:
        return freeze_class(connection, query, name, made, pattern, anyway=anyway)

    return _open(where, write, write=True)


def _one_policy(connection: Connection) -> Policy | None:
    """Return a policy that needs a person before one that does not: who reads the database looks after them all."""
    names = sorted({"", *(shard.name for shard in shards(connection))})
    found = [policy for name in names if (policy := _policy(connection, name)) is not None]
    return min(found, key=lambda policy: policy.alarm is None, default=None)


def _policy(connection: Connection, shard: str) -> Policy | None:
    state = recall(connection, GUARD, shard=shard)
    if state is None:
        return None
    try:
        guard = Guard(state)
    except Failure:
        return None
    return Policy(
        shard=shard,
        active=guard.active,
        alarm=guard.alarm,
        jobs=guard.trial.saved.count,
        controls=guard.trial.controls,
        rolled_back=tuple(one.words for one in guard.rolled_back),
    )


def _open(where: str, job: Callable[[Connection], T], *, write: bool = False) -> T:
    # A collector may be at work on it: a frozen baseline is one row beside its tables, and takes no lock of it.
    connection = connect(where, write=write, exclusive=False) if write else connect(where, write=False)
    with closing(connection):
        try:
            check(connection, shown(where))
            return job(connection)
        except LookupError as error:
            raise Failure(f"{error.args[0]}") from None
        except DatabaseError as error:
            raise Failure(f"{shown(where)}: {error}", exit_code=EXIT_FAILURE) from None
