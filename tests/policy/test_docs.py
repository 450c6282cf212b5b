"""The document about the policy shows a policy that is taken, and names every key."""

import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from evenwatt_collector.policy import parse_policy, schema

TEXT = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()


def test_the_example_is_taken_without_a_warning():
    example = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1]
    assert parse_policy(example.encode(), "docs").warnings == ()


@pytest.mark.parametrize(
    "table", [schema.Document, schema.Zone, schema.Schedule, schema.Event, schema.Carbon, schema.NodeClass]
)
def test_every_key_is_described(table):
    keys = re.findall(r"^\| (.*?) \|", TEXT, re.MULTILINE)
    named = {part for key in keys for part in re.findall(r"\w+", key)}
    tables = {"zones", "classes", "schedule", "events", "carbon"}
    assert {field.encode_name for field in fields(table)} - tables - {"dry_run"} <= named
