"""Alerts, notifications and rules for tests."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from producer_tools.alerts.notification import Alert, Notification, read_notification
from producer_tools.alerts.rules import Annotation, DefaultKey, Rule, Rules
from producer_tools.alerts.rules_file import LoadedRules, load_rules

STARTED = "2026-01-31T08:00:00.123456789Z"
NOW = datetime(2026, 1, 31, 8, 1, tzinfo=UTC)
FINGERPRINT = "2fd8a1b0c9e7d655"


def alert_json(**changes: object) -> dict[str, Any]:
    """An alert as Alertmanager sends it."""
    return {
        "status": "firing",
        "labels": {"alertname": "ProductStuck", "severity": "warning", "instance": "shop-1"},
        "annotations": {"mirakl_products": "MKL-001:SKU-42, MKL-002:SKU-43", "summary": "2 products are stuck"},
        "startsAt": STARTED,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": FINGERPRINT,
    } | changes


def notification_json(*alerts: dict[str, Any], **changes: object) -> dict[str, Any]:
    """A notification as Alertmanager sends it."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="ProductStuck"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "mirakl-resync",
        "groupLabels": {"alertname": "ProductStuck"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
    } | changes


def alert(**changes: object) -> Alert:
    return Alert.model_validate(alert_json(**changes))


def notification(*alerts: dict[str, Any], **changes: object) -> Notification:
    read = read_notification(notification_json(*alerts, **changes))
    assert isinstance(read, Notification)
    return read


def rule(**changes: object) -> Rule:
    """A rule for the alert above."""
    given: dict[str, Any] = {
        "name": "stuck-products",
        "match": {"alertname": frozenset({"ProductStuck"})},
        "products": Annotation("mirakl_products"),
        "api_key": "key",
    }
    given.update(changes)
    return Rule(**given)


def rules(**changes: object) -> Rules:
    return Rules((rule(**changes),))


def loaded(folder: Path, text: str | bytes, key: DefaultKey | None = DefaultKey("key")) -> LoadedRules:  # noqa: B008 - frozen
    """Write a rules file and read it."""
    path = folder / "rules.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_rules(path, key)
