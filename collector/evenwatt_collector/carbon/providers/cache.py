"""Answers on disk, so that a restart does not ask again what it was told a minute ago.

One small JSON file an answer, replaced atomically, named by a digest of what was asked without its secrets; secrets
that a server echoed are blanked out before anything is written. A cache that cannot be written costs quota and nothing
else.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evenwatt_daemon import get_logger

LARGEST_BYTES: Final = 4 * 2**20
KEPT_S: Final = 2 * 86_400
_SWEEP_S: Final = 3600

_log = get_logger("carbon-cache")


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer and when it was given."""

    body: bytes
    fetched_s: float


class Cache:
    """A folder of answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._swept_s = float("-inf")
        self._complained = False

    @staticmethod
    def key(source: str, asked: Any) -> str:
        """Return the file name of a question; ``asked`` is anything JSON can hold, without secrets."""
        digest = hashlib.sha256(json.dumps([source, asked], sort_keys=True).encode()).hexdigest()
        return f"{source}-{digest[:32]}.json"

    def get(self, name: str, now_s: float, max_age_s: float) -> Kept | None:
        """Return an answer that is not older than ``max_age_s``, nor from the future."""
        try:
            kept = json.loads((self._folder / name).read_text(encoding="utf-8"))
            fetched_s = float(kept["fetched_s"])
            body = str(kept["body"]).encode()
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        return Kept(body, fetched_s) if 0 <= now_s - fetched_s < max_age_s else None

    def put(self, name: str, text: str, now_s: float) -> None:
        """Keep an answer."""
        if len(text) > LARGEST_BYTES:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, path = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".new")  # mode 0600
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump({"fetched_s": now_s, "body": text}, file)
                Path(path).replace(self._folder / name)
            except BaseException:
                Path(path).unlink(missing_ok=True)
                raise
            self._sweep(now_s)
        except OSError as error:
            if not self._complained:
                fix = "make it writable for this user; until then every restart asks providers again"
                _log.warning("cache not written", folder=str(self._folder), reason=error.strerror, fix=fix)
            self._complained = True

    def _sweep(self, now_s: float) -> None:
        if now_s - self._swept_s < _SWEEP_S:
            return
        self._swept_s = now_s
        for path in (*self._folder.glob("*.json"), *self._folder.glob(".*.new")):
            if now_s - path.stat().st_mtime > KEPT_S:
                path.unlink(missing_ok=True)
