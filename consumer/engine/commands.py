"""What the core asks its shell to do, and what the shell hands it: plain values on both sides."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from consumer.domain.model import ClientSpecification, Products
from consumer.domain.progress import CommitPoint
from consumer.engine.requests import Request

RecordHeaders: TypeAlias = Sequence[tuple[str, bytes | None]]


class Instant(NamedTuple):
    """Now, as an argument: the core has no clock."""

    mono: float
    """Seconds of the monotonic clock: what budgets are measured with."""
    wall: float
    """Seconds since the epoch, UTC: for key expiry and ``completedAt`` only."""


@dataclass(frozen=True, slots=True)
class StartCall:
    """Send one batch to CM21; answered by ``Core.call_finished``."""

    call_id: int
    specification: ClientSpecification
    products: Products
    requests: int
    """Requests, or parts of large ones, that travel in it."""


@dataclass(frozen=True, slots=True)
class PartitionCommit:
    """What one transaction says of one partition, all of it or nothing."""

    partition: int
    epoch: int
    offset: int
    metadata: str
    outcomes: Sequence[Request]
    """Requests with their verdicts, to be published."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Publish outcomes and commit offsets in one transaction; answered by ``Core.transaction_finished``."""

    number: int
    partitions: Sequence[PartitionCommit]


@dataclass(frozen=True, slots=True)
class TransactionTrouble:
    """Why a transaction did not commit, other than by a rebalance."""

    message: str
    """What happened and what an operator can do; for people."""
    metadata_too_large: bool = False
    """The brokers refused a progress map for its size (``offset.metadata.max.bytes``)."""


class TransactionResult(Enum):
    """How a transaction ended."""

    COMMITTED = auto()
    ABORTED = auto()
    """Surely without effect: the same outcomes go into a later one."""
    UNKNOWN = auto()
    """It may have committed: only the broker's committed offsets can tell."""


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
    """Read the committed offset of a partition again and start a new epoch there.

    Nobody else commits there, so brokers that say anything but the two below tell of former times.
    """

    partition: int
    epoch: int
    """Of the assignment that ends with this."""
    acknowledged: CommitPoint | None
    """What that assignment has committed last for certain; if nothing, what it began with counts."""
    attempted: CommitPoint
    """What it may have committed since."""


@dataclass(frozen=True, slots=True)
class Reread:
    """Read a partition again from ``offset``: what was delivered last leaves a hole behind it."""

    partition: int
    epoch: int
    offset: int
    given_back: bool = False
    """No fault: the core gave back what it had no room for."""


@dataclass(frozen=True, slots=True)
class ConfirmDirectory:
    """Ask the database whether the directory changed; answered by ``Core.directory_confirmed`` or ``_failed``."""

    asked_at: float


@dataclass(frozen=True, slots=True)
class LookUpSchema:
    """Ask the registry for a writer schema; answered by ``Core.schema_found``, ``_missing`` or ``_failed``."""

    reference: Hashable


@dataclass(frozen=True, slots=True)
class Stopped:
    """All that could be finished is committed: close the shop."""


Command: TypeAlias = (
    StartCall | Commit | Pause | Resume | Drained | Reload | Reread | ConfirmDirectory | LookUpSchema | Stopped
)
