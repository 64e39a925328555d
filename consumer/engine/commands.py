"""Commands of the core, as plain values; the driver carries them out."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from consumer.domain.model import ClientSpecification, Products
from consumer.engine.requests import Part, Request


@dataclass(frozen=True, slots=True)
class StartCall:
    """Send one batch to CM21 without waiting. Answered by ``CallFinished`` with the same number, always."""

    call_id: int
    specification: ClientSpecification
    products: Products
    parts: Sequence[Part] = field(repr=False)
    """The requests, or parts of large ones, that travel in it."""

    @property
    def requests(self) -> int:
        """Number of requests, or parts of large ones."""
        return len(self.parts)


@dataclass(frozen=True, slots=True)
class PartitionCommit:
    """The part of a transaction that concerns one partition; all of it takes effect or nothing."""

    partition: int
    epoch: int
    offset: int
    metadata: str
    outcomes: Sequence[Request]
    """Requests with their verdicts, to be published."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Publish outcomes and commit offsets and progress maps in one transaction.

    At most one is under way. Answered by ``TransactionFinished``, or by ``ThreadFailed``, which ends the process.
    """

    number: int
    partitions: Sequence[PartitionCommit]


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop fetching these partitions; polling goes on. What the library has already fetched of them is dropped."""

    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Resume:
    """Fetch these partitions again, from where they were paused."""

    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing more of these partitions will be committed: a revocation that waits for that may return."""

    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the committed offset of a partition again, after a commit of unknown end, and start a new epoch there."""

    partition: int
    epoch: int
    """Of the assignment that ends with this."""


@dataclass(frozen=True, slots=True)
class Reread:
    """Read a partition again from ``offset``: the last delivery left a hole there, or a backlog was dropped."""

    partition: int
    epoch: int
    offset: int
    given_back: bool = False
    """Not a fault: the core dropped a backlog that it had no room for."""


@dataclass(frozen=True, slots=True)
class ReportIgnoredMap:
    """Log that the progress map of a partition is ignored, so that an operator can find out who wrote it."""

    partition: int
    offset: int
    """The committed offset that the map came with."""
    reason: str


@dataclass(frozen=True, slots=True)
class ConfirmDirectory:
    """Ask the database whether the directory has changed.

    Answered by ``DirectoryConfirmed`` or ``DirectoryUnavailable``, always. At most one is under way.
    """

    asked_at: float


@dataclass(frozen=True, slots=True)
class LookUpSchema:
    """Ask the registry for a writer schema.

    Answered by ``SchemaFound``, ``SchemaMissing`` or ``SchemaUnavailable`` with the same reference, always.
    """

    reference: Hashable


@dataclass(frozen=True, slots=True)
class Stopped:
    """Everything that could be finished is committed: the driver may end its loop and the process."""


Command: TypeAlias = (
    StartCall
    | Commit
    | Pause
    | Resume
    | Drained
    | Reload
    | Reread
    | ReportIgnoredMap
    | ConfirmDirectory
    | LookUpSchema
    | Stopped
)
