"""One deployment and one running replica for each module: tests keep apart by tenants and Mirakl instances."""

import uuid
from collections.abc import Callable, Iterator

import pytest

from producer_tools.sandbox.mirakl import Fault
from tests.integration.contract.deployment import Deployment, deployed
from tests.support.service import Service
from tests.support.topics import create_topics, delete_topics


@pytest.fixture(scope="module")
def deployment(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Stores, topics and a simulated Mirakl."""
    topics = create_topics(kafka_bootstrap)
    with deployed(kafka_bootstrap, topics, tmp_path_factory.mktemp("deployment")) as made:
        yield made
    delete_topics(kafka_bootstrap, topics)


@pytest.fixture
def client(deployment: Deployment, service: Service) -> "Callable[..., tuple[str, str]]":  # noqa: ARG001 - it answers
    """Add an inactive client specification of the tenant `default`, whose Mirakl has these faults."""

    def add(*faults: Fault, options: tuple[str, ...] = ()) -> tuple[str, str]:
        instance = uuid.uuid4().hex[:8]
        deployment.mirakl.script(instance, *faults)
        return deployment.specification(instance, "--inactive", *options), instance

    return add
