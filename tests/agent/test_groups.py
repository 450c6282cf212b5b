"""Cgroup paths as systemd, container runtimes, Kubernetes and Slurm make them."""

from __future__ import annotations

import pytest

from evenwatt_agent.cgroups import is_populated, path_of, processes_in, read_groups, reserved_share
from evenwatt_agent.groups import owner_of

ID = "3f4e" * 16
POD = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901"


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("", None),
        ("/system.slice", None),
        ("/system.slice/nginx.service", "unit/nginx.service"),
        ("/system.slice/nginx.service/worker", "unit/nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "unit/getty@tty1.service"),
        (r"/system.slice/dev-disk\x2dby.swap", "unit/dev-disk-by.swap"),
        ("/init.scope", "unit/init.scope"),
        (f"/system.slice/docker-{ID}.scope", f"container/{ID[:12]}"),
        (f"/docker/{ID}", f"container/{ID[:12]}"),
        (f"/machine.slice/libpod-{ID}.scope/container", f"container/{ID[:12]}"),
        ("/lxc.payload.web/init.scope", "container/web"),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice", f"pod/{POD}"),
        (f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{ID}.scope", f"pod/{POD}"),
        (f"/kubepods/besteffort/pod{POD}/{ID}", f"pod/{POD}"),
        ("/system.slice/slurmstepd.scope/job_12", "slurm/12"),
        ("/system.slice/slurmstepd.scope/job_12/step_0/user/task_0", "slurm/12.0"),
        ("/slurm/uid_1000/job_12/step_batch", "slurm/12.batch"),
        ("/user.slice/user-1000.slice/session-3.scope", "user/1000"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", "user/1000"),
        (r"/machine.slice/machine-qemu\x2d2\x2ddb\x2d1.scope", "vm/db-1"),
        ("/machine.slice/machine-debian.scope/payload", "container/debian"),
        ("/payload", "cgroup/payload"),
        ("/user.slice/user-1000.slice/evenwatt-task-ab12", "user/1000"),
        ("/evenwatt-task-ab12", None),
    ],
)
def test_who_a_cgroup_is(path, owner):
    found = owner_of(path)
    assert (str(found) if found else None) == owner


def test_a_name_cannot_carry_anything_unprintable():
    assert owner_of("/system.slice/a\x1b[31m.service").name == "a?[31m.service"


def cgroup(root, path, usage_usec, **files):
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    text = f"usage_usec {usage_usec}\nuser_usec 1\nsystem_usec 2\n" if isinstance(usage_usec, int) else usage_usec
    (folder / "cpu.stat").write_text(text)
    for name, value in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{value}\n")


def test_a_tree_is_read_down_to_its_owners(tmp_path):
    cgroup(tmp_path, "", 900)
    cgroup(tmp_path, "system.slice", 500)
    cgroup(tmp_path, "system.slice/a.service", 300)
    cgroup(tmp_path, "system.slice/a.service/inner", 100)
    cgroup(tmp_path, "system.slice/slurmstepd.scope/job_7", 90)
    cgroup(tmp_path, "system.slice/slurmstepd.scope/job_7/step_0", 80)
    cgroup(tmp_path, "system.slice/bad.service", "usage_usec none\n")
    found = {path: (str(owner), usage_ns) for path, (owner, usage_ns) in read_groups(tmp_path).items()}
    assert found == {
        "/system.slice/a.service": ("unit/a.service", 300_000),
        "/system.slice/slurmstepd.scope/job_7": ("slurm/7", 90_000),
        "/system.slice/slurmstepd.scope/job_7/step_0": ("slurm/7.0", 80_000),
    }


@pytest.mark.parametrize(("text", "share"), [("max 100000", 0), ("200000 100000", 0.5), ("9000000 100000", 1), ("", 0)])
def test_a_quota_is_the_share_that_is_set_aside(tmp_path, text, share):
    cgroup(tmp_path, "g", 1, cpu_max=text)
    assert reserved_share(tmp_path / "g", 4) == share


def test_who_lives_in_a_cgroup(tmp_path):
    cgroup(tmp_path, "g", 1, cgroup_procs="12\n13", cgroup_events="populated 1\nfrozen 0")
    cgroup(tmp_path, "g/inner", 1, cgroup_procs="14")
    assert processes_in(tmp_path / "g") == {12, 13, 14}
    assert is_populated(tmp_path / "g")
    assert not is_populated(tmp_path / "gone")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0::/system.slice/a.service\n", ("/system.slice/a.service", True)),
        ("3:cpu:/x\n1:name=systemd:/system.slice/a.service\n0::/\n", ("/system.slice/a.service", False)),
        ("0::/\n", ("", False)),
        ("", ("", False)),
    ],
)
def test_where_a_process_is(tmp_path, text, place):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(text)
    assert path_of(tmp_path, 7) == place
