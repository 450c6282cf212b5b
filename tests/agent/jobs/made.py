"""Runs without an agent: a plan, a supervisor that is a real process, and what became of it."""

from __future__ import annotations

import os
from dataclasses import replace

from evenwatt_agent import cgroups
from evenwatt_agent.jobs import launch
from evenwatt_agent.jobs.output import excerpt
from evenwatt_agent.jobs.places import leave_word
from evenwatt_agent.jobs.plan import Phase, Plan, Standing
from tests.agent.jobs.yard import UID
from tests.support import wait_for

RUN = "0123456789ab"


class Made:
    """One run in a folder of its own.

    Args:
        folder: Reachable for every user.
        argv: What to run.
        tree: Hold it as a process tree, without a cgroup.
        changes: Fields of the plan.
    """

    def __init__(self, folder, argv, *, tree=False, **changes):
        self.folder = folder / "run"
        self.state, self.scratch = folder / "state", folder / "scratch"
        for each in (self.state, self.scratch):
            each.mkdir(mode=0o700)
            os.chown(each, UID, UID)
        self.folder.mkdir(mode=0o700)
        self.root = None if tree else cgroups.find_root()
        self.cgroup = launch.make_cgroup(RUN, self.root)
        plan = Plan(
            run=RUN, job="0" * 12, argv=list(argv), environment={"PATH": "/usr/bin:/bin", "EVENWATT_RUN": RUN}, uid=UID,
            gid=UID, groups=[], as_user=True, directory=str(self.scratch), scratch=str(self.scratch),
            state=str(self.state), state_bytes=10**9, log_bytes=100_000, processes=100_000, nice=0, limit_s=60.0,
            signal=0, wait_s=0.0, cgroup=f"{self.root}{self.cgroup}" if self.cgroup else "", task_socket="/nowhere",
        )  # fmt: skip
        replace(plan, **changes).write(self.folder / "plan.json")
        self.process = None

    def start(self):
        self.process = launch.launch(self.folder)
        return self

    def standing(self):
        return Standing.read(self.folder)

    def await_phase(self, phase=Phase.RUNNING):
        def reached():
            standing = self.standing()
            return standing if standing is not None and standing.phase is phase else None

        return wait_for(reached, f"the run is {phase}")

    def await_output(self, text):
        wait_for(lambda: text in self.output(), f"it has written {text!r}")

    def ended(self):
        standing = self.await_phase(Phase.ENDED)
        leave_word(self.folder, "seen")
        self.process.wait(60)
        assert (self.folder / "supervisor.log").read_text() == ""
        return standing

    def ask(self, word):
        leave_word(self.folder, word)

    def output(self):
        return excerpt(self.folder, 0, 100_000, last=True).text

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.cgroup:
            from evenwatt_agent.jobs.tree import kill_cgroup

            kill_cgroup(self.root / self.cgroup[1:], 5.0)
            launch.remove_cgroup(self.cgroup, self.root)
