"""What a hostile writer's schema costs: types that multiply by reference, names that repeat, sizes without sense.

``resolution`` asks whether schemas are read right; here only time and memory count, of learning a schema and of
reading bytes by it.
"""

import json
import time
import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias

from schemas.avro.codec import RequestDecoder, UnknownSchema
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.released import requests

Schema: TypeAlias = Any

NAMED: Final = SchemaRef.from_id(7)
LEARN_SECONDS: Final = 4.0
"""Of processor time, under ``tracemalloc``, which takes most of it."""
READ_SECONDS: Final = 1.0
PEAK_BYTES: Final = 48 << 20
"""While a schema is learnt."""
KEPT_BYTES: Final = 24 << 20
"""Once it is learnt."""
REFERENCE: Final = "ProductReference"
REQUESTED: Final = "ProductResyncRequested"
SMALL: Final = (1, 2, 5, 20, 60, 150)
LARGE: Final = (*SMALL, 400, 1_000, 3_000)


def cost(rng: Random) -> None:
    """A schema that means to cost much: learnt, and read by, within bounds."""
    text = json.dumps(_Bomb(rng).schema())
    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
    tracemalloc.start()
    try:
        took = _seconds(lambda: decoder.learn(NAMED, text))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < LEARN_SECONDS, f"{len(text)} characters took {took:.1f} s"
    assert peak < PEAK_BYTES, f"{len(text)} characters took {peak >> 20} MB"
    assert kept < KEPT_BYTES, f"{len(text)} characters keep {kept >> 20} MB"
    for body in (b"\x02" * 2_000, b"\x00" * 2_000, rng.randbytes(2_000), b"\xfe\xff\xff\xff\x0f" * 400):
        took = _seconds(lambda body=body: _read(decoder, body))  # type: ignore[misc] # mypy knows no such lambda
        assert took < READ_SECONDS, f"{len(body)} bytes took {took:.1f} s"


def _read(decoder: RequestDecoder, body: bytes) -> None:
    answer = decoder.decode(NAMED.wire + body)
    assert not isinstance(answer, UnknownSchema)
    assert not isinstance(answer, Unreadable) or len(answer.message) <= 500


def _seconds(deed: Callable[[], object]) -> float:
    began = time.process_time()
    deed()
    return time.process_time() - began


class _Bomb:
    """Makes schemas of which a part is named again and again."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._number = 0
        self._names: list[str] = []
        self._most = rng.choice((SMALL, LARGE))

    def schema(self) -> Schema:
        rng = self._rng
        outer = [self._record(REQUESTED, self._request_fields()) for _ in range(rng.choice((1, 1, 2, 20)))]
        named = [f"{each['namespace']}.{each['name']}" for each in outer]
        branches: list[Schema] = [*outer]
        if rng.random() < 0.7:
            branches.append(self._union_in_union(named, rng.choice(SMALL)))
        return branches if len(branches) > 1 or rng.random() < 0.5 else outer[0]

    def _request_fields(self) -> list[dict[str, Schema]]:
        ours = json.loads(requests()[-1].text)["fields"]
        fields = [{"name": field["name"], "type": self._of_ours(field)} for field in ours]
        for _ in range(self._rng.choice((0, 1, 5))):
            fields.insert(self._rng.randint(0, len(fields)), {"name": self._next("x"), "type": self._strange()})
        return fields

    def _of_ours(self, field: dict[str, Schema]) -> Schema:
        if field["name"] != "products":
            return {"requestedAt": "long"}.get(field["name"], "string")
        inner = [self._reference() for _ in range(self._rng.choice(self._most))]
        return {"type": "array", "items": inner if len(inner) > 1 else inner[0]}

    def _reference(self) -> Schema:
        fields = [{"name": name, "type": "string"} for name in ("miraklProductId", "productSku")]
        if self._rng.random() < 0.3:
            fields.insert(
                self._rng.randint(0, 2), {"name": self._next("x"), "type": self._rng.choice(("int", "bytes"))}
            )
        return self._record(REFERENCE, fields)

    def _record(self, name: str, fields: list[dict[str, Schema]]) -> dict[str, Schema]:
        namespace = self._next("n") + "n" * self._rng.choice((0, 0, 0, 400, 20_000 if self._rng.random() < 0.01 else 0))
        self._names.append(f"{namespace}.{name}")
        return {"type": "record", "name": name, "namespace": namespace, "fields": fields}

    def _union_in_union(self, named: list[str], deep: int) -> Schema:
        union: Schema = [*named]
        for _ in range(deep):
            union = [*named, union]
        return union

    def _strange(self) -> Schema:
        rng, many = self._rng, self._rng.choice(self._most)
        size = rng.choice((0, 1, 2**31, 10**400, 10**4299))
        makers: tuple[Callable[[], Schema], ...] = (
            lambda: {"type": "fixed", "name": self._next("F"), "size": size},
            lambda: {"type": "fixed", "name": "F" * rng.choice((500, 50_000)), "size": 1},
            lambda: {"type": "enum", "name": self._next("E"), "symbols": [f"S{number}" for number in range(many)]},
            lambda: {"type": "map", "values": [*dict.fromkeys(rng.choices(["null", *self._names], k=many))]},
            lambda: self._doubled(rng.choice(("null", "long", "string", "boolean")), many),
            lambda: self._deep(many),
            lambda: self._plain_record([{"type": "map", "values": ["null", "string"]} for _ in range(many)]),
        )
        return rng.choice(makers)()

    def _plain_record(self, types: list[Schema]) -> Schema:
        fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(types)]
        return {"type": "record", "name": self._next("R"), "fields": fields}

    def _doubled(self, leaf: Schema, times: int) -> Schema:
        """Each record has the former one twice: 2**times leaves."""
        names = [self._next("D") for _ in range(times)]
        types: list[Schema] = []
        for number, name in enumerate(names):
            inside = leaf if number == 0 else f"d.{names[number - 1]}"
            fields = [{"name": "a", "type": inside}, {"name": "b", "type": inside}]
            types.append({"type": "record", "name": name, "namespace": "d", "fields": fields})
        return self._plain_record(types)

    def _deep(self, levels: int) -> Schema:
        schema: Schema = "string"
        for _ in range(min(levels, 400)):
            schema = {"type": "array", "items": schema} if self._rng.random() < 0.5 else ["null", schema]
        return schema

    def _next(self, letter: str) -> str:
        self._number += 1
        return f"{letter}{self._number}"
