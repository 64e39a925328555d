"""The AsyncAPI document says what the schemas, the settings and the contract say."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any, TypeAlias

import pytest

from schemas.avro import released
from schemas.contract import SCHEMA_ID_HEADER
from schemas.settings import TopicSettings

Node: TypeAlias = Any

CORRELATION = {"traceparent", "tracestate", "correlation-id", "kafka_correlationId"}
HEADERS = {
    "RequestHeaders": {"dj-client", "dj-api-key", "dj-signature", SCHEMA_ID_HEADER} | CORRELATION,
    "ResultHeaders": {f"ce_{name}" for name in ("specversion", "id", "type", "source", "subject", "time")}
    | {f"resync-request-{name}" for name in ("topic", "partition", "offset")}
    | {"content-type", "resync-tenant"}
    | CORRELATION,
    "DeadLetterHeaders": {
        f"dlq.{name}"
        for name in (
            *("reason", "message", "topic", "partition", "offset", "timestamp", "group", "service", "tenant"),
            *("redrive-count", "value-omitted", "value-bytes", "value-sha256", "headers-omitted"),
        )
    },
}
"""The headers that the contract names."""


@pytest.fixture(scope="module")
def document() -> Node:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed. Install the development dependencies")
    return yaml.safe_load((files("schemas") / "asyncapi.yaml").read_text(encoding="utf-8"))


def test_it_is_asyncapi_3(document: Node) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert {"channels", "operations", "components"} <= document.keys()


def test_every_reference_leads_somewhere(document: Node) -> None:
    references = list(all_references(document))

    assert len(references) > 10
    for reference in references:
        if reference.startswith("#/"):
            target = document
            for part in reference[2:].split("/"):
                target = target[part]
            assert target
        else:
            assert (files("schemas") / reference).is_file()


@pytest.mark.parametrize(
    ("message", "folder", "newest"),
    [
        ("ProductResyncRequested", "product_resync_requested", released.requests()[-1]),
        ("ProductResyncResult", "product_resync_result", released.results()[-1]),
    ],
)
def test_payloads_are_the_newest_released_schemas(
    document: Node, message: str, folder: str, newest: released.ReleasedSchema
) -> None:
    payload = document["components"]["messages"][message]["payload"]

    assert payload["schemaFormat"].startswith("application/vnd.apache.avro+json")
    assert PurePosixPath(payload["schema"]["$ref"]) == PurePosixPath(folder, f"v{newest.version}.avsc")


def test_topics_have_their_default_names(document: Node) -> None:
    topics = TopicSettings()

    assert {"requests": topics.requests, "results": topics.results, "deadLetters": topics.dead_letters} == {
        name: channel["address"] for name, channel in document["channels"].items()
    }


def test_the_service_receives_requests_and_sends_the_rest(document: Node) -> None:
    operations = document["operations"].values()

    assert {("#/channels/requests", "receive"), ("#/channels/results", "send"), ("#/channels/deadLetters", "send")} == {
        (operation["channel"]["$ref"], operation["action"]) for operation in operations
    }


@pytest.mark.parametrize("name", HEADERS)
def test_headers_are_those_of_the_contract(document: Node, name: str) -> None:
    described = document["components"]["schemas"][name]

    assert HEADERS[name] == described["properties"].keys()
    assert set(described["required"]) <= HEADERS[name]


def all_references(node: Node) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from all_references(item)
    elif isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from all_references(value)
