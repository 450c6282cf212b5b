"""The documentation names every setting, header, topic and route that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenwatt_collector.carbon.budgets import BudgetSettings
from evenwatt_collector.carbon.burn_rules import DAY, LEVELS, MONTH
from evenwatt_collector.carbon_aware_api import carbon_aware_routes
from evenwatt_collector.live_stream import TOPICS
from evenwatt_collector.webhook_settings import WebhookSettings

DOCS = Path(__file__).parents[2] / "docs"
ALERTS, API = (DOCS / "alerts.md").read_text(), (DOCS / "carbon-aware-api.md").read_text()


@pytest.mark.parametrize("settings", [BudgetSettings, WebhookSettings])
def test_every_setting_is_documented(settings):
    assert [name for name in settings.__struct_fields__ if name not in ALERTS] == []


def test_thresholds_are_those_of_the_code():
    for rule in (*DAY.rules, *MONTH.rules):
        assert f"{rule.burn:g} over {rule.long_s / 3600:g} h" in ALERTS
    assert "50 %; 80 %; 100 %" in ALERTS
    assert LEVELS == (50, 80, 100)


def test_every_topic_is_documented():
    assert [topic for topic in TOPICS if f"`{topic}`" not in ALERTS] == []


def test_every_route_is_documented():
    routes = carbon_aware_routes(None, healthy=lambda: True)
    assert [route.path for route in routes if f"{route.path}`" not in API] == []
