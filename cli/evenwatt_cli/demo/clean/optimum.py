"""What is best for a workload on a simulated machine, from the machine's own physics: what learning is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_cli.demo.clean.scenario import PRESET
from evenwatt_twin import preset
from evenwatt_twin.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_cli.demo.clean.scenario import Workload
    from evenwatt_twin import Truth

_STEP_W: Final = 1.0
_SETTLE_S: Final = 0.5
_DT_S: Final = 0.05
_MEASURED_S: Final = 1.0
_PIECE_NS: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class Point:
    """A machine under one cap."""

    power_w: float
    """Of the whole machine."""
    speed: float
    """Work done, as a share of that at full power."""

    @property
    def energy_j_per_s(self) -> float:
        """Joules for what full power does in a second."""
        return self.power_w / self.speed


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in which a node did one workload under one cap."""

    node: str
    start_ns: int
    end_ns: int
    cap_w: float


def sweep(workload: Workload) -> list[Point]:
    """Return a machine's points under every cap that its processors take, ascending."""
    spec = preset(PRESET, "sweep")
    processors = {name: one for name, one in spec.components.items() if one.kind == "cpu-package"}
    least_w = max(one.min_cap_w for one in processors.values())
    most_w = max(one.max_w for one in processors.values())
    found = []
    for i in range(int((most_w - least_w) / _STEP_W) + 1):
        cap_w = least_w + i * _STEP_W
        plant = Plant(spec.components)
        caps_w = [cap_w if name in processors else None for name in spec.components]
        _run(plant, workload.load, caps_w, _SETTLE_S)
        before_j, before_s = plant.energy_j, plant.work_done
        _run(plant, workload.load, caps_w, _MEASURED_S)
        served = (plant.work_done - before_s) / _MEASURED_S / workload.load
        if served > 0:
            found.append(Point((plant.energy_j - before_j) / _MEASURED_S, served**workload.sensitivity))
    return found


def best(points: Iterable[Point]) -> Point:
    """Return the point with the least energy for the same work."""
    return min(points, key=lambda point: point.energy_j_per_s)


def measured(workload: Workload, stretches: Sequence[Stretch], truths: dict[str, Truth]) -> Point | None:
    """Return how machines really did under a cap, over some stretches; None if they did no work in them."""
    energy_j = seconds = work_s = 0.0
    for one in stretches:
        truth = truths.get(one.node)
        if truth is None:
            continue  # no simulated machine
        # Piece by piece: the power of a mean is not the mean of powers.
        for start_ns in range(one.start_ns, one.end_ns - _PIECE_NS + 1, _PIECE_NS):
            done, due = truth.work(start_ns, start_ns + _PIECE_NS)
            if due > 0:
                energy_j += truth.energy_j(start_ns, start_ns + _PIECE_NS)
                seconds += _PIECE_NS * 1e-9
                work_s += _PIECE_NS * 1e-9 * (done / due) ** workload.sensitivity
    return Point(energy_j / seconds, work_s / seconds) if seconds > 0 and work_s > 0 else None


def _run(plant: Plant, load: float, caps_w: list[float | None], seconds: float) -> None:
    for _ in range(round(seconds / _DT_S)):
        plant.step(_DT_S, load, caps_w)
