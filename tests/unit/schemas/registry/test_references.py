import json
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from schemas.registry.references import self_contained


def put_together(schema: Any, **definitions: Any) -> Any:  # noqa: ANN401 - JSON
    texts = {name.replace("__", "."): json.dumps(definition) for name, definition in definitions.items()}
    return json.loads(self_contained(json.dumps(schema), texts))


def record(name: str, *kinds: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]
    return {"type": "record", "name": name, "fields": fields, **more}


PLACE = record("Place", "int", namespace="geo")
BARE = record("Bare", "int")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (record("A", "geo.Place", namespace="a"), {"f0": {"f0": 7}}),
        (record("A", "Place", "Place", namespace="geo"), {"f0": {"f0": 7}, "f1": {"f0": 8}}),
        (record("A", {"type": "array", "items": "geo.Place"}), {"f0": [{"f0": 7}]}),
        (record("A", {"type": "map", "values": "geo.Place"}), {"f0": {"x": {"f0": 7}}}),
        (record("A", ["null", "geo.Place"]), {"f0": {"f0": 7}}),
        (record("A", {"type": "geo.Place"}), {"f0": {"f0": 7}}),
        (
            record("A", {**record("In", "geo.Place"), "namespace": "b"}, "geo.Place"),
            {"f0": {"f0": {"f0": 7}}, "f1": {"f0": 8}},
        ),
        (record("a.A", "Bare"), {"f0": {"f0": 7}}),
        (record("geo.A", "Route", "Place"), {"f0": {"f0": {"f0": 7}}, "f1": {"f0": 8}}),
    ],
    ids=str,
)
def test_what_was_apart_is_a_schema_on_its_own(schema: Any, value: Any) -> None:  # noqa: ANN401 - JSON
    route = record("Route", "Place", namespace="geo")
    whole = parse_schema(put_together(schema, geo__Place=PLACE, geo__Route=route, Bare=BARE))

    body = BytesIO()
    schemaless_writer(body, whole, value)
    body.seek(0)

    assert value == schemaless_reader(body, whole, None)


def test_a_schema_without_pieces_stays_as_it_is() -> None:
    assert self_contained("{ not even JSON", {}) == "{ not even JSON"


@pytest.mark.parametrize("text", ["no JSON", "[" * 100_000])
def test_what_is_no_json_is_left_to_its_reader(text: str) -> None:
    assert self_contained(text, {"geo.Place": json.dumps(PLACE)}) == text
    assert self_contained('"geo.Place"', {"geo.Place": text}) == '"geo.Place"'
