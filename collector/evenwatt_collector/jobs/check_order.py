"""Whether jobs can come one after another: what they wait for exists, can succeed, and ends in time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.jobs.resolve import length_of
from evenwatt_collector.jobs.times import in_words, moment_s, stamp
from evenwatt_collector.policy.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evenwatt_collector.jobs.known import Known
    from evenwatt_collector.jobs.reading import Entry


def order_problems(entries: Sequence[Entry], known: Known) -> list[Problem]:
    """Return what is wrong with the order of jobs that come together."""
    by_id = {entry.id: entry for entry in entries}
    loop = _loop(by_id)
    problems = [problem for entry in entries for problem in _waited_for(entry, by_id, known)]
    if loop:
        names = " after ".join(by_id[id_].spec.name for id_ in (*loop, loop[0]))
        text = f"jobs in a circle: {names}; none of them could ever begin: take one 'after' out"
        return [*problems, Problem((*by_id[loop[0]].path, "after"), text)]
    return [*problems, *_chained(by_id, known)]


def _waited_for(entry: Entry, by_id: Mapping[str, Entry], known: Known) -> Iterator[Problem]:
    for number, id_ in enumerate(entry.spec.after):
        at = (*entry.path, "after", number)
        if id_ in entry.spec.after[:number]:
            yield Problem(at, f"{id_!r} stands twice; leave one out")
        elif id_ in by_id:
            other = by_id[id_]
            if other.spec.service is not None:
                yield Problem(at, f"{other.spec.name!r} is a service, which never ends; wait for a job")
        elif id_ not in known.jobs:
            yield Problem(at, f"no job {id_!r} is known; see `evenwatt jobs --all`, or submit it in the same text")
        elif known.jobs[id_] in {JobState.FAILED, JobState.CANCELLED}:
            text = f"job {id_!r} is {known.jobs[id_].value}, so this one could never begin; submit that one anew"
            yield Problem(at, text)


def _loop(by_id: Mapping[str, Entry]) -> list[str]:
    """Return ids that wait for one another in a circle, empty if there are none."""
    done: set[str] = set()
    for first in by_id:
        way: list[str] = []
        on_way: dict[str, int] = {}
        pending = [(first, 0)]
        while pending:  # a stack of our own: a chain may be longer than Python's
            id_, depth = pending.pop()
            while len(way) > depth:
                left = way.pop()
                del on_way[left]
                done.add(left)
            if id_ in on_way:
                return way[on_way[id_] :]
            if id_ in done or id_ not in by_id:
                continue
            on_way[id_] = len(way)
            way.append(id_)
            pending += [(other, depth + 1) for other in by_id[id_].spec.after]
        done.update(way)
    return []


def _chained(by_id: Mapping[str, Entry], known: Known) -> Iterator[Problem]:
    """Yield deadlines that cannot be met because of what has to be done before."""
    ends_s: dict[str, float] = {}
    for id_ in _in_order(by_id):
        spec = by_id[id_].spec
        try:
            earliest_s = (
                known.now_s if spec.earliest is None else max(known.now_s, moment_s(spec.earliest, known.now_s))
            )
            deadline_s = None if spec.deadline is None else moment_s(spec.deadline, known.now_s)
            length = None if spec.service is not None else length_of(spec, known.of(spec))
        except ValueError:
            ends_s[id_] = known.now_s  # said where times are looked at
            continue
        alone_s = earliest_s + (length.value / max(spec.speedup) if length else 0.0)
        before_s = max((ends_s.get(other, known.now_s) for other in spec.after), default=known.now_s)
        ends_s[id_] = alone_s + max(0.0, before_s - earliest_s)
        if deadline_s is not None and alone_s <= deadline_s < ends_s[id_]:
            yield Problem(
                (*by_id[id_].path, "deadline"),
                f"the jobs before it end at {stamp(before_s)} at the earliest, and so this one ends "
                f"{in_words(ends_s[id_] - deadline_s)} too late; set a deadline after {stamp(ends_s[id_], up=True)}",
            )


def _in_order(by_id: Mapping[str, Entry]) -> list[str]:
    """Return ids so that each comes after all that it waits for; there is no circle."""
    waiting = {id_: {other for other in entry.spec.after if other in by_id} for id_, entry in by_id.items()}
    followers: dict[str, list[str]] = {id_: [] for id_ in by_id}
    for id_, others in waiting.items():
        for other in others:
            followers[other].append(id_)
    ready, order = [id_ for id_, others in waiting.items() if not others], list[str]()
    while ready:
        id_ = ready.pop()
        order.append(id_)
        for follower in followers[id_]:
            waiting[follower].discard(id_)
            if not waiting[follower]:
                ready.append(follower)
    return order
