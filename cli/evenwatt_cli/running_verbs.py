"""Options of what runs for long: ``evenwatt agent``, ``collector``, ``run``, ``replay``, ``demo``.

Each verb imports what it needs when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from evenwatt_cli.options import HELP, Config, Json
from evenwatt_daemon import Failure

running_app = typer.Typer(context_settings=HELP)


@running_app.command()
def agent(
    config: Annotated[str | None, typer.Option("--config", "-c", help="Agent settings (TOML).")] = None,
) -> None:
    """Run this node's agent in the foreground."""
    from evenwatt_agent.__main__ import main

    raise typer.Exit(main(["--config", config] if config else []))


@running_app.command()
def collector(
    config: Annotated[str | None, typer.Option("--config", "-c", help="Collector settings (TOML).")] = None,
) -> None:
    """Run a collector in the foreground."""
    from evenwatt_collector.__main__ import main

    raise typer.Exit(main(["--config", config] if config else []))


@running_app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[
        list[str], typer.Argument(help="The command and its arguments, after `--`.", metavar="-- CMD...")
    ],
    *,
    name: Annotated[Optional[str], typer.Option("--name", "-n", help="Name of the task; default: the command.")] = None,  # noqa: UP045
    workload: Annotated[str, typer.Option("--workload", "-w", help="What it belongs to, across runs.")] = "",
    model: Annotated[str, typer.Option(help="Model that it trains or serves.")] = "",
    phase: Annotated[str, typer.Option(help="train, fine-tune, evaluate, infer, ...")] = "",
    team: Annotated[str, typer.Option(help="Who answers for it.")] = "",
    reserve: Annotated[float, typer.Option(min=0, max=1, help="Share of the processors set aside for it.")] = 0.0,
    json: Json = False,
    config: Config = None,
) -> None:
    """Run a command as a task of this node, and say what it used. Its exit code is the command's.

    The summary goes to standard error; --json prints it as the last line of standard output. The command may report
    units of work by writing lines like `128 images` to the file descriptor $EVENWATT_UNITS_FD.
    """
    from evenwatt_cli.run_task import RunOptions, run_task

    labels = {"name": name or Path(command[0]).name, "workload": workload, "model": model, "phase": phase, "team": team}
    raise typer.Exit(run_task(RunOptions(command, labels, reserve, json, config)))


@running_app.command()
def replay(
    *,
    scenario: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--scenario", "-s", help="Which; default: all. Repeatable."),
    ] = None,
    trace: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Replay this CSV file: power or load over time, or arrivals."),
    ] = None,
    plant: Annotated[Optional[Path], typer.Option(help="Devices as in this CSV file: a sweep of power limits.")] = None,  # noqa: UP045
    nodes: Annotated[int, typer.Option(min=1, max=20_000, help="Simulated nodes.")] = 120,
    seconds: Annotated[float, typer.Option(min=10, help="Length, after a minute of warm-up.")] = 600.0,
    hours: Annotated[Optional[float], typer.Option(min=0.01, help="Length in hours; the step grows to 0.5 s.")] = None,  # noqa: UP045
    policy: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--policy", "-p", help="evenwatt, a rule's name, or all."),
    ] = None,
    loss: Annotated[float, typer.Option(min=0, max=1, help="Share of messages that are lost.")] = 0.001,
    delay_ms: Annotated[float, typer.Option(min=0, max=60_000, help="Longest delay of a message.")] = 60.0,
    duplicate: Annotated[float, typer.Option(min=0, max=1, help="Share of messages that come twice.")] = 0.0,
    fault: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="WHAT@SECOND[+LENGTH][=VALUE]: collector, broker, nodes or clocks. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance: the same seed is the same run.")] = 1,
    budget: Annotated[float, typer.Option(min=0.01, help="With a trace: budget as a share of full power.")] = 0.6,
    json: Json = False,
    html: Annotated[Optional[Path], typer.Option(help="Write a page with plots to this file.")] = None,  # noqa: UP045
) -> None:
    """Run the control core on a simulated fleet under virtual time, beside published rules."""
    from evenwatt_cli.replay.run import RULES, make_options
    from evenwatt_cli.replay.run import replay as run_replay

    options = make_options(
        scenarios=scenario or [],
        trace=trace,
        plant=plant,
        nodes=nodes,
        seconds=seconds if hours is None else 3600.0 * hours,
        dt_s=0.05 if hours is None else 0.5,
        policies=list(RULES) if policy == ["all"] else policy or [],
        loss=loss,
        delay_ms=delay_ms,
        double=duplicate,
        faults=fault or [],
        seed=seed,
        budget_share=budget,
        as_json=json,
        page=html,
    )
    raise typer.Exit(run_replay(options))


@running_app.command()
def demo(
    *,
    scenario: Annotated[
        str, typer.Option(help="bursts: caps and leases; clean-hours: jobs, models, learned caps.")
    ] = "bursts",
    seconds: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=5, help="How long to run; Ctrl-C ends it. Default: 3600; clean-hours: 480."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="No live view; progress on standard error.")] = False,
    json: Json = False,
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Simulated nodes.")] = 8,
    budget_w: Annotated[float, typer.Option(min=0, help="Zone budget; 0: 60 % of the fleet's peak.")] = 0,
    fault: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="broker@10+20 kills the broker at second 10 for 20 s; agent:NODE@12 kills an agent."),
    ] = None,
    keep: Annotated[Optional[Path], typer.Option(help="Keep logs, settings and the database in this folder.")] = None,  # noqa: UP045
) -> None:
    """See the whole loop on this machine: simulated hardware, real agents, broker, collector and caps."""
    if scenario == "clean-hours":
        from evenwatt_cli.demo.clean.main import SECONDS, run_clean_hours

        raise typer.Exit(run_clean_hours(seconds or SECONDS, keep, headless=headless, as_json=json))
    if scenario != "bursts":
        raise Failure(f"--scenario {scenario!r}: expected bursts or clean-hours")
    from evenwatt_cli.demo.run import Options, run_demo

    options = Options(seconds or 3600, nodes, budget_w, tuple(fault or ()), headless=headless, as_json=json, keep=keep)
    raise typer.Exit(run_demo(options))
