"""The rig with a network between its parts: every agent on a host of its own, broker and collector on another."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from tests.chaos.hosts import Network
from tests.chaos.rig import Rig
from tests.support import Mosquitto

MIDDLE = "middle"


class HostsRig(Rig):
    """As ``Rig``. Machines are files and need no network; only their agents are on their hosts.

    What a test asks of broker and collector comes to it through doors at the same ports of this host, and does not
    pass the network between the hosts.
    """

    HOST = "10.77.0.1"

    def __init__(self, folder, **options):
        self.network, self._doors = None, None
        super().__init__(folder, **options)
        self.network = Network([MIDDLE, *self.names], seed=1)
        assert self.network.address(MIDDLE) == self.HOST

    def make_broker(self):
        return _Broker(self.folder, self)

    def __enter__(self):
        self.stack.enter_context(self.network)
        try:
            inside = dict.fromkeys(self.http.values(), "127.0.0.1") | {self.broker.port: self.HOST}
            self._doors = Doors(self.middle, inside)
            self.stack.callback(self._doors.close)
            return super().__enter__()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error):
        self.broker.kill()
        super().__exit__(*error)

    @property
    def middle(self):
        return self.network.spaces[MIDDLE]

    def _start(self, name, module, *arguments, prefix=(), **environment):
        if name != "twin":
            host = name.removeprefix("agent-") if name.startswith("agent-") else MIDDLE
            prefix = (*self.network.spaces[host].prefix, *prefix)
        return super()._start(name, module, *arguments, prefix=prefix, **environment)


class _Broker(Mosquitto):
    """The broker in the middle."""

    def __init__(self, folder, rig):
        super().__init__(folder, address=rig.HOST)
        self._rig = rig

    @property
    def prefix(self):
        return self._rig.middle.prefix

    def answers(self):
        return self._rig.middle.call(super().answers)


class Doors:
    """Ports of this host behind which are those of the same number in a namespace.

    Args:
        space: The namespace.
        inside: The address inside, by port.
    """

    def __init__(self, space, inside):
        self._inside = inside
        self._loop = asyncio.new_event_loop()
        outside = [socket.create_server(("127.0.0.1", port)) for port in inside]
        self._done = space.thread().submit(self._loop.run_forever)
        for listener in outside:
            self._do(asyncio.start_server(self._serve, sock=listener))

    def close(self):
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._done.result(60)
        self._loop.close()

    async def _end(self):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader, writer):
        port = writer.get_extra_info("sockname")[1]
        with suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(self._inside[port], port)
            pumps = [asyncio.create_task(_pump(*ends)) for ends in ((reader, back), (there, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            back.close()
        writer.close()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


async def _pump(reader, writer):
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
