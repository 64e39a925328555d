"""Avro schema resolution, compiled: a writer's schema and ours become one function from bytes to a value.

Why not ``fastavro.schemaless_reader`` with a reader schema, although fastavro parses and writes here: where
it *skips* what only the writer knows it does not look at lengths, so a truncated body passes; it takes
negative union branches and enum symbols; it runs for as long as a body claims (2**40 items of no bytes);
and a recursive schema overflows its C stack. Bodies and schemas come from other people: reading here is
strict, and its work is bounded by the length of the body. It is also faster.

Positions only grow, and strings and skipped values do not check them: one that has passed the end is
caught by the next byte read, or by the caller, who must compare the last position with the length.

A schema's text, nodes, depth and names are bounded before anything is made of them (`SCHEMA_MAX_CHARS` and its
neighbours), and each pair of named types is resolved once: work and memory grow with the text, not with what
its references multiply to.

Logical types are ignored: a string that is no uuid, or a time beyond Python's years, is a value to be
answered, not one to fail on. Only what our own schemas use can be read; anything can be skipped.

Source: Avro specification 1.12, "Binary encoding" and "Schema resolution".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, Final, TypeAlias

from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType

Schema: TypeAlias = Any
"""Parsed JSON: a name, a union (list) or a definition (dict)."""
Read: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
"""(body, position) -> (value, position behind it); raises one of `MALFORMED`."""
Skip: TypeAlias = int | Callable[[bytes, int], int]
"""A fixed number of bytes, or (body, position) -> position behind. A function reads at least one byte."""


SCHEMA_MAX_CHARS: Final = 256 * 1024
"""Characters of a writer's schema, referenced schemas included: about fifty times our own schema."""
SCHEMA_MAX_NODES: Final = 20_000
"""Types, fields, symbols and other values of a writer's schema. Each costs up to 1 KB of memory and 25 us."""
SCHEMA_MAX_DEPTH: Final = 200
"""Levels of JSON in a writer's schema; the parser recurses on the C stack, which is small on some threads."""
NAME_MAX_CHARS: Final = 512
"""Characters of a name or namespace: each named type is known by both, so a long namespace would multiply."""
_FIXED_MAX_BYTES: Final = 2**31 - 1
"""Avro implementations read sizes as a 32-bit int."""
_BEYOND_ANY_BODY: Final = 2**40
"""Bytes. Fixed sizes add up to no more, so that positions stay numbers of a few digits."""
_EXCERPT_CHARS: Final = 200
"""Characters of a message about somebody else's schema."""


class MalformedError(ValueError):
    """The bytes are no value of the writer's schema."""


class SchemaError(ValueError):
    """The schema is not one, or cannot be resolved to ours."""


MALFORMED: Final = (IndexError, MalformedError, UnicodeDecodeError, RecursionError)
"""All that a `Read` raises: the end of the body (IndexError), no Avro, no UTF-8, values nested too deep."""

_STRUCTURE: Final = frozenset({"type", "name", "namespace", "fields", "items", "values", "symbols", "size"})
_NOT_A_SCHEMA: Final = (
    *(SchemaParseException, UnknownType, AttributeError, IndexError),
    *(KeyError, RecursionError, TypeError, ValueError),
)
_SHIFTS: Final = tuple(range(7, 70, 7))
"""Of the groups that follow the first: ten of seven bits hold 64."""
_INTS: Final = range(-(2**31), 2**31)
_PROMOTIONS: Final = {("int", "long"), ("string", "bytes"), ("bytes", "string")}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A writer's schema resolved to ours."""

    read: Read
    nodes: int
    """Of the writer's schema: memory and time of the resolution are proportional to it."""


def resolve(writer_text: str, reader: Schema, reader_named: Mapping[str, Schema]) -> Resolved:
    """Compile the function that reads what was written with ``writer_text`` as ``reader``.

    Raises `SchemaError` where the text is no Avro schema, is beyond the bounds of this module, or what it writes
    can never be read as ``reader``.
    """
    writer, writer_named, nodes = _parse_writer(writer_text)
    try:
        return Resolved(_Resolution(writer_named, reader_named).read(writer, reader), nodes)
    except _NOT_A_SCHEMA as error:
        raise SchemaError(f"cannot be resolved: {_excerpt(error)}") from error


