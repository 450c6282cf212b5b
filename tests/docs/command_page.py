"""The reference page of the command line, made of its own tree of commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer.main

from evenwatt_cli.main import app
from tests.docs.settings_pages import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """# Every command and option

Made of the program itself (`./dev docs reference`). Each command says the same with `--help`.
How commands are used, exit codes, completion and manual pages are in [the command](../cli.md).
"""
TAIL = """## Programs of the services

What the units of systemd call. Their exit codes: 0 stopped by SIGTERM, or nothing wrong; 1 failed, try again; 2 the
settings or the machine must be changed first.

| program | options |
|---|---|
| `evenwatt-agent` | `--config FILE`: agent.toml; without it, it measures and does not obey. \
`--check`: check the settings and the files they name, and exit. |
| `evenwatt-actuator` | `--config FILE`: agent.toml, needed. `--check`: whether it is to run here, and could; exit. |
| `evenwatt-collector` | `--config FILE`: collector.toml; without it, it watches and does not steer. \
`--check`: check the settings and the files they name, and exit. |
| `evenwatt-restore` | `--state-dir DIR`: the agent's state folder; default `$STATE_DIRECTORY`, else \
`/var/lib/evenwatt`. Gives the machine its own power limits back; exit code 1 if one could not be \
written, 2 if its record of them cannot be read. |
"""


class Entry(NamedTuple):
    """One command."""

    path: str
    command: Any


def entries() -> Iterator[Entry]:
    """Yield every command that does something, in the order of ``--help``."""
    yield from _entries(typer.main.get_command(app), "evenwatt")


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for path, command in entries():
        parts += [f"## `{path}`", "", "\n\n".join(wrapped(block) for block in _text(command.help).split("\n\n")), ""]
        arguments = [_usage(one) for one in command.params if one.param_type_name == "argument"]
        parts += [f"    {' '.join([path, '[OPTIONS]', *arguments])}", ""]
        shown = [one for one in command.params if not getattr(one, "hidden", False) and one.name != "help"]
        if shown:
            parts += ["| | value | default | what it is |", "|---|---|---|---|"]
            parts += [_row(one) for one in shown]
            parts.append("")
    return "\n".join([*parts, TAIL])


def _entries(command: Any, path: str) -> Iterator[Entry]:
    inner = getattr(command, "commands", {})
    if not inner or path == "evenwatt" or getattr(command, "invoke_without_command", False):
        yield Entry(path, command)
    for name, one in inner.items():
        if not getattr(one, "hidden", False):
            yield from _entries(one, f"{path} {name}")


def _row(param: Any) -> str:
    names = _usage(param) if param.param_type_name == "argument" else ", ".join([*param.opts, *param.secondary_opts])
    return f"| `{_cell(names)}` | {_value(param)} | {_default(param)} | {_cell(_text(param.help))} |"


def _usage(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required or name.startswith("--") else f"[{name}]"


def _value(param: Any) -> str:
    if getattr(param, "is_flag", False):
        return ""
    kind = param.type_descriptor.annotation
    word = {int: "whole number", float: "number", Path: "path"}.get(kind, "text")
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    if low is not None or high is not None:
        word += f", {low:,g} or more" if high is None else f", {0 if low is None else low:,g} to {high:,g}"
    return word + (", repeatable" if getattr(param, "multiple", False) else "")


def _default(param: Any) -> str:
    if param.required:
        return "**needed**"
    if param.default in (None, False, "", []) or callable(param.default) or getattr(param, "is_flag", False):
        return ""
    return f"`{param.default:g}`" if isinstance(param.default, int | float) else f"`{param.default}`"


def _text(text: str | None) -> str:
    """Return a help text as Markdown: paragraphs stay, lines are joined, what would be a tag is shown."""
    blocks = re.split(r"\n\s*\n", (text or "").replace("\b\n", "").strip())
    return "\n\n".join(" ".join(block.split()) for block in blocks)


def _cell(text: str) -> str:
    return text.replace("\n\n", " ").replace("|", r"\|")
