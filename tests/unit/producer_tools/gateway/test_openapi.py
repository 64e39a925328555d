"""The OpenAPI document says what the application does and what the contract says."""

import asyncio
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, TypeAlias

import pytest
import yaml
from pydantic.alias_generators import to_camel

from producer_tools.gateway.calls import PATH
from producer_tools.gateway.problems import Problem
from producer_tools.gateway.synchronization import Synchronization
from schemas.contract import ErrorCode, GatewayCode, id_fault
from schemas.events import FieldError, ProductReference, ProductResyncResult, ResyncError, ResyncStatus
from tests.unit.producer_tools.gateway.world import World

Node: TypeAlias = Any


@pytest.fixture(scope="module")
def document() -> Node:
    return yaml.safe_load((files("schemas") / "openapi.yaml").read_text(encoding="utf-8"))


def references(node: Node) -> Iterator[str]:
    """Return every ``$ref``."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_every_reference_leads_somewhere_and_every_component_is_used(document: Node) -> None:
    named = set(references(document))
    for reference in named:
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
    there = {f"#/components/{kind}/{name}" for kind, all_ in document["components"].items() for name in all_}

    assert there - named == {f"#/components/securitySchemes/{name}" for name in ("apiKey", "alertToken")}


def test_the_routes_of_the_document_are_those_of_the_application(document: Node) -> None:
    async def routes() -> set[tuple[str, str]]:
        app: Any = World().app
        return {
            (route.path.replace("{request_id}", "{requestId}"), method)
            for route in app._app.routes
            for method in route.methods - {"HEAD"}
        }

    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == asyncio.run(routes()) | {("/v1/alerts", "POST")}


def test_every_status_of_the_contract_is_described(document: Node) -> None:
    statuses = {str(code.http_status) for codes in (ErrorCode, GatewayCode) for code in codes} - {"405"}

    assert statuses | {"200", "202"} == set(document["paths"][PATH]["post"]["responses"])


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("ProductReference", ProductReference),
        ("Synchronization", Synchronization),
        ("Result", ProductResyncResult),
        ("ResyncError", ResyncError),
        ("FieldError", FieldError),
    ],
)
def test_the_fields_are_those_of_the_models(name: str, model: Any, document: Node) -> None:  # noqa: ANN401 - a model class
    assert {to_camel(field) for field in model.model_fields} == set(
        document["components"]["schemas"][name]["properties"]
    )


@pytest.mark.parametrize("field", ["miraklProductId", "productSku"])
@pytest.mark.parametrize("text", ["4711", "a b", "\u00e9", "a" * 255, "", " ", " a", "a ", "a\nb", "\u0085", "a" * 256])
def test_the_pattern_of_an_id_accepts_what_the_service_accepts(field: str, text: str, document: Node) -> None:
    described = document["components"]["schemas"]["ProductReference"]["properties"][field]
    is_valid = len(text) <= described["maxLength"] and re.search(described["pattern"], text) is not None

    assert is_valid == (id_fault(text) is None)


def test_problems_and_statuses_are_described(document: Node) -> None:
    schemas = document["components"]["schemas"]
    problem = Problem(
        400, "C", "d", request_id="r", available_client_specification_ids=["i"], field_errors=[("f", "m")]
    ).document()

    assert set(problem) == set(schemas["Problem"]["properties"])
    assert set(schemas["Problem"]["required"]) == set(Problem(400, "C", "d").document())
    assert list(ResyncStatus) == schemas["Result"]["properties"]["status"]["enum"]


def test_the_operation_is_the_published_one(document: Node) -> None:
    operation = document["paths"]["/v1/mapper/mirakl/product-synchronizations"]["post"]

    assert "ADM-MIRAKL-100" == operation["operationId"]
    assert {"synchronizedProducts", "clientSpecificationId"} == set(
        document["components"]["schemas"]["Synchronized"]["properties"]
    )


def test_the_gateway_serves_the_document() -> None:
    async def story() -> None:
        response = await World().http.get("/openapi.yaml")

        assert (200, "application/yaml") == (response.status_code, response.headers["content-type"])
        assert (files("schemas") / "openapi.yaml").read_bytes() == response.content

    asyncio.run(story())
