"""``./dev fuzz``: explore the parsers, one process at a time.

``--engine mutate`` (the default) changes good inputs; ``--engine guided`` is atheris, led by coverage, in its own
folder (``.cache/fuzz``). Each run has another seed, which is printed: the same seed makes the same inputs.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
from pathlib import Path

import structlog

from tests.fuzz.judging import Tally, explore
from tests.fuzz.registry import parsers

FOUND = Path(".cache/fuzz/found")


def main() -> int:
    """Return 1 if something was found."""
    given = _arguments()
    quiet()
    known = parsers()
    chosen = [name for name in known if not given.parser or any(name.startswith(one) for one in given.parser)]
    if not chosen:
        print(f"no parser begins so; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if given.list:
        print("\n".join(f"{name}  {', '.join(known[name].covers)}" for name in chosen))
        return 0
    if given.engine == "guided":
        from tests.fuzz.guided import run_guided

        return run_guided([known[name] for name in chosen], given.inputs, given.minutes, given.seed)
    print(f"seed {given.seed}", file=sys.stderr)
    tallies = [_explore(name, given) for name in chosen]
    if given.json:
        print(json.dumps([_row(tally) for tally in tallies]))
    return 1 if any(tally.finds for tally in tallies) else 0


def quiet() -> None:
    """Log nothing: a million inputs would be a million lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _explore(name: str, given: argparse.Namespace) -> Tally:
    until_s = time.monotonic() + given.minutes * 60 if given.minutes else float("inf")
    tally = explore(parsers()[name], given.seed, lambda n, _: n < given.inputs and time.monotonic() < until_s)
    out = sys.stderr if given.json else sys.stdout
    print(
        f"{name:28} {tally.inputs:>9,} inputs  {tally.accepted:>9,} accepted  {tally.answers:>5} answers "
        f"{tally.seconds:>7.1f} s  {tally.most_mb:>5.1f} MB  {len(tally.finds)} finds",
        file=out,
        flush=True,
    )
    for number, find in enumerate(tally.finds):
        FOUND.mkdir(parents=True, exist_ok=True)
        path = FOUND / f"{name}-{given.seed}-{number}"
        path.write_bytes(find.data)
        print(f"    {find.what[:200]}\n      {path}: {find.data[:100]!r}", file=out, flush=True)
    return tally


def _row(tally: Tally) -> dict[str, object]:
    return {
        "parser": tally.parser,
        "inputs": tally.inputs,
        "accepted": tally.accepted,
        "answers": tally.answers,
        "seconds": round(tally.seconds, 1),
        "most_mb_of_an_input": round(tally.most_mb, 1),
        "finds": [find.what for find in tally.finds],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--parser", action="append", help="names that begin so (default: all); may be repeated")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of each parser (%(default)s)")
    parser.add_argument("--minutes", type=float, help="at the most, of each parser")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--engine", choices=("mutate", "guided"), default="mutate")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--list", action="store_true", help="name the parsers and what they cover")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
