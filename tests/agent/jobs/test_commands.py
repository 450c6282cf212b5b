"""What a node refuses to run, and how it says so."""

from __future__ import annotations

import time

import msgspec
import pytest

from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings
from evenwatt_agent.jobs.templates import check_order, filled, limit_s
from evenwatt_wire import CommandError, JobOrder, RunState, seal
from evenwatt_wire.command import Code
from tests.agent.jobs.test_running import at_work, begin
from tests.support import eventually, make_key

ANY = TemplateSettings(name="any", command=["/bin/echo", "{x}", "--n={n}"], values={"x": "(?s:.*)", "n": "[0-9]+"})
JOBS = JobsSettings(enabled=True, user="nobody", slots=2, max_run_s=100.0, templates=[ANY])


def order(template="any", values=(("x", "a"), ("n", "1")), **fields):
    return JobOrder("0" * 12, "1" * 12, template, list(values), **fields)


def refusal(asked, running=(), jobs=JOBS):
    with pytest.raises(CommandError) as caught:
        check_order(asked, jobs, list(running))
    return caught.value.code


def test_values_are_arguments_and_nothing_else():
    nasty = "a; rm -rf / $(reboot) `id` && x | y > z {n} {x} %s \\ ' \""
    assert filled(ANY.command, ANY, order(values=[("x", nasty), ("n", "1")])) == ["/bin/echo", nasty, "--n=1"]


@pytest.mark.parametrize(
    "value", ["-f", "--flag", "-", "a\nb", "a\0b", "a\rb", "\x1b[2J", "a\u2028b", "a\x85b", "\t"], ids=repr
)
def test_no_pattern_lets_an_option_or_a_control_character_in(value):
    assert refusal(order(values=[("x", value), ("n", "1")])) == "value"


@pytest.mark.parametrize("value", ["", "1 ", " 1", "1\n", "1a", "\u0661", "1;2", "0x1", "9" * 200 + "x"], ids=repr)
def test_the_whole_value_must_match(value):
    assert refusal(order(values=[("x", "a"), ("n", value)])) == "value"


@pytest.mark.parametrize(
    "values", [[], [("x", "a")], [("x", "a"), ("n", "1"), ("z", "1")], [("x", "a"), ("x", "b"), ("n", "1")]], ids=repr
)
def test_values_are_neither_missing_nor_surplus_nor_doubled(values):
    assert refusal(order(values=values)) == "value"


def test_templates_slots_and_limits():
    assert check_order(order(), JOBS, []) is ANY
    assert refusal(order("other")) == "template"
    assert refusal(order(), ["any", "any"]) == "slots"
    assert refusal(order(), ["gone", "gone"]) == "slots", (
        "what runs of a template that is gone takes its slot all the same"
    )
    assert refusal(order(limit_s=100.5)) == "limit"
    wide = msgspec.structs.replace(JOBS, templates=[msgspec.structs.replace(ANY, slots=2)])
    assert refusal(order(), ["any"], wide) == "slots"
    assert check_order(order(limit_s=100.0), wide, [])
    assert limit_s(ANY, JOBS) == 100.0
    assert limit_s(msgspec.structs.replace(ANY, max_s=50.0), JOBS) == 50.0
    assert limit_s(ANY, JOBS, 7.0) == 7.0


@pytest.fixture
def busy(yard):
    program = yard.program("work", 'echo "<$1>"; sleep "$2"')
    template = {"name": "work", "command": [program, "{text}", "{s}"], "values": {"text": ".{0,50}", "s": "[0-9]{1,3}"}}
    yard.write_jobs(template, {"name": "off", "command": ["/no/such/program"]}, slots=2)
    return yard


async def refused(heard, asked):
    answer = await heard.ask(asked)
    assert answer.code is Code.REJECTED
    return answer.detail


FINE = [("text", "a"), ("s", "0")]
LONG = [("text", "a"), ("s", "600")]


