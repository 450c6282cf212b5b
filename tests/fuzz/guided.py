"""The same parsers under atheris (libFuzzer): inputs are led by which code they reach.

atheris lives in a folder of its own (``.cache/fuzz/atheris``), never in ``.venv``; there are wheels for Linux. Each
parser runs in a process of its own, since libFuzzer ends the process that it runs in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fuzz.parser import Parser

VERSION = "3.0.0"
HOME = Path(".cache/fuzz").absolute()
CORPUS = HOME / "corpus"
FOUND = HOME / "found"
_MOST_MB = 1_024
_ROOT = Path(__file__).parents[2]


def run_guided(chosen: Sequence[Parser], inputs: int, minutes: float | None, seed: int) -> int:
    """Run each parser; return 1 if one of them found something."""
    library = _install()
    worst = 0
    for parser in chosen:
        folder = CORPUS / parser.name
        folder.mkdir(parents=True, exist_ok=True)
        FOUND.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(parser.seeds):
            (folder / f"seed-{number}").write_bytes(one)
        limits = [f"-runs={inputs}", f"-seed={seed % 2**31 or 1}", f"-rss_limit_mb={_MOST_MB}", "-timeout=5"]
        limits += [f"-max_total_time={minutes * 60:.0f}"] if minutes else []
        command = [sys.executable, "-m", "tests.fuzz.guided", parser.name, *limits]
        command += ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={FOUND / parser.name}-", str(folder)]
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(library)},
            capture_output=True,
            text=True,
            check=False,
        )
        said = dict(line.removeprefix("stat::").split(":", 1) for line in done.stderr.splitlines() if "stat::" in line)
        figures = {key: int(value) for key, value in said.items() if value.strip().isdigit()}
        print(json.dumps({"parser": parser.name, "found": done.returncode != 0, **figures}), flush=True)
        if done.returncode:
            worst = 1
            print(done.stderr[-3_000:], file=sys.stderr)
    return worst


def _install() -> Path:
    folder = HOME / "atheris"
    if not (folder / "atheris").is_dir():
        uv = Path(sys.executable).with_name("uv")
        command = [uv, "pip", "install", "--quiet", "--target", folder, "--only-binary", ":all:", f"atheris=={VERSION}"]
        subprocess.run([*command, "--python", sys.executable], check=True)
    return folder


def _main() -> None:
    import atheris

    with atheris.instrument_imports(include=["evenwatt_wire", "evenwatt_agent", "evenwatt_collector", "evenwatt_cli"]):
        from tests.fuzz.registry import parsers

        parser = parsers()[sys.argv.pop(1)]
    from tests.fuzz.run import quiet

    quiet()

    def one_input(data: bytes) -> None:
        try:
            parser.target(data)
        except parser.refuses:
            return

    atheris.Setup(sys.argv, one_input)
    fuzz: Any = atheris.Fuzz
    fuzz()


if __name__ == "__main__":
    _main()
