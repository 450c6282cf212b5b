"""A real PostgreSQL for tests: its own cluster in a temporary folder, on a Unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import psutil
import pytest


def programs() -> Path | None:
    """Return the folder of the newest installed server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Cluster:
    """A running server; refuses to run as root, so root becomes its Debian user."""

    def __init__(self) -> None:
        where = programs()
        if where is None:
            pytest.skip("no PostgreSQL server here; apt-get install postgresql")
        self._bin = where
        self.folder = Path(tempfile.mkdtemp(prefix="evenwatt-pg-"))
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self.folder, "postgres")
        data = self.folder / "data"
        self._run("initdb", "-D", data, "-A", "trust", "-U", "evenwatt", "--no-sync", "--encoding=UTF8")
        self._data = data

    def start(self) -> Cluster:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=50"
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self.folder / "log", "-o", options, "start")
        return self

    def stop(self, how: str = "immediate") -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-m", how, "stop")

    def signal(self, number: int) -> None:
        """Send a signal to the server and all that it has started."""
        server = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        for one in [server, *server.children(recursive=True)]:
            one.send_signal(number)

    def database(self) -> str:
        """Make a new, empty database; return its URL."""
        name = f"t{uuid.uuid4().hex}"
        self._run("createdb", "-h", self.folder, "-U", "evenwatt", name)
        return f"postgresql://evenwatt@/{name}?host={self.folder}"

    def remove(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self._as, str(self._bin / program), *map(str, arguments)]
        # The server keeps what it inherits open, so that a pipe would never end.
        with (self.folder / "out").open("ab") as out:
            subprocess.run(command, check=True, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/")
