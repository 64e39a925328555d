"""The commands that leave the core, as plain values; the driver carries them out."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from consumer.domain.model import ClientSpecification, Products
from consumer.engine.requests import Request


@dataclass(frozen=True, slots=True)
class StartCall:
    """Send one batch to CM21; answered by ``CallFinished``."""

    call_id: int
    specification: ClientSpecification
    products: Products
    requests: int
    """Requests, or parts of large ones, that travel in it."""


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
    """Publish outcomes and commit offsets in one transaction; answered by ``TransactionFinished``."""

    number: int
    partitions: Sequence[PartitionCommit]


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop fetching these partitions; polling goes on."""

    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Resume:
    """Fetch these partitions again."""

    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing more of these partitions will be committed: they may be given up."""

    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the committed offset of a partition again, after a commit of unknown end, and start a new epoch there."""

    partition: int
    epoch: int
    """Of the assignment that ends with this."""


@dataclass(frozen=True, slots=True)
class Reread:
    """Read a partition again from ``offset``: what was delivered last leaves a hole behind it."""

    partition: int
    epoch: int
    offset: int
    given_back: bool = False
    """Not a fault: the core dropped a backlog that it had no room for."""


@dataclass(frozen=True, slots=True)
class ConfirmDirectory:
    """Ask the database whether the directory changed; answered by ``DirectoryConfirmed`` or ``-Unavailable``."""

    asked_at: float


@dataclass(frozen=True, slots=True)
class LookUpSchema:
    """Ask the registry for a writer schema; answered by ``SchemaFound``, ``-Missing`` or ``-Unavailable``."""

    reference: Hashable


@dataclass(frozen=True, slots=True)
class Stopped:
    """Everything that could be finished is committed: the process may end."""


Command: TypeAlias = (
    StartCall | Commit | Pause | Resume | Drained | Reload | Reread | ConfirmDirectory | LookUpSchema | Stopped
)
