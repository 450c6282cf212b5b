"""Several machines in one process: their spec file, and the loop that keeps them in time.

A spec file is JSON, ``{"machines": [...]}``. A machine is either whole, or ``{"id": ..., "preset": ...}`` with anything
else laid over the preset as a JSON merge patch (RFC 7396): objects are merged, null removes, all else replaces.
"""

from __future__ import annotations

import gc
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from evenwatt_twin.errors import SpecError
from evenwatt_twin.machine import STEP_NS, Machine
from evenwatt_twin.machine_spec import MachineSpec
from evenwatt_twin.nvml import build_library
from evenwatt_twin.presets import PRESETS, preset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class FleetSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The machines of one process."""

    machines: Annotated[tuple[MachineSpec, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        names = [machine.id for machine in self.machines]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"id {twice[0]!r} is used more than once")


def load_fleet(path: Path) -> FleetSpec:
    """Read a spec file.

    Raises:
        SpecError: it cannot be read or does not describe a fleet; the message names the file, the key and the fix.
    """
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}", "name a readable spec file") from error
    except ValueError as error:
        raise SpecError(f"{path}: not JSON: {error}", "write it as JSON") from error
    return fleet_from(raw, str(path))


def fleet_from(raw: Any, source: str = "spec") -> FleetSpec:
    """Check a decoded spec; ``source`` is what messages call it.

    Raises:
        SpecError: see ``load_fleet``.
    """
    try:
        entries = raw["machines"]
        whole = {**raw, "machines": [_lay_over_preset(entry, source) for entry in entries]}
    except (KeyError, TypeError) as error:
        raise SpecError(f"{source}: not a fleet", 'write {"machines": [{"id": "n1", "preset": "xeon_2s"}]}') from error
    try:
        return msgspec.convert(whole, FleetSpec, strict=True)
    except msgspec.ValidationError as error:
        raise SpecError(f"{source}: {error}", "correct or remove that key; see twin/README.md") from error


def run_fleet(
    fleet: FleetSpec,
    folder: Path,
    *,
    step_ns: int = STEP_NS,
    ready: Callable[[dict[str, Machine]], None],
    stopping: Callable[[], bool],
    replay_folder: Path | None = None,
) -> None:
    """Run machines in real time until ``stopping()``, then bring their truth to disk.

    Args:
        fleet: Which.
        folder: Each machine gets a folder of its id in here.
        step_ns: Grid of the plant, and how often files are read and written.
        ready: Called once when every tree exists and the counters move.
        stopping: Asked every step.
        replay_folder: Where relative paths of replays start.
    """
    start_ns = time.monotonic_ns()
    machines: list[Machine] = []
    try:
        library = build_library(folder / ".nvml") if any(spec.nvml for spec in fleet.machines) else None
        for spec in fleet.machines:
            place = folder / spec.id
            machine = Machine(
                spec, place, start_ns=start_ns, step_ns=step_ns, replay_folder=replay_folder, library=library
            )
            machines.append(machine)
        _loop(machines, step_ns, ready, stopping)
    finally:
        for machine in machines:
            machine.close()


def _loop(
    machines: list[Machine],
    step_ns: int,
    ready: Callable[[dict[str, Machine]], None],
    stopping: Callable[[], bool],
) -> None:
    # What is built now lives to the end, and the loop makes no cycles: the collector would only walk it for nothing.
    gc.collect()
    gc.freeze()
    deadline_ns = time.monotonic_ns()
    announced = False
    while not stopping():
        deadline_ns += step_ns
        wait_ns = deadline_ns - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        else:
            deadline_ns -= wait_ns  # late: the plants catch up by themselves, deadlines that passed are not repeated
        for machine in machines:
            machine.step_to(time.monotonic_ns())
        if not announced:
            announced = True
            ready({machine.spec.id: machine for machine in machines})


def _lay_over_preset(entry: Any, source: str) -> Any:
    name = entry.get("preset") if isinstance(entry, dict) else None
    if name is None:
        return entry
    if name not in PRESETS:
        raise SpecError(f"{source}: no preset {name!r}", f"use one of {', '.join(PRESETS)}")
    base = msgspec.to_builtins(preset(name, str(entry.get("id", ""))))
    patch = {key: value for key, value in entry.items() if key != "preset"}
    # A profile is chosen as a whole: keys of one kind mean nothing to another.
    return {**_merge(base, patch), **({"profile": patch["profile"]} if "profile" in patch else {})}


def _merge(base: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
