"""Avro schema resolution, compiled: a writer's schema and ours become one function from bytes to a value.

Why not ``fastavro.schemaless_reader`` with a reader schema, although fastavro parses and writes here: while it *skips*
what only the writer knows, it does not look at lengths, so a truncated body passes; it accepts negative union branches
and enum symbols; it runs for as long as a body claims (2**40 items of no bytes); and a recursive schema overflows its
C stack. Bodies and schemas come from other people: reading here is strict, and its work is bounded by the length of the
body. It is also faster.

Each pair of named types is resolved once: work and memory grow with the text of the schema, not with what its
references multiply to. Only what our own schemas use can be read; anything can be skip_value.

Source: Avro specification 1.12, "Schema resolution".
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from schemas.avro.binary import (
    READERS,
    SKIPS,
    Read,
    Skip,
    array_reader,
    blocks_skipper,
    enum_reader,
    enum_skipper,
    failing_reader,
    record_reader,
    sequence_skipper,
    skip_bytes,
    skip_value,
    union_reader,
    union_skipper,
)
from schemas.avro.writer_schema import NOT_A_SCHEMA, Schema, SchemaError, parse_writer, schema_excerpt

_FIXED_MAX_BYTES: Final = 2**31 - 1
"""Avro implementations read sizes as a 32-bit int."""
_PROMOTIONS: Final = {("int", "long"), ("string", "bytes"), ("bytes", "string")}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A writer's schema resolved to ours: a function that reads its bytes as our record, and what it costs to keep."""

    read: Read
    nodes: int
    """Nodes of the writer's schema; memory and time of the resolution are proportional to them."""


def resolve(writer_text: str, reader: Schema, reader_named: Mapping[str, Schema]) -> Resolved:
    """Compile the function that reads what was written with ``writer_text`` as ``reader``.

    Raises `SchemaError` if the text is not an Avro schema, is beyond our bounds, or what it writes can never be read
    as ``reader``.
    """
    writer, writer_named, nodes = parse_writer(writer_text)
    try:
        return Resolved(_Resolution(writer_named, reader_named).read(writer, reader), nodes)
    except NOT_A_SCHEMA as error:
        raise SchemaError(f"cannot be resolved: {schema_excerpt(error)}") from error


class _Resolution:
    """Visits two schemas side by side, once."""

    def __init__(self, writer_named: Mapping[str, Schema], reader_named: Mapping[str, Schema]) -> None:
        self._writer_named = writer_named
        self._reader_named = reader_named
        self._skips: dict[str, Skip | None] = {}
        self._reads: dict[tuple[str, str], Read | SchemaError] = {}

    def read(self, writer: Schema, reader: Schema) -> Read:
        """Return the function that reads a value of the writer's schema as ours."""
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
            return union_reader([self._branch(branch, reader) for branch in writer])
        if isinstance(reader, list):
            return self._read_as_any(writer, reader)
        kind = _kind(reader)
        if kind in ("record", "array", "enum") and _kind(writer) == kind:
            return {"record": self._record, "array": self._array, "enum": self._enum}[kind](writer, reader)
        return _read_primitive(_kind(writer), kind)

    def _branch(self, writer: Schema, reader: Schema) -> Read:
        """Return the reader of one branch of a union; one that ours lacks fails when it occurs, not before."""
        try:
            return self.read(writer, reader)
        except SchemaError as error:
            return failing_reader(str(error))

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
                steps += (sequence_skipper(unknown), (ours["name"], self.read(field["type"], ours["type"])))
                unknown = []
        steps.append(sequence_skipper(unknown))
        written = {step[0] for step in steps if isinstance(step, tuple)}
        unwritten = (field for field in reader["fields"] if field["name"] not in written)
        steps.extend((field["name"], _read_default(field)) for field in unwritten)
        return record_reader(steps)

    def _array(self, writer: Schema, reader: Schema) -> Read:
        return array_reader(self.read(writer["items"], reader["items"]))

    def _enum(self, writer: Schema, reader: Schema) -> Read:
        _same_name(writer, reader)
        ours, default = frozenset(reader["symbols"]), reader.get("default")
        return enum_reader([symbol if symbol in ours else default for symbol in writer["symbols"]])

    def skip(self, writer: Schema) -> Skip:
        if isinstance(writer, list):
            return union_skipper([self.skip(branch) for branch in writer])
        if isinstance(writer, str):
            return SKIPS[writer] if writer in SKIPS else self._skip_named(writer)
        kind = _kind(writer)
        if kind == "array":
            return blocks_skipper(self.skip(writer["items"]))
        if kind == "map":
            return blocks_skipper(sequence_skipper([skip_bytes, self.skip(writer["values"])]))
        return self.skip(kind) if kind in SKIPS else self._skip_named(writer["name"])

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
            return enum_skipper(len(writer["symbols"]))
        return sequence_skipper([self.skip(field["type"]) for field in writer["fields"]])

    def _skip_recursive(self, name: str) -> Skip:
        def skip_recursive(body: bytes, at: int) -> int:
            return skip_value(self._skips[name] or 0, body, at)

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
    """Refuse duplicate names, which Avro forbids and fastavro accepts: they would multiply the work."""
    if len({*names}) < len(names):
        raise SchemaError(f"two {what} have one name")


def _fixed_size(writer: Schema) -> int:
    size = writer["size"]
    if not isinstance(size, int) or not 0 <= size <= _FIXED_MAX_BYTES:
        raise SchemaError(f"the size of {writer['name']} is not a number of bytes from 0 to {_FIXED_MAX_BYTES}")
    return size


def _read_primitive(writer: str, reader: str) -> Read:
    if writer != reader and (writer, reader) not in _PROMOTIONS:
        raise SchemaError(f"{writer} cannot be read as {reader}")
    if reader not in READERS:
        raise SchemaError(f"{reader} is not a type of ours")
    return READERS[reader] if writer == "bytes" else READERS[writer]


def _read_default(field: Schema) -> Read:
    """Return the reader of a field that the writer does not have, which takes no bytes."""
    if "default" not in field:
        raise SchemaError(f"the field {field['name']} is missing and has no default")
    default = field["default"]
    return lambda _, at: (deepcopy(default), at)
