"""A replica and a key for whatever ``deployment`` a module or a folder has."""

from collections.abc import Iterator

import pytest

from tests.integration.contract.deployment import Deployment
from tests.support.service import Service


@pytest.fixture(scope="module")
def key(deployment: Deployment) -> str:
    """An operator's API key of the tenant `default`."""
    return deployment.key()


@pytest.fixture(scope="module")
def service(deployment: Deployment, key: str) -> Iterator[Service]:  # noqa: ARG001 - without a key it takes nothing in
    """One replica for the whole module."""
    with deployment.service() as replica:
        yield replica
