"""``alerts check`` reports every error of the rules, and what a notification would become."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from producer_tools.cli import main
from tests.unit.producer_tools.alerts.builders import FINGERPRINT, alert_json, notification_json

RULES = """\
rules:
  - name: stuck-products
    match: {alertname: ProductStuck}
    products: {annotation: mirakl_products}
    api_key_file: /run/secrets/not-here
    again_after: 4h
    max_requests_per_hour: 1
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


@pytest.fixture
def payload(tmp_path: Path) -> str:
    path = tmp_path / "payload.json"
    alerts = alert_json(), alert_json(), alert_json(fingerprint="b"), alert_json(fingerprint="c", status="resolved")
    path.write_text(json.dumps(notification_json(*alerts)))
    return str(path)


def test_rules_without_errors_are_shown(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["alerts", "check", rules])
    shown = capsys.readouterr()
    assert "stuck-products  alertname=ProductStuck  annotation mirakl_products  4h" in shown.out
    assert "1 rules, no errors" in shown.err
    assert 0 == main(["alerts", "check", rules, "--output", "json"])
    assert {
        "rules": [
            {
                "name": "stuck-products",
                "match": {"alertname": ["ProductStuck"]},
                "products": "annotation mirakl_products",
                "client_specification": None,
                "reason": None,
                "again_after": "4h",
                "max_products": 500,
                "max_requests_per_hour": 1,
                "own": False,
                "dry_run": False,
            }
        ]
    } == json.loads(capsys.readouterr().out)


def test_every_error_is_reported_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES + "    nmae: x\n    own: 3\n")
    assert 2 == main(["alerts", "check", str(path)])
    shown = capsys.readouterr()
    assert "" == shown.out
    assert [
        "error: rules.yaml line 8: the rule has an unknown name 'nmae'. Did you mean 'name'?",
        "rules.yaml line 9: own must be true or false.",
    ] == shown.err.splitlines()


def test_a_payload_shows_its_requests_and_why_other_alerts_become_none(
    rules: str, payload: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["alerts", "check", rules, "--payload", payload])
    shown = capsys.readouterr()
    rows = shown.out.splitlines()
    assert rows[1].startswith(FINGERPRINT)
    assert rows[1].endswith("becomes a request")
    assert rows[2].endswith("is repeated")
    assert {"TOO_MANY_REQUESTS", "RESOLVED"} == {row.split(":")[0].split()[-1] for row in rows[3:]}
    assert "1 requests, 1 repeated, 2 alerts left out; nothing was sent" in shown.err


def test_json_shows_what_would_be_asked_for(rules: str, payload: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["alerts", "check", rules, "--payload", payload, "--output", "json"])
    shown = json.loads(capsys.readouterr().out)
    (request,) = shown["requests"]
    assert request["requestId"].startswith("alert-")
    assert {"miraklProductId": "MKL-001", "productSku": "SKU-42"} == request["productReferences"][0]
    assert ("ProductStuck", None, 2) == (request["reason"], request["clientSpecificationId"], request["products"])
    assert ["RESOLVED", "TOO_MANY_REQUESTS"] == sorted(each["reason"] for each in shown["skipped"])


def test_a_payload_can_come_from_standard_input(
    rules: str, payload: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(Path(payload).read_bytes())))
    assert 0 == main(["alerts", "check", rules, "--payload", "-", "--output", "json"])
    assert 1 == len(json.loads(capsys.readouterr().out)["requests"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "payload.json: cannot be read: it is not JSON at line 1, column 2"),
        (b"\xff", "it is not UTF-8"),
        (b"[" * 100_000, "nested deeper than 16 levels"),
        (b"[]", "The field version is neither"),
        (json.dumps(notification_json(alerts=[{}] * 10_001)).encode(), "has 10,001 alerts, more than 10,000"),
    ],
)
def test_another_payload_is_an_error_of_the_caller(
    content: bytes, told: str, rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "payload.json").write_bytes(content)
    assert 2 == main(["alerts", "check", rules, "--payload", str(tmp_path / "payload.json")])
    assert told in capsys.readouterr().err
