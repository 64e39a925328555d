"""One suite over the registry in memory and a real one, so that the one in memory cannot lie."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from schemas.avro import released
from schemas.avro.codec import RequestDecoder, RequestEncoder
from schemas.avro.framing import SchemaRef
from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.registry.errors import RegistryError
from schemas.registry.questions import (
    Missing,
    RegisteredSchema,
    compatibility,
    level,
    new_level,
    registered_id,
    schema_version,
)
from schemas.registry.registration import Problem, Subject, check, register, subjects
from tests.contract.fake_registry import FakeRegistry
from tests.unit.schemas.values import REQUEST

UNKNOWN_ID = SchemaRef.from_id(2**31 - 1)


@pytest.fixture(params=["in memory", pytest.param("real", marks=pytest.mark.registry)])
def registry(request: pytest.FixtureRequest) -> Iterator[SchemaRegistry]:
    if request.param == "in memory":
        transport = httpx.MockTransport(FakeRegistry())
        with SchemaRegistry(RegistryAddress("http://registry.test"), transport) as asked:
            yield asked
    else:
        with SchemaRegistry(RegistryAddress(request.getfixturevalue("schema_registry_url"))) as asked:
            yield asked


@pytest.fixture
def ours() -> tuple[Subject, Subject]:
    """Our subjects under topics that no other test has."""
    prefix = uuid4()
    return subjects(f"{prefix}.requests", f"{prefix}.results")


def test_what_is_registered_is_found_by_its_id(registry: SchemaRegistry, ours: tuple[Subject, Subject]) -> None:
    found = [registry.schema(SchemaRef.from_id(registered.id)) for registered in register(registry, ours)]

    expected = [version.text for subject in ours for version in subject.versions]
    assert [json.loads(text) for text in expected] == [json.loads(str(text)) for text in found]


def test_an_id_that_was_never_given_is_missing(registry: SchemaRegistry) -> None:
    assert Missing() == registry.schema(UNKNOWN_ID)


def test_a_request_written_with_a_registered_id_is_read(
    registry: SchemaRegistry, ours: tuple[Subject, Subject]
) -> None:
    registered = next(register(registry, ours))
    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
    value = RequestEncoder(registered.id).encode(REQUEST)

    decoder.learn(SchemaRef.from_id(registered.id), str(registry.schema(SchemaRef.from_id(registered.id))))

    assert REQUEST == decoder.decode(value)


def test_registering_twice_changes_nothing(registry: SchemaRegistry, ours: tuple[Subject, Subject]) -> None:
    assert list(register(registry, ours)) == list(register(registry, ours))


def test_subjects_are_named_after_topics_and_have_our_levels(
    registry: SchemaRegistry, ours: tuple[Subject, Subject]
) -> None:
    prefix = ours[0].name.removesuffix(".requests-value")

    assert [f"{prefix}.requests-value", f"{prefix}.results-value"] == [
        registered.subject for registered in register(registry, ours)
    ]
    assert ["BACKWARD_TRANSITIVE", "FULL_TRANSITIVE"] == [registry.ask(level(subject.name)) for subject in ours]


def test_the_check_names_what_is_not_registered_and_nothing_afterwards(
    registry: SchemaRegistry, ours: tuple[Subject, Subject]
) -> None:
    before = [problem for report in check(registry, ours) for problem in report.problems]
    list(register(registry, ours))

    remedy = "Run mirakl-resync-consumer schemas register."
    assert [Problem(f"{subject.name}: v1 is not registered.", remedy) for subject in ours] == before
    assert [()] * 2 == [report.problems for report in check(registry, ours)]


def test_the_check_names_a_level_that_is_not_ours(registry: SchemaRegistry, ours: tuple[Subject, Subject]) -> None:
    list(register(registry, ours))
    registry.ask(new_level(ours[0].name, "NONE"))

    (problem,) = next(check(registry, ours)).problems

    assert "its level is NONE, not BACKWARD_TRANSITIVE" in problem.problem


def test_the_newest_version_and_one_by_number(registry: SchemaRegistry, ours: tuple[Subject, Subject]) -> None:
    list(register(registry, ours))
    newest = registry.ask(schema_version(ours[0].name))

    assert isinstance(newest, RegisteredSchema)
    assert json.loads(released.requests()[-1].text) == json.loads(newest.text)
    assert newest == registry.ask(schema_version(ours[0].name, 1))
    assert Missing() == registry.ask(schema_version(ours[0].name, 99))


def test_what_is_not_registered_has_no_id_and_no_level(registry: SchemaRegistry, ours: tuple[Subject, Subject]) -> None:
    assert Missing() == registry.ask(registered_id(ours[0].name, released.requests()[-1].text))
    assert Missing() == registry.ask(schema_version(ours[0].name))
    assert Missing() == registry.ask(level(ours[0].name))
    assert registry.ask(compatibility(ours[0].name, released.requests()[-1].text)).compatible

    list(register(registry, ours))

    assert Missing() == registry.ask(registered_id(ours[0].name, released.results()[-1].text))


def test_a_real_registry_holds_our_levels(schema_registry_url: str, ours: tuple[Subject, Subject]) -> None:
    """An incompatible successor is refused, and the check says so beforehand."""
    successor = json.loads(released.requests()[-1].text)
    successor["fields"].append({"name": "urgency", "type": "int", "doc": "No default: older requests have none."})
    newer = released.ReleasedSchema(2, json.dumps(successor))
    planted = Subject(ours[0].name, ours[0].level, (*ours[0].versions, newer))

    with SchemaRegistry(RegistryAddress(schema_registry_url)) as registry:
        list(register(registry, ours))
        (report,) = check(registry, [planted])
        assert any("incompatible" in problem.problem for problem in report.problems)
        with pytest.raises(RegistryError, match="incompatible") as refused:
            list(register(registry, [planted]))
    assert refused.value.status == 409


def test_several_threads_ask_at_once(schema_registry_url: str, ours: tuple[Subject, Subject]) -> None:
    with SchemaRegistry(RegistryAddress(schema_registry_url)) as registry, ThreadPoolExecutor(4) as threads:
        refs = [*(SchemaRef.from_id(registered.id) for registered in register(registry, ours)), UNKNOWN_ID]

        *found, unknown = threads.map(registry.schema, refs)

    assert [json.loads(subject.versions[-1].text) for subject in ours] == [json.loads(str(text)) for text in found]
    assert Missing() == unknown


def test_a_schema_in_pieces_is_put_together(schema_registry_url: str) -> None:
    """Producers may register a type of its own and refer to it."""
    whole = json.loads(released.requests()[-1].text)
    piece = whole["fields"][2]["type"].pop("items") | {"namespace": whole["namespace"]}
    whole["fields"][2]["type"]["items"] = piece["name"]
    prefix = uuid4()
    reference = {"name": f"{piece['namespace']}.{piece['name']}", "subject": f"{prefix}-piece", "version": 1}
    with (
        httpx.Client(base_url=f"{schema_registry_url}/") as other,
        SchemaRegistry(RegistryAddress(schema_registry_url)) as registry,
    ):
        other.post(f"subjects/{prefix}-piece/versions", json={"schema": json.dumps(piece)}).raise_for_status()
        body = {"schema": json.dumps(whole), "references": [reference]}
        answer = other.post(f"subjects/{prefix}-value/versions", json=body).raise_for_status()
        ref = SchemaRef.from_id(answer.json()["id"])
        text = registry.schema(ref)

    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
    decoder.learn(ref, str(text))
    assert REQUEST == decoder.decode(RequestEncoder(ref.id).encode(REQUEST))
