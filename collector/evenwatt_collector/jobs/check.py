"""Whether a job can hold: what contradicts itself is an error, what has no effect or has to wait a warning. Pure.

What a job says of itself is here; :mod:`evenwatt_collector.jobs.check_places` holds it against the fleet, and
:mod:`evenwatt_collector.jobs.check_order` against the jobs that it waits for.
"""

from __future__ import annotations

import difflib
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from unicodedata import category

from evenwatt_collector.jobs.check_order import order_problems
from evenwatt_collector.jobs.check_places import place_problems
from evenwatt_collector.jobs.resolve import length_of
from evenwatt_collector.jobs.times import duration_s, in_words, moment_s, stamp
from evenwatt_collector.policy.problems import Path, Problem, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from evenwatt_collector.jobs.known import Known
    from evenwatt_collector.jobs.reading import Entry
    from evenwatt_collector.jobs.spec import JobSpec

PHASES: Final = ("train", "fine-tune", "evaluate", "infer", "idle-loaded")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:\S.*")
_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_SOONEST_QUIET_S: Final = 30.0
_MOST_VALUES: Final = 16


def check(spec: JobSpec, known: Known) -> list[Problem]:
    """Return everything that is wrong or odd about one job, in no order; paths begin at its own keys."""
    return [
        *_kind(spec, known),
        *_times(spec, known),
        *_length(spec, known),
        *_width(spec),
        *_pieces(spec),
        *_labels(spec),
        *_assumed(spec, known),
        *place_problems(spec, known),
    ]


def check_all(entries: Sequence[Entry], known: Known) -> list[Problem]:
    """Return everything that is wrong or odd about jobs that come together; paths begin at their text."""
    own = [
        Problem((*entry.path, *problem.path), problem.text, problem.severity)
        for entry in entries
        for problem in check(entry.spec, known)
    ]
    return [*own, *order_problems(entries, known)]


# --- what it is -------------------------------------------------------------------------------------------------------


def _kind(spec: JobSpec, known: Known) -> Iterator[Problem]:
    if spec.template is not None and spec.external:
        yield Problem(("external",), f"it is run by template {spec.template!r} as well; leave one of the two out")
    if spec.template is None and not spec.external and spec.service is None:
        yield Problem(
            ("template",),
            'nothing says what runs it; name a template of the nodes, or set external = "slurm:4711" for a job that '
            "somebody else runs",
        )
    if spec.external and not _SCHEME.fullmatch(spec.external):
        yield Problem(
            ("external",), f'found {spec.external!r}, expected WHO:WHAT such as "slurm:4711" or "k8s:jobs/train"'
        )
    if spec.template is None and spec.values:
        yield Problem(("values",), "there is no template that they could fill in; name one, or leave them out")
    if len(spec.values) > _MOST_VALUES:
        yield Problem(("values",), f"found {len(spec.values)} values, expected at most {_MOST_VALUES}")
    if spec.service is not None:
        yield from _service(spec, known)


def _service(spec: JobSpec, known: Known) -> Iterator[Problem]:
    assert spec.service is not None  # noqa: S101  (the caller has looked)
    for key, given in (
        ("deadline", spec.deadline), ("length", spec.length), ("work", spec.work), ("max_run", spec.max_run),
    ):  # fmt: skip
        if given is not None:
            yield Problem((key,), f"a service has no end, so it has no {key}; leave it out, or leave service out")
    if spec.template is not None:
        yield Problem(("template",), "a service is told its variant, not started; leave template out")
    if spec.after:
        yield Problem(("after",), "a service waits for no job; leave it out")
    for name, text in (("task", spec.service.task), ("unit", spec.service.unit)):
        if not text.strip():
            yield Problem(("service", name), f"it is empty; name the {name}")
    _, wrong = _tried("dwell", spec.service.dwell, duration_s)
    yield from (Problem(("service", "dwell"), problem.text) for problem in wrong)
    if known.tasks is not None and spec.service.task.strip() and spec.service.task not in known.tasks:
        near = difflib.get_close_matches(spec.service.task, known.tasks, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known.tasks)) or 'none'}"
        yield warning(("service", "task"), f"no model of the registry does {spec.service.task!r}; {fix}")


