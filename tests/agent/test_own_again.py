"""Whatever else goes on beside it: what was paused or capped here becomes the machine's own again, and only then."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evenwatt_agent import clocks, restore
from evenwatt_daemon import machine_folder
from evenwatt_wire.command import Code, Op
from evenwatt_wire.keyring import key_id
from tests.agent.inside import Inside


@pytest.fixture
def work(tmp_path):
    """Start a process that the pid file names; call it again for another one."""
    started = []

    def start():
        started.append(subprocess.Popen(["/bin/sleep", "60"], start_new_session=True))
        (tmp_path / "job.pid").write_text(str(started[-1].pid))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def node(tmp_path):
    return Inside(tmp_path, f'[[control.pausable]]\nname = "batch"\npidfile = "{tmp_path}/job.pid"\n')


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


async def test_a_release_leaves_what_somebody_else_has_paused(node, work):
    pid = work()
    async with node:
        await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0)
        await node.ask(Op.PAUSE, target="batch", ttl_s=60.0, key=node.operator)
        assert (await node.ask(Op.RELEASE)).code is Code.RESTORED
        assert (node.authority.paused, state(pid)) == (["batch"], "T")
        saved = restore.load(restore.originals_path(node.folder / "state"))
        assert [row["kind"] for row in saved] == ["signal"]  # for whoever comes after a SIGKILL
    assert state(pid) != "T"


async def test_what_was_paused_goes_on_also_when_its_name_means_another_process_by_now(node, work):
    pid = work()
    async with node:
        await node.ask(Op.PAUSE, target="batch", ttl_s=60.0, key=node.operator)
        work()
        assert (await node.ask(Op.RESUME, target="batch", key=node.operator)).code is Code.APPLIED
        assert state(pid) != "T"


async def test_a_pause_whose_target_is_gone_ends_and_the_caps_go_on(node, work):
    pid = work()
    async with node:
        await node.ask(Op.PAUSE, target="batch", ttl_s=0.1, key=node.operator)
        os.kill(pid, 9)
        (node.folder / "job.pid").unlink()
        await node.authority._hands.follow(clocks.lease_s() + 1.0)
        assert node.authority.paused == []
        assert [name for name, _ in node.events if name == "resume-failed"]
        assert (await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0)).code is Code.APPLIED


@pytest.mark.parametrize(("op", "ttl_s"), [(Op.PAUSE, 60.0), (Op.RESUME, 0.0)])
async def test_a_target_that_has_gone_is_an_answer_and_no_fault(tmp_path, op, ttl_s):
    group = tmp_path / "group"
    group.mkdir()
    (group / "cgroup.freeze").write_text("0\n")
    node = Inside(tmp_path, f'[[control.pausable]]\nname = "batch"\ncgroup = "{group}"\n')
    async with node:
        (group / "cgroup.freeze").unlink()
        assert (await node.ask(op, target="batch", ttl_s=ttl_s, key=node.operator)).code is Code.LOCKED


async def test_originals_are_saved_again_after_somebody_has_restored_by_hand(node):
    own = node.limits()
    path = restore.originals_path(node.folder / "state")
    async with node:
        await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0)
        subprocess.run([sys.executable, "-I", restore.__file__, "--state-dir", path.parent], check=True)
        assert node.limits() == own
        await node.ask(Op.CAP, cap_w=310.0, ttl_s=60.0)
        assert node.limits() != own
        assert path.exists()
    assert node.limits() == own


async def test_a_key_that_is_revoked_while_its_command_waits_does_not_count(node):
    async with node:
        _, payload = node.command(Op.CAP, cap_w=300.0, ttl_s=10.0)
        before = node.limits()
        async with node.authority._hands.turn:
            waiting = asyncio.create_task(node.say(payload))
            await asyncio.sleep(0)
            node.authority._keys.ring.renew([], revoked=[key_id(node.controller.public_key().public_bytes_raw())])
        assert (await waiting).detail.startswith("revoked-key")
        assert node.limits() == before


async def test_no_limit_is_written_before_the_one_found_is_saved_and_control_goes_on(node):
    own = node.limits()
    in_the_way = restore.originals_path(node.folder / "state").with_suffix(".new")
    async with node:
        await node.ask(Op.RELEASE)
        assert node.limits() == own
        in_the_way.mkdir()  # as a disk that takes nothing
        ack = await node.ask(Op.CAP, cap_w=300.0, ttl_s=60.0)
        assert (ack.code, node.limits()) == (Code.LOCKED, own)
        await node.authority._hands.follow(clocks.lease_s() + 1.0)
        assert node.limits() == own
        in_the_way.rmdir()
        await node.authority._hands.follow(clocks.lease_s() + 2.0)
        assert node.limits() != own
    assert node.limits() == own


def test_a_saved_value_that_makes_no_sense_keeps_no_other_from_being_put_back(tmp_path):
    path = restore.originals_path(tmp_path)
    (tmp_path / "limit").write_text("1\n")
    rows = [("signal", "nobody", "18"), ("file", str(tmp_path / "limit"), "95000000")]
    restore.save(path, [restore.Saved(kind=kind, where=where, value=value) for kind, where, value in rows])
    assert len(restore.restore(path)) == 1
    assert (tmp_path / "limit").read_text() == "95000000\n"


def test_what_is_locked_for_control_is_roots_where_it_has_been_made(tmp_path):
    made = tmp_path / "made"
    made.mkdir(mode=0o700)
    assert machine_folder("/sys", made) == made
    assert machine_folder("/sys", tmp_path / "none") == Path("/sys")
    assert machine_folder(tmp_path, made) == tmp_path  # a simulated machine has its own
