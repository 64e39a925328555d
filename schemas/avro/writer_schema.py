"""A writer's schema: parsed, bounded, and reduced to what shapes the bytes.

Schemas come from other people. A schema's text, nodes, depth and names are bounded before anything is made of them, so
that work and memory grow with the text. Logical types are ignored: a string that is not a uuid, or a time beyond
Python's years, is a value to be answered, not one to fail on.

Source: Avro specification 1.12, "Schema declaration".
"""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType

Schema: TypeAlias = Any
"""Parsed JSON: a name, a union (list) or a definition (dict)."""

SCHEMA_MAX_CHARS: Final = 256 * 1024
"""Characters of a writer's schema, referenced schemas included: about fifty times our own schema."""
SCHEMA_MAX_NODES: Final = 20_000
"""Types, fields, symbols and other values of a writer's schema. Each costs up to 1 KB of memory and 25 us."""
SCHEMA_MAX_DEPTH: Final = 200
"""Levels of JSON in a writer's schema; the parser recurses on the C stack, which is small on some threads."""
NAME_MAX_CHARS: Final = 512
"""Characters of a name or namespace: each named type is known by both, so a long namespace would multiply."""
_EXCERPT_CHARS: Final = 200
"""Characters of a message about somebody else's schema."""

NOT_A_SCHEMA: Final = (
    *(SchemaParseException, UnknownType, AttributeError, IndexError),
    *(KeyError, RecursionError, TypeError, ValueError),
)
"""Exceptions that fastavro and our own code raise for a text that is not an Avro schema."""
_STRUCTURE: Final = frozenset({"type", "name", "namespace", "fields", "items", "values", "symbols", "size"})


class SchemaError(ValueError):
    """The schema is not one, or cannot be resolved to ours."""


def parse_writer(text: str) -> tuple[Schema, Mapping[str, Schema], int]:
    """Return a writer's schema, its named types by full name, and the number of its nodes.

    Nothing is left of the schema but what shapes the bytes. Raises `SchemaError`.
    """
    if len(text) > SCHEMA_MAX_CHARS:
        raise SchemaError(f"the schema has {len(text)} characters, more than the {SCHEMA_MAX_CHARS} that are read")
    named: dict[str, Schema] = {}
    structure = _Structure()
    try:
        return parse_schema(structure.of(json.loads(text), SCHEMA_MAX_DEPTH), named), named, structure.nodes
    except SchemaError:
        raise
    except NOT_A_SCHEMA as error:
        raise SchemaError(f"not an Avro schema: {schema_excerpt(error)}") from error


def schema_excerpt(error: Exception) -> str:
    """Return the beginning of a message about somebody else's schema."""
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
