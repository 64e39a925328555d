"""A replica and a key for whatever ``deployment`` a module or a folder has; settings and a responder for the tools."""

from collections.abc import Iterator

import pytest

from tests.integration.contract.deployment import Deployment
from tests.integration.producer_tools import API_KEY, Responder, by_first_product
from tests.support.service import Service
from tests.support.topics import Topics


@pytest.fixture(scope="module")
def key(deployment: Deployment) -> str:
    """An operator's API key of the tenant `default`."""
    return deployment.key()


@pytest.fixture(scope="module")
def service(deployment: Deployment, key: str) -> Iterator[Service]:  # noqa: ARG001 - without a key it takes nothing in
    """One replica for the whole module."""
    with deployment.service() as replica:
        yield replica


@pytest.fixture
def tool_settings(kafka_bootstrap: str, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a tool that may send."""
    settings = {
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "RESYNC_API_KEY": API_KEY,
        **topics.environment,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def responder(kafka_bootstrap: str, topics: Topics) -> Iterator[Responder]:
    with Responder(kafka_bootstrap, topics, by_first_product) as running:
        yield running