# --- times ------------------------------------------------------------------------------------------------------------


def _moment(spec: JobSpec, key: str, now_s: float) -> tuple[float | None, list[Problem]]:
    return _tried(key, getattr(spec, key), lambda text: moment_s(text, now_s))


def _duration(spec: JobSpec, key: str) -> tuple[float | None, list[Problem]]:
    return _tried(key, getattr(spec, key), duration_s)


def _tried(key: str, text: str | None, read: Callable[[str], float]) -> tuple[float | None, list[Problem]]:
    if text is None:
        return None, []
    try:
        return read(text), []
    except ValueError as error:
        return None, [Problem((key,), f"found {text!r}: {error}")]


def _times(spec: JobSpec, known: Known) -> Iterator[Problem]:
    earliest_s, wrong = _moment(spec, "earliest", known.now_s)
    yield from wrong
    deadline_s, wrong = _moment(spec, "deadline", known.now_s)
    yield from wrong
    for key in ("length", "max_run", "quiet"):
        yield from _duration(spec, key)[1]
    if earliest_s is not None and earliest_s < known.now_s - 60:
        yield warning(("earliest",), f"{stamp(earliest_s)} is over; it may begin at once")
    if deadline_s is None:
        return
    if deadline_s <= known.now_s:
        text = f"{stamp(deadline_s)} was {in_words(known.now_s - deadline_s)} ago; set a later one, or leave it out"
        yield Problem(("deadline",), text)
    elif earliest_s is not None and deadline_s <= earliest_s:
        text = f"{stamp(deadline_s)} is not after earliest, {stamp(earliest_s)}; set a later deadline"
        yield Problem(("deadline",), text)
    else:
        yield from _deadline(spec, known, max(known.now_s, earliest_s or known.now_s), deadline_s)


def _deadline(spec: JobSpec, known: Known, from_s: float, deadline_s: float) -> Iterator[Problem]:
    length_s, _ = shortest_s(spec, known)
    over_s = from_s + length_s - deadline_s
    if over_s <= 0:
        return
    wide = f" on {len(spec.speedup)} slots" if len(spec.speedup) > 1 else ""
    text = (
        f"begun at {stamp(from_s)} it takes {in_words(length_s)}{wide} and ends {in_words(over_s)} too late; "
        f"set a deadline after {stamp(from_s + length_s, up=True)}"
    )
    if spec.length is not None:
        yield Problem(("deadline",), text)
    else:
        yield warning(("deadline",), f"by what its workload took so far: {text}")


def shortest_s(spec: JobSpec, known: Known) -> tuple[float, str]:
    """Return how long a job takes on as many slots as help, in seconds, and how that is known; 0 if it is not."""
    try:
        length = length_of(spec, known.of(spec))
    except ValueError:
        return 0.0, ""
    if length is None or spec.service is not None:
        return 0.0, ""
    return length.value / max(spec.speedup), length.how


# --- how long, how wide, in which pieces ------------------------------------------------------------------------------


def _length(spec: JobSpec, known: Known) -> Iterator[Problem]:
    if spec.work is not None and not spec.work.unit.strip():
        yield Problem(
            ("work", "unit"), "it is empty; name the unit that its tasks report, such as step, image or token"
        )
        return
    if spec.service is not None or spec.length is not None or length_of(spec, known.of(spec)) is not None:
        return
    workload, learned = spec.workload or spec.name, known.of(spec)
    if learned is not None and spec.work is not None:
        units = ", ".join(learned.seconds_per_unit) or "none"
        yield Problem(
            ("work", "unit"),
            f"runs of {workload!r} have not reported {spec.work.unit!r} so far (they reported: {units}); state a "
            f"length, or use a unit of these",
        )
    else:
        yield Problem(
            ("length",),
            f'no run of {workload!r} has been seen yet, so it has to be stated, such as length = "45m"; later runs '
            f"may leave it out",
        )


