"""Whether there is a place for a job: zones, nodes, templates, slots. Pure.

What no node of the fleet as it is now can ever run is an error. Where the node may just not be there yet, it is a
warning: the job waits for it.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec.structs import replace

from evenwatt_collector.policy.problems import Path, Problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from evenwatt_collector.jobs.hosts import Host
    from evenwatt_collector.jobs.known import Known
    from evenwatt_collector.jobs.spec import JobSpec
    from evenwatt_wire import Template


def place_problems(spec: JobSpec, known: Known) -> Iterator[Problem]:
    """Yield what is wrong with where a job may run."""
    yield from _zones(spec, known)
    # What is unknown is said once; the rest is then held against the places that are left.
    spec = replace(spec, zones=[zone for zone in spec.zones if not known.zones or zone in known.zones])
    wrong = list(_patterns(spec, known))
    yield from wrong
    unmatched = {problem.path[1] for problem in wrong}
    spec = replace(spec, nodes=[pattern for i, pattern in enumerate(spec.nodes) if i not in unmatched])
    if spec.template is not None:
        if not known.dispatching:
            yield warning(
                ("template",), "this collector starts no jobs ([jobs] enabled is false): it is planned and advised only"
            )
        if known.allowed(spec) or not unmatched:  # else it was said that there is no node yet
            yield from _template(spec, known, spec.template)


def _zones(spec: JobSpec, known: Known) -> Iterator[Problem]:
    named: list[tuple[Path, str]] = [(("zones", i), zone) for i, zone in enumerate(spec.zones)]
    named += [(("home",), spec.home)] if spec.home else []
    named += [(("data", "zone"), spec.data.zone)] if spec.data else []
    for path, zone in named:
        if known.zones and zone not in known.zones:
            yield Problem(path, f"no zone {zone!r}; {_nearest(zone, known.zones)}")
    if spec.home and spec.zones and spec.home not in spec.zones:
        text = f"{spec.home!r} is not among its zones, {', '.join(spec.zones)}; add it there, or name one of them"
        yield Problem(("home",), text)


def _patterns(spec: JobSpec, known: Known) -> Iterator[Problem]:
    around = [host for host in known.hosts if not spec.zones or host.zone in spec.zones]
    where = f" in {', '.join(spec.zones)}" if spec.zones else ""
    for number, pattern in enumerate(spec.nodes):
        at: Path = ("nodes", number)
        if not pattern.strip():
            yield Problem(at, 'it is empty; write a pattern such as "gpu-*"')
        elif any(fnmatchcase(host.node, pattern) for host in around):
            continue
        elif around:
            names = sorted({host.node for host in around})
            yield Problem(at, f"{pattern!r} matches none of the {len(names)} nodes{where}; {_nearest(pattern, names)}")
        else:
            yield warning(at, f"no node is known{where} yet; it waits until one matches {pattern!r}")


def _template(spec: JobSpec, known: Known, name: str) -> Iterator[Problem]:
    hosts = known.allowed(spec)
    offering = [host for host in hosts if host.templates]
    having = [(host, host.templates[name]) for host in offering if name in host.templates]
    if having:
        yield from _suiting(spec, having)
    elif offering:
        names = {template for host in offering for template in host.templates}
        yield Problem(("template",), f"no node that it may run on has {name!r}; {_nearest(name, names)}")
    else:
        yield warning(("template",), f"no node that it may run on offers any template yet; it waits for {name!r}")


def _suiting(spec: JobSpec, having: list[tuple[Host, Template]]) -> Iterator[Problem]:
    """Yield why nodes that have the template cannot run the job."""
    templates = [template for _, template in having]
    if not any(template.slots <= host.slots for host, template in having):
        most = max(host.slots for host, _ in having)
        text = f"it takes {min(t.slots for t in templates)} slots, and no node that has it has more than {most}"
        yield Problem(("template",), f"{text}; set [jobs] slots higher in that node's settings")
    if spec.interruptible and not any(template.interruptible for template in templates):
        yield Problem(
            ("interruptible",),
            f"template {spec.template!r} cannot save its state on any node; set interruptible in the template on the "
            f"nodes, or leave it out here",
        )
    elif spec.interruptible and not all(template.interruptible for template in templates):
        some = ", ".join(sorted(host.node for host, template in having if not template.interruptible)[:5])
        yield warning(("interruptible",), f"on {some} the template cannot save its state; there it begins anew")
    fitting = [template for template in templates if set(spec.values) <= set(template.values)]
    if not fitting:
        filled = {value for template in templates for value in template.values}
        for key in sorted(set(spec.values) - filled):
            yield Problem(("values", key), f"template {spec.template!r} fills in no {key!r}; {_nearest(key, filled)}")
        if set(spec.values) <= filled:
            yield Problem(("values",), "no node's template fills in all of them; compare the nodes' templates")
    elif all(set(template.values) - set(spec.values) for template in fitting):
        left = min((sorted(set(template.values) - set(spec.values)) for template in fitting), key=len)
        yield Problem(
            ("values",),
            f"template {spec.template!r} also fills in {', '.join(left)}, which is not given; no node would start it: "
            f"give {'it' if len(left) == 1 else 'them'} as well, {_example(left)}",
        )


def _example(keys: list[str]) -> str:
    filled = ", ".join(f'{key} = "..."' for key in keys)
    return f"values = {{ {filled} }}"


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"there are {', '.join(names[:8])}{more}" if names else "there are none"