async def test_each_refusal_is_acknowledged_with_its_reason_and_runs_nothing(busy, ear):
    async with at_work(busy, ear) as (heard, _):
        assert (await refused(heard, busy.start("other"))).startswith("template: 'other' is not on this node's list")
        assert (await refused(heard, busy.start("work", [("text", "--x"), ("s", "0")]))).startswith("value: ")
        assert (await refused(heard, busy.start("work", [("text", "a\nb"), ("s", "0")]))).startswith("value: ")
        assert (await refused(heard, busy.start("work", [("text", "a"), ("s", "0; rm")]))).startswith("value: ")
        assert (await refused(heard, busy.start("work", [("text", "x" * 100), ("s", "0")]))).startswith("value: ")
        assert (await refused(heard, busy.start("work", FINE, limit_s=601.0))).startswith("limit: ")
        assert (await refused(heard, busy.start("off"))).startswith(
            "machine: template 'off': /no/such/program: No such"
        )
        assert (await refused(heard, busy.stop("0" * 12))).startswith("run: no run")
        dry = await heard.ask(busy.start("work", FINE, dry_run=True))
        assert (dry.code, dry.detail) == (Code.DRY_RUN, "would start template work")
        assert heard.reports == []
        runs = [await begin(heard, busy, "work", LONG) for _ in range(2)]
        assert (await refused(heard, busy.start("work", FINE))).startswith("slots: 2 of 2 slots are taken")
        assert (await refused(heard, busy.start("work", FINE, run=runs[0]))).startswith("run-exists: ")
        await heard.ask(busy.stop(runs[0]))
        await heard.report(runs[0], RunState.STOPPED)
        run = await begin(heard, busy, "work", [("text", "; rm -rf $HOME `id`"), ("s", "0")])
        await heard.report(run, RunState.ENDED)
        assert heard.log(run) == "<; rm -rf $HOME `id`>\n"


async def test_a_repeated_command_gets_the_same_answer_and_starts_nothing_again(busy, ear):
    async with at_work(busy, ear) as (heard, _):
        asked = busy.start("work", FINE)
        first = await heard.ask(asked)
        await heard.report(asked[0].job.run, RunState.ENDED)
        await heard.say(asked[1])
        await eventually(lambda: len(heard.acks) == 2, "it is answered again")
        assert heard.acks == [first, first]
        assert len({r.seq for r in heard.reports if r.state is RunState.ENDED}) == 1


async def test_a_repeated_command_is_known_after_the_death_of_the_agent(busy, ear):
    async with ear() as heard:
        with busy.agent() as agent:
            await eventually(lambda: heard.births, "the node is born")
            asked = busy.start("work", FINE)
            await heard.ask(asked)
            await heard.report(asked[0].job.run, RunState.ENDED)
            agent.kill()
            agent.wait()
        heard.births.clear()
        with busy.agent():
            await eventually(lambda: heard.births, "the node is born again")
            await heard.say(asked[1])
            await eventually(lambda: len(heard.acks) == 2, "it is answered again")
            assert heard.acks[0] == heard.acks[1]


async def test_what_is_stale_replayed_retained_or_signed_by_others_is_never_run(busy, ear):
    def changed(asked, key, **fields):
        return seal(msgspec.structs.replace(asked[0], **fields), key)

    async with at_work(busy, ear) as (heard, _):
        good = busy.start("work", FINE)
        await heard.ask(good)
        await heard.report(good[0].job.run, RunState.ENDED)
        heard.reports.clear()
        now_ms = time.time_ns() // 1_000_000
        stranger, _ = make_key(busy.folder / "stranger.pem")
        key, fresh = busy.controller, {"id": "f" * 32, "seq": 1_000, "job": busy.order("work", FINE)}
        old = {
            "id": "c" * 32,
            "not_before_ms": now_ms - 95_000,
            "issued_ms": now_ms - 90_000,
            "expires_ms": now_ms - 60_000,
        }
        for payload in (
            changed(good, key, id="e" * 32),  # the same number under another id
            changed(good, key, **fresh | old),
            changed(good, key, **fresh | {"id": "d" * 32}, issued_ms=now_ms, expires_ms=now_ms + 3_600_000),
            changed(good, key, **fresh, fleet="other"),
            changed(good, key, **fresh, node="m2"),
            changed(good, stranger, **fresh),
            changed(good, key, **fresh)[:-1],
            b"\0" * 5_000,
        ):
            await heard.say(payload)
        log = busy.folder / "agent.log"
        await eventually(lambda: '"code": "too-large"' in log.read_text(), "all are refused")
    async with ear() as heard:
        await heard.say(changed(good, key, **fresh), retain=True)
        with busy.agent():
            await eventually(lambda: heard.births, "the node is born again")
            last = await begin(heard, busy, "work", FINE, run="9" * 12)
            await heard.report(last, RunState.ENDED)
        runs = {report.run for report in heard.reports}
        await heard.say(b"", retain=True)
    assert runs == {last, good[0].job.run}
    for code in ("replay", "expired", "validity", "addressee", "unknown-key", "too-large", "retained"):
        assert f'"code": "{code}"' in log.read_text(), code


async def test_without_its_own_permission_a_node_runs_nothing(yard, ear):
    async with at_work(yard, ear) as (heard, _):
        assert (await refused(heard, yard.start("work"))).startswith("jobs-off: ")
        assert (await refused(heard, yard.stop("0" * 12))).startswith("jobs-off: ")
        assert heard.births[-1].job_slots == 0
    assert not (yard.folder / "state" / "jobs").exists()
