"""What the owner of this machine lets anybody ask of it, whatever is signed: ``limits.toml``. Pure but for ``load``.

The file lies on the node and can only tighten. A cap outside is clamped, since a node that refused it would rest at its
fallback; everything else outside is refused.
"""

from __future__ import annotations

import hashlib
import math
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from evenwatt_daemon import Failure, load_settings
from evenwatt_wire import CommandError
from evenwatt_wire.command import Op, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_wire import Command

DEFAULT_NAME: Final = "limits.toml"
_GIVES_BACK: Final = frozenset({Op.RELEASE, Op.RESUME})
Watts = Annotated[float, Meta(ge=0, le=1e9)]


class DomainLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one domain may be limited to."""

    least_w: Watts | None = None
    """A limit below this is raised to it."""
    most_w: Watts | None = None
    """A limit above this is lowered to it."""

    def clamp(self, limit_w: float) -> float:
        """Return the limit within these."""
        return _clamp(limit_w, self.least_w, self.most_w)


class Ops(Struct, frozen=True, forbid_unknown_fields=True):
    """What each role may ask for; everything where nothing is said."""

    controller: list[Op] | None = None
    """Commands that a collector may give, by name; default: all."""
    operator: list[Op] | None = None
    """Commands that a person may give, by name; default: all."""

    def allows(self, role: Role, op: Op) -> bool:
        """Whether a role may ask for this here."""
        allowed = {Role.CONTROLLER: self.controller, Role.OPERATOR: self.operator}.get(role)
        return allowed is None or op in allowed


class LocalLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. With no file nothing is limited beyond the agent's own settings."""

    least_cap_w: Watts | None = None
    """A node cap below this is raised to it."""
    most_cap_w: Watts | None = None
    """A node cap above this is lowered to it; it also holds when everything is released."""
    max_ttl_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    """Longest lease of a cap."""
    max_pause_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    """Longest pause."""
    pausable: list[str] | None = None
    """What of ``control.pausable`` may be paused after all."""
    commands_per_minute: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Of one key; a controller renews its caps 30 times a minute. Release and resume are never held back."""
    dry_run_only: bool = False
    """Everything is checked and answered, and nothing on this machine is changed."""
    ops: Ops = Ops()
    domains: dict[str, DomainLimits] = {}
    """Watts that single domains may be limited to, e.g. ``[domains.package-0]``."""

    def cap_w(self, cap_w: float | None) -> float | None:
        """Return the node cap that may be asked for instead; None is the machine's own limits."""
        if cap_w is None:
            return self.most_cap_w
        return _clamp(cap_w, self.least_cap_w, self.most_cap_w)

    def domain_w(self, domain: str, limit_w: float) -> float:
        """Return the limit that a domain may get instead."""
        limits = self.domains.get(domain)
        return limit_w if limits is None else limits.clamp(limit_w)

    def why(self, cap_w: float | None) -> str:
        """Name the limit that changes a node cap; empty where none does."""
        if cap_w is None:
            return "" if self.most_cap_w is None else f"most_cap_w = {self.most_cap_w:g} in limits.toml"
        if self.least_cap_w is not None and cap_w < self.least_cap_w:
            return f"least_cap_w = {self.least_cap_w:g} in limits.toml"
        if self.most_cap_w is not None and cap_w > self.most_cap_w:
            return f"most_cap_w = {self.most_cap_w:g} in limits.toml"
        return ""

    def check(self, role: Role, command: Command) -> None:
        """Raise :class:`CommandError` ``not-allowed`` or ``ttl`` for what may not be asked for here."""
        op, target = command.op, command.target
        if not self.ops.allows(role, op):
            raise CommandError("not-allowed", f"ops.{role} in this node's limits.toml leaves {op} out")
        if op in (Op.PAUSE, Op.RESUME) and self.pausable is not None and target not in self.pausable:
            raise CommandError("not-allowed", f"pausable in this node's limits.toml leaves {target!r} out")
        if op is Op.PAUSE:
            _check_length(command.ttl_s, self.max_pause_s, "max_pause_s")
        else:
            self.check_ttl(command.ttl_s)

    def check_ttl(self, ttl_s: float) -> None:
        """Raise :class:`CommandError` ``ttl`` for a lease, or one that goes on, longer than it may be here."""
        _check_length(ttl_s, self.max_ttl_s, "max_ttl_s")


class Rate:
    """How many commands of each key are taken: as many as a minute holds at once, and then as time passes.

    Args:
        per_minute: None for any number.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._left: dict[bytes, tuple[float, float]] = {}

    def take(self, key_id: bytes, op: Op, now_s: float) -> None:
        """Count a command, or raise :class:`CommandError` ``rate``."""
        if self._per_minute is None or op in _GIVES_BACK:
            return
        left, since_s = self._left.get(key_id, (float(self._per_minute), now_s))
        left = min(self._per_minute, left + max(0.0, now_s - since_s) * self._per_minute / 60.0)
        if left < 1.0:
            self._left[key_id] = (left, now_s)
            wait_s = math.ceil((1.0 - left) * 60.0 / self._per_minute)
            raise CommandError(
                "rate",
                f"commands_per_minute in this node's limits.toml is {self._per_minute}; the next one in {wait_s} s",
            )
        self._left[key_id] = (left - 1.0, now_s)


def limits_path(settings_path: str | Path | None, named: str | None) -> Path | None:
    """Return the file to read: the one that is named, else the one beside the agent's settings if it is there."""
    if named is not None:
        return Path(named)
    beside = Path(settings_path).parent / DEFAULT_NAME if settings_path is not None else None
    return beside if beside is not None and beside.exists() else None


def load_limits(path: Path | None, pausable: Mapping[str, object] | list[str]) -> LocalLimits:
    """Read and check the file; with none, nothing is limited.

    Raises:
        Failure: naming the file, the key, what was found and the fix.
    """
    limits = load_settings(LocalLimits, path)
    if path is None:
        return limits
    if path.stat().st_mode & stat.S_IWOTH:
        raise Failure(f"{path}: everybody may write it; it limits what root does, so: chmod o-w {path}")
    _check_order(f"{path}: key 'least_cap_w'", limits.least_cap_w, limits.most_cap_w, "most_cap_w")
    for name, domain in limits.domains.items():
        _check_order(f"{path}: key 'domains.\"{name}\".least_w'", domain.least_w, domain.most_w, "most_w")
    unknown = [name for name in limits.pausable or [] if name not in pausable]
    if unknown:
        raise Failure(
            f"{path}: key 'pausable' names {unknown[0]!r}, which is none of control.pausable "
            f"({', '.join(pausable) or 'empty'}); this file can only leave names out"
        )
    return limits


def limits_sha256(path: str | None) -> str | None:
    """Return which text of the file is in force, for the audit log."""
    try:
        return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None  # it was there when it was read


def _check_order(where: str, least_w: float | None, most_w: float | None, other: str) -> None:
    if least_w is not None and most_w is not None and least_w > most_w:
        raise Failure(f"{where} is {least_w:g}, above {other} = {most_w:g}; expected at most that")


def _check_length(asked_s: float, most_s: float | None, key: str) -> None:
    if most_s is not None and asked_s > most_s:
        raise CommandError("ttl", f"{asked_s:g} s; {key} in this node's limits.toml is {most_s:g}")


def _clamp(value: float, least: float | None, most: float | None) -> float:
    """Where the two leave nothing, the upper one holds."""
    if least is not None:
        value = max(value, least)
    return value if most is None else min(value, most)
