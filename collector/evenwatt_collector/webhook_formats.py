"""What is sent to a webhook: bodies for ourselves, Slack and Alertmanager, and the signature. Pure.

The signature is made as Stripe does (docs.stripe.com/webhooks, "Verify webhook signatures manually"): the header
``X-Evenwatt-Signature: t=UNIX_TIME,v1=HEX`` with HEX = HMAC-SHA256(secret, "UNIX_TIME." + body). The time is signed, so
that a receiver can refuse what is old; every attempt is signed anew.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from evenwatt_collector.alerts import AlertState, iso

if TYPE_CHECKING:
    from evenwatt_collector.alerts import Alert

Format = Literal["evenwatt", "slack", "alertmanager"]

_STANDS_S: Final = 30 * 86_400
"""Alertmanager forgets an alert after 5 minutes unless told when it ends; ours is told again when it is over."""


def body(alert: Alert, form: Format) -> bytes:
    """Return what is posted."""
    if form == "slack":
        return msgspec.json.encode(_slack(alert))
    if form == "alertmanager":
        return msgspec.json.encode(_alertmanager(alert))
    return msgspec.json.encode(alert.document())


def sign(secret: bytes, payload: bytes, wall_s: float) -> str:
    """Return the value of the signature header."""
    at = str(int(wall_s))
    digest = hmac.new(secret, at.encode() + b"." + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _slack(alert: Alert) -> dict[str, Any]:
    """Slack's incoming webhooks and whatever speaks like them (Mattermost, Rocket.Chat): one text."""
    head = f"*{alert.severity.value} {alert.state.value}*: {alert.words}"
    return {"text": _escaped(f"{head}\n{alert.advice}" if alert.advice else head)}


def _escaped(text: str) -> str:
    """Escape as docs.slack.dev "Formatting message text" asks: a name must not become a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _alertmanager(alert: Alert) -> list[dict[str, Any]]:
    """Alertmanager's ``POST /api/v2/alerts``.

    It tells alerts apart by their labels, so what changes in an alert's life, its severity too, is an annotation.
    """
    over = alert.state is AlertState.RESOLVED
    return [
        {
            "labels": {
                "alertname": f"evenwatt_{alert.kind}",
                "budget": alert.about,
                "scope": alert.scope,
                "alert_id": alert.id,
            },
            "annotations": {
                "severity": alert.severity.value,
                "summary": alert.words,
                "description": alert.advice,
            },
            "startsAt": iso(alert.since_s),
            "endsAt": iso(alert.at_s if over else alert.at_s + _STANDS_S),
        }
    ]
