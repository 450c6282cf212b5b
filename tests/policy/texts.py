"""Policies as people write them."""

from textwrap import dedent

import pytest

from evenwatt_collector.overrides.model import Kind, Override
from evenwatt_collector.policy import PolicyError, errors, parse_policy

SITE = """\
    on_lost = "fallback"

    [[zones]]
    name = "site"
    budget_w = 5000
      [[zones.schedule]]
      days = ["mon", "tue", "wed", "thu", "fri"]
      from = "07:30"
      to = "19:00"
      timezone = "Europe/Berlin"
      budget_w = 4000
      why = "day tariff"
      [[zones.events]]
      name = "grid request"
      start = 2026-01-14T17:00:00+01:00
      end = 2026-01-14T19:00:00+01:00
      budget_w = 3000
      lead_s = 100

    [[zones]]
    name = "rack-a"
    parent = "site"
    budget_w = 3000

    [[classes]]
    name = "service"
    nodes = ["web-*"]
    priority = 8
    floor_w = 300

    [[classes]]
    name = "batch"
    nodes = ["*"]
    priority = 2
    pausable = true
    targets = ["training"]
"""


def policy(text=SITE):
    return parse_policy(dedent(text).encode(), "policy.toml")


def refused(text):
    """Return what a policy is refused for, one line an error."""
    with pytest.raises(PolicyError) as caught:
        policy(text)
    assert errors(caught.value.problems)
    return str(caught.value).splitlines()


def warned(text):
    return [problem.words("policy.toml") for problem in policy(text).warnings]


def limit_override(zone, watts, since_s, until_s):
    """Return what a person has set."""
    return Override(
        id="0" * 32,
        kind=Kind.LIMIT,
        zone=zone,
        watts=float(watts),
        since_s=since_s,
        until_s=until_s,
        reason="chiller",
        by="ada",
    )
