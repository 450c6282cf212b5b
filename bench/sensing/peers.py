"""Peers, fetched and unpacked into ``.cache``: nothing is installed on the machine.

Debian's packages would enable daemons at every boot, and PCP's fails to install where systemd does not run; unpacked,
they are the same binaries. The Python ones live in an environment of their own, with the versions of ``uv.lock``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sensing.machine import BenchError, say

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"
ROOT = CACHE / "bench-peers" / "root"
PYTHON = CACHE / "bench-venv" / "bin" / "python"
EXPORTER = ROOT / "usr" / "bin" / "prometheus-node-exporter"
DENKI = ROOT / "usr" / "lib" / "pcp" / "pmdas" / "denki" / "pmdadenki"

_DEBS = {
    "node_exporter": ["prometheus-node-exporter"],
    "collectd": ["collectd-core"],
    "denki": ["pcp", "pcp-conf", "libpcp3", "libpcp-pmda3", "libpcp-gui2"],
}


@dataclass(slots=True)
class Peers:
    """Which peers there are: a version, or why not."""

    usable: set[str] = field(default_factory=set)
    versions: dict[str, str] = field(default_factory=dict)

    def miss(self, name: str, why: str) -> None:
        """Note that a peer cannot take part."""
        self.usable.discard(name)
        self.versions[name] = why


def fetch() -> Peers:
    """Fetch what is missing and say what is there."""
    peers = Peers()
    for name, packages in _DEBS.items():
        try:
            peers.versions[name] = _unpack(packages)
            peers.usable.add(name)
        except BenchError as error:
            peers.miss(name, str(error))
    if "collectd" in peers.usable and not _collectd_reads_powercap():
        version = peers.versions["collectd"]
        peers.miss("collectd", f"{version} cannot: no plugin reads powercap (turbostat reads /dev/cpu/*/msr)")
    _python_peers(peers)
    return peers


def compile_loop(folder: Path) -> Path:
    """Compile the C loop.

    Raises:
        BenchError: there is no compiler, or it refuses.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BenchError("no C compiler: apt-get install gcc libc6-dev")
    source, program = Path(__file__).with_name("loop.c"), folder / "loop"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"loop.c does not compile: {done.stderr.strip()}")
    return program


def pcp_environment(folder: Path) -> dict[str, str]:
    """Write PCP's own configuration with every path moved into the cache; return the environment that names it."""
    text = (ROOT / "etc" / "pcp.conf").read_text()
    text = re.sub(r"(?m)^(PCP_\w+)=/(etc|usr|lib|var/lib)\b", rf"\1={ROOT}/\2", text)
    text = re.sub(r"(?m)^(PCP_(?:LOG|RUN|TMP|TMPFILE)_DIR)=.*$", rf"\1={folder}", text)
    (folder / "pcp.conf").write_text(text)
    libraries = ":".join(str(path) for path in (ROOT / "usr" / "lib", *(ROOT / "usr" / "lib").glob("*-linux-gnu")))
    return {**os.environ, "PCP_CONF": str(folder / "pcp.conf"), "LD_LIBRARY_PATH": libraries}


def _unpack(packages: list[str]) -> str:
    """Download and unpack packages once; return the version of the first."""
    store = ROOT.parent
    store.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if not list(store.glob(f"{package}_*.deb")):
            if shutil.which("apt-get") is None:
                raise BenchError(f"not installed: apt-get install {packages[0]}")
            say(f"fetching {package} into .cache")
            _run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", package], store, packages[0])
            _run(["dpkg-deb", "-x", str(next(store.glob(f"{package}_*.deb"))), str(ROOT)], store, packages[0])
    return next(store.glob(f"{packages[0]}_*.deb")).name.split("_")[1].replace("%3a", ":")


def _run(command: list[str], folder: Path, package: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        why = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise BenchError(f"not installed: apt-get update && apt-get install {package} ({why})")


def _collectd_reads_powercap() -> bool:
    plugins = (ROOT / "usr" / "lib" / "collectd").glob("*.so")
    return any(b"powercap" in plugin.read_bytes() for plugin in plugins)


def _python_peers(peers: Peers) -> None:
    names = {"codecarbon": "codecarbon", "pyrapl": "pyRAPL"}
    uv = Path(sys.executable).with_name("uv")
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(PYTHON.parents[1])}
    say("making .cache/bench-venv" if not PYTHON.exists() else "checking .cache/bench-venv")
    command = [str(uv), "sync", "--quiet", "--frozen", "--only-group", "bench"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    for name, package in names.items():
        found = list(PYTHON.parents[1].glob(f"lib/python3*/site-packages/{package}-*.dist-info"))
        if done.returncode or not found:
            peers.miss(name, f"not installed: {(done.stderr.strip() or 'uv sync brought nothing').splitlines()[-1]}")
            continue
        peers.versions[name] = found[0].name.removesuffix(".dist-info").split("-")[1]
        peers.usable.add(name)
