"""Events of the core, as plain values.

Adapters and the driver create events and post them; ``Core.handle`` takes those of a turn, with the time at which
they are handled. An event holds no live object of its sender, so a list of events can be logged, compared and replayed.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from consumer.domain.calls import CallOutcome
from consumer.domain.model import Directory
from consumer.engine.commands import Commit
from consumer.engine.records import ReadRange, Record


class TransactionResult(Enum):
    """End of a transaction."""

    COMMITTED = auto()
    ABORTED = auto()
    """Certainly without effect: its outcomes go into a later transaction."""
    UNKNOWN = auto()
    """It may have committed: only the broker's committed offsets can tell."""


@dataclass(frozen=True, slots=True)
class TransactionTrouble:
    """Reason why a transaction did not commit, other than a rebalance."""

    message: str
    """Problem and remedy, for people."""
    metadata_too_large: bool = False
    """The brokers refused a progress map for its size (``offset.metadata.max.bytes``)."""


# -- the consumer's thread -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """The consumer has become a member of its group, or has ceased to be one."""

    member: bool


@dataclass(frozen=True, slots=True)
class BrokerTrouble:
    """No broker is reachable, which closes the intake; or one is again (``message`` is ``None``)."""

    message: str | None
    """Problem and remedy; ``None`` once the brokers respond again."""


@dataclass(frozen=True, slots=True)
class PartitionTroubles:
    """The assigned partitions that have not been read for a long time, all of them."""

    messages: Mapping[int, str]
    """Partition -> why, and what to do. Empty once all are read again."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """A partition was assigned, and its committed offset and progress map were read; delivery starts at ``offset``."""

    partition: int
    epoch: int
    """Distinguishes this assignment from every other one of the process."""
    offset: int
    metadata: str | None
    """The progress map that was committed with ``offset``."""
    topic_id: bytes = b""
    """Committed with the progress; empty if it is not known."""


@dataclass(frozen=True, slots=True)
class OffsetReset:
    """A position was out of the log's range; ``Assigned`` or ``Fetched`` follows from where the log goes on."""

    partition: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """Partitions were read further.

    ``records`` are all records of these ranges, in the order of each partition. A range without records says that the
    log holds none there.
    """

    ranges: Mapping[int, ReadRange]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Revoking:
    """Partitions are to be given up: finish what is in flight, take nothing more in. ``Drained`` is the answer.

    The core waits only for answers that are due within ``patience`` seconds: the next owner repeats the other calls.
    ``None``: there is no next owner, since the log is gone, so the core waits for all answers.
    """

    partitions: Sequence[int]
    patience: float | None


@dataclass(frozen=True, slots=True)
class Unassigned:
    """Partitions were given up or lost: their unfinished work belongs to the next owner."""

    partitions: Sequence[int]


# -- the committer's thread ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishingTrouble:
    """No transaction can begin, for example for lack of rights, so no call may start; or one can begin again."""

    message: str | None
    """Problem and remedy; ``None`` once a transaction can begin."""


@dataclass(frozen=True, slots=True)
class TransactionFinished:
    """The transaction that ``Commit`` asked for has ended: committed, aborted, or of unknown end."""

    commit: Commit
    result: TransactionResult
    kept: frozenset[int]
    """Partitions that were still assigned when the transaction was made."""
    trouble: TransactionTrouble | None = None
    """Reason why it did not commit; ``None`` if it did, or if a rebalance was the reason."""


# -- the driver ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The CM21 call that ``StartCall`` asked for has ended, with an answer or a failure."""

    call_id: int
    outcome: CallOutcome


@dataclass(frozen=True, slots=True)
class DirectoryConfirmed:
    """The database answered ``ConfirmDirectory``: the known snapshot is still true, or here is a newer one."""

    asked_at: float
    """Monotonic seconds at which the question was asked."""
    directory: Directory | None
    """The new snapshot; ``None`` if the known one is still valid."""


@dataclass(frozen=True, slots=True)
class DirectoryUnavailable:
    """The database did not answer ``ConfirmDirectory``. The message is for ``/readyz``, with its remedy."""

    message: str
    """Problem and remedy."""


@dataclass(frozen=True, slots=True)
class SchemaFound:
    """The decoder has learnt the writer schema that ``LookUpSchema`` asked for."""

    reference: Hashable


@dataclass(frozen=True, slots=True)
class SchemaMissing:
    """The registry answered ``LookUpSchema`` with its own error code that it has no such schema."""

    reference: Hashable


@dataclass(frozen=True, slots=True)
class SchemaUnavailable:
    """The registry did not answer ``LookUpSchema``, which says nothing about the schema."""

    reference: Hashable
    message: str
    """Problem and remedy."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: one every ``Policy.tick`` to ``tick_longest`` seconds, for deadlines and back-pressure."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Take nothing more in and finish what can be finished. ``Stopped`` is the answer."""


@dataclass(frozen=True, slots=True)
class ThreadFailed:
    """A thread or task of the service ended by an unexpected exception; handling the event raises it."""

    problem: BaseException


Event: TypeAlias = (
    MembershipChanged
    | BrokerTrouble
    | PartitionTroubles
    | Assigned
    | OffsetReset
    | Fetched
    | Revoking
    | Unassigned
    | PublishingTrouble
    | TransactionFinished
    | CallFinished
    | DirectoryConfirmed
    | DirectoryUnavailable
    | SchemaFound
    | SchemaMissing
    | SchemaUnavailable
    | Tick
    | StopRequested
    | ThreadFailed
)
