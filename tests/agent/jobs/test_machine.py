"""What is looked at before anything is started: the user, the way to the folders, the program. And what doctor says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evenwatt_agent import doctor
from evenwatt_agent.jobs.check import examine_jobs
from evenwatt_agent.jobs.desk import JobDesk
from evenwatt_agent.jobs.identity import Identity, identity, trouble_with
from evenwatt_agent.jobs.places import places, prepare_places
from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings
from evenwatt_agent.settings import AgentSettings
from evenwatt_daemon import Failure
from tests.agent.jobs.yard import UID, need_root

NOBODY = Identity("nobody", UID, UID, ())


def settings(folder, *programs, **jobs):
    templates = [TemplateSettings(name=f"t{n}", command=[str(p)]) for n, p in enumerate(programs)]
    table = JobsSettings(enabled=True, user="nobody", templates=templates, **jobs)
    return AgentSettings(node="n", state_dir=str(folder / "state"), jobs=table)


def script(path, mode=0o755, owner=0):
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    os.chown(path, owner, owner)
    return path


def trouble(path):
    return trouble_with(TemplateSettings(name="t", command=[str(path)]), JobsSettings(), NOBODY)


def test_a_program_must_be_there_reachable_executable_and_not_the_users_to_change(open_folder):
    need_root()
    assert trouble(script(open_folder / "good")) == ""
    assert trouble("/bin/sh") == ""
    assert "No such file" in trouble(open_folder / "none")
    assert "cannot be executed" in trouble(script(open_folder / "plain", 0o644))
    assert "cannot be executed" in trouble(open_folder)
    assert "can be changed by nobody" in trouble(script(open_folder / "writable", 0o757))
    assert "can be changed by nobody" in trouble(script(open_folder / "own", 0o755, UID))
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    assert "closed to others" in trouble(script(closed / "program"))
    loose = open_folder / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    assert "loose can be changed by nobody" in trouble(script(loose / "program"))
    link = open_folder / "link"
    link.symlink_to(loose / "program")
    assert "loose can be changed by nobody" in trouble(link)


def test_work_needs_an_agent_that_is_root(open_folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Failure, match="only an agent that is root"):
        identity(settings(open_folder).jobs)


@pytest.mark.parametrize(("user", "why"), [("root", "is root"), ("evenwatt-test-strong", "as good as root")])
def test_a_user_with_power_is_refused(open_folder, user, why, monkeypatch):
    need_root()
    if user != "root":
        import grp

        strong = next((g.gr_gid for g in grp.getgrall() if g.gr_name in ("disk", "sudo", "shadow")), None)
        if strong is None:
            pytest.skip("this machine has no such group")
        monkeypatch.setattr(os, "getgrouplist", lambda _name, gid: [gid, strong])
        user = "nobody"
    with pytest.raises(Failure, match=why):
        identity(JobsSettings(enabled=True, user=user))


def test_folders_that_the_user_cannot_reach_are_a_clear_failure(open_folder):
    need_root()
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(Failure, match=f"chmod o\\+x {closed}"):
        prepare_places(places(settings(closed)), NOBODY)
    finding = examine_jobs(settings(closed))
    assert finding.verdict is doctor.Verdict.DENIED
    assert finding.fix.startswith(f"chmod o+x {closed}")


def test_doctor_says_whether_work_can_be_run(open_folder):
    need_root()
    finding = examine_jobs(settings(open_folder, script(open_folder / "good")))
    assert finding.verdict is doctor.Verdict.FOUND
    assert finding.detail.startswith("as nobody, 1 slots, ")
    finding = examine_jobs(settings(open_folder, open_folder / "none"))
    assert finding.verdict is doctor.Verdict.BROKEN
    assert "t0: " in finding.detail
    off = AgentSettings(node="n", state_dir=str(open_folder))
    assert doctor._jobs(off).verdict is doctor.Verdict.SKIPPED


def test_nothing_of_it_is_loaded_while_jobs_are_off(tmp_path):
    code = (
        "import sys, evenwatt_agent.settings, evenwatt_agent.service, evenwatt_agent.doctor\n"
        "print([m for m in sys.modules if m.startswith('evenwatt_agent.jobs.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['evenwatt_agent.jobs.settings']"


def test_the_desk_is_the_only_way_in():
    """Work is started in one place: nothing else of the agent starts a process from what it was sent."""
    package = Path(JobDesk.__module__.replace(".", "/")).parent
    root = Path(__file__).parents[3] / "agent"
    starters = {
        path.relative_to(root / package).as_posix()
        for path in (root / package).glob("*.py")
        if any(word in path.read_text() for word in ("Popen(", "execve(", "posix_spawn("))
    }
    assert starters == {"asking.py", "launch.py", "privileges.py"}
