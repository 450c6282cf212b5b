"""Network namespaces without a name: each is held by a process, and gone with the last one in it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import wait_for

_CLONE_NEWNET = 0x40000000
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_LIBC = ctypes.CDLL(None, use_errno=True)


def need_namespaces():
    """Skip where there can be no namespaces."""
    if os.geteuid():
        pytest.skip("only root can make network namespaces")
    missing = [tool for tool in ("setpriv", "unshare", "nsenter", "ip", "tc") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install util-linux iproute2")
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespaces here: {tried.stderr.strip()}")


class Space:
    """One namespace. It ends with its holder, which dies with this process whatever happens."""

    def __init__(self):
        self._holder = subprocess.Popen([*_DIES_WITH_US, "unshare", "--net", "sleep", "infinity"])
        self._threads = []
        self.pid = self._holder.pid
        ours = Path("/proc/self/ns/net").readlink()
        wait_for(lambda: Path(f"/proc/{self.pid}/ns/net").readlink() != ours, "the namespace is there")
        self._worker = self.thread()
        self.run("ip", "link", "set", "lo", "up")

    @property
    def prefix(self):
        """What starts a command inside; it dies with the process that started it."""
        return (*_DIES_WITH_US, "nsenter", f"--net=/proc/{self.pid}/ns/net", "--")

    def run(self, *command):
        """Run a command inside to its end."""
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"

    def thread(self):
        """Return an executor of one thread that lives inside, as do the threads that it starts."""
        made = ThreadPoolExecutor(1, initializer=self._join)
        self._threads.append(made)
        return made

    def call(self, function, *arguments):
        """Run a function inside; sockets that it makes stay inside."""
        return self._worker.submit(function, *arguments).result()

    def close(self):
        for made in self._threads:
            made.shutdown()
        self._holder.kill()
        self._holder.wait()

    def _join(self):
        file = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            if _LIBC.setns(file, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(file)
