"""Writer schemas of others that resolve to ours, and bytes that they write."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeAlias

from tests.fuzz.bytes import text

Schema: TypeAlias = Any

DEEPEST: Final = 3
"""Levels of types within types that only the writer knows."""
NAMES: Final = (
    *("at", "body", "read_record", "step_0", "value_0", "size", "end", "__builtins__", "__import__"),
    *("class", "def", "None", "return", "lambda", "self", "_", "reasons", "requestID"),
)
"""Of fields that only the writer knows: words of Python, and of the code that is made for a record of ours."""
MANY: Final = 1200
"""More neighbours than Python calls functions within functions."""
MOST_ITEMS: Final = 1000
"""Of all arrays and maps of a value, before they become short: arrays within arrays multiply."""
LONGS: Final = (0, 1, -1, 63, -64, 64, -65, 2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63))
INTS: Final = tuple(number for number in LONGS if -(2**31) <= number < 2**31)
PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "string", "bytes")


@dataclass(frozen=True, slots=True)
class Writer:
    """How somebody else writes what we read."""

    schema: Schema
    write: Callable[[], bytes]
    """A value, another one each time."""


class Writers:
    """Makes writers by chance."""

    def __init__(self, rng: Random, named: Mapping[str, Schema]) -> None:
        self._rng = rng
        self._named = named
        self._names = itertools.count()
        self._known: list[Writer] = []
        self._items = 0

    def of(self, ours: Schema) -> Writer:
        """A writer whose values can be read as ``ours``."""
        ours = self._named.get(ours, ours) if isinstance(ours, str) else ours
        if isinstance(ours, list):
            return self._our_union(ours)
        kind = ours["type"] if isinstance(ours, dict) else ours
        if kind == "record":
            return self._our_record(ours)
        if kind == "enum":
            return self._our_enum(ours)
        if kind == "array":
            return self._array(self.of(ours["items"]))
        others = {"string": ("string", "string", "bytes"), "long": ("long", "int")}
        return self._primitive(self._rng.choice(others.get(kind, (kind,))), readable=True)

    def _our_record(self, ours: Schema) -> Writer:
        rng = self._rng
        fields = [
            (field["name"], self.of(field["type"]))
            for field in ours["fields"]
            if "default" not in field or rng.random() < 0.8
        ]
        if rng.random() < 0.3:
            rng.shuffle(fields)
        for name in rng.sample(NAMES, rng.choice((0, 0, 1, 2, 5))):
            fields.insert(rng.randint(0, len(fields)), (name, self._strange(DEEPEST)))
        if rng.random() < 0.01:
            at = rng.randint(0, len(fields))
            fields[at:at] = [(f"n{number}", self._primitive(rng.choice(PRIMITIVES))) for number in range(MANY)]
        return _record(ours["name"], fields)

    def _our_enum(self, ours: Schema) -> Writer:
        symbols = [*ours["symbols"], *(("NEWER",) if "default" in ours else ())]
        self._rng.shuffle(symbols)
        return self._enum(ours["name"], symbols)

    def _our_union(self, ours: list[Schema]) -> Writer:
        branches = [self.of(branch) for branch in ours]
        self._rng.shuffle(branches)
        branches = branches[: self._rng.choice((1, 2, 2))]
        if len(branches) == 1 and self._rng.random() < 0.5:
            return branches[0]
        return self._union(branches)

    def _primitive(self, kind: str, *, readable: bool = False) -> Writer:
        rng = self._rng
        write: dict[str, Callable[[], bytes]] = {
            "null": lambda: b"",
            "boolean": lambda: rng.choice((b"\x00", b"\x01")),
            "int": lambda: long_bytes(rng.choice(INTS)),
            "long": lambda: long_bytes(rng.choice((*LONGS, rng.randint(-(2**63), 2**63 - 1)))),
            "float": lambda: rng.randbytes(4),
            "double": lambda: rng.randbytes(8),
            "string": lambda: sized(text(rng, rng.choice((0, 12, 63, 64, 300))).encode()),
            "bytes": lambda: sized(text(rng, 80).encode() if readable else rng.randbytes(rng.choice((0, 63, 64)))),
        }
        return Writer(kind, write[kind])

    # What only the writer knows

    def _strange(self, deep: int) -> Writer:
        kinds = (*PRIMITIVES, "again", "fixed", "enum", *(("record", "list", "array", "map", "union") if deep else ()))
        kind = self._rng.choice(kinds)
        if kind in PRIMITIVES:
            return self._primitive(kind)
        if kind == "again":
            return self._rng.choice(self._known) if self._known else self._primitive("string")
        if kind == "array":
            return self._array(self._strange(deep - 1))
        if kind == "map":
            return self._map(self._strange(deep - 1))
        if kind == "union":
            return self._union([self._primitive("null"), self._strange_named(deep - 1)])
        return self._strange_named(deep, kind)

    def _strange_named(self, deep: int, kind: str = "record") -> Writer:
        made = self._define(f"N{next(self._names)}", deep, kind)
        self._known.append(made)
        return made

    def _define(self, name: str, deep: int, kind: str) -> Writer:
        rng = self._rng
        if kind == "fixed":
            size = rng.choice((1, 16, 300))
            return Writer({"type": "fixed", "name": name, "size": size}, lambda: rng.randbytes(size))
        if kind == "enum":
            return self._enum(name, [f"S{number}" for number in range(rng.choice((1, 3, 100)))])
        if kind == "list":
            return self._linked(name, self._primitive(rng.choice(("string", "double"))))
        fields = [(f"f{number}", self._strange(deep - 1)) for number in range(rng.randint(0, 4))]
        return _record(name, [("f", self._primitive("int")), *fields])

    def _linked(self, name: str, head: Writer) -> Writer:
        def write() -> bytes:
            return b"\x02".join(head.write() for _ in range(self._rng.randint(1, 9))) + b"\x00"

        fields = [{"name": "head", "type": head.schema}, {"name": "tail", "type": ["null", name]}]
        return Writer({"type": "record", "name": name, "fields": fields}, write)

    def _enum(self, name: str, symbols: list[str]) -> Writer:
        return Writer(
            {"type": "enum", "name": name, "symbols": symbols}, lambda: long_bytes(self._rng.randrange(len(symbols)))
        )

    def _array(self, items: Writer) -> Writer:
        if items.schema == "null":  # costs no bytes, so a number of them is worth nothing
            items = self._primitive("boolean")
        return Writer({"type": "array", "items": items.schema}, lambda: self._blocks(items.write))

    def _map(self, values: Writer) -> Writer:
        entry = self._primitive("string")
        return Writer(
            {"type": "map", "values": values.schema}, lambda: self._blocks(lambda: entry.write() + values.write())
        )

    def _union(self, branches: list[Writer]) -> Writer:
        def write() -> bytes:
            index = self._rng.randrange(len(branches))
            return long_bytes(index) + branches[index].write()

        return Writer([branch.schema for branch in branches], write)

    def _blocks(self, write: Callable[[], bytes]) -> bytes:
        rng, written = self._rng, b""
        for _ in range(rng.choice((0, 1, 1, 3))):
            count = rng.choice((1, 2, 2, 2, 2, 2, 2, 70)) if self._items < MOST_ITEMS else 1
            self._items += count
            items = [write() for _ in range(count)]
            block = b"".join(items)
            in_front = long_bytes(len(items)) if rng.random() < 0.8 else _negative(len(items), block)
            written += in_front + block
        return written + b"\x00"


def defined_once(schema: Schema, defined: set[str]) -> Schema:
    """The same schema, its named types defined where they stand first and only named from there on."""
    if isinstance(schema, list):
        return [defined_once(branch, defined) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("name", "")
    if name in defined:
        return name
    defined |= {name} - {""}
    inside = {part: defined_once(schema[part], defined) for part in ("items", "values") if part in schema}
    if "fields" in schema:
        inside["fields"] = [{**field, "type": defined_once(field["type"], defined)} for field in schema["fields"]]
    return {**schema, **inside}


def _negative(items: int, block: bytes) -> bytes:
    return long_bytes(-items) + long_bytes(len(block))


def sized(value: bytes) -> bytes:
    """A string or bytes."""
    return long_bytes(len(value)) + value


def long_bytes(number: int) -> bytes:
    """A zig-zag number, as the specification says it."""
    left, groups = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        groups.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*groups, left))


def _record(name: str, fields: list[tuple[str, Writer]]) -> Writer:
    schema = {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": writer.schema} for field, writer in fields],
    }
    return Writer(schema, lambda: b"".join(writer.write() for _, writer in fields))