def _parse_writer(text: str) -> tuple[Schema, Mapping[str, Schema], int]:
    """A writer's schema, its named types by full name, and its nodes, with nothing left but what shapes the bytes."""
    if len(text) > SCHEMA_MAX_CHARS:
        raise SchemaError(f"the schema has {len(text)} characters, more than the {SCHEMA_MAX_CHARS} that are read")
    named: dict[str, Schema] = {}
    structure = _Structure()
    try:
        return parse_schema(structure.of(json.loads(text), SCHEMA_MAX_DEPTH), named), named, structure.nodes
    except SchemaError:
        raise
    except _NOT_A_SCHEMA as error:
        raise SchemaError(f"not an Avro schema: {_excerpt(error)}") from error


def _excerpt(error: Exception) -> str:
    return str(error)[:_EXCERPT_CHARS]


class _Structure:
    """Copies what shapes the bytes out of a schema, within the bounds."""

    def __init__(self) -> None:
        self.nodes = 0

    def of(self, node: Schema, depth: int) -> Schema:
        self.nodes += 1
        if self.nodes > SCHEMA_MAX_NODES:
            raise SchemaError(f"the schema has more than {SCHEMA_MAX_NODES} types, fields and symbols")
        if not depth:
            raise SchemaError(f"the schema is nested more than {SCHEMA_MAX_DEPTH} levels deep")
        if isinstance(node, list):
            return [self.of(item, depth - 1) for item in node]
        if isinstance(node, dict):
            return {key: self._part(key, value, depth - 1) for key, value in node.items() if key in _STRUCTURE}
        return node

    def _part(self, key: str, value: Schema, depth: int) -> Schema:
        if key not in ("name", "namespace"):
            return self.of(value, depth)
        if isinstance(value, str) and len(value) > NAME_MAX_CHARS:
            raise SchemaError(f"a name in the schema has {len(value)} characters, more than {NAME_MAX_CHARS}")
        return value


