"""What operators ask over MQTT: signed submissions, verified before anything in them is believed. Pure.

A submission is held against the keys, the fleet, its own expiry and what was seen before. Its job's id is chosen by
who submits, so that one which is replayed after a restart of the collector finds a job that is known already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_collector.jobs.admission import RefusedError
from evenwatt_collector.jobs.reading import Entry, read
from evenwatt_wire.command import CommandError, open_submission

if TYPE_CHECKING:
    from evenwatt_wire import KeyRing
    from evenwatt_wire.command import Key
    from evenwatt_wire.jobs import Submission

LONGEST_MS: Final = 120_000
"""A submission is valid for at most so long, as commands are."""
AHEAD_MS: Final = 5_000
"""An operator's clock may be ahead by this."""
_MOST_SEEN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Submitted:
    """A verified wish: take this job."""

    entry: Entry
    by: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A verified wish: give this job up."""

    job: str
    by: str


class SubmissionDesk:
    """Opens submissions.

    Args:
        keys: Whose signatures count.
        fleet: Ours.
    """

    def __init__(self, keys: KeyRing, fleet: str) -> None:
        self._keys, self._fleet = keys, fleet
        self._seen: dict[str, int] = {}
        """When each submission that is still valid expires, by its id."""

    def take(self, payload: bytes, now_ms: int) -> Submitted | Cancelled:
        """Verify a submission and return what it asks for.

        Args:
            payload: As received; a retained message must not come here.
            now_ms: Unix time.

        Raises:
            CommandError: it fails a check: those of ``open_submission``, or ``addressee``, ``validity``, ``expired``,
                ``not-yet``, ``replayed``, ``busy``.
            RefusedError: it is genuine, and its job cannot be read.
        """
        key, submission = open_submission(payload, self._keys)
        self._check(submission, now_ms)
        self._seen[submission.id] = submission.expires_ms
        by = _by(key, submission)
        if not submission.spec:
            return Cancelled(submission.job, by)
        return Submitted(_entry(submission), by)

    def _check(self, submission: Submission, now_ms: int) -> None:
        if submission.fleet != self._fleet:
            raise CommandError("addressee", f"is for fleet {submission.fleet}, this is {self._fleet}")
        if not 0 <= submission.expires_ms - submission.issued_ms <= LONGEST_MS:
            raise CommandError("validity", f"is valid for less than no time, or longer than {LONGEST_MS // 1000} s")
        if now_ms > submission.expires_ms:
            raise CommandError("expired", f"expired {now_ms - submission.expires_ms} ms ago; compare the clocks")
        if submission.issued_ms > now_ms + AHEAD_MS:
            raise CommandError("not-yet", f"was issued {submission.issued_ms - now_ms} ms ahead; compare the clocks")
        self._seen = {id_: until_ms for id_, until_ms in self._seen.items() if until_ms >= now_ms}
        if submission.id in self._seen:
            raise CommandError("replayed", f"submission {submission.id} was taken before")
        if len(self._seen) >= _MOST_SEEN:
            raise CommandError("busy", f"{_MOST_SEEN:,} submissions within {LONGEST_MS // 1000} s; submit again later")


def _by(key: Key, submission: Submission) -> str:
    """Return who it is from: the key's name; what the submission says of itself stands behind it."""
    name = key.name or f"key {key.id.hex()}"
    return f"{name} ({submission.issuer})" if submission.issuer and submission.issuer != name else name


def _entry(submission: Submission) -> Entry:
    found = read(submission.spec.encode("utf-8", "replace"), "json", lambda: submission.job)
    if found.problems:
        raise RefusedError(found.problems)
    if len(found.entries) != 1 or found.entries[0].id != submission.job:
        raise CommandError("schema", "has other than the one job that it names")
    return found.entries[0]
