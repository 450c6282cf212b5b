"""Asking the actuator one thing and waiting for the answer, from any thread."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from evenwatt_agent.actuator.protocol import (
    MAX_ANSWER_BYTES,
    VERSION,
    Hello,
    ProtocolError,
    Purpose,
    decode_said,
    encode,
)
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from evenwatt_agent.actuator.protocol import ToActuator, ToAgent


def connect(path: str, purpose: Purpose, timeout_s: float) -> socket.socket:
    """Connect and say why; every call on the socket that is returned waits so long at most.

    Raises:
        OSError: nobody answers there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout_s)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    say(sock, Hello(VERSION, purpose, __version__))
    return sock


def say(sock: socket.socket, message: ToActuator) -> None:
    """Send a message; where the other end has closed already, what it said before is still to be heard."""
    try:
        sock.send(encode(message), socket.MSG_NOSIGNAL)
    except BrokenPipeError:
        return


def hear(sock: socket.socket) -> tuple[ToAgent, list[int]]:
    """Return the next message, and the open descriptors that came with it.

    Raises:
        ProtocolError: it is not one of ours, or the other end has gone.
        OSError: nothing comes.
    """
    try:
        raw, descriptors, _, _ = socket.recv_fds(sock, MAX_ANSWER_BYTES + 1, 4)
    except ConnectionResetError:  # it closed with words of ours unread; what it said before is still to be heard
        raw, descriptors, _, _ = socket.recv_fds(sock, MAX_ANSWER_BYTES + 1, 4)
    if not raw:
        raise ProtocolError("the actuator closed the connection")
    return decode_said(raw), list(descriptors)
