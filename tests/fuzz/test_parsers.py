"""Every parser on a fixed part of the inputs that ``./dev fuzz`` explores, and on all that was ever found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fuzz.judging import explore, judge
from tests.fuzz.registry import parsers

ROOT = Path(__file__).parents[2]
FINDS = sorted((Path(__file__).parent / "finds").iterdir())
SEED = 7
INPUTS, INPUTS_SLOW = 150, 25


@pytest.mark.parametrize("name", parsers())
def test_nothing_but_its_documented_answer_comes_out(name):
    parser = parsers()[name]
    most = INPUTS_SLOW if parser.slow else INPUTS
    tally = explore(parser, SEED, lambda inputs, _: inputs < most + len(parser.seeds))
    assert [(find.what, find.data[:200]) for find in tally.finds] == []


@pytest.mark.parametrize("name", parsers())
def test_what_is_good_is_taken(name):
    parser = parsers()[name]
    answers = [judge(parser, seed) for seed in parser.seeds]
    assert ("accepted",) in answers, answers


@pytest.mark.parametrize("path", FINDS, ids=lambda path: path.name)
def test_what_was_found_once_stays_mended(path):
    answer = judge(parsers()[path.stem], path.read_bytes())
    assert answer[0] in {"accepted", "refused"}, answer


# Modules that read bytes in the words below and stand in no parser, with the reason.
_OWN = "reads what the collector itself wrote into its own database"
_PACKAGED = "reads a table that is part of the wheel"
_CLIENT = "reads an answer of the collector that a person has named"
ELSEWHERE = {
    "evenwatt_agent.doctor": "reads the status line of the agent whose settings it was given",
    "evenwatt_agent.jobs.desk": "calls what `state-run` tries",
    "evenwatt_agent.jobs.orphans": "calls what `state-run` tries",
    "evenwatt_agent.journal": "reads what it wrote into the node's own memory",
    "evenwatt_agent.spool": "its rows are tried by `state-checkpoint` and `wire-ledger`",
    "evenwatt_agent.steering": "reads what it wrote into the node's own memory",
    "evenwatt_agent.task_client": "reads an answer of the agent of its own machine",
    "evenwatt_collector.carbon.annual": _PACKAGED,
    "evenwatt_collector.carbon.places": _PACKAGED,
    "evenwatt_collector.carbon.providers.http": "calls what each `provider-` tries",
    "evenwatt_collector.carbon.providers.mix": _PACKAGED,
    "evenwatt_collector.carbon_aware_requests": "its bodies and times are tried by `http-carbon-aware-time`",
    "evenwatt_collector.planning.keeping": _OWN,
    "evenwatt_collector.storage.documents": _OWN,
    "evenwatt_collector.storage.intensity": _OWN,
    "evenwatt_collector.storage.jobs": _OWN,
    "evenwatt_collector.storage.memory": _OWN,
    "evenwatt_collector.storage.samples": _OWN,
    "evenwatt_collector.storage.tasks": _OWN,
    "evenwatt_collector.storage.writer": _OWN,
    "evenwatt_collector.webhooks": "reads what it wrote into the state folder",
    "evenwatt_cli.demo.processes": "reads what the demo's own child says",
    "evenwatt_cli.enrolment.running": "reads an answer of a session of the same person",
    "evenwatt_cli.enrolment.session": "reads a line of the same person's other terminal",
    "evenwatt_cli.jobs.client": _CLIENT,
    "evenwatt_cli.jobs.mqtt": _CLIENT,
    "evenwatt_cli.ledger": _OWN,
    "evenwatt_cli.live.sse": _CLIENT,
    "evenwatt_cli.status": _CLIENT,
    "evenwatt_cli.top.sources": _CLIENT,
}
READS = re.compile(
    r"\bjson\.loads\(|tomllib\.loads\(|csv\.(?:reader|DictReader)\(|(?:json|msgpack)\.(?:decode|Decoder)\("
)
PACKAGES = ("wire", "daemon", "agent", "collector", "cli")


def test_a_module_that_reads_bytes_is_in_the_registry():
    covered = {module for parser in parsers().values() for module in parser.covers}
    missing = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT / package).with_suffix("").parts)
            if READS.search(path.read_text()) and module not in covered and module not in ELSEWHERE:
                missing.append(module)
    assert missing == [], "add a parser to tests/fuzz/parsers, or say in ELSEWHERE why none is needed"


def test_what_the_registry_names_is_there():
    for parser in parsers().values():
        for module in parser.covers:
            places = [ROOT / package / f"{module.replace('.', '/')}.py" for package in PACKAGES]
            assert any(place.exists() for place in places) or (ROOT / module).is_dir(), module
