"""Writes a package's manual pages and shell completions: of each verb and the daemons, from what reads their arguments.

usage: python packaging/manual.py --version VERSION --out FOLDER [--daemons NAME ...]

What a program takes is never written twice. What no parser knows (files, what it is for) stands in ``debian/man``, with
``@OPTIONS@`` where the options go. Every verb has a page of its own, with the verbs below it as sections.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.completion import get_completion_script

from evenwatt_agent import restore
from evenwatt_agent.__main__ import make_parser as agent_parser
from evenwatt_agent.actuator.__main__ import make_parser as actuator_parser
from evenwatt_cli.exits import MEANINGS
from evenwatt_cli.main import app
from evenwatt_collector.__main__ import make_parser as collector_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

DAEMONS: Final = {
    "evenwatt-agent": agent_parser,
    "evenwatt-actuator": actuator_parser,
    "evenwatt-restore": restore.make_parser,
    "evenwatt-collector": collector_parser,
}
TEMPLATES: Final = Path(__file__).parent / "debian" / "man"
_FILES: Final = """\
.SH FILES
The first of these that is there is read, unless
.B \\-\\-config
or
.B EVENWATT_CONFIG
names another:
.TP
.I ~/.config/evenwatt/operator.toml
.TQ
.I ~/.evenwatt/operator.toml
.TQ
.I /etc/evenwatt/operator.toml
where a person finds the fleet: broker, collector, key, token
.SH ENVIRONMENT
.TP
.B EVENWATT_CONFIG
settings to read
.TP
.B NO_COLOR
if not empty, nothing is coloured
.TP
.B FORCE_COLOR
if not empty, output is coloured also where it is no terminal
"""


def escaped(text: str) -> str:
    """Return text as roff shows it: nothing in it is a command."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def pages(version: str) -> dict[str, str]:
    """Return all pages by file name."""
    made = {f"{name}.8": daemon_page(name, version) for name in DAEMONS}
    root = typer.main.get_command(app)
    context = root.context_class(root, info_name="evenwatt", **root.context_settings)
    made["evenwatt.1"] = root_page(root, context, version)
    for name, verb in verbs_of(root, context):
        made[f"evenwatt-{name}.1"] = verb_page(name, verb, context, version)
    return made


def completions() -> dict[str, str]:
    """Return typer's own scripts by where shells look for them below ``share``; zsh runs its file at the first use."""
    bash, zsh, fish = (get_completion_script(prog_name="evenwatt", complete_var="_EVENWATT_COMPLETE", shell=shell)
                       for shell in ("bash", "zsh", "fish"))  # fmt: skip
    return {
        "bash-completion/completions/evenwatt": f"{bash}\n",
        "zsh/vendor-completions/_evenwatt": f'{zsh}\n[ "$funcstack[1]" != _evenwatt ] || _evenwatt_completion "$@"\n',
        "fish/vendor_completions.d/evenwatt.fish": f"{fish}\n",
    }


def daemon_page(name: str, version: str) -> str:
    """Return the page of a daemon: its template with its options."""
    parser = DAEMONS[name]()
    options = []
    for action in parser._actions:  # noqa: SLF001  (argparse has no other way to ask)
        value = f" {action.metavar or action.dest.upper()}" if action.nargs != 0 else ""
        words = ", ".join(action.option_strings) + value
        help_ = (action.help or "") % {"default": action.default, "prog": parser.prog}
        options += [".TP", f".B {escaped(words)}", escaped(help_)]
    text = (TEMPLATES / f"{name}.8").read_text()
    return text.replace("@VERSION@", version).replace("@OPTIONS@", "\n".join(options))


def verbs_of(group: Any, context: Any) -> Iterator[tuple[str, Any]]:
    """Yield the visible verbs of a group, in the order in which help lists them."""
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        if verb is not None and not verb.hidden:
            yield name, verb


