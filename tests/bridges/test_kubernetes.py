"""The Kubernetes controller as a process, between a server that speaks the Kubernetes API and one that advises."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bridges.grid_server import NAN, GridServer
from tests.bridges.kube_server import KubeServer, stamp
from tests.bridges.loading import BRIDGES, load
from tests.support import free_port, need, process, wait_for

controller = load("kubernetes/controller.py")
FOLDER = BRIDGES / "kubernetes"
DEADLINE = {"evenwatt.io/deadline": "12h"}
LENGTH = {"evenwatt.io/length": "2h"}
HOUR = 3600


@pytest.fixture
def grid():
    made = GridServer([])
    made.shift_to(6)
    with made.serving():
        yield made


@pytest.fixture
def kube():
    with KubeServer().serving() as made:
        yield made


def command(grid, kube, *options):
    url = grid if isinstance(grid, str) else grid.url
    return [sys.executable, str(FOLDER / "controller.py"), "--url", url, "--zone", "here", "--kube", kube.url, *options]


def look(grid, kube, *options):
    """Run the controller once; return what it logged."""
    done = subprocess.run(
        command(grid, kube, *(options or ["--once"])), capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr


def suspended(kube, name="train"):
    return kube.get("jobs", name)["spec"]["suspend"]


def test_a_job_waits_for_the_clean_hour_and_says_why(grid, kube):
    kube.add("jobs", "train", labels=DEADLINE, annotations=LENGTH, suspend=True)
    look(grid, kube)
    notes = kube.notes("jobs", "train")
    assert suspended(kube)
    assert notes["start"] == stamp(grid.start_s + 3 * HOUR)
    assert "75 % less expected" in notes["why"]
    assert notes["latest-start"] < stamp(time.time() + 10 * HOUR)
    count = len(kube.patches)
    look(grid, kube)
    assert len(kube.patches) == count  # nothing new, nothing written


def test_it_starts_when_the_grid_is_clean_and_never_twice(grid, kube):
    kube.add("jobs", "train", labels=DEADLINE, annotations=LENGTH, suspend=True)
    grid.shift_to(0)
    look(grid, kube)
    assert not suspended(kube)
    assert kube.notes("jobs", "train")["why"].startswith("advised")
    kube.change("jobs", "train", {"spec": {"suspend": True}})  # a person wants it to stand still
    look(grid, kube)
    assert suspended(kube)


def test_the_latest_start_is_kept_whatever_is_advised(grid, kube):
    created = time.time() - 9.9 * HOUR
    kube.add("jobs", "train", labels=DEADLINE, annotations=LENGTH, suspend=True, created_s=created)
    look(grid, kube)
    assert not suspended(kube)
    assert "deadline" in kube.notes("jobs", "train")["why"]


def test_overdue_starts_those_alone_that_have_to(grid, kube):
    kube.add("jobs", "late", labels=DEADLINE, annotations=LENGTH, suspend=True, created_s=time.time() - 11 * HOUR)
    kube.add("jobs", "train", labels=DEADLINE, annotations=LENGTH, suspend=True)
    look("http://127.0.0.1:1", kube, "--overdue")
    assert not suspended(kube, "late")
    assert suspended(kube)
    assert kube.notes("jobs", "train") == {"length": "2h"}


def test_without_a_collector_a_new_job_starts_and_an_advised_one_keeps_its_hour(grid, kube):
    kube.add("jobs", "advised", labels=DEADLINE, annotations=LENGTH, suspend=True)
    look(grid, kube)
    kube.add("jobs", "new", labels=DEADLINE, annotations=LENGTH, suspend=True)
    look(f"http://127.0.0.1:{free_port()}", kube)
    assert suspended(kube, "advised")
    assert not suspended(kube, "new")
    assert "cannot be reached" in kube.notes("jobs", "new")["why"]


@pytest.mark.parametrize(
    "answer", [(500, {"error": "broken"}), (200, b"<html>"), (200, {"decision": {"chosen": 1}}), NAN]
)
def test_an_answer_that_is_no_advice_starts_it(grid, kube, answer):
    grid.broken = answer
    kube.add("jobs", "train", labels=DEADLINE, annotations=LENGTH, suspend=True)
    look(grid, kube)
    assert not suspended(kube)
    assert "collector" in kube.notes("jobs", "train")["why"]


@pytest.mark.parametrize(
    ("labels", "annotations", "why"),
    [
        ({"evenwatt.io/deadline": "soon"}, LENGTH, "'soon'"),
        ({"evenwatt.io/deadline": "20261128T060000"}, LENGTH, "20261128T060000"),
        (DEADLINE, {}, "how long it takes"),
        (DEADLINE, {"evenwatt.io/length": "2x"}, "'2x'"),
    ],
)
def test_what_cannot_be_understood_starts_at_once(grid, kube, labels, annotations, why):
    kube.add("jobs", "train", labels=labels, annotations=annotations, suspend=True)
    look(grid, kube)
    assert not suspended(kube)
    assert why in kube.notes("jobs", "train")["why"]


def test_others_are_left_alone(grid, kube):
    kube.add("jobs", "stranger", suspend=True)
    kube.add("jobs", "kueue", labels={**DEADLINE, "kueue.x-k8s.io/queue-name": "q"}, annotations=LENGTH, suspend=True)
    kube.add("pods", "gated", labels=DEADLINE, annotations=LENGTH, schedulingGates=[{"name": "example.org/quota"}])
    look(grid, kube)
    assert kube.patches == []


def test_a_gate_is_taken_away_and_others_stay(grid, kube):
    gates = [{"name": "example.org/quota"}, {"name": "evenwatt.io/clean-hour"}]
    kube.add("pods", "both", labels=DEADLINE, annotations=LENGTH, schedulingGates=gates)
    kube.add("pods", "one", labels=DEADLINE, annotations=LENGTH, schedulingGates=gates[1:])
    look(grid, kube)
    assert kube.get("pods", "both")["spec"]["schedulingGates"] == gates
    grid.shift_to(0)
    look(grid, kube)
    assert kube.get("pods", "both")["spec"]["schedulingGates"] == gates[:1]
    assert "schedulingGates" not in kube.get("pods", "one")["spec"]


def test_a_job_that_saves_its_state_is_paused_and_goes_on(grid, kube):
    notes = {**LENGTH, "evenwatt.io/interruptible": "true"}
    kube.add("jobs", "train", labels=DEADLINE, annotations=notes, suspend=True)
    grid.shift_to(0)
    look(grid, kube)
    assert not suspended(kube)
    kube.change("jobs", "train", {"status": {"startTime": stamp(time.time() - 0.75 * HOUR)}})
    grid.shift_to(6)
    look(grid, kube)
    assert suspended(kube)
    assert 2690 <= float(kube.notes("jobs", "train")["ran"]) <= 2760
    assert grid.asked[-1]["interruptible"]
    assert 4400 <= float(grid.asked[-1]["length"][:-1]) <= 4510
    grid.shift_to(0)
    look(grid, kube)
    assert not suspended(kube)
    assert "paused" not in kube.notes("jobs", "train")


def test_somebody_who_is_faster_wins(grid, kube):
    kube.add("jobs", "train", labels=DEADLINE, annotations=LENGTH, suspend=True)
    grid.shift_to(0)
    kube.before_patch = lambda: kube.change("jobs", "train", {"metadata": {"labels": {"evenwatt.io/deadline": None}}})
    look(grid, kube)
    assert suspended(kube)
    assert kube.patches == []


def test_the_running_controller_sees_a_new_job_at_once_and_ends_when_told(grid, kube, tmp_path):
    with process(command(grid, kube, "--interval", "600"), tmp_path / "log") as running:
        time.sleep(0.5)
        kube.add("jobs", "train", labels=DEADLINE, annotations=LENGTH, suspend=True)
        wait_for(lambda: "start" in kube.notes("jobs", "train"), "the new job is seen, long before the next look", 60)
        running.terminate()
        assert running.wait(60) == 0
    assert suspended(kube)


NOW = 1_800_000_000.0
hours = st.floats(-30, 40, allow_nan=False)


@given(age=st.floats(0, 30), deadline=st.floats(0.1, 30), length=st.floats(0.02, 20), advised=st.none() | hours,
       known=st.none() | hours)  # fmt: skip
def test_no_job_waits_beyond_its_latest_start(age, deadline, length, advised, known):
    annotations = {"evenwatt.io/length": f"{length:.3f}h"}
    if known is not None:
        annotations["evenwatt.io/start"] = stamp(NOW + 3600 * known)
    item = {
        "metadata": {
            "name": "a", "namespace": "b", "resourceVersion": "1", "creationTimestamp": stamp(NOW - 3600 * age),
            "labels": {"evenwatt.io/deadline": f"{deadline:.3f}h"}, "annotations": annotations,
        },
        "spec": {"suspend": True},
    }  # fmt: skip
    work = controller.read_workload("Job", item)
    wish = controller.wish_of(work, "here", NOW)
    advice = None if advised is None else controller.Advice(NOW + 3600 * advised, 50.0, 100.0)
    patch = controller.decide(work, wish, advice, NOW)
    started = patch is not None and patch.get("spec") == {"suspend": False}
    if wish.latest_s <= NOW:
        assert started
    elif not started and patch is not None:
        promised = controller.moment_s(patch["metadata"]["annotations"]["evenwatt.io/start"])
        assert NOW < promised <= max(wish.latest_s, NOW + 1)


# --- the manifests ------------------------------------------------------------------------------------------------


def documents(path):
    """Return the objects of a manifest, as kubectl's own types read and write them."""
    need(shutil.which("kubectl"), "kubectl", "kubernetes-client")
    done = subprocess.run(
        ["kubectl", "label", "--local", "-f", FOLDER / path, "-o", "json", "checked=yes"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        item, end = decoder.raw_decode(text)
        found.append(item)
        text = text[end:].strip()
    return found


def test_the_example_opts_in_as_the_controller_reads_it(grid, kube):
    job, pod = documents("example-job.yaml")
    assert (job["kind"], pod["kind"]) == ("Job", "Pod")
    for kind, item in (("jobs", job), ("pods", pod)):
        meta = item["metadata"]
        kube.add(
            kind, meta["generateName"] + "1", labels=meta["labels"], annotations=meta["annotations"], **item["spec"]
        )
    look(grid, kube)
    assert "start" in kube.notes("jobs", "train-1")
    assert "start" in kube.notes("pods", "once-1")


def test_its_role_allows_what_it_does_and_no_more():
    roles = [item for item in documents("evenwatt.yaml") if item["kind"] == "ClusterRole"]
    (role,) = roles
    allowed = {
        (group, kind): set(r["verbs"]) for r in role["rules"] for group in r["apiGroups"] for kind in r["resources"]
    }
    assert allowed == {
        ("batch", "jobs"): {"get", "list", "watch", "patch"},
        ("", "pods"): {"get", "list", "watch", "patch"},
    }


def test_what_runs_in_the_cluster_is_this_file_without_privileges():
    need(shutil.which("kubectl"), "kubectl", "kubernetes-client")
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True, timeout=60)
    assert "evenwatt-overdue" in done.stdout
    assert "Starts suspended Jobs and gated Pods in clean hours" in done.stdout
    by_kind = {item["kind"]: item for item in documents("evenwatt.yaml")}
    pods = [by_kind["Deployment"]["spec"]["template"], by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]]
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert container["command"][2] == "/controller/controller.py"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert container["resources"]["limits"]["memory"]
