"""Tell this node's agent where a piece of work begins and ends: ``with evenwatt_agent.task("train"): ...``.

Standard library only, so that any program can afford it. Measuring never stands in the way of the work: without an
agent the task simply has no ``result``, which is said once as a warning, unless ``required=True``.
"""

from __future__ import annotations

import json
import os
import socket
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

SOCKET_VARIABLE: Final = "EVENWATT_TASK_SOCKET"
TASK_VARIABLE: Final = "EVENWATT_TASK"
"""Set by ``evenwatt run`` for its command: the task around whatever that starts."""
DEFAULT_SOCKET: Final = "/run/evenwatt/task.sock"
_TIMEOUT_S: Final = 10.0

_CURRENT: ContextVar[str] = ContextVar("evenwatt_task", default="")


class TaskRefusedError(RuntimeError):
    """The agent did not grant a request, or there is no agent; the text says which and why."""


def socket_path() -> str:
    """Return where the agent listens: ``$EVENWATT_TASK_SOCKET`` or the usual place."""
    return os.environ.get(SOCKET_VARIABLE, DEFAULT_SOCKET)


def ask(request: dict[str, Any], path: str | None = None) -> dict[str, Any]:
    """Send one request and return the task as the agent has it.

    Raises:
        OSError: no agent answers there, or this user may not speak to it.
        TaskRefusedError: it answers no.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(path or socket_path())
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    try:
        answer = json.loads(line)
    except ValueError:
        raise TaskRefusedError("the agent hung up without an answer") from None
    if not answer.get("ok"):
        raise TaskRefusedError(str(answer.get("error", "no reason given")))
    task: dict[str, Any] = answer["task"]
    return task


def new_id() -> str:
    """Return a fresh task id: 12 hexadecimal digits."""
    return os.urandom(6).hex()


class task:  # noqa: N801  (read as a verb: ``with task(...)``)
    """A piece of work whose energy is counted while the block runs.

    It counts this process and all that it starts meanwhile. Tasks may nest; tasks side by side in one process share
    its energy equally.

    Args:
        name: What people will call it.
        workload: What it belongs to, across runs.
        model: Model that it trains or serves.
        phase: ``train``, ``infer``, ``evaluate``, ...
        team: Who answers for it.
        reserve: Share of the node's processors set aside for it, 0 to 1: it carries so much of the idle energy.
        required: Raise :class:`TaskRefusedError` where the agent cannot be asked, instead of warning.

    Example:
        >>> with task("epoch-1", workload="resnet", phase="train") as epoch:
        ...     epoch.units(1024, "images")
        >>> epoch.result and epoch.result["energy_j_per_unit"]["images"]
    """

    def __init__(
        self,
        name: str,
        *,
        workload: str = "",
        model: str = "",
        phase: str = "",
        team: str = "",
        reserve: float = 0.0,
        required: bool = False,
    ) -> None:
        self.id = new_id()
        self.result: dict[str, Any] | None = None
        """After the block: duration, joules, joules per unit; None if nothing could be measured."""
        self._labels = {
            "name": name, "workload": workload, "model": model, "phase": phase, "team": team, "reserve": reserve,
        }  # fmt: skip
        self._required = required
        self._counted = False
        self._token: Token[str] | None = None

    def __enter__(self) -> Self:
        parent = _CURRENT.get() or os.environ.get(TASK_VARIABLE, "")
        self._counted = self._ask({"op": "start", "id": self.id, "parent": parent, **self._labels}) is not None
        if self._counted:
            self._token = _CURRENT.set(self.id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)
        if self._counted:
            self.result = self._ask({"op": "end", "id": self.id})

    def units(self, amount: float, unit: str) -> None:
        """Add units of work done, for joules per unit."""
        if self._counted:
            self._ask({"op": "units", "id": self.id, "amount": amount, "unit": unit})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return ask(request)
        except (OSError, TaskRefusedError) as error:
            message = f"evenwatt task {self._labels['name']!r} is not measured: {socket_path()}: {error}"
            if self._required:
                raise TaskRefusedError(message) from None
            warnings.warn(message, stacklevel=3)
            return None