def root_page(root: Any, context: Any, version: str) -> str:
    """Return ``evenwatt.1``: what there is, and what holds for all of it."""
    verbs = []
    for name, verb in verbs_of(root, context):
        verbs += [".TP", f".BR evenwatt\\-{escaped(name)} (1)", escaped(verb.get_short_help_str(300))]
    return "\n".join(
        [
            _head("evenwatt", version),
            ".SH NAME",
            "evenwatt \\- look at a fleet's power and carbon, steer it, report it",
            ".SH SYNOPSIS",
            ".B evenwatt",
            ".I VERB",
            ".RI [ ARGUMENTS ]",
            ".SH DESCRIPTION",
            "The command for people. Each verb has a page of its own.",
            *verbs,
            ".SH OPTIONS",
            *_options(root, context),
            _FILES.rstrip(),
            *_exits(),
            ".SH SEE ALSO",
            ".BR evenwatt\\-agent (8),",
            ".BR evenwatt\\-collector (8)",
            "",
        ]
    )


def verb_page(name: str, verb: Any, parent: Any, version: str) -> str:
    """Return the page of a verb, with the verbs below it."""
    context = verb.context_class(verb, info_name=name, parent=parent, **verb.context_settings)
    lines = [
        _head(f"evenwatt-{name}", version),
        ".SH NAME",
        f"evenwatt\\-{escaped(name)} \\- {escaped(_first(verb))}",
        ".SH SYNOPSIS",
        *_usage(verb, context),
        ".SH DESCRIPTION",
        *_paragraphs(verb.help or ""),
        ".SH OPTIONS",
        *_options(verb, context),
    ]
    below = list(verbs_of(verb, context)) if hasattr(verb, "list_commands") else []
    if below:
        lines.append(".SH VERBS")
    for inner_name, inner in below:
        inner_context = inner.context_class(inner, info_name=inner_name, parent=context, **inner.context_settings)
        lines += [f".SS {escaped(inner_name)}", *_usage(inner, inner_context), ".PP", *_paragraphs(inner.help or "")]
        lines += _options(inner, inner_context)
    lines += [_FILES.rstrip(), *_exits(), ".SH SEE ALSO", ".BR evenwatt (1)", ""]
    return "\n".join(lines)


def _head(name: str, version: str) -> str:
    return f'.TH {escaped(name.upper())} 1 "" "evenwatt {version}" "User Commands"'


def _first(verb: Any) -> str:
    said: str = verb.get_short_help_str(300)
    return said[:1].lower() + said[1:].rstrip(".")


def _usage(verb: Any, context: Any) -> list[str]:
    pieces = " ".join(verb.collect_usage_pieces(context))
    return [f".B {escaped(context.command_path)}", escaped(pieces)]


def _paragraphs(text: str) -> list[str]:
    parts = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    return [line for number, part in enumerate(parts) for line in ([".PP"] if number else []) + [escaped(part)]]


def _options(verb: Any, context: Any) -> list[str]:
    lines = []
    for parameter in verb.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            lines += [".TP", f".B {escaped(record[0])}", escaped(" ".join(record[1].split())) or "\\&"]
    return lines


def _exits() -> list[str]:
    lines = [".SH EXIT STATUS"]
    for code, meaning in MEANINGS.items():
        lines += [".TP", f".B {code}", escaped(meaning)]
    return lines


def main() -> None:
    """Write the pages, each into the folder of its section, and what completes words for three shells."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--daemons", nargs="*", default=list(DAEMONS), help="whose pages; those of verbs always")
    asked = parser.parse_args()
    for name, page in pages(asked.version).items():
        if name.endswith(".8") and name.removesuffix(".8") not in asked.daemons:
            continue
        folder = asked.out / f"man{name[-1]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(page)
    for place, script in completions().items():
        (asked.out / place).parent.mkdir(parents=True, exist_ok=True)
        (asked.out / place).write_text(script)


if __name__ == "__main__":
    main()
