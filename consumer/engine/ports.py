"""What the engine needs from the world, as it sees it."""

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
    """The bytes of a record cannot be read as a request, now and for ever."""

    reason: DeadLetterReason
    message: str


@dataclass(frozen=True, slots=True)
class SchemaNeeded:
    """The bytes can be read once the registry has said what this reference stands for."""

    reference: Hashable


class Decoder(Protocol):
    """Bytes to the fields of ``ProductResyncRequested``; pure but for the writer schemas it has been taught."""

    def decode(self, value: bytes | None, schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:
        """Read a record's value; never raises, whatever the bytes."""
        ...


class MiraklCalls(Protocol):
    """CM21."""

    async def synchronize(self, specification: ClientSpecification, products: Products) -> CallOutcome:
        """Send one batch; every trouble of the world is an outcome."""
        ...


class DirectorySource(Protocol):
    """The stores; blocking, called on a thread of its own."""

    def read(self, known_version: int | None) -> Directory | None:
        """Give the snapshot, or ``None`` where it is still the one known. Raises ``SourceError``."""
        ...


class SchemaSource(Protocol):
    """The schema registry."""

    async def learn(self, reference: Hashable) -> bool:
        """Teach the decoder this writer schema; ``False``: the registry has none. Raises ``SourceError``."""
        ...


class SourceError(ExplainedError):
    """A part of ours is broken or unavailable; the records that need it wait."""


class RecordSource(Protocol):
    """The owner thread of the Kafka consumer. All calls return at once."""

    def pause(self, partitions: Sequence[int]) -> None: ...

    def resume(self, partitions: Sequence[int]) -> None: ...

    def drained(self, partitions: Sequence[int]) -> None: ...

    def reload(self, reload: Reload) -> None: ...

    def reread(self, reread: Reread) -> None: ...


class OutcomeSink(Protocol):
    """The committer thread. Calls return at once."""

    def commit(self, commit: Any) -> None: ...  # noqa: ANN401 - engine.commands.Commit, which would close a circle
