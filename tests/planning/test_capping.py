"""What plans are told of learned caps, and that what was learned is kept."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from evenwatt_collector.jobs.settings import TuningSettings
from evenwatt_collector.planning.capping import Capping
from tests.jobs.made import record, spec


@pytest.fixture
def capping():
    asked = []
    jobs = SimpleNamespace(tuning=TuningSettings(enabled=True))
    around = SimpleNamespace(
        settings=SimpleNamespace(jobs=jobs),
        keeper=SimpleNamespace(ask=asked.append),
        caps_w={},
        asked=asked,
        decided=list,
    )
    return Capping(around)


def test_a_job_is_planned_as_slow_as_the_caps_of_its_workload_make_it(capping):
    slow = {"train|images|a": 0.1, "train|images|b": 0.3, "train|steps|a": 0.9, "trainer|images|a": 0.8}
    capping._learners = {key: SimpleNamespace(slower=share) for key, share in slow.items()}
    job = record(spec=spec(workload="train", work={"amount": 10, "unit": "images"}))
    assert capping.slower(job) == 0.3
    assert capping.slower(record(spec=spec(workload="other"))) == 0.0


def test_what_was_learned_is_kept_once(capping):
    capping._learners = {"train|images|a": SimpleNamespace(state=lambda: {"caps": []})}
    capping.save()
    assert capping._around.asked == []
    capping._changed.add("train|images|a")
    capping.save()
    capping.save()
    assert len(capping._around.asked) == 1


def test_each_bound_of_slowness_has_a_learner_of_its_own(capping):
    made = []
    capping._make = lambda key, job, _node: made.append((key, job.spec.slo.max_slowdown)) or quiet
    quiet = SimpleNamespace(observe=None, propose=lambda *_: SimpleNamespace(cap_w=150.0, exploring=False, why=""))
    capping._context = lambda *_, **__: None
    node = SimpleNamespace(name="n1", live=None, birth=None, cap_w=None)
    for number, slo in enumerate([{}, {"max_slowdown": 1.02}, {"max_slowdown": 1.5}]):
        job = record(spec=spec(workload="train", work={"amount": 10, "unit": "images"}, slo=slo))
        capping._choose(job, SimpleNamespace(id=f"{number}", zone="hall", node="n1"), node, alone=True, wall_s=0.0)
    assert [bound for _, bound in made] == [None, 1.02, 1.5]
    assert len({key for key, _ in made}) == 3
    assert all(key.startswith("train|images|") for key, _ in made)
