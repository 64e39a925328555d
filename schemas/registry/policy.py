"""Numbers of the connection to a schema registry, each with its unit and its reason."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RegistryPolicy:
    """Bounds on one answer of a registry and on what is asked for one schema."""

    head_bytes: int = 128 * 1024
    """Received before the first byte of the body, informational responses included: two full reads."""
    framing_factor: int = 2
    """Bytes that may be received for each byte of the body. Chunks of one byte, which cost six, are cut off."""
    body_bytes: int = 1 << 20
    """Bytes of an answer: the longest schema that is read, with each character escaped."""
    references: int = 100
    """Schemas that one schema may be made of."""
    excerpt_characters: int = 200
    """Characters of the registry's own words in a message."""
    timeout_seconds: float = 10.0
    """Seconds for one complete answer."""


REGISTRY: Final = RegistryPolicy()
