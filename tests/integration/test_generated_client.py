"""A client that was generated from the OpenAPI document, against the running gateway."""

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest

from producer_tools.sandbox.mirakl import Effect, Fault
from tests.integration.contract.deployment import Deployment, deployed
from tests.integration.gateway import BODY, Gateway
from tests.support.parts import wait_until
from tests.support.topics import create_topics, delete_topics

PACKAGE = "generated_resync_client"


@pytest.fixture(scope="module")
def deployment(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    topics = create_topics(kafka_bootstrap)
    with deployed(kafka_bootstrap, topics, tmp_path_factory.mktemp("generated")) as made:
        yield made
    delete_topics(kafka_bootstrap, topics)


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What openapi-python-client makes of the document: models, clients and a function per operation."""
    folder = tmp_path_factory.mktemp("client")
    document, target = files("schemas") / "openapi.yaml", folder / PACKAGE
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    subprocess.run([*command, "--path", str(document), "--output-path", str(target)], check=True, capture_output=True)
    sys.path.insert(0, str(folder))
    try:
        api = f"{PACKAGE}.api.synchronizations"
        yield SimpleNamespace(
            models=importlib.import_module(f"{PACKAGE}.models"),
            client=importlib.import_module(f"{PACKAGE}.client"),
            synchronize=importlib.import_module(f"{api}.adm_mirakl_100").sync,
            result=importlib.import_module(f"{api}.get_product_synchronization").sync,
        )
    finally:
        sys.path.remove(str(folder))


@pytest.mark.usefixtures("service")
def test_a_generated_client_reads_every_kind_of_answer(deployment: Deployment, key: str, operations: Any) -> None:  # noqa: ANN401 - made by the generator
    """A result, a part of it, a pending request and its result, and problems: each arrives as its own model."""
    models = operations.models
    healthy = deployment.specification("healthy")
    deployment.mirakl.script("half", Fault(effect=Effect.STATUS, status=422, mirakl_product_ids=frozenset({"MKL-002"})))
    half = deployment.specification("half", "--inactive", "--products-per-call", "1")
    several = {deployment.specification(f"several-{number}", tenant="several") for number in range(2)}
    other_key = deployment.key("several")
    with Gateway(deployment) as gateway:

        def ask(body: Mapping[str, object] = BODY, api_key: str = key, **headers: str) -> Any:  # noqa: ANN401 - one of its models
            asking = operations.client.AuthenticatedClient(
                gateway.address, token=api_key, prefix="", auth_header_name="dj-api-key"
            )
            with asking as client:
                return operations.synchronize(
                    client=client, body=models.Synchronization.from_dict(body), **{"dj_client": "OPERATOR", **headers}
                )

        def result_of(request_id: str) -> Any:  # noqa: ANN401 - one of its models
            with operations.client.Client(gateway.address) as client:
                return operations.result(request_id, client=client)

        assert models.Synchronized(synchronized_products=1, client_specification_id=healthy) == ask()

        products = [*BODY["products"], {"miraklProductId": "MKL-002", "productSku": "SKU-2"}]
        partial = ask({"products": products, "clientSpecificationId": half})
        assert (1, "PARTIALLY_SYNCHRONIZED", "CM21_REFUSED") == (
            partial.synchronized_products,
            partial.status,
            partial.error.code,
        )
        assert products[1:] == [each.to_dict() for each in partial.unsynchronized_products]

        pending = ask(prefer="respond-async")
        assert isinstance(pending, models.Pending)
        wait_until(
            lambda: isinstance(result_of(pending.request_id), models.Result), timeout=10, what="the result is read"
        )
        result = result_of(pending.request_id)
        assert ("SYNCHRONIZED", healthy) == (result.status, result.client_specification_id)
        assert result.completed_at >= result.requested_at

        refused = ask(dj_client="SUPPLIER")
        assert (403, "OPERATOR_REQUIRED", False) == (refused.status, refused.code, refused.retryable)
        assert several == set(ask(api_key=other_key).available_client_specification_ids)
