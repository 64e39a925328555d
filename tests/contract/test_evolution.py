"""Released schemas stay, and follow each other by the rules of the contract.

The check below is the specification's schema resolution, seen from the schemas alone: it knows nothing of the
codec, and takes "may fail for some value" for incompatible.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import Any, TypeAlias

import pytest

from schemas.avro import released
from schemas.avro.released import ReleasedSchema, crc64_avro

Json: TypeAlias = Any
Change: TypeAlias = Callable[[Json], None]
PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
RELEASED = {
    ("ProductResyncRequested", 1): (
        "d147a6c3a56aa3d225fde9536985d66d54e41c1061d667297abd4e450d85291b",
        "78ab453f0669bdf3",
    ),
    ("ProductResyncResult", 1): (
        "55fc5995b75508c7be4524275b640da5ca16e2b46d606aabcd5de76dee42f188",
        "e301a22482a16757",
    ),
}
"""SHA-256 of the file and fingerprint of the schema: what was released is on the wire, and never changes again."""


def breaks(writer: Json, reader: Json) -> Iterator[str]:
    """Why a value of the writer's schema may not be readable with the reader's; nothing: it always is."""
    if isinstance(writer, list):
        for branch in writer:
            yield from breaks(branch, reader)
    elif isinstance(reader, list):
        if all(any(breaks(writer, branch)) for branch in reader):
            yield f"no branch for {kind(writer)}"
    elif kind(writer) != kind(reader):
        if kind(reader) not in PROMOTIONS.get(kind(writer), ()):
            yield f"{kind(writer)} became {kind(reader)}"
    else:
        yield from {"record": record_breaks, "enum": enum_breaks, "array": item_breaks}.get(kind(writer), no_breaks)(
            writer, reader
        )


def record_breaks(writer: Json, reader: Json) -> Iterator[str]:
    if writer["name"] != reader["name"]:
        yield f"{writer['name']} became {reader['name']}"
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        if field["name"] in written:
            yield from (f"{field['name']}: {why}" for why in breaks(written[field["name"]]["type"], field["type"]))
        elif "default" not in field:
            yield f"{field['name']} was added without default"


def enum_breaks(writer: Json, reader: Json) -> Iterator[str]:
    if "default" not in reader:
        yield from (f"{symbol} is gone" for symbol in writer["symbols"] if symbol not in reader["symbols"])


def item_breaks(writer: Json, reader: Json) -> Iterator[str]:
    return breaks(writer["items"], reader["items"])


def no_breaks(_: Json, __: Json) -> Iterator[str]:
    return iter(())


def kind(schema: Json) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


def backward_transitive(versions: Sequence[Json]) -> list[str]:
    """Each version reads all that older ones wrote."""
    return [
        f"v{new + 1} of v{old + 1}: {why}"
        for new in range(len(versions))
        for old in range(new)
        for why in breaks(versions[old], versions[new])
    ]


def full_transitive(versions: Sequence[Json]) -> list[str]:
    """Each version reads all that any other wrote."""
    return [why for writer, reader in permutations(versions, 2) for why in breaks(writer, reader)]


RULES = [
    pytest.param(released.requests(), backward_transitive, id="requests: BACKWARD_TRANSITIVE"),
    pytest.param(released.results(), full_transitive, id="results: FULL_TRANSITIVE"),
]


@pytest.mark.parametrize(("versions", "rule"), RULES)
def test_released_versions_follow_the_rule(
    versions: Sequence[ReleasedSchema], rule: Callable[[Sequence[Json]], list[str]]
) -> None:
    assert [] == rule([json.loads(version.text) for version in versions])


@pytest.mark.parametrize("versions", [released.requests(), released.results()], ids=["requests", "results"])
def test_versions_are_numbered_from_1_without_gaps(versions: Sequence[ReleasedSchema]) -> None:
    assert [version.version for version in versions] == list(range(1, len(versions) + 1))


@pytest.mark.parametrize("versions", [released.requests(), released.results()], ids=["requests", "results"])
def test_a_released_version_is_never_changed(versions: Sequence[ReleasedSchema]) -> None:
    for version in versions:
        name = json.loads(version.text)["name"]
        seal = hashlib.sha256(version.text.encode()).hexdigest(), crc64_avro(version.text).hex()
        assert seal == RELEASED[name, version.version]


def successor(version: ReleasedSchema, change: Change) -> list[Json]:
    """The version, and one that follows it."""
    newer = json.loads(version.text)
    change(newer)
    return [json.loads(version.text), newer]


def add(**field: Json) -> Change:
    return lambda schema: schema["fields"].append({"name": "added", **field})


def retype(position: int, kind: Json) -> Change:
    return lambda schema: schema["fields"][position].update(type=kind)


def drop(position: int) -> Change:
    return lambda schema: schema["fields"].pop(position)


def add_symbol(schema: Json) -> None:
    schema["fields"][1]["type"]["symbols"].append("POSTPONED")


def drop_symbol_and_default(schema: Json) -> None:
    schema["fields"][1]["type"]["symbols"].remove("FAILED")
    del schema["fields"][1]["type"]["default"]


def rename(schema: Json) -> None:
    schema["name"] = "Renamed"


def add_inside(schema: Json) -> None:
    schema["fields"][2]["type"]["items"]["fields"].append({"name": "added", "type": "string"})


BREAKS_REQUESTS: dict[str, Change] = {
    "a field without default": add(type="int"),
    "a field without default, inside": add_inside,
    "another name": rename,
    "a string that became a long": retype(0, "long"),
    "a long that became an int": retype(3, "int"),
    "null no longer allowed": retype(1, "string"),
    "a list that became a string": retype(2, "string"),
}
KEEPS_REQUESTS: dict[str, Change] = {
    "a field with default": add(type="int", default=0),
    "an optional field": add(type=["null", "int"], default=None),
    "a field less": drop(3),
}
BREAKS_RESULTS: dict[str, Change] = {
    "a field without default": add(type="int"),
    "a field less that has no default": drop(0),
    "an int that became a long": retype(2, "long"),
    "a symbol less, and no default": drop_symbol_and_default,
    "another name": rename,
}
KEEPS_RESULTS: dict[str, Change] = {
    "a field with default": add(type="int", default=0),
    "a list less that has a default": drop(5),
    "an option less that has a default": drop(6),
    "a symbol more": add_symbol,
}


@pytest.mark.parametrize("change", BREAKS_REQUESTS.values(), ids=BREAKS_REQUESTS.keys())
def test_a_successor_that_cannot_read_older_requests_is_caught(change: Change) -> None:
    assert backward_transitive(successor(released.requests()[-1], change))


@pytest.mark.parametrize("change", KEEPS_REQUESTS.values(), ids=KEEPS_REQUESTS.keys())
def test_a_successor_that_reads_older_requests_is_let_through(change: Change) -> None:
    assert [] == backward_transitive(successor(released.requests()[-1], change))


@pytest.mark.parametrize("change", BREAKS_RESULTS.values(), ids=BREAKS_RESULTS.keys())
def test_a_successor_that_older_or_newer_readers_of_results_cannot_read_is_caught(
    change: Change,
) -> None:
    assert full_transitive(successor(released.results()[-1], change))


@pytest.mark.parametrize("change", KEEPS_RESULTS.values(), ids=KEEPS_RESULTS.keys())
def test_a_successor_that_all_readers_of_results_can_read_is_let_through(change: Change) -> None:
    assert [] == full_transitive(successor(released.results()[-1], change))


def test_versions_that_are_not_neighbours_are_compared_too() -> None:
    """A default that comes and goes: each step is fine, the whole is not."""
    first = json.loads(released.requests()[-1].text)
    second, third = (json.loads(json.dumps(first)) for _ in range(2))
    add(type="int", default=0)(second)
    add(type="int")(third)

    assert backward_transitive([first, second]) == []
    assert backward_transitive([second, third]) == []
    assert backward_transitive([first, second, third]) == ["v3 of v1: added was added without default"]


@pytest.mark.parametrize("versions", [released.requests(), released.results()], ids=["requests", "results"])
def test_every_field_and_type_has_a_doc(versions: Sequence[ReleasedSchema]) -> None:
    for version in versions:
        described = list(documented(json.loads(version.text)))
        assert len(described) > 5
        assert [] == [name for name, doc in described if not doc.strip()]


def test_every_symbol_is_described_in_the_doc_of_its_enum() -> None:
    """Avro has no place for a doc of a symbol."""
    for version in released.results():
        status = json.loads(version.text)["fields"][1]["type"]
        assert [] == [symbol for symbol in status["symbols"] if f"{symbol}: " not in status["doc"]]


def documented(node: Json) -> Iterator[tuple[str, str]]:
    """Names and docs of all named types and fields."""
    if isinstance(node, list):
        for branch in node:
            yield from documented(branch)
    elif isinstance(node, dict):
        if "name" in node:
            yield node["name"], node.get("doc", "")
        for part in ("type", "items", "fields"):
            yield from documented(node.get(part))
