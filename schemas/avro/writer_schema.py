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

from schemas.avro.policy import SCHEMAS

Schema: TypeAlias = Any
"""Parsed JSON: a name, a union (list) or a definition (dict)."""


NOT_A_SCHEMA: Final = (
    *(SchemaParseException, UnknownType, AttributeError, IndexError),
    *(KeyError, RecursionError, TypeError, ValueError),
)
"""Exceptions that fastavro and our own code raise for a text that is not an Avro schema."""
_STRUCTURE: Final = frozenset({"type", "name", "namespace", "fields", "items", "values", "symbols", "size"})


class SchemaError(ValueError):
    """A text that is not an Avro schema, exceeds the bounds, or cannot be resolved to ours.

    The message names no secret.
    """


def parse_writer(text: str) -> tuple[Schema, Mapping[str, Schema], int]:
    """Return a writer's schema, its named types by full name, and the number of its nodes.

    Nothing is left of the schema but what shapes the bytes. Raises `SchemaError`.
    """
    if len(text) > SCHEMAS.schema_characters:
        raise SchemaError(
            f"the schema has {len(text)} characters, more than the {SCHEMAS.schema_characters} that are read"
        )
    named: dict[str, Schema] = {}
    structure = _Structure()
    try:
        return parse_schema(structure.of(json.loads(text), SCHEMAS.schema_depth), named), named, structure.nodes
    except SchemaError:
        raise
    except NOT_A_SCHEMA as error:
        raise SchemaError(f"not an Avro schema: {schema_excerpt(error)}") from error


def schema_excerpt(error: Exception) -> str:
    """Return the beginning of a message about somebody else's schema, cut to what a result or a log line can carry."""
    return str(error)[: SCHEMAS.excerpt_characters]


class _Structure:
    """Copies what shapes the bytes out of a schema, within the bounds."""

    def __init__(self) -> None:
        self.nodes = 0

    def of(self, node: Schema, depth: int) -> Schema:
        self.nodes += 1
        if self.nodes > SCHEMAS.schema_nodes:
            raise SchemaError(f"the schema has more than {SCHEMAS.schema_nodes} types, fields and symbols")
        if not depth:
            raise SchemaError(f"the schema is nested more than {SCHEMAS.schema_depth} levels deep")
        if isinstance(node, list):
            return [self.of(item, depth - 1) for item in node]
        if isinstance(node, dict):
            return {key: self._part(key, value, depth - 1) for key, value in node.items() if key in _STRUCTURE}
        return node

    def _part(self, key: str, value: Schema, depth: int) -> Schema:
        if key not in ("name", "namespace"):
            return self.of(value, depth)
        if isinstance(value, str) and len(value) > SCHEMAS.name_characters:
            raise SchemaError(f"a name in the schema has {len(value)} characters, more than {SCHEMAS.name_characters}")
        return value
