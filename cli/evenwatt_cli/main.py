"""Entry point: options and help live here, the work in one module per verb.

Those modules are imported inside the verbs: ``evenwatt agent`` must not load what ``evenwatt demo`` needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from evenwatt_cli import completing
from evenwatt_cli.advise_verbs import advise_app
from evenwatt_cli.audit.verbs import audit_app
from evenwatt_cli.broker.verbs import broker_app
from evenwatt_cli.enrolment.verbs import enroll_app
from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.verbs import jobs_app
from evenwatt_cli.keys.verbs import keys_app
from evenwatt_cli.ledger_verbs import ledger_app
from evenwatt_cli.models.verbs import choice_app, models_app
from evenwatt_cli.policy_verbs import policy_app
from evenwatt_cli.score.verbs import improvement_app, score_app
from evenwatt_daemon import Failure

app = typer.Typer(
    name="evenwatt",
    help="Keeps a fleet's watts even and its carbon low.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(policy_app)
app.add_typer(ledger_app)
app.add_typer(audit_app)
app.add_typer(jobs_app)
app.add_typer(advise_app)
app.add_typer(choice_app)
app.add_typer(models_app)
app.add_typer(score_app)
app.add_typer(improvement_app)
app.add_typer(keys_app)
app.add_typer(enroll_app)
app.add_typer(broker_app)

# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--config",
        "-c",
        help="Settings: $EVENWATT_CONFIG, else operator.toml in ~/.config/evenwatt, ~/.evenwatt or /etc/evenwatt.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Zone = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--zone", "-z", help="Zone of the node; default from the settings.", autocompletion=completing.zone),
]
Node = Annotated[str, typer.Argument(help="The node, by its name.", autocompletion=completing.node)]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the command.")]
For = Annotated[str, typer.Option("--for", help="How long, e.g. 90s, 10m, 2h; it ends by itself.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Let the node check everything, and do nothing.")]


def _show_version(asked: bool) -> None:
    if asked:
        from evenwatt_wire.version import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Keeps a fleet's watts even and its carbon low."""


@app.command()
def agent(
    config: Annotated[str | None, typer.Option("--config", "-c", help="Agent settings (TOML).")] = None,
) -> None:
    """Run this node's agent in the foreground."""
    from evenwatt_agent.__main__ import main

    raise typer.Exit(main(["--config", config] if config else []))


@app.command()
def collector(
    config: Annotated[str | None, typer.Option("--config", "-c", help="Collector settings (TOML).")] = None,
) -> None:
    """Run a collector in the foreground."""
    from evenwatt_collector.__main__ import main

    raise typer.Exit(main(["--config", config] if config else []))


@app.command()
def status(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="A zone or a node; default: everything.", autocompletion=completing.place),
    ] = None,
    *,
    json: Json = False,
    via: Annotated[str, typer.Option(help="auto, local (this node's agent), collector, or mqtt.")] = "auto",
    config: Config = None,
) -> None:
    """Show what the fleet, a zone or a node is doing now."""
    from evenwatt_cli.status import show_status

    raise typer.Exit(show_status(name, via=via, as_json=json, config=config))


@app.command()
def top(
    *,
    via: Annotated[str, typer.Option(help="auto, collector, or local (this node's agent).")] = "auto",
    once: Annotated[bool, typer.Option("--once", help="Print one plain frame and end; needs no terminal.")] = False,
    config: Config = None,
) -> None:
    """Watch the fleet live: watts against budgets and caps, node by node. Press ? for its keys."""
    from evenwatt_cli.top.run import show_top

    raise typer.Exit(show_top(via=via, once=once, config=config))


@app.command()
def watch(
    what: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="status, events, alerts, decisions, nodes, workloads, jobs; or names of nodes, zones and jobs, of "
            "which only these are told. Default: events, alerts and decisions.",
            autocompletion=completing.watched,
        ),
    ] = None,
    *,
    after: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Go on after the happening with this id, as --json tells it; the latest 1,000 are kept."),
    ] = None,
    count: Annotated[Optional[int], typer.Option(min=1, help="End after so many lines.")] = None,  # noqa: UP045
    duration: Annotated[Optional[str], typer.Option("--for", help="End after this time, e.g. 90s, 10m, 2h.")] = None,  # noqa: UP045
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
    config: Config = None,
) -> None:
    """Follow what happens, line by line, until Ctrl-C; after a break it goes on where it was."""
    from evenwatt_cli.watch import WatchOptions
    from evenwatt_cli.watch import watch as follow

    options = WatchOptions(what=what or [], after=after, count=count, for_=duration, as_json=json, config=config)
    raise typer.Exit(follow(options))


