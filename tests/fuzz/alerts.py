"""Notifications and rules for alerts, as others may write them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from producer_tools.alerts.notification import Alert, InvalidAlert, NotANotification, read_notification
from producer_tools.alerts.planning import PlannedRequest, plan
from producer_tools.alerts.rules import DefaultKey
from producer_tools.alerts.rules_file import RulesReader, parse_rules
from producer_tools.alerts.yaml_document import YamlDocument
from producer_tools.gateway.strict_json import NotStrictJsonError, parse
from schemas.avro.codec import RequestEncoder
from schemas.contract import MAX_ERROR_TEXT_CHARACTERS
from tests.fuzz.bytes import mutated

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
RULES = b"""\
rules:
  - name: stuck-products
    match: {alertname: ProductStuck, severity: [warning, critical]}
    products: {annotation: mirakl_products}
    client_specification: {label: client}
    reason: {annotation: summary}
    again_after: 4h
    max_products: 5
  - name: one-product
    match: {alertname: ProductStuck}
    products: {labels: [id, sku]}
    own: true
"""
ALERT = {
    "status": "firing",
    "labels": {"alertname": "ProductStuck", "severity": "warning", "client": "0191a7c2-5d1e-7c3a-9f00-1b2c3d4e5f60"},
    "annotations": {"mirakl_products": "MKL-001:SKU-42, MKL-002:SKU-43", "summary": "stuck"},
    "startsAt": "2026-01-31T08:00:00.123456789Z",
    "fingerprint": "2fd8a1b0c9e7d655",
}
NOTIFICATION = json.dumps({"version": "4", "truncatedAlerts": 0, "alerts": [ALERT, {**ALERT, "status": "resolved"}]})
JSON_TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"1e999", b"-1", b"9" * 5000, b'"\\ud800"', b"NaN", b"\\n"),
    *(b'\\"', b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"\xff", b"\xe2\x80\x8b", b"M:S," * 20),
)
YAML_TOKENS = (
    *(
        b"\t",
        b"\n",
        b"  ",
        b"- ",
        b": ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"&a ",
        b"*a",
        b"!!int ",
        b"|",
        b">",
        b"'",
        b'"',
        b"#",
    ),
    *(b"? ", b"<<: ", b"---\n", b"%TAG ! x\n", b"yes", b"12", b"2026-01-31", b"~", b"\xff", b"\x07", b"\xc2\x85"),
)


IN_FORCE = parse_rules(RULES, RulesReader(YamlDocument("rules.yaml"), Path("/nowhere"), DefaultKey("key"))).rules


def rules(rng: Random) -> None:
    """Any text as a rules file: rules, or mistakes with a place."""
    reader = RulesReader(YamlDocument("rules.yaml"), Path("/nowhere"), DefaultKey("key"))
    loaded = parse_rules(mutated(rng, RULES, YAML_TOKENS), reader)
    assert (loaded.rules is None) == bool(loaded.mistakes)
    assert all(each.where.startswith("rules.yaml") and each.message for each in loaded.mistakes)
    for rule in loaded.rules.rules if loaded.rules else ():
        assert rule.name
        assert rule.match
        assert rule.again_after is None or rule.again_after >= 1


def notification(rng: Random) -> None:
    """Any bytes as a notification: refused as a whole, or each alert is a request that can be written, or skipped."""
    assert IN_FORCE is not None
    try:
        read = read_notification(parse(mutated(rng, NOTIFICATION.encode(), JSON_TOKENS), 16))
    except NotStrictJsonError:
        return
    if isinstance(read, NotANotification):
        assert read.message
        return
    for alert in read.alerts:
        planned = plan(alert, IN_FORCE, NOW, 10_000)
        if isinstance(planned, PlannedRequest):
            assert isinstance(alert, Alert)
            assert 1 <= len(planned.products) <= planned.rule.max_products
            assert RequestEncoder().encode(planned.event(NOW).to_record())
        else:
            assert isinstance(alert, Alert | InvalidAlert)
            assert 0 < len(planned.message) <= MAX_ERROR_TEXT_CHARACTERS
            json.dumps(planned.message).encode()
