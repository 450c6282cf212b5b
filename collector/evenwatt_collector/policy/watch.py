"""Hot reload: a changed policy takes effect, a broken one is refused and the one before it stays.

The file is small, so each look reads it whole and compares bytes. A change that keeps the size within one tick of
the file system's clock, which inode, size and time would miss, is seen too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from evenwatt_collector.policy.policy import parse_policy
from evenwatt_collector.policy.rules import PolicyRules
from evenwatt_daemon import Failure, read_document

if TYPE_CHECKING:
    from pathlib import Path


class Watcher:
    """A policy on disk; the caller says when to look, each second will do.

    Args:
        path: The policy.

    Raises:
        Failure: it cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = read_document(path)
        self.rules = PolicyRules(parse_policy(self._text, str(path)))
        self.trouble: str | None = None
        """Why a changed file was not taken, what was before it holds; None: it is in force as it stands."""

    def facts(self) -> dict[str, str | None]:
        """Say which text is in force, by its SHA-256."""
        return {"path": str(self._path), "sha256": hashlib.sha256(self._text).hexdigest()}

    def poll(self) -> bool:
        """Look again; return whether there are new rules in ``rules``."""
        try:
            text = read_document(self._path)
            if text == self._text:
                self.trouble = None  # what was broken has been taken back
                return False
            policy = parse_policy(text, str(self._path))
        except Failure as failure:
            self.trouble = f"{failure}\n{self._path}: refused; the policy before it stays in force"
            return False
        self.rules = PolicyRules(policy, self.rules.overrides, self.rules.carbon_w)
        self._text, self.trouble = text, None
        return True
