"""Options of ``evenwatt submit``, ``jobs``, ``cancel`` and ``plan``; the work is in the modules beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenwatt_cli import completing

jobs_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings: $EVENWATT_CONFIG, else /etc/evenwatt/operator.toml if it is there."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Via = Annotated[str, typer.Option("--via", help="http (the collector answers), or mqtt (signed, needs private_key).")]


@jobs_app.command()
def submit(
    file: Annotated[
        str | None,
        typer.Argument(help="Jobs in TOML or JSON; - reads standard input. Or say it with the options below."),
    ] = None,
    *,
    name: Annotated[str | None, typer.Option("--name", "-n", help="What it is called.")] = None,
    template: Annotated[
        str | None, typer.Option("--template", "-t", help="Template of the nodes that runs it.")
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", help="KEY=TEXT that the template fills in. Repeatable."),
    ] = None,
    external: Annotated[str | None, typer.Option(help="Who else runs it, e.g. slurm:4711.")] = None,
    length: Annotated[str | None, typer.Option("--length", "-l", help="How long at full power: 45m, 1h30m.")] = None,
    work: Annotated[str | None, typer.Option(help="How much there is to do: '90 epochs'.")] = None,
    deadline: Annotated[str | None, typer.Option("--deadline", "-d", help="+8h, or a moment with offset.")] = None,
    earliest: Annotated[str | None, typer.Option(help="Not before: +2h, or a moment with offset.")] = None,
    interruptible: Annotated[bool, typer.Option("--interruptible", help="It may stop and go on later.")] = False,
    power_w: Annotated[float | None, typer.Option("--power", help="Watts that it adds to a node.")] = None,
    zone: Annotated[
        list[str] | None,
        typer.Option("--zone", "-z", help="Where it may run. Repeatable; the first is its home."),
    ] = None,
    node: Annotated[list[str] | None, typer.Option(help="Pattern of node names. Repeatable.")] = None,
    workload: Annotated[str | None, typer.Option("--workload", "-w", help="What it belongs to, across runs.")] = None,
    model: Annotated[str | None, typer.Option(help="Model that it trains or uses.")] = None,
    phase: Annotated[str | None, typer.Option(help="train, fine-tune, evaluate, infer.")] = None,
    team: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 (gives way first) to 9; default 5.")] = None,
    after: Annotated[list[str] | None, typer.Option(help="Id of a job that must succeed first. Repeatable.")] = None,
    id_: Annotated[
        str | None,
        typer.Option("--id", help="12 hexadecimal digits of your choice: sent twice, it is one job."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Say what is wrong with it; submit nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended; exit code 0 done, 1 not.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of jobs.")] = False,
    via: Via = "http",
    json: Json = False,
    config: Config = None,
) -> None:
    """Submit jobs: they run when and where the grid is clean, in time for their deadlines.

    For example: evenwatt submit jobs.toml, or evenwatt submit -n nightly -t backup -l 45m -d +8h --wait
    """
    from evenwatt_cli.jobs.submit import Wish, print_schema, submit_jobs

    if schema:
        raise typer.Exit(print_schema())
    said: dict[str, Any] = {
        "id": id_, "name": name, "template": template, "values": value, "external": external, "length": length,
        "work": work, "deadline": deadline, "earliest": earliest, "interruptible": interruptible or None,
        "power_w": power_w, "zones": zone, "nodes": node, "workload": workload, "model": model, "phase": phase,
        "team": team, "priority": priority, "after": after,
    }  # fmt: skip
    keys = {key: given for key, given in said.items() if given is not None}
    wish = Wish(file, keys, via, check=check, wait=wait, as_json=json, config=config)
    raise typer.Exit(submit_jobs(wish))


@jobs_app.command()
def jobs(
    job: Annotated[
        str | None,
        typer.Argument(
            help="A job's id, its beginning, or its name; default: all open.", autocompletion=completing.job
        ),
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Those that have ended as well.")] = False,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", "-s", help="open, ended, waiting, running, done, failed, ... Repeatable."),
    ] = None,
    workload: Annotated[str | None, typer.Option("--workload", "-w", help="Only of this workload.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, the newest first.")] = 100,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="With a job: what it wrote.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """List jobs, or show one: how it stands, its runs, what is planned and why. Exit code 3 if one is late."""
    from evenwatt_cli.jobs.listing import Look, show_jobs

    look = Look(job, all_, tuple(state or ()), workload, limit, watch=watch, logs=logs, as_json=json, config=config)
    raise typer.Exit(show_jobs(look))


@jobs_app.command()
def cancel(
    job: Annotated[
        list[str], typer.Argument(help="Ids of jobs, their beginnings, or names.", autocompletion=completing.job)
    ],
    *,
    via: Via = "http",
    json: Json = False,
    config: Config = None,
) -> None:
    """Give jobs up. What runs is stopped first. Exit code 4 if one had ended already."""
    from evenwatt_cli.jobs.cancel import cancel_jobs

    raise typer.Exit(cancel_jobs(job, via=via, as_json=json, config=config))


@jobs_app.command()
def plan(
    *,
    hours: Annotated[float | None, typer.Option(min=1, max=10_000, help="How far; default: to the last job.")] = None,
    zone: Annotated[list[str] | None, typer.Option("--zone", "-z", help="Only these zones. Repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Jobs at most, the next ones first.")] = 20,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show the plan: each zone's intensity ahead, and when each job is meant to run. Exit code 3 if one is late.

    Signs: █ planned, ▌ in part of that time, ▓ runs now, │ deadline, · no forecast. Grams are of what is left to do;
    `evenwatt jobs` says them of the whole job.
    """
    from evenwatt_cli.jobs.plan import show_plan

    raise typer.Exit(show_plan(hours=hours, zones=zone or [], limit=limit, as_json=json, config=config))