@app.command()
def explain(
    name: Annotated[
        str,
        typer.Argument(
            help="NODE, ZONE:NODE, ZONE, or ZONE: where a node has its name; or a job: name, id or its beginning.",
            autocompletion=completing.place_or_job,
        ),
    ],
    *,
    at: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Then instead of now: 14:02, '10m ago', or date and time with offset."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Say in plain words why a node or zone is limited, or a job planned as it is, and what would change that."""
    from evenwatt_cli.explain import explain as explain_name

    raise typer.Exit(explain_name(name, at=at, as_json=json, config=config))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
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


@app.command()
def doctor(
    *,
    config: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--config", "-c", help="Agent settings (TOML), e.g. /etc/evenwatt/agent.toml; with --broker yours."
        ),
    ] = None,
    broker: Annotated[
        bool, typer.Option("--broker", help="As an operator: your way to the broker, the collector and --node.")
    ] = False,
    node: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --broker: send this node a signed ping.", autocompletion=completing.node),
    ] = None,
    zone: Zone = None,
    write_caps: Annotated[bool, typer.Option("--write-caps", help="Write a limit, read it back, put it back.")] = False,
    json: Json = False,
) -> None:
    """Examine this node: sources, total, caps, agent, broker, clock; exit code 3 if something needs a person."""
    from evenwatt_cli.doctor import run_broker_doctor, run_doctor

    if broker:
        raise typer.Exit(run_broker_doctor(Path(config) if config else None, zone=zone, node=node, as_json=json))
    if node is not None or zone is not None:
        raise Failure("--node and --zone are for --broker; without it this machine's own settings name them")

    raise typer.Exit(run_doctor(config, write_caps=write_caps, as_json=json))


@app.command()
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


@app.command()
def decode(
    topic: Annotated[Optional[str], typer.Option(help="Topic of the payloads, if the input does not say.")] = None,  # noqa: UP045
) -> None:
    """Turn `mosquitto_sub -t 'evenwatt/v1/#'` (with or without -v) into JSON lines."""
    from evenwatt_cli.decode import decode_stream

    raise typer.Exit(decode_stream(sys.stdin.buffer, sys.stdout, topic))


@app.command(context_settings={"ignore_unknown_options": True})  # so that -5 is read as watts, and refused as such
def cap(
    node: Node,
    watts: Annotated[float, typer.Argument(help="Cap on the node's total power.")],
    *,
    duration: For = "10m",
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Cap a node. It can only tighten what the controller allows, and it ends by itself."""
    from evenwatt_cli.steer import Order, steer

    order = Order("cap", node, zone, cap_w=watts, duration=duration, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))


@app.command()
def release(
    node: Node,
    *,
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Give up your cap. If nobody else holds one, the node gets its own limits back."""
    from evenwatt_cli.steer import Order, steer

    order = Order("release", node, zone, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))


@app.command()
def pause(
    node: Node,
    target: Annotated[str, typer.Argument(help="A name from the node's own list of what may be paused.")],
    *,
    duration: For = "10m",
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Pause work on a node that its owner has allowed to be paused."""
    from evenwatt_cli.steer import Order, steer

    order = Order("pause", node, zone, target=target, duration=duration, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))


@app.command()
def resume(
    node: Node,
    target: Annotated[str, typer.Argument(help="What was paused.")],
    *,
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Resume paused work before its pause ends."""
    from evenwatt_cli.steer import Order, steer

    order = Order("resume", node, zone, target=target, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))


@app.command()
def report(
    *,
    by: Annotated[str, typer.Option(help="zone, node, workload, model, phase, team or task.")] = "zone",
    start: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", help="2026-11-01, 2026-11-01T12:00+01:00, yesterday, 'last week', '7d ago', ..."),
    ] = None,
    end: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--to", help="End, not included; default: now, or the end of the period that --from names."),
    ] = None,
    tz: Annotated[
        str | None, typer.Option(help="Time zone of days, e.g. Europe/Berlin; default: this machine's.")
    ] = None,
    known_at: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="As known then: without later corrections and late energy."),
    ] = None,
    zone: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--zone", "-z", help="Only this zone.", autocompletion=completing.zone),
    ] = None,
    node: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only this node.", autocompletion=completing.node),
    ] = None,
    workload: Annotated[Optional[str], typer.Option("--workload", "-w", help="Only this workload.")] = None,  # noqa: UP045
    form: Annotated[
        str, typer.Option("--format", "-f", help="table, json, csv, parquet, html or codecarbon.")
    ] = "table",
    json: Json = False,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="Write to this file.")] = None,  # noqa: UP045
    per: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="SCI per this unit, as tasks report it: request, token, epoch, sample, image."),
    ] = None,
    per_count: Annotated[
        float | None, typer.Option(help="How many units were done, if tasks do not report it.")
    ] = None,
    sci_intensity: Annotated[str, typer.Option(help="I of SCI: average or marginal.")] = "average",
    compare: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Beside another period: previous, 'last week', 2026-10-01..2026-11-01."),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Show energy above idle beside the whole.")] = False,
    database: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Read this database instead of asking the collector: a file or postgresql://..."),
    ] = None,
    config: Config = None,
) -> None:
    """Report energy and emissions of a period, with sources, coverage and ranges; default: the last 7 days.

    Exit code 3 if less than 80 % of the period is metered, or if a score or comparison cannot be given.
    """
    from evenwatt_cli.report import Options, show_report

    options = Options(
        by=by,
        start=start,
        end=end,
        timezone=tz,
        known_at=known_at,
        zone=zone,
        node=node,
        workload=workload,
        format="json" if json else form,
        out=out,
        per=per,
        per_count=per_count,
        sci_intensity=sci_intensity,
        compare=compare,
        dynamic=dynamic,
        config=config,
        database=database,
    )
    raise typer.Exit(show_report(options))


@app.command()
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


def entry() -> None:
    """Run the command; a :class:`Failure` becomes one line and its exit code."""
    try:
        app(prog_name="evenwatt")
    except Failure as failure:
        print(f"evenwatt: {failure}", file=sys.stderr)
        raise SystemExit(failure.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nothing is left to say
        raise SystemExit(Exit.OK) from None
