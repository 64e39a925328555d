"""Notifications are read leniently, and one bad alert costs the others nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools.alerts.notification import Alert, InvalidAlert, NotANotification, Notification, read_notification
from tests.unit.producer_tools.alerts.builders import (
    FINGERPRINT,
    STARTED,
    alert_json,
    notification,
    notification_json,
)


def test_a_notification_of_alertmanager_is_read_with_its_time_as_given() -> None:
    (read,) = notification(alert_json()).alerts
    assert isinstance(read, Alert)
    assert (FINGERPRINT, STARTED) == (read.fingerprint, read.starts_at)
    assert 123456 == read.started.microsecond


def test_a_notification_of_grafana_is_read_with_the_fields_that_only_it_has() -> None:
    body = notification_json(
        alert_json(values={"B": 3}, silenceURL="https://grafana.example/s", dashboardURL="", imageURL=None),
        version="1",
        orgId=1,
        title="[FIRING:1]",
        state="alerting",
        message="**Firing**",
    )
    read = read_notification(body)
    assert isinstance(read, Notification)
    assert isinstance(read.alerts[0], Alert)


@pytest.mark.parametrize("missing", ["annotations", "labels"])
def test_a_missing_or_null_map_is_an_empty_one(missing: str) -> None:
    body = alert_json(**{missing: None})
    del body[missing]
    without, null = notification(body, alert_json(**{missing: None})).alerts
    assert isinstance(without, Alert)
    assert {} == getattr(without, missing)
    assert without == null


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"startsAt": "yesterday"}, "startsAt"),
        ({"startsAt": "2026-01-31T08:00:00"}, "startsAt: is a time without an offset"),
        ({"startsAt": 5}, "startsAt"),
        ({"fingerprint": ""}, "fingerprint"),
        ({"fingerprint": "f" * 256}, "fingerprint"),
        ({"status": "pending"}, "status"),
        ({"labels": []}, "labels"),
        ({"labels": {"alertname": 7}}, "labels.alertname"),
        ({"annotations": {"summary": "\ud800"}}, "annotations.summary"),
    ],
)
def test_an_alert_that_cannot_be_used_is_named_with_its_field(changes: dict[str, Any], named: str) -> None:
    bad, good = notification(alert_json(**changes), alert_json()).alerts
    assert isinstance(bad, InvalidAlert)
    assert f"alerts[0].{named}" in bad.message
    assert isinstance(good, Alert)


@pytest.mark.parametrize("item", [None, 7, "text", [], {}])
def test_an_alert_that_is_no_object_is_invalid(item: object) -> None:
    (read,) = notification(item).alerts  # type: ignore[arg-type]  # the point
    assert isinstance(read, InvalidAlert)
    assert read.fingerprint is None


@pytest.mark.parametrize(
    "body", [None, [], "4", {}, {"version": 4}, {"version": "3"}, {"version": "4", "alerts": {}}, {"version": ["4"]}]
)
def test_another_body_is_not_a_notification(body: object) -> None:
    read = read_notification(body)
    assert isinstance(read, NotANotification)
    assert not read.too_large


def test_no_alert_at_all_is_a_notification() -> None:
    assert () == notification().alerts
    assert () == notification(alerts=None).alerts


def test_ten_thousand_alerts_are_accepted_and_one_more_is_not() -> None:
    alert = alert_json()
    assert 10_000 == len(notification(alerts=[alert] * 10_000).alerts)
    refused = read_notification(notification_json(alerts=[alert] * 10_001))
    assert isinstance(refused, NotANotification)
    assert refused.too_large
    assert "max_alerts" in refused.message


def test_alerts_that_the_sender_left_out_are_counted() -> None:
    assert 12 == notification(truncatedAlerts=12).truncated
    assert 0 == notification(truncatedAlerts="12").truncated


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("status", "labels", "annotations", "startsAt", "fingerprint")


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4), JSON)
def test_whatever_the_alerts_are_each_is_read_or_named(alerts: list[Any], truncated: object) -> None:
    whole = [alert_json(**item) if isinstance(item, dict) else item for item in alerts]
    read = read_notification(notification_json(*whole, truncatedAlerts=truncated))
    assert isinstance(read, Notification)
    assert len(alerts) == len(read.alerts)
    assert all(isinstance(each, Alert) or each.message for each in read.alerts)