class _Resolution:
    """Walks two schemas side by side, once."""

    def __init__(self, writer_named: Mapping[str, Schema], reader_named: Mapping[str, Schema]) -> None:
        self._writer_named = writer_named
        self._reader_named = reader_named
        self._skips: dict[str, Skip | None] = {}
        self._reads: dict[tuple[str, str], Read | SchemaError] = {}

    def read(self, writer: Schema, reader: Schema) -> Read:
        """How to read a value of the writer's as ours."""
        writer, reader = _define(writer, self._writer_named), _define(reader, self._reader_named)
        if not (_is_named(writer) and _is_named(reader)):
            return self._read(writer, reader)
        pair = writer["name"], reader["name"]
        if pair not in self._reads:
            self._reads[pair] = self._read_or_error(writer, reader)
        known = self._reads[pair]
        if isinstance(known, SchemaError):
            raise SchemaError(str(known))
        return known

    def _read_or_error(self, writer: Schema, reader: Schema) -> Read | SchemaError:
        try:
            return self._read(writer, reader)
        except SchemaError as error:
            return SchemaError(str(error))  # without the traceback, which would keep all that was under way

    def _read(self, writer: Schema, reader: Schema) -> Read:
        if isinstance(writer, list):
            _all_differ("branches of a union", [_label(branch) for branch in writer])
            return _read_union([self._branch(branch, reader) for branch in writer])
        if isinstance(reader, list):
            return self._read_as_any(writer, reader)
        kind = _kind(reader)
        if kind in ("record", "array", "enum") and _kind(writer) == kind:
            return {"record": self._record, "array": self._array, "enum": self._enum}[kind](writer, reader)
        return _read_primitive(_kind(writer), kind)

    def _branch(self, writer: Schema, reader: Schema) -> Read:
        """A branch that has no place in ours fails when it is met, not before."""
        try:
            return self.read(writer, reader)
        except SchemaError as error:
            return _fail(str(error))

    def _read_as_any(self, writer: Schema, branches: Sequence[Schema]) -> Read:
        same_kind = [branch for branch in branches if _kind(_define(branch, self._reader_named)) == _kind(writer)]
        for branch in (*same_kind, *branches):
            try:
                return self.read(writer, branch)
            except SchemaError:
                continue
        raise SchemaError(f"{_label(writer)} is none of {', '.join(map(_label, branches))}")

    def _record(self, writer: Schema, reader: Schema) -> Read:
        _same_name(writer, reader)
        _all_differ("fields", [field["name"] for field in writer["fields"]])
        wanted = {name: field for field in reader["fields"] for name in (*field.get("aliases", ()), field["name"])}
        steps: list[tuple[str, Read] | Skip] = []
        unknown: list[Skip] = []
        for field in writer["fields"]:
            ours = wanted.get(field["name"])
            if ours is None:
                unknown.append(self.skip(field["type"]))
            else:
                steps += (_skip_all(unknown), (ours["name"], self.read(field["type"], ours["type"])))
                unknown = []
        steps.append(_skip_all(unknown))
        written = {step[0] for step in steps if isinstance(step, tuple)}
        unwritten = (field for field in reader["fields"] if field["name"] not in written)
        steps.extend((field["name"], _read_default(field)) for field in unwritten)
        return _read_record(steps)

    def _array(self, writer: Schema, reader: Schema) -> Read:
        return _read_array(self.read(writer["items"], reader["items"]))

    def _enum(self, writer: Schema, reader: Schema) -> Read:
        _same_name(writer, reader)
        ours, default = frozenset(reader["symbols"]), reader.get("default")
        return _read_enum([symbol if symbol in ours else default for symbol in writer["symbols"]])

    def skip(self, writer: Schema) -> Skip:
        """How to pass over a value of the writer's."""
        if isinstance(writer, list):
            return _skip_union([self.skip(branch) for branch in writer])
        if isinstance(writer, str):
            return _SKIPS[writer] if writer in _SKIPS else self._skip_named(writer)
        kind = _kind(writer)
        if kind == "array":
            return _skip_blocks(self.skip(writer["items"]))
        if kind == "map":
            return _skip_blocks(_skip_all([_skip_bytes, self.skip(writer["values"])]))
        return self.skip(kind) if kind in _SKIPS else self._skip_named(writer["name"])

    def _skip_named(self, name: str) -> Skip:
        """Each named type once, so that schemas that nest types in types cost their length and no more."""
        if name not in self._skips:
            self._skips[name] = None
            self._skips[name] = self._skip_definition(self._writer_named[name])
        skip = self._skips[name]
        return self._skip_recursive(name) if skip is None else skip

    def _skip_definition(self, writer: Schema) -> Skip:
        kind = _kind(writer)
        if kind == "fixed":
            return _fixed_size(writer)
        if kind == "enum":
            return _skip_enum(len(writer["symbols"]))
        return _skip_all([self.skip(field["type"]) for field in writer["fields"]])

    def _skip_recursive(self, name: str) -> Skip:
        def skip_recursive(body: bytes, at: int) -> int:
            return _skipped(self._skips[name] or 0, body, at)

        return skip_recursive


def _define(schema: Schema, named: Mapping[str, Schema]) -> Schema:
    return named.get(schema, schema) if isinstance(schema, str) else schema


def _is_named(schema: Schema) -> bool:
    return isinstance(schema, dict) and "name" in schema


def _kind(schema: Schema) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _label(schema: Schema) -> str:
    return schema["name"] if isinstance(schema, dict) and "name" in schema else _kind(schema)


def _same_name(writer: Schema, reader: Schema) -> None:
    """Named types match by their names without namespaces, or by our aliases."""
    name = writer["name"].rpartition(".")[2]
    aliases = (alias.rpartition(".")[2] for alias in reader.get("aliases", ()))
    if name not in (reader["name"].rpartition(".")[2], *aliases):
        raise SchemaError(f"another {reader['type']} type: {writer['name']}, not {reader['name']}")


