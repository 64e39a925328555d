"""Real Alertmanagers, configured as the README says, ask through gateways for what their alerts are about."""

import contextlib
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import httpx
import pytest

from schemas.avro.codec import RequestDecoder
from tests.integration.contract.deployment import Deployment, deployed
from tests.support.alertmanager import Alertmanager
from tests.support.kafka import Kafka
from tests.support.parts import free_port, wait_until
from tests.support.records import read_topic
from tests.support.service import ROOT, Service
from tests.support.topics import create_topics

TOKEN = "token-of-alertmanager"  # noqa: S105 - of a throw-away gateway
RULES = """\
rules:
  - name: stuck-products
    match: {alertname: ProductStuck}
    products: {annotation: mirakl_products}
    client_specification: {label: client}
    again_after: 1h
"""
TIMES = {"group_by": "['...']", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"}
"""What the README leaves at Alertmanager's defaults, which are minutes and hours."""


@dataclass
class Gateway:
    """A gateway as a process, which accepts alerts."""

    process: Service
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/alerts"

    def outcomes(self, outcome: str) -> float:
        """How many alerts of the rule had this outcome, by the metric."""
        text = self.process.get("/metrics").text
        name = f'resync_gateway_alerts_total{{outcome="{outcome}",rule="stuck-products"}}'
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


GatewayMaker = Callable[[], contextlib.AbstractContextManager[Gateway]]


def gateway_of(deployment: Deployment, key: str) -> GatewayMaker:
    """Return what makes gateways of this deployment."""
    rules = deployment.folder / "rules.yaml"
    rules.write_text(RULES)

    @contextlib.contextmanager
    def gateway() -> Iterator[Gateway]:
        port = free_port()
        settings = {
            name: value
            for name, value in deployment.environment.items()
            if not name.startswith(("RESYNC_DATABASE", "RESYNC_ENCRYPTION"))
        }
        settings |= {
            "RESYNC_GATEWAY__PORT": str(port),
            "RESYNC_GATEWAY__ALERT_RULES_FILE": str(rules),
            "RESYNC_GATEWAY__ALERT_TOKENS": f"token-of-last-year,{TOKEN}",
            "RESYNC_API_KEY": key,
        }
        with Service(settings, deployment.folder, f"gateway-{port}", program=("producer_tools", "gateway")) as process:
            yield Gateway(process, port)

    return gateway


def alertmanager(url: str, folder: Path, peer: Alertmanager | None = None) -> Alertmanager:
    """Return an Alertmanager with the README's configuration, for this gateway, and with short times."""
    readme = (ROOT / "README.md").read_text()
    (block,) = [
        dedent(block) for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "webhook_configs" in block
    ]
    token = folder / "alert-token"
    token.write_text(TOKEN)
    block = block.replace("http://gateway:8000/v1/alerts", url).replace("/run/secrets/alert-token", str(token))
    times = "".join(f"  {name}: {value}\n" for name, value in TIMES.items())
    block = block.replace("  receiver: mirakl-resync\n", f"  receiver: mirakl-resync\n{times}")
    return Alertmanager(block, peer)


def fire(alertmanager: Alertmanager, specification: str, product: str, start: str) -> None:
    labels = {"alertname": "ProductStuck", "client": specification, "product": product}
    alertmanager.fire(labels, {"mirakl_products": f"{product}:SKU-1, {product}-B:SKU-2"}, start)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asked(deployment: Deployment) -> Counter[tuple[str, ...]]:
    """How often each list of products was asked for."""
    decoder = RequestDecoder(registry=False, max_bytes=1 << 20)
    requests = [decoder.decode(each.value) for each in read_topic(deployment.bootstrap, deployment.topics.requests)]
    return Counter(
        tuple(product["miraklProductId"] for product in request["products"])
        for request in requests
        if isinstance(request, dict) and request["requestedBy"] == "alert:stuck-products"
    )


@pytest.mark.usefixtures("alertmanager_program")
def test_a_pair_of_alertmanagers_at_two_gateways_asks_once_also_after_both_restart(
    deployment: Deployment, service: Service, key: str, client: Callable[..., tuple[str, str]]
) -> None:
    """The twins notify different gateways; one of them ends; then both gateways are replaced.

    The second twin notifies its gateway only of what it does not know to have been notified, which is certain to
    happen only when the first has ended.
    """
    assert service.running
    specification, instance = client()
    product, start = f"MKL-{uuid.uuid4().hex[:8]}", now()
    gateway = gateway_of(deployment, key)
    wanted = [{product: "SKU-1", f"{product}-B": "SKU-2"}]
    with contextlib.ExitStack() as stack:
        gateways = [stack.enter_context(gateway()) for _ in range(2)]
        with alertmanager(gateways[0].url, deployment.folder) as first:
            assert "1 receivers" in first.check_configuration()
            fire(first, specification, product, start)
            wait_until(lambda: deployment.mirakl.submissions(instance) == wanted, timeout=20, what="Mirakl is asked")
            second = stack.enter_context(alertmanager(gateways[1].url, deployment.folder, first))
            second.wait_for_peer()
            fire(second, specification, product, start)
            wait_until(lambda: gateways[0].outcomes("REPEATED") >= 2, timeout=20, what="the first twin repeats itself")
        wait_until(lambda: gateways[1].outcomes("REPEATED") >= 1, timeout=20, what="the second twin is recognized")

    with gateway() as restarted, alertmanager(restarted.url, deployment.folder) as first:
        fire(first, specification, product, start)
        wait_until(lambda: restarted.outcomes("REPEATED") >= 1, timeout=20, what="the result is read back")
        assert 0 == restarted.outcomes("REQUESTED")

    assert 1 == asked(deployment)[product, f"{product}-B"]
    assert wanted == deployment.mirakl.submissions(instance)


@pytest.mark.usefixtures("alertmanager_program")
def test_an_alert_that_fires_while_the_brokers_are_away_is_asked_for_when_they_are_back(
    own_kafka: Kafka, tmp_path: Path
) -> None:
    """Nothing that Alertmanager brings is lost: 503 until the broker has acknowledged it."""
    topics = create_topics(own_kafka.bootstrap, partitions=1)
    with deployed(own_kafka.bootstrap, topics, tmp_path) as deployment, contextlib.ExitStack() as stack:
        gateway = stack.enter_context(gateway_of(deployment, "key")())
        manager = stack.enter_context(alertmanager(gateway.url, tmp_path))
        specification = str(uuid.uuid4())
        own_kafka.pause()
        try:
            wait_until(lambda: gateway.process.status("/readyz") == 503, timeout=20, what="the silence is noticed")
            began = datetime.now(UTC)
            refused = httpx.post(gateway.url, json=notification(), headers={"Authorization": f"Bearer {TOKEN}"})
            assert 503 == refused.status_code
            assert (datetime.now(UTC) - began).total_seconds() < 1
            fire(manager, specification, "MKL-AWAY", now())
            wait_until(lambda: manager.notifications_failed() >= 1, timeout=20, what="Alertmanager is refused")
        finally:
            own_kafka.resume()
        wait_until(lambda: gateway.outcomes("REPEATED") >= 1, timeout=60, what="it is acknowledged and repeated")
        assert {("MKL-AWAY", "MKL-AWAY-B"): 1} == asked(deployment)


def notification() -> dict[str, object]:
    """One alert, which matches the rule."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "ProductStuck", "client": str(uuid.uuid4())},
        "annotations": {"mirakl_products": "MKL-REFUSED:SKU-1"},
        "startsAt": "2026-01-31T08:00:00Z",
        "fingerprint": "0123456789abcdef",
    }
    return {"version": "4", "alerts": [alert]}


def test_grafana_and_strangers_get_their_answers(deployment: Deployment, key: str) -> None:
    """Each answer of the contract over a socket, from a client that is not ours."""
    with gateway_of(deployment, key)() as gateway:

        def post(body: object, token: str = TOKEN) -> httpx.Response:
            return httpx.post(gateway.url, json=body, headers={"Authorization": f"Bearer {token}"})

        assert 401 == post(notification(), "wrong").status_code
        assert 400 == post({"version": "5"}).status_code
        assert (
            415
            == httpx.post(
                gateway.url, content="x", headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain"}
            ).status_code
        )
        grafana = notification() | {"version": "1", "title": "[FIRING:1]", "orgId": 1, "state": "alerting"}
        wait_until(lambda: post(grafana).status_code == 202, timeout=20, what="earlier results are read back")
        again = post(grafana, "token-of-last-year").json()
        assert (1, 0, []) == (len(again["repeated"]), len(again["requests"]), again["skipped"])
        assert "stuck-products" == again["repeated"][0]["rule"]


def test_changed_rules_are_in_force_and_mistakes_in_them_are_not(deployment: Deployment, key: str) -> None:
    """A file with mistakes changes nothing, and is named where operators look."""
    with gateway_of(deployment, key)() as gateway:
        rules = deployment.folder / "rules.yaml"
        rules.write_text(RULES + "    nmae: x\n")
        wait_until(
            lambda: "rules.yaml line 7" in gateway.process.get("/readyz").text,
            timeout=20,
            what="/readyz names the mistake",
        )
        assert 200 == gateway.process.status("/readyz")
        assert "resync_gateway_alert_rule_errors 1.0" in gateway.process.get("/metrics").text
        assert [line for line in gateway.process.log() if "rules.yaml line 7" in str(line.get("mistake"))]

        rules.write_text(RULES.replace("ProductStuck", "Renamed"))
        wait_until(
            lambda: "resync_gateway_alert_rule_errors 0.0" in gateway.process.get("/metrics").text,
            timeout=20,
            what="the corrected rules are read",
        )
        answer = httpx.post(gateway.url, json=notification(), headers={"Authorization": f"Bearer {TOKEN}"})
        assert ["NO_RULE"] == [each["reason"] for each in answer.json()["skipped"]]
