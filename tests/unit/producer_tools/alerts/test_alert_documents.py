"""What the documents say about alerts is so."""

import re
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import yaml

from producer_tools.alerts import rules_file
from producer_tools.alerts.planning import OWN_LABEL, SkipReason, request_id
from producer_tools.alerts.rules import DEFAULT_MAX_PRODUCTS, DEFAULT_MAX_REQUESTS_PER_HOUR, DefaultKey
from producer_tools.alerts.rules_file import load_rules
from tests.unit.producer_tools.alerts.builders import alert

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "integrate" / "alerts.md").read_text()


def yaml_blocks(text: str) -> list[str]:
    return [dedent(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def table(first_header: str) -> list[list[str]]:
    """The rows of the table that begins with this header."""
    lines = PAGE.split(f"| {first_header} |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_example_rules_have_no_mistakes() -> None:
    loaded = load_rules(ROOT / "docs" / "integrate" / "alert-rules.yaml", DefaultKey("key"))
    assert () == loaded.mistakes


def test_the_readme_and_the_page_configure_alertmanager_alike_in_eight_lines() -> None:
    (ours,) = [block for block in yaml_blocks((ROOT / "README.md").read_text()) if "webhook_configs" in block]
    assert ours in yaml_blocks(PAGE)
    assert 8 == len(ours.splitlines())


def test_the_page_lists_the_fields_of_a_rule_with_their_defaults() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("field | default |")}
    assert list(rules_file._RULE_NAMES) == list(rows)
    assert (str(DEFAULT_MAX_PRODUCTS), str(DEFAULT_MAX_REQUESTS_PER_HOUR)) == (
        rows["max_products"],
        rows["max_requests_per_hour"],
    )


def test_the_page_lists_every_reason() -> None:
    assert [reason.value for reason in SkipReason] == [row[0].strip("`") for row in table("`reason` |")]


def test_the_alerts_about_this_service_carry_the_label_that_marks_them() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())
    name, value = OWN_LABEL
    for group in rules["groups"]:
        assert {value} == {rule["labels"][name] for rule in group["rules"]}


def test_the_page_explains_the_id_as_it_is_made() -> None:
    shown = re.findall(r"```json\n(\[.*?\])\n```", PAGE)[0]
    fired = alert(fingerprint="2fd8a1b0c9e7d655", startsAt="2026-01-31T08:00:00.123Z")
    assert f"alert-{sha256(shown.encode()).hexdigest()[:32]}" == request_id("stuck-products", fired, 0)
