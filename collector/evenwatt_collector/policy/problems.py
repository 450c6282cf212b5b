"""What is wrong with a policy: each problem has its line, its key, what was found and the fix. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Path = tuple[str | int, ...]
"""Way to a value in the file, such as ``("zones", 1, "budget_w")``."""


class Severity(StrEnum):
    """Whether the policy can hold all the same."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that its reader has to change, or should look at."""

    path: Path
    text: str
    severity: Severity = Severity.ERROR
    line: int = 0
    """1 is the first; 0 where none can be named."""

    def words(self, name: str) -> str:
        """Return it as one line, ``policy.toml:17: zones[1].parent: ...``, as compilers do."""
        where = f"{name}:{self.line}" if self.line else name
        key = f"{key_of(self.path)}: " if self.path else ""
        kind = "warning: " if self.severity is Severity.WARNING else ""
        return f"{where}: {kind}{key}{self.text}"


def warning(path: Path, text: str) -> Problem:
    """Return a problem that does not keep the policy from being used."""
    return Problem(path, text, Severity.WARNING)


def key_of(path: Path) -> str:
    """Return a path as people write it: ``zones[1].events[0].start``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def errors(problems: Sequence[Problem]) -> list[Problem]:
    """Return those that keep a policy from being used."""
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def listed(problems: Sequence[Problem], name: str) -> str:
    """Return all of them, one a line, in the file's order."""
    return "\n".join(problem.words(name) for problem in sorted(problems, key=lambda p: (p.line, key_of(p.path))))
