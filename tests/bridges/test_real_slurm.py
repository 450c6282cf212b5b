"""The bridge and job_submit.lua in a real Slurm of one node: munged, slurmctld and slurmd of this test.

It needs root, slurm-wlm, munge and a machine whose own Slurm is not disturbed, so it runs only when asked for:
``EVENWATT_REAL_SLURM=1 pytest tests/bridges/test_real_slurm.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.bridges.grid_server import GridServer
from tests.bridges.loading import BRIDGES
from tests.support import free_port, need, process, wait_for

pytestmark = [
    pytest.mark.skipif(not os.environ.get("EVENWATT_REAL_SLURM"), reason="asked for with EVENWATT_REAL_SLURM=1"),
    pytest.mark.timeout(300),
]
BRIDGE = BRIDGES / "slurm" / "evenwatt_slurm.py"
CONF = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobSubmitPlugins=lua
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 Sockets=1 CoresPerSocket=8 RealMemory=500 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    def __init__(self, folder, grid):
        self.folder, self.grid = folder, grid
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "SLURM_CONFIG_OVERRIDE": "1"}

    def __call__(self, *command, check=True):
        return subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=check, timeout=60
        ).stdout

    def submit(self, *options):
        said = self("sbatch", "--parsable", "-o", "/dev/null", *options, "--wrap", "sleep 900")
        return int(said.strip())

    def job(self, number):
        rows = json.loads(self("squeue", "--json", "--states=all"))["jobs"]
        return next(row for row in rows if row["job_id"] == number)

    def state(self, number):
        said = self.job(number)["job_state"]
        return said if isinstance(said, str) else said[0]

    def bridge(self, *options):
        forecast = self.folder / "forecast"
        where = ["--url", self.grid.url, "--zone", "here", "--forecast", str(forecast)]
        return [sys.executable, str(BRIDGE), *where, *options]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    need(os.geteuid() == 0, "root", "(run it as root)")
    need(shutil.which("slurmctld") and shutil.which("munged"), "Slurm", "slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    values = {"host": socket.gethostname(), "ctld": free_port(), "slurmd": free_port(), "folder": folder}
    (folder / "slurm.conf").write_text(CONF.format(**values))
    shutil.copy(BRIDGES / "slurm" / "job_submit.lua", folder / "job_submit.lua")
    grid = GridServer([])
    grid.shift_to(6)
    made = Slurm(folder, grid)
    environment = {**made.environment, "EVENWATT_SLURM_FORECAST": str(folder / "forecast")}
    munged = [
        "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge/socket",
        f"--pid-file={folder}/munge/pid", f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed",
    ]  # fmt: skip
    with (
        grid.serving(),
        process(munged, folder / "munge.log"),
        process(["slurmctld", "-D"], folder / "ctld.log", **environment),
        process(["slurmd", "-D"], folder / "slurmd.log", **environment),
    ):
        wait_for(lambda: "idle" in made("sinfo", "-h", check=False), "the node is idle", 60)
        yield made
        for number in made("squeue", "-h", "-t", "suspended", "-o", "%A").split():
            made("scontrol", "resume", number, check=False)  # a step that stands still does not end
        made("scancel", "-u", "root", check=False)
        wait_for(lambda: not made("squeue", "-h", check=False).strip(), "every step has ended", 60)


def test_a_job_submitted_with_a_forecast_begins_later_at_once(slurm):
    subprocess.run([*slurm.bridge("--once")], env={**os.environ, **slurm.environment}, check=True)
    job = slurm.submit("-t", "120", "--comment=evenwatt:deadline=+12h")
    row = slurm.job(job)
    assert row["state_reason"] == "BeginTime"
    assert abs(row["eligible_time"] - (slurm.grid.start_s + 6 * 1800)) < 2
    assert row["admin_comment"].startswith("evenwatt:begin=")
    before = slurm.job(job)
    subprocess.run([*slurm.bridge("--once")], env={**os.environ, **slurm.environment}, check=True)
    assert slurm.job(job)["eligible_time"] == before["eligible_time"]


def test_waiting_jobs_get_a_begin_and_others_none(slurm):
    (slurm.folder / "forecast").unlink(missing_ok=True)  # as if job_submit.lua were not there
    opted = slurm.submit("-t", "120", "--comment=evenwatt:deadline=+12h,hold=1", "--hold")
    foreign = slurm.submit("-t", "120", "--hold")
    native = slurm.submit("-t", "120", "--comment=evenwatt", "--deadline=now+12hours", "--begin=now+30minutes")
    later = slurm.submit("-t", "120", "--begin=now+1hour")
    subprocess.run([*slurm.bridge("--once")], env={**os.environ, **slurm.environment}, check=True)
    clean_s = slurm.grid.start_s + 6 * 1800
    for job in (opted, native):
        assert abs(slurm.job(job)["eligible_time"] - clean_s) < 2
        assert "Held" not in slurm.job(job)["state_reason"]
    assert slurm.job(foreign)["state_reason"] == "JobHeldUser"
    assert slurm.job(foreign)["admin_comment"] == slurm.job(later)["admin_comment"] == ""


def test_the_grid_got_clean_so_it_starts_now(slurm):
    job = slurm.submit("-t", "120", "--comment=evenwatt:deadline=+12h,hold=1", "--hold")
    once = slurm.bridge("--once")
    subprocess.run(once, env={**os.environ, **slurm.environment}, check=True)
    assert slurm.state(job) == "PENDING"
    slurm.grid.shift_to(0)
    try:
        subprocess.run(once, env={**os.environ, **slurm.environment}, check=True)
        wait_for(lambda: slurm.state(job) == "RUNNING", "the job runs", 60)
    finally:
        slurm.grid.shift_to(6)


@pytest.mark.parametrize("death", [signal.SIGTERM, signal.SIGKILL])
def test_what_it_suspended_goes_on_when_it_ends(slurm, death):
    (slurm.folder / "forecast").unlink(missing_ok=True)
    job = slurm.submit("-t", "600", "--comment=evenwatt:deadline=+14h,length=2h,interruptible=1,least_run=1s")
    foreign = slurm.submit("-t", "600")
    for number in (job, foreign):
        wait_for(lambda number=number: slurm.state(number) == "RUNNING", "both run", 60)
    slurm("scontrol", "suspend", str(foreign))
    command = slurm.bridge("--interval", "1", "--ask-every", "1")
    with process(command, slurm.folder / "bridge.log", **slurm.environment) as bridge:
        wait_for(lambda: slurm.state(job) == "SUSPENDED", "it is suspended", 60)
        bridge.send_signal(death)
        bridge.wait(60)
    if death is signal.SIGKILL:  # what ExecStopPost does
        assert slurm.state(job) == "SUSPENDED"
        subprocess.run(slurm.bridge("--release"), env={**os.environ, **slurm.environment}, check=True)
    assert slurm.state(job) == "RUNNING"
    assert slurm.job(job)["admin_comment"] == ""
    assert slurm.state(foreign) == "SUSPENDED"
    slurm("scancel", str(job), str(foreign))


def test_how_it_went_is_reported(slurm):
    token = slurm.folder / "token"
    token.write_text("test-token\n")
    job = slurm.submit("-t", "1", "--comment=evenwatt:deadline=+1m")
    command = slurm.bridge("--interval", "1", "--token-file", str(token))

    def states():
        names = {name for name, spec in slurm.grid.submitted.items() if spec["external"] == f"slurm:{job}"}
        return [report["state"] for name, report in slurm.grid.reports if name in names]

    with process(command, slurm.folder / "bridge.log", **slurm.environment):
        wait_for(lambda: states() == ["started"], "its start is reported", 60)
        slurm("scancel", str(job))
        wait_for(lambda: states() == ["started", "failed"], "its end is reported", 60)
