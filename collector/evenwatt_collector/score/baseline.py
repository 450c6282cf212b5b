"""What scores are held against: frozen, versioned, with a hash; never changed, only superseded. Pure.

A baseline belongs to a *class* of work: a pattern of workload or model names and the unit that they count in, or the
fleet. A new version is put beside the old one and says how far it lies from it, so that a moved goal is seen in every
score that uses it.

The fleet's work is counted by its classes: a unit of class i is worth ``b_i``, what it emitted at its frozen baseline,
so that ``R = sum of b_i R_i`` in kilograms (``baseline-kg``). Grams are those of the whole fleet, idle and nameless
work included. This is a ratio of sums: it does not change with how work is split, an outlier counts in full, and work
that gets a name without a baseline adds grams and no R. A geometric mean of ratios has none of the three.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

from evenwatt_collector.score.terms import Terms
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KIND: Final = "score-baseline"
"""Of the documents that hold them."""
FLEET_UNIT: Final = "baseline-kg"
Subject = Literal["workload", "model", "fleet"]


class Pin(Struct, frozen=True, kw_only=True):
    """What a unit of a class is worth in the fleet's score."""

    name: str
    """Of the class."""
    version: int
    pattern: str
    unit: str
    g_per_unit: float


class Baseline(Struct, frozen=True, kw_only=True):
    """One version."""

    name: str
    """Of the class."""
    version: int
    subject: Subject
    pattern: str
    """Of the names that belong to it, with wildcards; empty for the fleet."""
    unit: str
    """R."""
    made_s: float
    """When it was frozen; times are Unix seconds."""
    start_s: float
    """The period that it is of."""
    end_s: float
    known_at_s: float
    how: str
    """How it was made, in words."""
    terms: Terms
    low_g_per_unit: float
    """The 90 % range of grams per unit then."""
    high_g_per_unit: float | None
    coverage: float | None
    weights: dict[str, float]
    """The reference mix: the fleet's energy by zone then, as shares."""
    mean_g_per_kwh: dict[str, float]
    """Mean of PUE x intensity over the period, by zone."""
    factors: list[str]
    """What its intensities were from."""
    pins: list[Pin] = []
    """Of the fleet: what units of its classes are worth."""
    previous_g_per_unit: float | None = None
    """Of the version before."""
    provisional: str = ""
    """Why it is no good measure, where it was frozen all the same; empty: it is one."""
    digest: str = ""
    """SHA-256 of all of the above as canonical JSON."""

    @property
    def g_per_unit(self) -> float:
        """What a unit emitted."""
        return self.terms.g_per_unit

    @property
    def label(self) -> str:
        """How it is named in a score."""
        return f"{self.name} v{self.version}"

    def covers(self, name: str) -> bool:
        """Whether a workload or model of this name belongs to the class."""
        return self.subject != "fleet" and fnmatchcase(name, self.pattern)


def seal(baseline: Baseline) -> Baseline:
    """Return it with its hash."""
    return msgspec.structs.replace(baseline, digest=digest(baseline))


def digest(baseline: Baseline) -> str:
    """Return the SHA-256 of everything but the hash itself."""
    plain = msgspec.structs.replace(baseline, digest="")
    # As it is read back: a whole number in a field of floats is a float then.
    read = msgspec.convert(msgspec.to_builtins(plain), Baseline)
    said = msgspec.to_builtins(read)
    if not read.provisional:  # baselines from before there was such a field keep their hash
        del said["provisional"]
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()


def from_document(value: Any) -> Baseline:
    """Read one back.

    Raises:
        Failure: it is none, or was changed after it was frozen.
    """
    try:
        found = msgspec.convert(value, Baseline)
    except msgspec.ValidationError as error:
        raise Failure(f"a stored baseline of a score cannot be read ({error}); freeze a new version") from None
    if digest(found) != found.digest:
        raise Failure(
            f"baseline {found.label} was changed after it was frozen: its hash is {digest(found)[:12]}, expected "
            f"{found.digest[:12]}; freeze a new version"
        )
    return found


def newest(baselines: Iterable[Baseline]) -> dict[str, Baseline]:
    """Return the version of each class that counts."""
    found: dict[str, Baseline] = {}
    for one in baselines:
        if one.name not in found or one.version > found[one.name].version:
            found[one.name] = one
    return found


def fitting(known: Iterable[Baseline], subject: Subject, name: str) -> Baseline | None:
    """Return the class that a workload or model belongs to: the one with the most letters that are no wildcards."""
    fits = [one for one in known if one.subject == subject and one.covers(name)]
    return max(fits, key=lambda one: (_letters(one.pattern), one.name), default=None)


def worth(pins: Iterable[Pin], units: Mapping[str, Mapping[str, float]]) -> tuple[float, list[str]]:
    """Return the fleet's work in ``baseline-kg``, and the workloads that have none of it.

    Args:
        pins: What units are worth.
        units: Units of work done, by workload and unit.
    """
    known, total_g, without = list(pins), 0.0, []
    for name, done in sorted(units.items()):
        fits = [pin for pin in known if fnmatchcase(name, pin.pattern) and done.get(pin.unit, 0.0) > 0]
        pin = max(fits, key=lambda one: (_letters(one.pattern), one.name), default=None)
        if pin is None:
            without.append(name)
        else:
            total_g += pin.g_per_unit * done[pin.unit]
    return total_g / 1000, without


def _letters(pattern: str) -> int:
    return sum(character not in "*?[]" for character in pattern)
