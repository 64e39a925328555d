"""The dashboard of deploy/grafana: asked of a real Prometheus that scrapes a service under load."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from schemas.process.health import AdminServer, Liveness
from tests.deploy.programs import program
from tests.deploy.queries import mistakes
from tests.deploy.scrapes import GatewayLoad, Load
from tests.support.parts import free_port

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "mirakl-resync.json").read_text())
QUERIES: Final = {
    f"{panel['title']}, {target['legendFormat']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
SCRAPE_EVERY: Final = "500ms"
SCRAPES: Final = 3
"""Enough for a rate, which needs two."""
TARGETS: Final = 2
"""A service and a gateway."""
WINDOW: Final = "1m"
START_SECONDS: Final = 30.0


def as_grafana_asks(expression: str) -> str:
    """Return the query with Grafana's variables replaced."""
    return (
        expression.replace("$__rate_interval", WINDOW).replace("$__range", WINDOW).replace('job=~"$job"', 'job=~".*"')
    )


@contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[httpx.Client]:
    """Run a Prometheus that scrapes these targets, with the alert rules; yield a client of its API."""
    configuration = {
        "global": {"scrape_interval": SCRAPE_EVERY, "scrape_timeout": SCRAPE_EVERY},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules.yaml")],
        "scrape_configs": [{"job_name": "mirakl-resync", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        program("prometheus", "prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False) as client,
    ):
        try:
            yield client
        finally:
            process.kill()


def ask(client: httpx.Client, expression: str) -> list[Any]:
    """Return the series that a query finds now; raise for a query that errs."""
    answer = client.get("/query", params={"query": expression})
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    return list(answer.json()["data"]["result"])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that has scraped a service while its counters grew."""
    service, gateway = Load(), GatewayLoad()
    with ExitStack() as stack:
        targets = []
        for render in (service.metrics.render, gateway.metrics.table.render):
            admin = AdminServer("127.0.0.1", 0, Liveness, lambda: (), render)
            admin.start()
            stack.callback(admin.stop)
            targets.append(f"127.0.0.1:{admin.port}")
        client = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), targets))
        deadline = time.monotonic() + START_SECONDS
        while _scrapes(client) < SCRAPES:
            assert time.monotonic() < deadline, "Prometheus has not scraped in time"
            service.step()
            gateway.step()
            time.sleep(0.1)
        yield client


def _scrapes(client: httpx.Client) -> int:
    try:
        found = ask(client, f"count_over_time(resync_build_info[{WINDOW}])")
    except (httpx.TransportError, AssertionError):  # it does not listen yet, or is not ready
        return 0
    return min(int(series["value"][1]) for series in found) if len(found) == TARGETS else 0


def test_each_panel_shows_something_for_a_service_under_load(asked: httpx.Client) -> None:
    """None of its queries errs, finds nothing, or finds what is no number."""
    deadline = time.monotonic() + START_SECONDS
    empty = list(QUERIES)
    while empty and time.monotonic() < deadline:  # on a busy machine scrapes fail now and then
        empty = [name for name in empty if not _numbers(ask(asked, as_grafana_asks(QUERIES[name])))]

    assert empty == []


def _numbers(found: list[Any]) -> bool:
    return bool(found) and all(series["value"][1] != "NaN" for series in found)


def test_no_alert_rule_errs(asked: httpx.Client) -> None:
    groups = asked.get("/rules").json()["data"]["groups"]

    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"] == []


@pytest.mark.parametrize("query", QUERIES)
def test_a_panel_asks_for_metrics_and_labels_that_exist(query: str) -> None:
    assert mistakes(as_grafana_asks(QUERIES[query])) == []


def test_the_dashboard_can_be_read_at_a_glance() -> None:
    """At most twelve panels, each with a sentence that says whose fault it shows; none lies over another."""
    panels = DASHBOARD["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert 12 >= len(panels)
    assert all(re.search(r"\.$", panel["description"]) for panel in panels)
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_dashboard_is_tied_to_no_data_source() -> None:
    """It can be imported anywhere: each panel takes the data source that the reader chooses."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    targets = [target for panel in DASHBOARD["panels"] for target in [panel, *panel["targets"]]]

    assert [target for target in targets if target["datasource"] != chosen] == []
    assert ["datasource", "job"] == [variable["name"] for variable in DASHBOARD["templating"]["list"]]
