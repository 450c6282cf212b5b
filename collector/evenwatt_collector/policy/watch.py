"""Hot reload: a changed policy takes effect, a broken one is refused and the one before it stays.

The files are small, so each look reads them whole and compares bytes. A change that keeps the size within one tick of
the file system's clock, which inode, size and time would miss, is seen too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from evenwatt_collector.policy.overrides import parse_overrides, path_beside
from evenwatt_collector.policy.policy import parse_policy
from evenwatt_collector.policy.rules import PolicyRules
from evenwatt_daemon import Failure, read_document

if TYPE_CHECKING:
    from pathlib import Path

_NONE: Final = b"{}"
"""Stands for a file of overrides that is not there."""


class Watcher:
    """A policy and its overrides on disk; the caller says when to look, each second will do.

    Args:
        path: The policy.

    Raises:
        Failure: it cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._beside = path, path_beside(path)
        self._policy_text, self._overrides_text = read_document(path), self._read_overrides()
        policy = parse_policy(self._policy_text, str(path))
        self.rules = PolicyRules(policy, parse_overrides(self._overrides_text, self._beside))
        self._troubles: dict[Path, str] = {}

    @property
    def trouble(self) -> str | None:
        """Why a changed file was not taken, what was before it holds; None: all is in force as it stands."""
        return "\n".join(self._troubles.values()) or None

    def facts(self) -> dict[str, str | None]:
        """Say which texts are in force, by their SHA-256."""
        overrides = hashlib.sha256(self._overrides_text).hexdigest() if self._overrides_text != _NONE else None
        return {
            "path": str(self._path),
            "sha256": hashlib.sha256(self._policy_text).hexdigest(),
            "overrides_sha256": overrides,
        }

    def poll(self) -> bool:
        """Look again; return whether there are new rules in ``rules``."""
        return any([self._take_policy(), self._take_overrides()])

    def _take_policy(self) -> bool:
        try:
            text = read_document(self._path)
            if text == self._policy_text:
                self._troubles.pop(self._path, None)  # what was broken has been taken back
                return False
            policy = parse_policy(text, str(self._path))
        except Failure as failure:
            self._troubles[self._path] = f"{failure}\n{self._path}: refused; the policy before it stays in force"
            return False
        self.rules = PolicyRules(policy, self.rules.overrides, self.rules.carbon_w)
        self._policy_text = text
        self._troubles.pop(self._path, None)
        return True

    def _take_overrides(self) -> bool:
        try:
            text = self._read_overrides()
            if text == self._overrides_text:
                self._troubles.pop(self._beside, None)
                return False
            overrides = parse_overrides(text, self._beside)
        except Failure as failure:
            self._troubles[self._beside] = f"{failure}; the overrides before stay in force"
            return False
        self.rules = PolicyRules(self.rules.policy, overrides, self.rules.carbon_w)
        self._overrides_text = text
        self._troubles.pop(self._beside, None)
        return True

    def _read_overrides(self) -> bytes:
        try:
            return self._beside.read_bytes()
        except FileNotFoundError:
            return _NONE
        except OSError as error:
            raise Failure(f"{self._beside}: {error.strerror}; let the collector's user read it") from None
