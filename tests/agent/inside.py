"""A node's control in this process: real settings, keys, files of a simulated machine and a real database."""

from __future__ import annotations

from evenwatt_agent.authority import Authority
from evenwatt_agent.inventory import take_inventory
from evenwatt_agent.memory import Memory
from evenwatt_agent.settings import load
from evenwatt_daemon.audit import walk
from evenwatt_daemon.audit_log import log_files, read_lines
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from evenwatt_wire.command import open_ack
from tests.site import NODE, Site


class Inside(Site):
    """A site whose control runs here, without a broker. Give ``limits`` as the text of limits.toml."""

    def __init__(self, folder, control="", limits=""):
        super().__init__(folder, 1)
        self.machine = Machine(preset("xeon_2s", NODE), folder / "twin" / NODE, start_ns=0, step_ns=5_000_000)
        self.write_settings(control)
        if limits:
            (folder / "limits.toml").write_text(limits)
        (folder / "state").mkdir(exist_ok=True)
        self.events = []

    async def __aenter__(self):
        settings = load(str(self.folder / "agent.toml"))
        self.memory = Memory(settings.state_path / "agent.db")
        self.inventory = take_inventory(settings)
        self.authority = Authority(
            settings, self.inventory.governor, self.memory, self.in_worker, self.event, lambda: None
        )
        await self.authority.start()
        return self

    async def __aexit__(self, *_):
        await self.authority.stop()
        self.memory.close()
        self.inventory.close()

    async def in_worker(self, call):
        return call()

    def event(self, name, subject, **facts):
        self.events.append((name, facts))

    async def say(self, payload, *, retained=False):
        """Return the opened answer, or None."""
        answer = await self.authority.command(payload, retained=retained)
        return None if answer is None else open_ack(answer, self.ring)

    async def ask(self, op, **fields):
        return await self.say(self.command(op, **fields)[1])

    def walked(self):
        return walk(line for path in log_files(self.folder / "state" / "audit") for line in read_lines(path))

    def entries(self, kind=None):
        found, entries = self.walked()
        assert found.faults == []
        return [entry for entry in entries if kind in (None, entry.kind)]
