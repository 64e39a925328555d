"""What others write, read by us and by fastavro: the same value, to the same byte."""

import contextlib
import json
from functools import cache
from io import BytesIO
from random import Random
from typing import Any

from fastavro import parse_schema, schemaless_reader

from schemas.avro.binary import MALFORMED
from schemas.avro.released import plain_schema, requests, results
from schemas.avro.resolution import resolve
from schemas.avro.writer_schema import Schema
from tests.fuzz.bytes import mutated
from tests.fuzz.writers import Writers, defined_once

MUTATIONS = 3


def resolution(rng: Random) -> None:
    """A writer's schema and its bytes: read as fastavro reads them; and where they are damaged, or refused."""
    ours, named = _ours(rng.random() < 0.3)
    writer = Writers(rng, named).of(ours)
    schema = json.dumps(defined_once(writer.schema, set()))
    read = resolve(schema, ours, named).read
    parsed = parse_schema(json.loads(schema))
    body = writer.write()

    assert (_by_fastavro(parsed, ours, body), len(body)) == read(body, 0)
    for _ in range(MUTATIONS):
        damaged = mutated(rng, body)
        with contextlib.suppress(*MALFORMED):
            value, end = read(damaged, 0)
            if end == len(damaged):
                assert _by_fastavro(parsed, ours, damaged) == value


@cache
def _ours(a_result: bool) -> tuple[Schema, Any]:  # noqa: FBT001 - which of the two
    return plain_schema((results() if a_result else requests())[-1].text)


def _by_fastavro(writer: Schema, ours: Schema, body: bytes) -> object:
    source = BytesIO(body)
    value = schemaless_reader(source, writer, ours)
    assert source.tell() == len(body)
    return value
