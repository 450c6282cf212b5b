"""Options of what only looks: ``evenwatt status``, ``top``, ``watch``, ``explain``, ``doctor``, ``decode``.

Each verb imports what it needs when it is called.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from evenwatt_cli import completing
from evenwatt_cli.options import HELP, Config, Json, Zone
from evenwatt_daemon import Failure

looking_app = typer.Typer(context_settings=HELP)


@looking_app.command()
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


@looking_app.command()
def top(
    *,
    via: Annotated[str, typer.Option(help="auto, collector, or local (this node's agent).")] = "auto",
    once: Annotated[bool, typer.Option("--once", help="Print one plain frame and end; needs no terminal.")] = False,
    config: Config = None,
) -> None:
    """Watch the fleet live: watts against budgets and caps, node by node. Press ? for its keys."""
    from evenwatt_cli.top.run import show_top

    raise typer.Exit(show_top(via=via, once=once, config=config))


@looking_app.command()
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


@looking_app.command()
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


@looking_app.command()
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


@looking_app.command()
def decode(
    topic: Annotated[Optional[str], typer.Option(help="Topic of the payloads, if the input does not say.")] = None,  # noqa: UP045
) -> None:
    """Turn `mosquitto_sub -t 'evenwatt/v1/#'` (with or without -v) into JSON lines."""
    from evenwatt_cli.decode import decode_stream

    raise typer.Exit(decode_stream(sys.stdin.buffer, sys.stdout, topic))