def _all_differ(what: str, names: Sequence[str]) -> None:
    """What Avro forbids, and fastavro does not, would let a schema make work out of proportion to what it can say."""
    if len({*names}) < len(names):
        raise SchemaError(f"two {what} have one name")


def _fixed_size(writer: Schema) -> int:
    size = writer["size"]
    if not isinstance(size, int) or not 0 <= size <= _FIXED_MAX_BYTES:
        raise SchemaError(f"the size of {writer['name']} is not a number of bytes from 0 to {_FIXED_MAX_BYTES}")
    return size


# Reading


def read_long(body: bytes, at: int) -> tuple[int, int]:
    """A variable-length zig-zag number of at most 64 bits: groups of seven, lowest first, all but the last marked."""
    number = body[at]
    at += 1
    if number & 0x80:
        for shift in _SHIFTS:
            byte = body[at]
            at += 1
            number += (byte - 1) << shift  # less one: the mark of the group before
            if not byte & 0x80:
                break
        else:
            raise MalformedError("a number of more than ten bytes")
        if number >> 64:
            raise MalformedError("a number of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _read_int(body: bytes, at: int) -> tuple[int, int]:
    number, at = read_long(body, at)
    if number not in _INTS:
        raise MalformedError("an int of more than 32 bits")
    return number, at


def _read_size(body: bytes, at: int) -> tuple[int, int]:
    size, at = read_long(body, at)
    if size < 0:
        raise MalformedError("a negative length")
    return size, at


def _read_count(body: bytes, at: int) -> tuple[int, int]:
    """Of the items in a block; where it is negative, the block's size in bytes follows."""
    count = body[at]
    if not count & 0x81:
        return count >> 1, at + 1
    count, at = read_long(body, at)
    return (count, at) if count >= 0 else (-count, _read_size(body, at)[1])


def _read_string(body: bytes, at: int) -> tuple[str, int]:
    size = body[at]
    if size & 0x81:  # more than 63 bytes, or negative
        size, at = _read_size(body, at)
    else:
        size >>= 1
        at += 1
    end = at + size
    return body[at:end].decode(), end


def _read_boolean(body: bytes, at: int) -> tuple[bool, int]:
    if body[at] > 1:
        raise MalformedError("a boolean that is neither 0 nor 1")
    return body[at] == 1, at + 1


def _read_null(_: bytes, at: int) -> tuple[None, int]:
    return None, at


_READERS: Final[Mapping[str, Read]] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": _read_int,
    "long": read_long,
    "string": _read_string,
}


def _read_primitive(writer: str, reader: str) -> Read:
    if writer != reader and (writer, reader) not in _PROMOTIONS:
        raise SchemaError(f"{writer} cannot be read as {reader}")
    if reader not in _READERS:
        raise SchemaError(f"{reader} is not a type of ours")
    return _READERS[reader] if writer == "bytes" else _READERS[writer]


def _read_record(steps: Sequence[tuple[str, Read] | Skip]) -> Read:
    """Written out as Python, field by field, which takes two thirds of the time of a loop over the steps.

    The names in it are those of our own schema, never the writer's. What takes no bytes costs no step.
    """
    lines, values = ["def read_record(body, at):"], []
    names: dict[str, Any] = {}
    for number, step in enumerate(step for step in steps if step != 0):
        names[f"step_{number}"] = step[1] if isinstance(step, tuple) else step
        if isinstance(step, int):
            lines.append(f" at += step_{number}")
        elif not isinstance(step, tuple):
            lines.append(f" at = step_{number}(body, at)")
        elif step[1] is _read_string:  # most fields: a call saved
            lines += _SHORT_STRING.format(number=number).splitlines()
        else:
            lines.append(f" value_{number}, at = step_{number}(body, at)")
        if isinstance(step, tuple):
            values.append(f"{step[0]!r}: value_{number}")
    lines.append(f" return {{{', '.join(values)}}}, at")
    exec(_compiled("\n".join(lines)), names)  # noqa: S102 - of this module's own words, as dataclasses are made
    read: Read = names["read_record"]
    return read


