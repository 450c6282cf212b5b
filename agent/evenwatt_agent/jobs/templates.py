"""From an order and a template to what is executed: arguments, never a shell. Pure.

A value must match the owner's pattern as a whole. Whatever the pattern says, it never holds a control character, and
where it begins an argument it never begins with ``-``: it cannot become an option.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from evenwatt_agent.jobs.settings import PLACEHOLDER
from evenwatt_wire import CommandError, Template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings
    from evenwatt_wire import JobOrder

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_order(order: JobOrder, jobs: JobsSettings, running: Sequence[str]) -> TemplateSettings:
    """Return the template of an order that this node's owner allows.

    Args:
        order: What is asked for.
        jobs: What is allowed.
        running: Template of each run that has not ended.

    Raises:
        CommandError: ``template``, ``value``, ``limit`` or ``slots``.
    """
    template = jobs.template(order.template)
    if template is None:
        raise CommandError("template", f"{order.template!r} is not on this node's list of what may be run")
    values = _values(order)
    for part in [*template.command, *template.arguments]:
        fill(part, template, values)
    if surplus := sorted(values.keys() - template.values.keys()):
        raise CommandError("value", f"template {template.name!r} takes no value {surplus[0]!r}")
    most_s = limit_s(template, jobs)
    if order.limit_s > most_s:
        raise CommandError("limit", f"a run of {order.limit_s:g} s; template {template.name!r} allows {most_s:g} s")
    taken = sum(slots_of(name, jobs) for name in running)
    if taken + template.slots > jobs.slots:
        raise CommandError(
            "slots", f"{taken} of {jobs.slots} slots are taken, {template.name!r} takes {template.slots}"
        )
    return template


def slots_of(name: str, jobs: JobsSettings) -> int:
    """Return what a run of a template takes; one that is no longer allowed took at least one."""
    template = jobs.template(name)
    return template.slots if template is not None else 1


def limit_s(template: TemplateSettings, jobs: JobsSettings, asked_s: float = 0.0) -> float:
    """Longest run of a template, or what an order asks for if that is less; 0 asks for nothing."""
    most_s = min(template.max_s or jobs.max_run_s, jobs.max_run_s)
    return min(asked_s, most_s) if asked_s > 0 else most_s


def filled(parts: Sequence[str], template: TemplateSettings, order: JobOrder) -> list[str]:
    """Return a template's arguments with an order's values in them.

    Raises:
        CommandError: ``value``.
    """
    values = _values(order)
    return [fill(part, template, values) for part in parts]


def fill(part: str, template: TemplateSettings, values: Mapping[str, str]) -> str:
    """Fill in one argument.

    Raises:
        CommandError: ``value``: it is missing, does not match, or would become an option.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise CommandError("value", f"template {template.name!r} needs the value {name!r}")
        value = values[name]
        if _CONTROL.search(value):
            raise CommandError("value", f"value {name!r} holds a line break or another control character")
        if match.start() == 0 and value.startswith("-"):
            raise CommandError("value", f"value {name!r} begins with '-' and would be taken for an option")
        if not re.fullmatch(template.values[name], value):
            raise CommandError("value", f"value {name!r} is {value[:60]!r}, which its pattern does not allow")
        return value

    return PLACEHOLDER.sub(replace, part)


def as_told(jobs: JobsSettings) -> list[Template]:
    """Return the templates in the words of the wire."""
    return [
        Template(name=t.name, values=sorted(t.values), interruptible=t.interruptible, slots=t.slots)
        for t in jobs.templates
    ]


def _values(order: JobOrder) -> dict[str, str]:
    values = dict(order.values)
    if len(values) < len(order.values):
        raise CommandError("value", "a value is given twice")
    return values
