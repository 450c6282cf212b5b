"""Entry point: which verbs there are. Their options stand in modules ``*verbs``, the work in one module per verb.

Those modules are imported inside the verbs: ``evenwatt agent`` must not load what ``evenwatt demo`` needs.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from evenwatt_cli.advise_verbs import advise_app
from evenwatt_cli.audit.verbs import audit_app
from evenwatt_cli.broker.verbs import broker_app
from evenwatt_cli.enrolment.verbs import enroll_app
from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.verbs import jobs_app
from evenwatt_cli.keys.verbs import keys_app
from evenwatt_cli.ledger_verbs import ledger_app
from evenwatt_cli.looking_verbs import looking_app
from evenwatt_cli.models.verbs import choice_app, models_app
from evenwatt_cli.options import HELP
from evenwatt_cli.policy_verbs import policy_app
from evenwatt_cli.report_verbs import report_app
from evenwatt_cli.running_verbs import running_app
from evenwatt_cli.score.verbs import improvement_app, score_app
from evenwatt_cli.steer_verbs import steer_app
from evenwatt_daemon import Failure

app = typer.Typer(
    name="evenwatt",
    help="Keeps a fleet's watts even and its carbon low.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
)
for verbs in (
    running_app, looking_app, steer_app, report_app, policy_app, ledger_app, audit_app, jobs_app, advise_app,
    choice_app, models_app, score_app, improvement_app, keys_app, enroll_app, broker_app,
):  # fmt: skip
    app.add_typer(verbs)


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
