"""The service manager's side channel: readiness, status and watchdog (sd_notify(3)), without libsystemd."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Sends datagrams to ``NOTIFY_SOCKET``; a no-op when the process was not started by a service manager."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s: float | None = int(microseconds) / 1e6 if microseconds.isdigit() and ours else None

    @property
    def managed(self) -> bool:
        """Whether a service manager has started this process, which will start it again."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Say that start-up is complete."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """Say that an orderly stop has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog; call it only when the work itself has made progress."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.sendto(message.encode(), self._address)
            except OSError:
                return  # the manager is gone; there is no one to tell