def _width(spec: JobSpec) -> Iterator[Problem]:
    curve = spec.speedup
    if abs(curve[0] - 1.0) > 1e-9:
        text = f"found {curve[0]:g}, expected 1: speeds are against the speed on one slot; divide all of them by it"
        yield Problem(("speedup", 0), text)
        return
    steps = [curve[0], *(after - before for before, after in pairwise(curve))]
    for width in range(1, len(steps)):
        if steps[width] < -1e-9:
            yield Problem(
                ("speedup", width),
                f"{width + 1} slots are slower ({curve[width]:g}) than {width} ({curve[width - 1]:g}); end the list "
                f"before it",
            )
            return
        if steps[width] > steps[width - 1] + 1e-9:
            yield Problem(
                ("speedup", width),
                f"slot {width + 1} adds {steps[width]:g}, more than the {steps[width - 1]:g} of the slot before; "
                f"expected a curve that flattens (concave): at most {curve[width - 1] + steps[width - 1]:g} here",
            )
            return


def _pieces(spec: JobSpec) -> Iterator[Problem]:
    for key in ("checkpoint_s", "least_run_s"):
        if getattr(spec, key) and not spec.interruptible:
            yield warning((key,), "has no effect, since interruptible is false; set interruptible = true")
    length_s = _duration(spec, "length")[0]
    if length_s is not None and spec.interruptible and spec.least_run_s > length_s:
        text = f"{in_words(spec.least_run_s)} is more than the whole length, so it is never interrupted"
        yield warning(("least_run_s",), text)
    max_run_s = _duration(spec, "max_run")[0]
    if max_run_s is not None and length_s is not None and not spec.interruptible and max_run_s < length_s:
        yield Problem(
            ("max_run",),
            f"it is stopped after {in_words(max_run_s)} and takes {in_words(length_s)}, so it never ends; set a "
            f"longer one, or interruptible = true",
        )
    quiet_s = _duration(spec, "quiet")[0]
    if quiet_s is not None and quiet_s < _SOONEST_QUIET_S:
        text = f"found {in_words(quiet_s)}, expected at least {_SOONEST_QUIET_S:.0f}s: nodes report every few seconds"
        yield Problem(("quiet",), text)


def _labels(spec: JobSpec) -> Iterator[Problem]:
    if not spec.name.strip():
        yield Problem(("name",), "it is blank; give it a name")
    if spec.phase and spec.phase not in PHASES:
        near = difflib.get_close_matches(spec.phase, PHASES, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"reports by phase know {', '.join(PHASES)}"
        yield warning(("phase",), f"{spec.phase!r} is unusual; {fix}")
    keys: list[tuple[Path, str]] = [
        (("name",), spec.name), (("workload",), spec.workload), (("model",), spec.model), (("team",), spec.team),
        (("phase",), spec.phase), (("external",), spec.external),
    ]  # fmt: skip
    for path, text in keys:
        if any(category(character) in _UNSEEN for character in text):
            yield Problem(path, f"found {text!r}: it has characters that cannot be shown; use plain text in one line")


def _assumed(spec: JobSpec, known: Known) -> Iterator[Problem]:
    """Yield which workload to name where nothing is known of this one, and its like has been measured."""
    own = known.of(spec)
    if spec.service is not None or spec.power_w is not None or (own is not None and own.power_w is not None):
        return
    measured = {name: learned.runs for name, learned in known.learned.items() if learned.power_w is not None}
    workload = spec.workload or spec.name
    near = (
        [spec.template]
        if spec.template and spec.template in measured
        else difflib.get_close_matches(workload, measured, n=1)
    )
    for name in near:
        runs = f"{measured[name]} run{'s' if measured[name] != 1 else ''}"
        text = f"no run of {workload!r} has been measured, so its power is assumed; {name!r} has been, in {runs}"
        yield warning(("workload",), f'{text}: set workload = "{name}" if it is the same work')
