"""Whose joules they are: one interval's energy divided among those who ran. Pure; integers in, integers out.

The two-part tariff. A pool (all processors with their memory, or one GPU board) drew ``E`` in the interval, of which
``I = min(E, idle power x time)`` it would have drawn anyway:

- the dynamic part ``E - I`` is divided by use: processor time, or GPU utilisation;
- the idle part ``I`` is divided by *reserved share*; what nobody reserved is the row ``idle``.

Dynamic energy of an interval in which nobody is known to have run is the row ``system``, and so is the use that no
group accounts for (processes that came and went between two looks, interrupts, kernel threads). Nothing is smeared
silently, and the rows always sum to ``E`` to the microjoule: shares are rounded by the largest remainder.

A node of 600 W with 200 W idle, where A uses 10 % and B 40 % of it and each reserves half, gives A 180 W and B 420 W.
Reserved and idle energy count because ISO/IEC 21031:2024 (SCI) counts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Owner(NamedTuple):
    """Who a row of the account belongs to."""

    kind: str
    """``unit``, ``container``, ``pod``, ``slurm``, ``vm``, ``user``, ``cgroup``, ``process``, ``task``, or one of the
    residual rows below."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" if self.name else self.kind


IDLE: Final = Owner("idle", "")
"""Idle energy that nobody reserved."""
SYSTEM: Final = Owner("system", "")
"""Dynamic energy that no group accounts for."""
OTHER: Final = Owner("other", "")
"""Groups beyond the largest N."""
UNATTRIBUTED: Final = Owner("unattributed", "")
"""Energy of a stretch in which nobody was watched (before the first look, while the agent was not running)."""
RESIDUALS: Final = frozenset({IDLE, SYSTEM, OTHER, UNATTRIBUTED})


@dataclass(slots=True)
class Part:
    """One owner's energy, in microjoules."""

    cpu_uj: int = 0
    """Dynamic energy of processors and memory."""
    gpu_uj: int = 0
    """Dynamic energy of GPU boards."""
    idle_uj: int = 0
    """Idle energy of either, by reserved share."""
    cpu_ns: int = 0
    """Processor time used."""

    @property
    def energy_uj(self) -> int:
        """All of it."""
        return self.cpu_uj + self.gpu_uj + self.idle_uj

    def add(self, other: Part) -> None:
        """Add another stretch."""
        self.cpu_uj += other.cpu_uj
        self.gpu_uj += other.gpu_uj
        self.idle_uj += other.idle_uj
        self.cpu_ns += other.cpu_ns


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of energy over one interval."""

    energy_uj: int
    idle_uj: int
    """What it would have drawn with nothing to do; more than ``energy_uj`` counts as all of it."""
    use: Mapping[Owner, int]
    """How much each used it: nanoseconds of processor time, or utilisation x time. Any unit, the same for all."""
    capacity: int = 0
    """Use of the pool as a whole as its own meter has it; what ``use`` lacks of it is ``system``'s."""
    reserved: Mapping[Owner, float] = field(default_factory=dict)
    """Share of the pool set aside for each, 0 to 1; beyond a sum of 1 they are scaled down."""
    gpu: bool = False


def attribute(pools: list[Pool]) -> dict[Owner, Part]:
    """Divide the energy of several pools; the parts sum to the pools' energy exactly."""
    parts: dict[Owner, Part] = {}
    for pool in pools:
        idle_uj = min(max(0, pool.idle_uj), pool.energy_uj)
        for owner, uj in _by_use(pool, pool.energy_uj - idle_uj).items():
            part = parts.setdefault(owner, Part())
            if pool.gpu:
                part.gpu_uj += uj
            else:
                part.cpu_uj += uj
        for owner, uj in _by_reservation(pool.reserved, idle_uj).items():
            parts.setdefault(owner, Part()).idle_uj += uj
        if not pool.gpu:
            for owner, cpu_ns in pool.use.items():
                parts.setdefault(owner, Part()).cpu_ns += cpu_ns
    return parts


def top(parts: Mapping[Owner, Part], count: int) -> dict[Owner, Part]:
    """Keep the ``count`` largest groups, every task and the residual rows; the rest becomes ``other``."""
    kept = {owner: part for owner, part in parts.items() if owner in RESIDUALS or owner.kind == "task"}
    ranked = sorted((o for o in parts if o not in kept), key=lambda owner: (-parts[owner].energy_uj, owner))
    result = {owner: parts[owner] for owner in ranked[:count]} | kept
    if ranked[count:]:
        rest = Part()
        for owner in [*ranked[count:], *({OTHER} & parts.keys())]:
            rest.add(parts[owner])
        result[OTHER] = rest
    return result


def apportion(amount: int, weights: Mapping[Owner, int]) -> dict[Owner, int]:
    """Divide an integer by integer weights so that the shares sum to it: largest remainder, ties by name.

    Returns:
        Shares in the order of ``weights``; empty if no weight is positive.
    """
    positive = {owner: weight for owner, weight in weights.items() if weight > 0}
    whole = sum(positive.values())
    if whole == 0:
        return {}
    shares = {owner: amount * weight // whole for owner, weight in positive.items()}
    left = amount - sum(shares.values())
    if left:
        for owner in sorted(positive, key=lambda o: (-(amount * positive[o] % whole), o))[:left]:
            shares[owner] += 1
    return shares


def _by_use(pool: Pool, dynamic_uj: int) -> dict[Owner, int]:
    used = sum(use for use in pool.use.values() if use > 0)
    weights = dict(pool.use)
    if pool.capacity > used:
        weights[SYSTEM] = weights.get(SYSTEM, 0) + pool.capacity - used
    if dynamic_uj == 0:
        return {}
    return apportion(dynamic_uj, weights) or {SYSTEM: dynamic_uj}


_SHARE_STEPS: Final = 1_000_000_000


def _by_reservation(reserved: Mapping[Owner, float], idle_uj: int) -> dict[Owner, int]:
    if idle_uj == 0:
        return {}
    weights = {owner: round(share * _SHARE_STEPS) for owner, share in reserved.items() if share > 0}
    free = _SHARE_STEPS - sum(weights.values())
    if free > 0:
        weights[IDLE] = weights.get(IDLE, 0) + free
    return apportion(idle_uj, weights)
