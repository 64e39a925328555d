"""Writer schemas learnt from a registry, within bounds.

Anyone who may write records can name any schema of the registry, so what is remembered of them is bounded by
number and by memory. What was used least recently makes room; it is asked for again when it is needed.
Schemas that were refused have room of their own: naming them never costs a schema that is in use.
"""

from collections import OrderedDict
from dataclasses import dataclass

from schemas.avro.framing import SchemaRef
from schemas.avro.policy import SCHEMAS
from schemas.avro.resolution import Resolved
from schemas.contract import DeadLetterReason


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Permanent reason why bytes are not a record of the expected kind.

    The service dead-letters such a record with ``reason`` and ``message``; the tools leave it out with a warning.
    """

    reason: DeadLetterReason
    message: str
    """For people, bounded."""


class LearntSchemas:
    """Decides which learnt schemas to keep, within the bounds of ``schemas.avro.policy``.

    Holds names and sizes only; the decoder keeps what was made of the schemas. Not safe for several threads.
    """

    def __init__(self) -> None:
        self._nodes_of: OrderedDict[SchemaRef, int] = OrderedDict()
        """Nodes of each schema that can be read, the least recently used first."""
        self._nodes = 0
        self._refused: OrderedDict[SchemaRef, Unreadable] = OrderedDict()

    def add(self, ref: SchemaRef, prepared: Resolved | Unreadable) -> list[SchemaRef]:
        """Keep a schema, or its refusal; return the schemas that made room for it, which the decoder has to forget."""
        if isinstance(prepared, Unreadable):
            self._refused[ref] = prepared
            if len(self._refused) > SCHEMAS.refused:
                self._refused.popitem(last=False)
            return []
        self._nodes += prepared.nodes - self._nodes_of.pop(ref, 0)
        self._nodes_of[ref] = prepared.nodes
        made_room = []
        while len(self._nodes_of) > SCHEMAS.schemas or self._nodes > SCHEMAS.nodes:
            evicted, nodes = self._nodes_of.popitem(last=False)
            self._nodes -= nodes
            made_room.append(evicted)
        return made_room

    def touch(self, framing: bytes) -> None:
        """Note that a record was written with this schema, so that it is not the next one to make room."""
        ref = SchemaRef(framing)
        if ref in self._nodes_of:
            self._nodes_of.move_to_end(ref)

    def refused(self, ref: SchemaRef) -> Unreadable | None:
        """Return why records of this schema are unreadable; ``None``: it is not known, or it can be read."""
        return self._refused.get(ref)
