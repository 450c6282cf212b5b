"""A command of ours on a real pseudo-terminal, and a collector to point it at."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import asynccontextmanager, suppress

import httpx

from evenwatt_cli.exits import Exit
from tests.collector.middle import Middle
from tests.support import eventually

_SAID = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "EVENWATT_CONFIG"}
"""What these tests say themselves."""
EVENWATT = [sys.executable, "-m", "evenwatt_cli"]
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_=>]|\x1b[()]\w")


class Terminal:
    """What a person has in front of them."""

    def __init__(self, child, master):
        self.child, self._master = child, master
        self.raw = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self._master, keys.encode())

    def read(self):
        with suppress(BlockingIOError, OSError):  # OSError: the other end is closed
            while chunk := os.read(self._master, 65_536):
                self.raw += chunk.decode(errors="replace")
        return self.raw

    def text(self):
        return _ESCAPES.sub("", self.read())

    def forget(self):
        self.read()
        self.raw = ""

    async def shows(self, words, timeout_s=60.0):
        await eventually(
            lambda: words in self.text(), f"the terminal shows {words!r}: {self.text()[-400:]!r}", timeout_s
        )

    async def ends(self, timeout_s=60.0):
        await eventually(lambda: (self.read(), self.child.poll() is not None)[1], "it ends", timeout_s)
        return self.child.returncode


@asynccontextmanager
async def on_terminal(*arguments, columns=100, rows=30, **environment):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.set_blocking(master, False)
    env = {
        key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    }
    child = subprocess.Popen(
        [*EVENWATT, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**env, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(slave)
    terminal = Terminal(child, master)
    try:
        yield terminal
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        os.close(master)


async def evenwatt(*arguments, stdin=None, **environment):
    """Run the command without a terminal, while this loop goes on; return code, output and errors."""
    env = {key: value for key, value in os.environ.items() if key not in _SAID}
    child = await asyncio.create_subprocess_exec(
        *EVENWATT, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={**env, **environment},
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(stdin), 120)
    return child.returncode, out.decode(), err.decode()


async def when_well(*arguments, **environment):
    """As ``evenwatt``, again while the fleet is not well: nodes of a busy machine are silent for a moment."""
    for _ in range(20):
        said = await evenwatt(*arguments, **environment)
        if said[0] != Exit.DEGRADED:
            break
    return said


_READY_S = 60.0


class Office(Middle):
    """A collector's folder with the settings of a person who looks at it."""

    def __init__(self, folder, broker_port):
        super().__init__(folder, broker_port)
        self.person = folder / "operator.toml"
        self.person.write_text(
            f'zone = "hall"\ncollector_url = "http://127.0.0.1:{self.port}"\nsocket = "{folder / "no.sock"}"\n'
            f"[mqtt]\nport = {broker_port}\n"
        )
        self.config_option = ("--config", str(self.person))

    async def ready(self):
        def answers():
            try:
                return self.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        await eventually(answers, "the collector is ready", _READY_S)
