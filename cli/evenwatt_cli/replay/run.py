"""``evenwatt replay``: one world, one or more ways to control it, faster than time."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from evenwatt_cli.exits import Exit
from evenwatt_cli.replay.baselines import BASELINES
from evenwatt_cli.replay.engine import Run, Setting, run
from evenwatt_cli.replay.faults import parse_faults
from evenwatt_cli.replay.inputs import load_plant, load_trace
from evenwatt_cli.replay.network import Conditions
from evenwatt_cli.replay.ours import InvariantError
from evenwatt_cli.replay.report import OURS, document, page, table, verdict
from evenwatt_cli.replay.scenarios import NAMES, Budget, Scenario, make_fleet, make_scenario
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.managers import DictProxy
    from pathlib import Path

    from evenwatt_cli.replay.loops import Rule

RULES: dict[str, Callable[[], Rule] | None] = {OURS: None} | {rule().name: rule for rule in BASELINES}
"""Every way to control by name."""
_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a scenario is made of; small, so that it can be sent to another process."""

    scenario: str
    nodes: int
    seconds: float
    setting: Setting
    trace: Path | None = None
    plant: Path | None = None
    budget_share: float = 0.6
    """With a trace: budget as a share of all nodes' full power."""

    def make(self) -> Scenario:
        """Make the scenario.

        Raises:
            Failure: the trace or the plant cannot be used.
        """
        dt_s, seed = self.setting.dt_s, self.setting.seed
        curves: dict[str, Any] = {"curves": load_plant(self.plant)} if self.plant else {}
        if self.trace is None:
            return make_scenario(self.scenario, self.nodes, dt_s, seed, seconds=self.seconds, **curves)
        fleet = make_fleet(self.nodes, seed, **curves)
        traffic = load_trace(self.trace, self.nodes, dt_s, self.seconds)
        return Scenario(self.scenario, fleet, traffic, Budget(self.budget_share * fleet.max_w.sum()), self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked for."""

    worlds: Sequence[World]
    policies: Sequence[str]
    as_json: bool
    page: Path | None


def replay(options: Options) -> Exit:
    """Run, show and write.

    Raises:
        Failure: an input is wrong, or our core broke its invariant (a fault of ours: the text has the seed).
    """
    results = run_all(options.worlds, options.policies)
    if options.page is not None:
        try:
            options.page.write_text(page(results, "evenwatt replay"), encoding="utf-8")
        except OSError as error:
            raise Failure(f"{options.page}: {error.strerror}; name a file that can be written") from None
        print(f"replay: plots are in {options.page}", file=sys.stderr)
    if options.as_json:
        print(json.dumps({"scenarios": document(results), "verdict": verdict(results)}))
    else:
        print("\n\n".join(table(name, runs) for name, runs in results.items()))
    return Exit.OK


def run_all(worlds: Sequence[World], policies: Sequence[str]) -> dict[str, list[Run]]:
    """Run every policy in every world, on all processors, with a progress bar on standard error.

    Raises:
        Failure: as in ``replay``.
    """
    for world in worlds:
        world.make()  # what is wrong with the input is said once, and here
    jobs = [(world, policy) for world in worlds for policy in policies]
    context = get_context("forkserver" if len(jobs) > 1 else None)
    with context.Manager() as manager, _progress() as bar:
        shares: DictProxy[int, float] = manager.dict()
        task = bar.add_task("replay", total=float(len(jobs)))
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            futures = {pool.submit(_one, world, policy, shares, i): i for i, (world, policy) in enumerate(jobs)}
            while not all(future.done() for future in futures):
                bar.update(task, completed=sum(shares.values()))
                time.sleep(_POLL_S)
            bar.update(task, completed=float(len(jobs)))
        done = {futures[future]: _result(future.result) for future in as_completed(futures)}
    ordered = [done[i] for i in range(len(jobs))]
    each = len(policies)
    return {world.scenario: ordered[i * each : (i + 1) * each] for i, world in enumerate(worlds)}


def _one(world: World, policy: str, shares: DictProxy[int, float], number: int) -> Run:
    return run(world.make, RULES[policy], world.setting, partial(shares.__setitem__, number))


def _result(get: Callable[[], Run]) -> Run:
    try:
        return get()
    except InvariantError as error:
        raise Failure(f"replay: the lease invariant is broken: {error}", exit_code=EXIT_FAILURE) from None


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def make_options(
    *,
    scenarios: Sequence[str],
    trace: Path | None,
    plant: Path | None,
    nodes: int,
    seconds: float,
    dt_s: float,
    policies: Sequence[str],
    loss: float,
    delay_ms: float,
    double: float,
    faults: Sequence[str],
    seed: int,
    budget_share: float,
    as_json: bool,
    page: Path | None,
) -> Options:
    """Check what the command line says.

    Raises:
        Failure: naming the option, what was found and what it may be.
    """
    _known("--scenario", scenarios, NAMES)
    _known("--policy", policies, tuple(RULES))
    conditions = Conditions(delay_s=(min(0.005, delay_ms / 1e3), delay_ms / 1e3), loss=loss, double=double)
    setting = Setting(dt_s=dt_s, seed=seed, conditions=conditions, faults=parse_faults(faults))
    names = [trace.stem] if trace else list(scenarios) or list(NAMES)
    worlds = [
        World(
            scenario=name, nodes=nodes, seconds=seconds, setting=setting, trace=trace, plant=plant,
            budget_share=budget_share,
        )
        for name in names
    ]  # fmt: skip
    return Options(worlds=worlds, policies=list(policies) or [OURS, "uncapped"], as_json=as_json, page=page)


def _known(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise Failure(f"{option} {name!r}: not known; use one of {', '.join(known)}")
