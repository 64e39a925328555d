"""Bounds on what anyone may make us read in Avro, each with its unit and its reason."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SchemaPolicy:
    """Bounds on one schema of somebody else, on all that are kept, and on a result."""

    schemas: int = 1_000
    """Learnt schemas that are kept: far more than producers of one topic have."""
    nodes: int = 80_000
    """Nodes of all learnt schemas together, four of the largest: up to 1 KB of memory each."""
    refused: int = 10_000
    """Refused schemas that are kept, with a message of up to 500 characters each: 10 MB."""
    schema_characters: int = 256 * 1024
    """Characters of a writer's schema, referenced schemas included: about fifty times our own schema."""
    schema_nodes: int = 20_000
    """Types, fields, symbols and other values of a writer's schema. Each costs up to 1 KB of memory and 25 us."""
    schema_depth: int = 200
    """Levels of JSON in a writer's schema; the parser recurses on the C stack, which is small on some threads."""
    name_characters: int = 512
    """Characters of a name or namespace: each named type is known by both, so a long namespace would multiply."""
    excerpt_characters: int = 200
    """Characters of a message about somebody else's schema."""
    result_bytes: int = 16 << 20
    """Larger than any result: one names at most the products of one request."""


SCHEMAS: Final = SchemaPolicy()
