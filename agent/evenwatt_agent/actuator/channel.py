"""One connection between agent and actuator: whole messages, never a wait for somebody who does not read."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenwatt_agent.actuator.protocol import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_agent.actuator.protocol import ToActuator, ToAgent

_CREDENTIALS = struct.Struct("3i")
"""``struct ucred`` of unix(7): pid, uid, gid of whoever connected, as the kernel knows them."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end."""

    pid: int
    uid: int


def peer_of(sock: socket.socket) -> Peer:
    """Return who connected, from the kernel (SO_PEERCRED)."""
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(pid, uid)


class Channel:
    """A connected, non-blocking socket of type SEQPACKET.

    Args:
        sock: The socket; the channel closes it.
        most_bytes: Longest message that is read; of a longer one a byte more comes, so that it can be told.
    """

    def __init__(self, sock: socket.socket, most_bytes: int) -> None:
        sock.setblocking(False)
        self._sock, self._most_bytes = sock, most_bytes

    async def receive(self) -> bytes | None:
        """Return the next message; None when the other end has gone.

        Descriptors that come with it are closed by the kernel, since no room is offered for them (recvmsg(2)).
        """
        try:
            return await asyncio.get_running_loop().sock_recv(self._sock, self._most_bytes + 1) or None
        except OSError:
            return None

    def send(self, message: ToActuator | ToAgent) -> bool:
        """Send at once; return whether it went. The kernel keeps about a hundred messages for a slow reader."""
        try:
            return self._sock.send(encode(message), socket.MSG_NOSIGNAL) > 0
        except OSError:
            return False

    async def send_all(self, messages: Iterable[ToActuator]) -> bool:
        """Send one after the other, waiting for the other end to read; return whether all went. One call at a time."""
        try:
            for message in messages:
                await asyncio.get_running_loop().sock_sendall(self._sock, encode(message))
        except OSError:
            return False
        return True

    def send_descriptor(self, message: ToAgent, descriptor: int) -> bool:
        """Send a message with an open descriptor (SCM_RIGHTS), which is closed here."""
        try:
            return socket.send_fds(self._sock, [encode(message)], [descriptor]) > 0
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def hang_up(self) -> None:
        """End the connection: whoever is receiving gets None."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()