@lru_cache(maxsize=256)
def _compiled(source: str) -> CodeType:
    """Records of ours come in few shapes, and a writer's union may repeat one a hundred thousand times."""
    return compile(source, "<read_record>", "exec")


_SHORT_STRING: Final = """\
 size = body[at]
 if size & 0x81:
  value_{number}, at = step_{number}(body, at)
 else:
  at += 1
  end = at + (size >> 1)
  value_{number} = body[at:end].decode()
  at = end"""


def _read_array(read_item: Read) -> Read:
    """Items are never empty: a record of ours has a field without default, so something is written for it."""

    def read_array(body: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, at = _read_count(body, at)
        while count:
            for _ in range(count):
                item, at = read_item(body, at)
                items.append(item)
            count, at = _read_count(body, at)
        return items, at

    return read_array


def _read_union(branches: Sequence[Read]) -> Read:
    def read_union(body: bytes, at: int) -> tuple[Any, int]:
        index = body[at]
        if index & 0x81:  # more than 63 branches, or negative
            index, at = _read_size(body, at)
            return branches[index](body, at)
        return branches[index >> 1](body, at + 1)

    return read_union


def _read_enum(symbols: Sequence[str | None]) -> Read:
    def read_enum(body: bytes, at: int) -> tuple[str, int]:
        index, at = _read_size(body, at)
        symbol = symbols[index]
        if symbol is None:
            raise MalformedError("a symbol that ours does not have")
        return symbol, at

    return read_enum


def _read_default(field: Schema) -> Read:
    """A field that the writer does not know costs no bytes."""
    if "default" not in field:
        raise SchemaError(f"the field {field['name']} is missing and has no default")
    default = field["default"]
    return lambda _, at: (deepcopy(default), at)


def _fail(message: str) -> Read:
    def fail(_: bytes, __: int) -> tuple[None, int]:
        raise MalformedError(message)

    return fail


# Skipping


def _skipped(skip: Skip, body: bytes, at: int) -> int:
    return at + skip if isinstance(skip, int) else skip(body, at)


def _skip_long(body: bytes, at: int) -> int:
    return read_long(body, at)[1]


def _skip_bytes(body: bytes, at: int) -> int:
    size, at = _read_size(body, at)
    return at + size


_SKIPS: Final[Mapping[str, Skip]] = {
    "null": 0,
    "boolean": 1,
    "float": 4,
    "double": 8,
    "int": _skip_long,
    "long": _skip_long,
    "bytes": _skip_bytes,
    "string": _skip_bytes,
}


def _skip_enum(symbols: int) -> Skip:
    def skip_enum(body: bytes, at: int) -> int:
        index, at = _read_size(body, at)
        if index >= symbols:
            raise MalformedError("a symbol that the writer's schema does not have")
        return at

    return skip_enum


def _skip_union(branches: Sequence[Skip]) -> Skip:
    def skip_union(body: bytes, at: int) -> int:
        index, at = _read_size(body, at)
        return _skipped(branches[index], body, at)

    return skip_union


def _skip_all(skips: Sequence[Skip]) -> Skip:
    """One value after the other. What takes no bytes costs no step."""
    skips = [skip for skip in skips if skip != 0]
    if all(isinstance(skip, int) for skip in skips):
        return min(sum(skip for skip in skips if isinstance(skip, int)), _BEYOND_ANY_BODY)
    if len(skips) == 1:
        return skips[0]

    def skip_all(body: bytes, at: int) -> int:
        for skip in skips:
            at = _skipped(skip, body, at)
        return at

    return skip_all


def _skip_blocks(skip_item: Skip) -> Skip:
    """An array or a map: blocks of a count and that many items, or of a negative count and their size in bytes."""

    def skip_blocks(body: bytes, at: int) -> int:
        count, at = read_long(body, at)
        while count:
            if count < 0:
                size, at = _read_size(body, at)
                at += size
            elif isinstance(skip_item, int):
                at += count * skip_item
            else:
                for _ in range(count):
                    at = skip_item(body, at)
            count, at = read_long(body, at)
        return at

    return skip_blocks
