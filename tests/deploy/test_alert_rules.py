"""The alerts of deploy/prometheus/rules.yaml: each fires when it should, and only then."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.alert_cases import CASES, REPLICA, Case
from tests.deploy.programs import program
from tests.deploy.queries import FROM_PROMETHEUS, groupings, mistakes, selectors
from tests.deploy.scrapes import all_series

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "deploy" / "prometheus" / "rules.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]
}
PROMTOOL_SECONDS = 180
"""It takes six seconds of CPU; machines can be busy."""
RUNBOOK_PARTS = ["What it means", "How to tell", "What to do", "When to give up"]
_LABEL = re.compile(r"\{\{ \$labels\.(\w+) \}\}")


def run(*arguments: str | Path) -> str:
    command = [program("promtool", "prometheus"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROMTOOL_SECONDS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_accepts_the_rules() -> None:
    assert f"{len(RULES)} rules found" in run("check", "rules", RULES_FILE)


def test_each_alert_fires_in_its_case_and_neither_when_it_nearly_would_nor_after_a_quiet_time(tmp_path: Path) -> None:
    tests = [test for name, case in CASES.items() for test in _tests(name, case)]
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES_FILE)], "evaluation_interval": "1m", "tests": tests}))

    run("test", "rules", file)


def test_each_alert_has_a_case() -> None:
    assert list(RULES) == list(CASES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_asks_for_metrics_labels_and_values_that_exist(name: str) -> None:
    assert mistakes(RULES[name]["expr"]) == []


@pytest.mark.parametrize("name", CASES)
def test_the_case_of_an_alert_is_made_of_series_that_exist(name: str) -> None:
    """A case of made-up series would prove nothing."""
    case = CASES[name]

    given = {**case.fires, **case.also, **case.nearly, **case.quiet}

    assert [mistake for series in given for mistake in _made_up(series)] == []


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_urgent_it_is_whom_it_affects_and_where_to_read_on(name: str) -> None:
    rule = RULES[name]
    summary, runbook = rule["annotations"]["summary"], rule["annotations"]["runbook_url"]

    assert {"severity", "service"} == set(rule["labels"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert "mirakl-resync" == rule["labels"]["service"]
    assert summary.endswith(".")
    assert runbook == f"docs/operate/runbook.md#{name.lower()}"
    assert set(_LABEL.findall(summary)) <= set(CASES[name].labels)


@pytest.mark.parametrize("name", RULES)
def test_the_runbook_has_a_section_for_each_alert(name: str) -> None:
    """What it means, how to tell, what to do, when to give up: in this order, none of them empty."""
    sections = re.split(r"^### ", (ROOT / "docs" / "operate" / "runbook.md").read_text(), flags=re.MULTILINE)
    (section,) = [each for each in sections if each.splitlines()[0] == name]
    parts = re.findall(r"^\*\*(.+?)\.\*\* +(\S)", section.split("\n## ")[0], re.MULTILINE)

    assert RUNBOOK_PARTS == [part for part, _ in parts]


def test_the_runbook_has_no_section_without_an_alert() -> None:
    runbook = (ROOT / "docs" / "operate" / "runbook.md").read_text()

    assert set(re.findall(r"^### (Resync\w+)$", runbook, re.MULTILINE)) == set(RULES)


def test_no_alert_looks_at_the_lag() -> None:
    assert [name for name, rule in RULES.items() if "lag" in rule["expr"]] == []


def test_the_reader_of_expressions_sees_what_is_wrong() -> None:
    """A check that finds nothing must be able to find something."""
    assert mistakes("resync_lane_state == 1") == []
    assert mistakes("resync_lane_states == 1") == ["no metric resync_lane_states"]
    assert mistakes('resync_lane_state{stat="sick"} == 1') == [
        "resync_lane_state has no label stat",
        "resync_lane_state: stat is never sick",
    ]
    assert mistakes('rate(resync_results_total{code=~"CM21_REFUSED|CM21_REFUSD"}[5m])') == [
        "resync_results_total: code is never CM21_REFUSD"
    ]
    assert mistakes("sum by (job, cod) (resync_results_total)") == ["no label cod to group by"]
    assert groupings("a and on (job, instance) b") == {"job", "instance"}
    assert [each.metric for each in selectors('a{x="y"} / (b > 0) and on (c) sum by (d) (rate(e[5m]))')] == [
        "a",
        "b",
        "e",
    ]


def _tests(name: str, case: Case) -> Iterator[dict[str, Any]]:
    yield _test(f"{name} fires", name, case, case.fires, fires=True)
    yield _test(f"{name} nearly fires", name, case, case.nearly, fires=False)
    if case.also:
        yield _test(f"{name} fires as well", name, case, case.also, fires=True)
    if case.quiet:
        yield _test(f"{name} after a quiet time", name, case, case.quiet, fires=False)


def _test(title: str, name: str, case: Case, series: Mapping[str, str], *, fires: bool) -> dict[str, Any]:
    rule = RULES[name]
    labels = {**case.labels, **rule["labels"]}
    annotations = {key: _LABEL.sub(lambda found: labels[found[1]], text) for key, text in rule["annotations"].items()}
    expected = [{"exp_labels": labels, "exp_annotations": annotations}] if fires else []
    return {
        "name": title,
        "interval": "1m",
        "input_series": [{"series": _with_labels(each, REPLICA), "values": values} for each, values in series.items()],
        "alert_rule_test": [{"alertname": name, "eval_time": case.at, "exp_alerts": expected}],
    }


def _with_labels(series: str, labels: Mapping[str, str]) -> str:
    name, _, rest = series.partition("{")
    given = re.findall(r'(\w+)="([^"]*)"', rest)
    return name + "{" + ", ".join(f'{key}="{value}"' for key, value in {**labels, **dict(given)}.items()) + "}"


def _made_up(series: str) -> list[str]:
    (selector,) = selectors(series)
    existing = [each.labels for each in all_series() if each.name == selector.metric]
    wanted = {label for label, _, _ in selector.matchers} - FROM_PROMETHEUS
    return [] if any(wanted <= set(labels) for labels in existing) else [series]
