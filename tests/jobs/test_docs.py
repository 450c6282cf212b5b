"""The document about jobs shows jobs that are taken, and names every key, setting and path."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from evenwatt_collector.jobs import spec as keys
from evenwatt_collector.jobs.check import check_all
from evenwatt_collector.jobs.desk import ExternalReport
from evenwatt_collector.jobs.settings import JobsSettings
from evenwatt_collector.jobs_api import jobs_routes
from evenwatt_collector.policy.problems import errors
from tests.jobs.made import entries, known

TEXT = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
NAMED = {part for key in re.findall(r"^\| (.*?) \|$", TEXT, re.MULTILINE) for part in re.findall(r"\w+", key)}


def test_the_examples_are_taken():
    example = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1]
    assert [entry.spec.name for entry in entries(example)] == ["fetch", "train"]
    assert errors(check_all(entries(example), known(hosts=()))) == []
    sent = re.search(r"-d '(\{.*?\})'", TEXT)[1]
    assert entries(sent.encode(), "json")[0].id == json.loads(sent)["id"]


@pytest.mark.parametrize(
    "table", [keys.JobSpec, keys.Work, keys.Data, keys.Slo, keys.Service, JobsSettings, ExternalReport]
)
def test_every_key_is_described(table):
    assert {field.encode_name for field in fields(table)} <= NAMED


def test_every_path_is_described():
    routes = jobs_routes(object())
    told = set(re.findall(r"^\| `(?:GET|POST|DELETE) (/\S+)` \|", TEXT, re.MULTILINE))
    assert {route.path.removeprefix("/api/v1").replace("{job}", "{id}") for route in routes} == told
