"""Jobs that cannot hold: refused with the reason, all reasons at once; what may yet come is a warning."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from evenwatt_collector.jobs.check import check, check_all
from evenwatt_collector.jobs.hosts import Host
from evenwatt_collector.jobs.learned import Learned
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.jobs.reading import Entry
from evenwatt_collector.jobs.spec import JobSpec
from tests.jobs.made import HOSTS, ID, PLAIN, TRAIN, as_text, documents, entries, known, spec

LEARNED = {"nightly": Learned(runs=7, length_s=7200.0, power_w=80.0, seconds_per_unit={"image": 0.5})}


def said(around=None, **keys):
    return as_text(check(spec(**keys), around or known()))


@given(documents())
def test_a_job_that_contradicts_nothing_is_taken(raw):
    assert [p for p in as_text(check(msgspec.convert(raw, JobSpec), known())) if "error" in p] == []


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"length": "soon"}, "length: error: found 'soon': expected a length of time such as"),
        ({"length": "0m"}, "length: error: found '0m': expected a length of time"),
        ({"length": "30m1h"}, "each unit once and the largest first"),
        ({"earliest": "tomorrow"}, "earliest: error: found 'tomorrow': expected a moment with its offset"),
        ({"deadline": "2026-11-27T18:00:00"}, "deadline: error: found '2026-11-27T18:00:00': it has no offset"),
        ({"deadline": "0001-01-01T00:00:00+14:00"}, "deadline: error"),
        ({"deadline": "2026-11-01T00:00:00Z"}, "deadline: error: 2026-11-01 00:00 UTC was 1d ago; set a later one"),
        ({"deadline": "+30m"}, ("begun at 2026-11-02 00:00 UTC it takes 45m and ends 15m too late; set a deadline "
                               "after 2026-11-02 00:45 UTC")),
        ({"deadline": "+2h", "earliest": "+90m"}, "begun at 2026-11-02 01:30 UTC it takes 45m and ends 15m too late"),
        ({"deadline": "+1h", "earliest": "+2h"}, "deadline: error: 2026-11-02 01:00 UTC is not after earliest"),
        ({"deadline": "+2h", "length": "5h", "speedup": [1, 1.9]}, ("takes 2h 37m on 2 slots and ends 37m 54s too "
                                                                      "late; set a deadline after 2026-11-02 02:38")),
        ({"length": None}, "length: error: no run of 'nightly' has been seen yet, so it has to be stated"),
        ({"length": None, "work": {"amount": 5, "unit": "image"}}, "length: error: no run of 'nightly'"),
        ({"work": {"amount": 5, "unit": " "}}, "work.unit: error: it is empty; name the unit"),
        ({"speedup": [2.0, 3.0]}, "speedup.0: error: found 2, expected 1"),
        ({"speedup": [1, 1.5, 2.5]}, ("speedup.2: error: slot 3 adds 1, more than the 0.5 of the slot before; expected "
                                     "a curve that flattens (concave): at most 2 here")),
        ({"speedup": [1, 2.1]}, "speedup.1: error: slot 2 adds 1.1, more than the 1"),
        ({"speedup": [1, 1.5, 1.4]}, "speedup.2: error: 3 slots are slower (1.4) than 2 (1.5)"),
        ({"template": None}, "template: error: nothing says what runs it"),
        ({"external": "slurm:1"}, "external: error: it is run by template 'nightly' as well"),
        ({"template": None, "external": "4711"}, "external: error: found '4711', expected WHO:WHAT"),
        ({"template": None, "external": "slurm:1", "values": {"a": "b"}}, "values: error: there is no template"),
        ({"template": "nihgtly"}, "template: error: no node that it may run on has 'nihgtly'; did you mean 'nightly'?"),
        ({"values": {"epochs": "3"}}, "values.epochs: error: template 'nightly' fills in no 'epochs'; there are none"),
        ({"template": "train", "values": {"epoch": "3"}}, "fills in no 'epoch'; did you mean 'epochs'?"),
        ({"values": {f"v{i}": "" for i in range(17)}}, "values: error: found 17 values, expected at most 16"),
        ({"interruptible": True}, "interruptible: error: template 'nightly' cannot save its state on any node"),
        ({"zones": ["hal"]}, "zones.0: error: no zone 'hal'; did you mean 'hall'?"),
        ({"home": "moon"}, "home: error: no zone 'moon'; there are edge, hall"),
        ({"home": "edge", "zones": ["hall"]}, "home: error: 'edge' is not among its zones, hall"),
        ({"data": {"gb": 1, "zone": "moon"}}, "data.zone: error: no zone 'moon'"),
        ({"nodes": ["cpu-*"]}, "nodes.0: error: 'cpu-*' matches none of the 3 nodes; did you mean 'gpu-2'?"),
        ({"nodes": ["gpu-*"], "zones": ["edge"]}, "nodes.0: error: 'gpu-*' matches none of the 1 nodes in edge"),
        ({"nodes": ["gpu-2"]}, "template: error: no node that it may run on has 'nightly'"),
        ({"nodes": [""]}, "nodes.0: error: it is empty"),
        ({"max_run": "10m"}, "max_run: error: it is stopped after 10m and takes 45m, so it never ends"),
        ({"quiet": "5s"}, "quiet: error: found 5s, expected at least 30s"),
        ({"name": " "}, "name: error: it is blank"),
        ({"name": "a\nb"}, "name: error: found 'a\\nb': it has characters that cannot be shown"),
        ({"service": {"task": "chat"}}, "length: error: a service has no end, so it has no length"),
        ({"service": {"task": "chat"}, "length": None, "deadline": "+9h"}, "deadline: error: a service has no end"),
        ({"service": {"task": "chat"}, "length": None}, "template: error: a service is told its variant"),
        ({"service": {"task": "chat", "dwell": "soon"}, "length": None, "template": None},
         "service.dwell: error: found 'soon': expected a length of time"),
        ({"service": {"task": " "}, "length": None, "template": None}, "service.task: error: it is empty"),
        ({"earliest": "2026-11-01T00:00:00Z"}, "earliest: warning: 2026-11-01 00:00 UTC is over; it may begin at once"),
        ({"checkpoint_s": 5}, "checkpoint_s: warning: has no effect, since interruptible is false"),
        ({"template": "train", "interruptible": True, "least_run_s": 9999, "length": "1h"}, "least_run_s: warning"),
        ({"phase": "trian"}, "phase: warning: 'trian' is unusual; did you mean 'train'?"),
        ({"template": "train", "values": {"epochs": "3"}}, "values: error: template 'train' also fills in data"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_key_and_fix(keys, text):
    found = said(**keys)
    assert any(text in line for line in found), found


def test_all_that_is_wrong_is_said_at_once():
    found = said(length="soon", deadline="later", zones=["moon"], speedup=[1, 3], phase="trian")
    assert len(found) == 5


def test_nothing_is_said_of_a_good_job():
    assert said() == []
    assert said(template="train", interruptible=True, values={"epochs": "3", "data": "x"}, deadline="+45m") == []
    assert said(template=None, external="slurm:4711", zones=["hall", "edge"]) == []
    assert said(template=None, length=None, service={"task": "chat"}) == []


def test_what_may_yet_come_is_a_warning():
    nobody = known(hosts=(), zones=frozenset())
    assert said(nobody, zones=["moon"], nodes=["gpu-*"]) == [
        "nodes.0: warning: no node is known in moon yet; it waits until one matches 'gpu-*'"
    ]
    idle = known(hosts=(Host(zone="hall", node="n", templates={}, slots=0, live=True),))
    assert "warning: no node that it may run on offers any template yet" in said(idle)[0]


def test_what_is_unknown_hides_nothing_else():
    assert said(zones=["moon"], template="nihgtly") == [
        "zones.0: error: no zone 'moon'; there are edge, hall",
        "template: error: no node that it may run on has 'nihgtly'; did you mean 'nightly'?",
    ]
    found = said(nodes=["gpu-*", "moon-*"], template="nihgtly")
    assert [line.split(":")[0] for line in found] == ["nodes.1", "template"]


def test_values_that_every_template_needs_have_to_be_given():
    (line,) = said(template="train", values={"epochs": "3"})
    assert line.endswith('no node would start it: give it as well, values = { data = "..." }')
    fewer = TRAIN.__class__(name="train", values=["epochs"], slots=1)
    either = known(hosts=(*HOSTS, Host(zone="edge", node="new", templates={"train": fewer}, slots=4, live=True)))
    assert said(either, template="train", values={"epochs": "3"}) == []


def test_which_workload_to_name_is_said_where_power_is_assumed():
    around = known(learned=LEARNED)
    assert said(around) == []
    for keys in ({"name": "mine"}, {"name": "nightly-2", "template": "train", "values": {"epochs": "1", "data": "x"}}):
        (line,) = said(around, **keys)
        assert line.startswith(f"workload: warning: no run of {keys['name']!r} has been measured, so its power is")
        assert line.endswith("'nightly' has been, in 7 runs: set workload = \"nightly\" if it is the same work")
        assert said(around, power_w=90.0, **keys) == []
        assert said(around, workload="nightly", **keys) == []


def test_a_collector_that_starts_nothing_says_so():
    assert "is planned and advised only" in said(known(dispatching=False))[0]


def test_a_template_for_which_no_node_has_slots():
    narrow = known(hosts=(Host(zone="hall", node="n", templates={"train": TRAIN}, slots=1, live=True),))
    assert "template: error: it takes 2 slots, and no node that has it has more than 1" in said(
        narrow, template="train", values={"epochs": "1", "data": "x"}
    )[0]  # fmt: skip


def test_where_only_some_nodes_can_save_its_state_it_is_a_warning():
    rigid = TRAIN.__class__(name="train", values=["epochs", "data"])
    mixed = known(hosts=(*HOSTS, Host(zone="edge", node="old", templates={"train": rigid}, slots=4, live=True)))
    found = said(mixed, template="train", interruptible=True, values={"epochs": "1", "data": "x"})
    assert found == ["interruptible: warning: on old the template cannot save its state; there it begins anew"]


def test_values_that_no_single_node_fills_in():
    one, two = (PLAIN.__class__(name="t", values=[value]) for value in ("a", "b"))
    split = known(
        hosts=tuple(
            Host(zone="hall", node=f"n{i}", templates={"t": template}, slots=1, live=True)
            for i, template in enumerate((one, two))
        )
    )
    assert "no node's template fills in all of them" in said(split, template="t", values={"a": "1", "b": "2"})[0]


def test_what_was_learned_stands_in_for_a_length_but_only_warns():
    around = known(learned=LEARNED)
    assert said(around, length=None) == []
    assert said(around, length=None, work={"amount": 100, "unit": "image"}, deadline="+1m") == []
    (line,) = said(around, length=None, deadline="+1h")
    assert line.startswith("deadline: warning: by what its workload took so far: begun at")
    (line,) = said(around, length=None, work={"amount": 100, "unit": "step"})
    assert "have not reported 'step' so far (they reported: image)" in line


def test_a_service_whose_task_no_model_does():
    around = known(tasks=frozenset({"chat", "translate"}))
    found = said(around, length=None, template=None, service={"task": "caht"})
    assert found == ["service.task: warning: no model of the registry does 'caht'; did you mean 'chat'?"]


# --- jobs that come together ------------------------------------------------------------------------------------------


def together(text, **around):
    return as_text(check_all(entries(text), known(**around)))


def job(name, *after, **keys):
    lines = {"name": name, "template": "nightly", "length": "1h"} | keys
    text = "".join(f"{key} = '{value}'\n" for key, value in lines.items())
    return f"[[jobs]]\n{text}after = {list(after)}\n"


def test_jobs_in_a_circle():
    found = together(job("a", "c") + job("b", "a") + job("c", "b") + job("d", "c"))
    assert found == [
        (
            "jobs.0.after: error: jobs in a circle: a after c after b after a; none of them could ever begin: take one "
            "'after' out"
        )
    ]
    assert "a after a" in together(job("a", "a"))[0]


def test_a_chain_too_long_for_its_deadline():
    found = together(job("a") + job("b", "a") + job("c", "b", deadline="+150m"))
    assert found == [
        (
            "jobs.2.deadline: error: the jobs before it end at 2026-11-02 02:00 UTC at the earliest, and so this one "
            "ends 30m too late; set a deadline after 2026-11-02 03:00 UTC"
        )
    ]
    assert together(job("a") + job("b", "a") + job("c", "b", deadline="+180m")) == []


def test_jobs_that_can_never_begin():
    states = {"a" * 12: JobState.FAILED, "b" * 12: JobState.DONE, "c" * 12: JobState.RUNNING}
    found = together(job("a", "a" * 12, "b" * 12, "c" * 12, "d" * 12, "b" * 12), jobs=states)
    assert found == [
        "jobs.0.after.0: error: job 'aaaaaaaaaaaa' is failed, so this one could never begin; submit that one anew",
        (
            "jobs.0.after.3: error: no job 'dddddddddddd' is known; see `evenwatt jobs --all`, or submit it in the "
            "same text"
        ),
        "jobs.0.after.4: error: 'bbbbbbbbbbbb' stands twice; leave one out",
    ]


def test_nobody_waits_for_a_service():
    rows = [
        Entry("1" * 12, spec(template=None, length=None, service={"task": "chat"}), ("jobs", 0)),
        Entry(ID, spec(after=["1" * 12]), ("jobs", 1)),
    ]
    assert "is a service, which never ends" in as_text(check_all(rows, known()))[0]


def test_a_thousand_jobs_in_a_row_are_no_trouble():
    text = job("j0") + "".join(job(f"j{i}", f"j{i - 1}") for i in range(1, 1000))
    assert together(text) == []
    assert "jobs in a circle" in together(text.replace("after = []", "after = ['j999']", 1))[0]
