"""A node whose owner lets work be run on command, an ear for what it reports, and real programs to run."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from evenwatt_wire import Ack, JobOrder, Kind, RunReport, Topic, decode
from evenwatt_wire.command import Op, open_ack, open_run
from tests.site import NODE, ZONE, Site
from tests.support import eventually

USER = "nobody"
UID = 65534


def need_root():
    if os.geteuid() != 0:
        pytest.skip("needs root, to start work as another user")


class Yard(Site):
    """A site with a ``jobs`` table."""

    def __init__(self, folder: Path, port: int):
        super().__init__(folder, port)
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.count = 0

    def program(self, name, text, interpreter="/bin/sh"):
        """Write a script that the user may run and not change; return its path."""
        path = self.programs / name
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(0o755)
        return str(path)

    def write_jobs(self, *templates, slots=4, user=USER, max_run_s=600.0, state_dir=None, **jobs):
        table = {"enabled": True, "user": user, "slots": slots, "max_run_s": max_run_s} | jobs
        text = "[jobs]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for template in templates:
            inner = {key: value for key, value in template.items() if isinstance(value, dict)}
            flat = {key: value for key, value in template.items() if not isinstance(value, dict)}
            text += "[[jobs.templates]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in flat.items())
            for key, rows in inner.items():
                text += f"[jobs.templates.{key}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in rows.items())
        self.write_settings(text, **({"state_dir": state_dir} if state_dir else {}))

    def order(self, template, values=(), **fields):
        self.count += 1
        base = {"job": f"{1:012x}", "run": f"{self.count:06x}{os.urandom(3).hex()}"} | fields
        return JobOrder(base.pop("job"), base.pop("run"), template, list(values), **base)

    def start(self, template, values=(), *, dry_run=False, key=None, **fields):
        return self.command(Op.START, job=self.order(template, values, **fields), dry_run=dry_run, key=key)

    def stop(self, run, *, keep=False, key=None):
        return self.command(Op.STOP, target=run, keep=keep, key=key)

    def run_folder(self, run):
        return self.folder / "state" / "jobs" / "runs" / run

    def standing(self, run):
        try:
            return json.loads((self.run_folder(run) / "state.json").read_text())
        except (OSError, ValueError):
            return {}


class Ear:
    """Hears acknowledgements and reports, and asks."""

    def __init__(self, connection, ring):
        self.connection, self.ring = connection, ring
        self.acks: list[Ack] = []
        self.reports: list[RunReport] = []
        self.births = []
        self.at = []

    async def run(self):
        async for message in self.connection.messages():
            topic = Topic.parse(message.topic)
            if topic.kind is Kind.ACK:
                self.acks.append(open_ack(message.payload, self.ring))
            elif topic.kind is Kind.RUN:
                self.reports.append(open_run(message.payload, self.ring))
                self.at.append(time.monotonic())
            elif topic.kind is Kind.BIRTH and not message.retained:
                self.births.append(decode(topic, message.payload))

    async def say(self, payload, *, retain=False):
        await self.connection.publish(str(Topic(ZONE, NODE, Kind.COMMAND)), payload, qos=1, retain=retain)

    async def ask(self, asked):
        command, payload = asked
        await self.say(payload)
        return (await eventually(lambda: [a for a in self.acks if a.command_id == command.id], "an answer"))[-1]

    def of(self, run):
        return [report for report in self.reports if report.run == run]

    async def report(self, run, *states, timeout_s=60.0):
        """Wait for a report of a run in one of these states, and return it."""

        def found():
            return [r for r in self.of(run) if r.state in states]

        return (await eventually(found, f"{run} is {', '.join(states)}", timeout_s))[0]

    def log(self, run):
        """All that was told of what a run wrote, each character once."""
        text = ""
        for report in sorted(self.of(run), key=lambda r: r.log_start):
            text += report.log[max(0, len(text) - report.log_start) :]
        return text


def processes_with(text):
    """Return the pids whose command line or environment holds ``text``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                line = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if text.encode() in line and state != "Z":
                    found.append(int(folder.name))
    return found


def processes_of(uid):
    """Return the pids of a user's processes."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and folder.stat().st_uid == uid:
                found.append(int(folder.name))
    return found


def fill(path):
    """Write until the disk is full."""
    with suppress(OSError), path.open("ab", buffering=0) as filler:
        while filler.write(b"0" * 512):
            pass
