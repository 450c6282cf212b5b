"""A TCP proxy that makes a bad network of a good one: delay, stalls, silence. For kernels without ``netem``.

TCP hides loss from programs: what they see of it is data that comes one retransmission later. So a lossy line is one
on which a part of the data is held up for the time of a retransmission. A cut line keeps its connections and moves
nothing, as a partition does.
"""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import suppress


class Proxy:
    """One listening port in front of another.

    Args:
        port: Of what is behind.
        seed: Of delays and stalls.
    """

    def __init__(self, port, seed=0):
        self._behind, self._random = port, random.Random(seed)
        self.delay_s = self.jitter_s = self.stalled = 0.0
        self.stall_s = 0.4
        self._open = asyncio.Event()
        self._open.set()
        self._server, self._tasks = None, set()
        self.port = 0

    async def start(self, port=0):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def cut(self):
        """Move nothing any more."""
        self._open.clear()

    def heal(self):
        """Move again, what was held up too."""
        self._open.set()

    async def close(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        with suppress(asyncio.CancelledError):
            await self._join(reader, writer)
        self._tasks.discard(task)

    async def _join(self, reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            writer.close()
            return
        pumps = [asyncio.create_task(self._pump(*ends)) for ends in ((reader, back), (there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, back):
                end.close()

    async def _pump(self, reader, writer):
        """Move data in order, each piece when its time has come."""
        queue, loop = asyncio.Queue(), asyncio.get_running_loop()

        async def send():
            while True:
                due_s, data = await queue.get()
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                await self._open.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        sending = asyncio.create_task(send())
        try:
            while True:
                data = await reader.read(65_536)
                wait_s = self.delay_s + self._random.uniform(-1, 1) * self.jitter_s
                if self._random.random() < self.stalled:
                    wait_s += self.stall_s
                queue.put_nowait((loop.time() + max(0.0, wait_s), data))
                if not data:
                    await sending
                    return
        except OSError:
            return
        finally:
            sending.cancel()


class Lines:
    """A proxy for every name, on a thread and loop of their own: a test that asks and waits must not slow them down."""

    def __init__(self, port, names):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._proxies = {name: self._do(Proxy(port, seed=i).start()) for i, name in enumerate(names)}

    def port(self, name):
        return self._proxies[name].port

    def worsen(self, *, delay_s=0.0, jitter_s=0.0, stalled=0.0):
        """Make all lines as bad as this; as good as new by default."""
        for proxy in self._proxies.values():
            proxy.delay_s, proxy.jitter_s, proxy.stalled = delay_s, jitter_s, stalled

    def cut(self, names):
        for name in names:
            self._loop.call_soon_threadsafe(self._proxies[name].cut)

    def heal(self, names):
        for name in names:
            self._loop.call_soon_threadsafe(self._proxies[name].heal)

    def close(self):
        for proxy in self._proxies.values():
            self._do(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
