"""Ports: the protocols through which the engine uses its adapters."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.domain.calls import CallOutcome
from consumer.domain.model import ClientSpecification, Directory, Products
from consumer.engine.commands import Reload, Reread
from schemas.contract import DeadLetterReason
from schemas.errors import ExplainedError


@dataclass(frozen=True, slots=True)
class NotARequest:
    """The record can never be read as a request: it becomes a dead letter with this reason and message."""

    reason: DeadLetterReason
    message: str


@dataclass(frozen=True, slots=True)
class SchemaNeeded:
    """The record can be read once the writer schema with this reference is known."""

    reference: Hashable


class Decoder(Protocol):
    """Reads records as ``ProductResyncRequested``. Its only state is the writer schemas that it has learnt."""

    def decode(self, value: bytes | None, schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:
        """Return the fields of a record's value, by the contract's names.

        Never raises, whatever the bytes, and costs at most in proportion to their number. On the core's thread.
        """
        ...


class MiraklCalls(Protocol):
    """Calls of CM21, Mirakl's synchronization of products, on the asyncio loop."""

    async def synchronize(self, specification: ClientSpecification, products: Products) -> CallOutcome:
        """Send one batch of at least one product and return how it ended.

        Every failure outside of this program is an outcome, not an exception. Ends within ``RESYNC_CALL_TIMEOUT``.
        """
        ...


class DirectorySource(Protocol):
    """The stores as the engine reads them. Its calls block, so the driver makes them on a separate thread."""

    def read(self, known_version: int | None) -> Directory | None:
        """Return the newest snapshot; ``None`` if it is still the known version. Raises ``SourceError``."""
        ...


class SchemaSource(Protocol):
    """The schema registry as the engine queries it. The decoder learns a schema before the call returns."""

    async def learn(self, reference: Hashable) -> bool:
        """Teach the decoder a writer schema; ``False`` if the registry has none. Raises ``SourceError``."""
        ...


class SourceError(ExplainedError):
    """A part of ours is broken or unavailable; the records that need it wait."""


class RecordSource(Protocol):
    """The owner thread of the Kafka consumer. All calls return at once; the thread carries them out between polls."""

    def pause(self, partitions: Sequence[int]) -> None: ...

    def resume(self, partitions: Sequence[int]) -> None: ...

    def drained(self, partitions: Sequence[int]) -> None: ...

    def reload(self, reload: Reload) -> None: ...

    def reread(self, reread: Reread) -> None: ...


class OutcomeSink(Protocol):
    """The committer thread, which publishes outcomes. Calls return at once; the end is an event."""

    def commit(self, commit: Any) -> None: ...  # noqa: ANN401 - engine.commands.Commit, which would close a circle
