"""Writes the pages in docs/reference, which are made of the programs themselves: ``./dev docs reference``.

A test compares what is in the repository with what this would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

from evenwatt_agent.limits import LocalLimits
from evenwatt_agent.settings import AgentSettings
from evenwatt_cli.operator_settings import OperatorSettings
from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_collector.models.registry import ModelsFile
from evenwatt_collector.policy.schema import Document
from evenwatt_collector.settings import CollectorSettings
from tests.docs import command_page, settings_pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
_UNITS = "Names end in their unit: `_s` seconds, `_w` watts, `_g` grams, `_mb` megabytes."
SETTINGS = {
    "agent-settings": (
        "agent.toml: a node",
        (
            f"Every key, made of the program itself (`./dev docs reference`). {_UNITS} No key is needed: without a "
            "file an agent measures and shows. How a node is set up is in [installing](../install-debian.md), what "
            "control may do in [control on the node](../control-on-the-node.md), work on command in "
            "[running jobs](../running-jobs.md)."
        ),
        AgentSettings,
    ),
    "limits": (
        "limits.toml: what a node's owner allows",
        (
            f"Every key, made of the program itself. {_UNITS} It lies on the node and can only tighten: "
            "[commands](../commands.md)."
        ),
        LocalLimits,
    ),
    "collector-settings": (
        "collector.toml: the middle",
        (
            f"Every key, made of the program itself. {_UNITS} Without a file a collector watches every zone it hears "
            "and controls none. Emissions are explained in [the ledger](../emissions.md) and "
            "[intensities](../intensity.md), budgets in grams in [alerts](../alerts.md), plans in "
            "[planning](../planning.md)."
        ),
        CollectorSettings,
    ),
    "policy": (
        "policy.toml: who gets how much power, and when",
        (f"Every key, made of the program itself. {_UNITS} What they do together is in [the policy](../policy.md)."),
        Document,
    ),
    "operator-settings": (
        "operator.toml: a person's terminal",
        (
            f"Every key, made of the program itself. {_UNITS} Looked for as `$EVENWATT_CONFIG`, then "
            "`~/.config/evenwatt/operator.toml`, `~/.evenwatt/operator.toml`, `/etc/evenwatt/operator.toml`."
        ),
        OperatorSettings,
    ),
    "job": (
        "A job's file",
        (
            f"Every key of what `evenwatt submit` reads, made of the program itself. {_UNITS} [Jobs](../jobs.md) shows "
            "whole ones."
        ),
        JobSpec,
    ),
    "models": (
        "models.toml: variants of models",
        (
            f"Every key of the file that the collector's key `models` names, made of the program itself. {_UNITS} "
            "[Models](../models.md) says what is done with them."
        ),
        ModelsFile,
    ),
}


def pages() -> dict[str, str]:
    """Return every page, by the name of its file."""
    made = {f"{name}.md": settings_pages.page(*what) for name, what in SETTINGS.items()}
    return {"commands.md": command_page.page(), **made}


def main() -> int:
    """Write what has changed, and say what."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(FOLDER.parents[1])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
