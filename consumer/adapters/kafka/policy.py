"""Numbers of the Kafka adapters, each with its unit and its reason.

Durations are in seconds and sizes in bytes unless a name says otherwise.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """Numbers behind our defaults of librdkafka's properties; the operator's properties override them."""

    session: float = 10.0
    """Classic protocol: how long the partitions of a dead replica wait for another one."""
    heartbeat: float = 0.2
    """Classic protocol: a member learns of a rebalance with its next heartbeat. Each rebalance has two such rounds, and
    partitions that move are silent through the second. Five small requests a second are what it costs."""
    poll_interval: float = 45.0
    """The owner thread polls every few milliseconds and never blocks longer than a revocation. With the classic
    protocol this is also how long a rebalance waits for members that do not come back; restarted brokers have been
    observed to keep members whose sessions had ended."""
    drain_share_of_poll_interval: float = 0.2
    drain_share_of_session: float = 0.8
    """A revocation must take less than a quarter of the poll interval and less than the session."""
    transaction: float = 8.0
    """Below the session: the open transaction of a dead replica blocks its successor and all subscribers."""
    fetch_bytes: int = 4 << 20
    """One fetch response, all partitions together: a tenth of a second's work at full speed."""
    partition_fetch_least: int = 64 << 10
    partition_fetch_most: int = 256 << 10
    """One partition in one fetch response, or one batch where that is larger: its part of ``fetch_bytes``, within
    these two. A larger batch is only returned for the first partition of a request. All of a response is decompressed
    at once, so with ``fetch_bytes`` this bounds what compressed batches can expand to together."""
    batch_bytes: int = 1_000_000
    """Records that travel together; librdkafka's default."""
    response_headroom_bytes: int = 64 << 10
    """Room in a fetch response for all but its batches."""
    receive_limit_bytes: int = 2**31 - 1
    """Upper end of librdkafka's range for ``receive.message.max.bytes``."""
    longest_number: int = 18
    """Digits of a property's value: anything longer is beyond librdkafka's ranges."""


@dataclass(frozen=True, slots=True)
class ReadingPolicy:
    """Numbers of the owner thread: polls, queries for positions, and unreadable batches."""

    poll: float = 0.02
    """One poll; also the pause after a poll while there is no fetch budget."""
    drain_poll: float = 0.005
    """Between two looks at the core's commands while a revocation waits for it."""
    list_records: int = 1000
    """Records posted at once: 10 to 15 ms of work for the core, during which its loop stands still. With shorter lists,
    calls carry fewer requests where there are many clients."""
    list_bytes: int = 4 << 20
    """A list with more bytes is posted as it is: a compressed batch of 1 MB can expand to 1 GB of records."""
    unreceived_bytes: int = 16 << 20
    """Posted and not yet received by the core; beyond this only one record is fetched per poll."""
    take_records: int = 64
    """Records taken out of the library per call: it copies them before their size is known."""
    metadata_interval: float = 0.05
    """Between two readings of the group metadata: for so long, offsets are sent under a generation that may be over.
    Each takes 50 us and more, with the interpreter lock held. It is also read when assignments change."""
    first_committed_timeout: float = 0.1
    committed_timeout: float = 0.5
    """One query for a committed offset, at first and at most; it is repeated until it is answered."""
    drain_patience: float = 0.25
    """A revocation waits for answers that are due within this time, and for no others. Until its callback returns,
    librdkafka fetches nothing for the partitions that are kept; the next owner repeats the other calls."""
    positions_budget: float = 0.5
    """All such queries of one turn, however many partitions wait: the group hears from us only when we poll."""
    retry: float = 0.2
    """Between two queries about one partition."""
    unread_patience: float = 20.0
    """A partition that has not been read for longer is reported: the transaction of a dead predecessor can be pending
    for up to 18 s."""
    credible_patience: float = 60.0
    """How long the brokers may report progress that lacks a commit of this process before reading goes on from that
    commit. A coordinator that is still loading has finished by then."""
    watermark_timeout: float = 2.0
    wake_timeout: float = 0.1
    """The query that has a broker's partitions fetched at once; nothing depends on its answer."""
    turn: float = 0.25
    """Between two looks for partitions that have records and deliver none, and for how long each is read then."""
    turn_patience: float = 1.0
    """For which a partition waits until those that deliver are paused in its favour; and, without any record from it,
    until they go on."""
    turn_longest_pause: float = 60.0
    """Until a partition that delivered nothing then is given another turn: doubled each time."""
    look_interval: float = 1.0
    """Between two looks for partitions that are not read, and two for brokers once all were down."""
    look_timeout: float = 0.5
    suspicion: float = 10.0
    """After an unreadable batch: the next one within this time is not given a second fetch to heal."""
    unreadable_records: int = 5_000
    """Offsets of an unreadable batch that become dead letters at once; each step fetches the batch in vain again."""
    confirmations: int = 3
    """Errors in a row that make a batch unreadable for good: one may come from a network that garbled it."""


@dataclass(frozen=True, slots=True)
class PublishingPolicy:
    """Numbers of the committer thread: timeouts of the producer's calls, and sizes of records."""

    call_timeout: float = 10.0
    """One repeatable call of the producer; some calls ignore it while the coordinator is unavailable."""
    offsets_timeout: float = 5.0
    """Sending offsets once; the transaction itself lives for 8 s."""
    first_patience: float = 6.0
    longest_patience: float = 60.0
    """Until a producer that does not return from sending offsets is abandoned: doubled each time, since it keeps its
    threads until its connections change. Well below the watchdog's limit for a producer call."""
    end_patience: float = 10.0
    """The end of a transaction; after that the successor finds out, or decides, how it ended."""
    refused_pause: float = 0.1
    """After the group has refused offsets, for the owner thread to learn of the next generation."""
    refused_poll: float = 0.005
    """Between two looks for it."""
    init_timeout: float = 10.0
    """A producer's beginning, which ends what its predecessor left open; ``/readyz`` reports why it does not."""
    retry: float = 0.5
    longest_retry: float = 10.0
    """Between two attempts to create a producer: the first pause, doubled each time, and the longest."""
    full_queue_poll: float = 0.05
    """Wait for room in the producer's queue."""
    smallest_batch_bytes: int = 1_000
    """No two of our records fit into a batch of this size."""
    watched_bytes: int = 32 << 10
    """Records above this size get a delivery report each: a broker may find them too large."""
    shared_results: int = 32
    """CM21 calls whose common part is remembered: those of a transaction of some thousand results, which come
    partition by partition. So many times, partitions and tenants are remembered with their common headers as well."""
    reduced_tracking_ids: int = 100
    """Tracking ids that a result keeps if the broker found all of it too large."""
    smallest_tracking_ids: int = 1
    """The same at the last attempt."""
    smallest_header_bytes: int = 1_024
    """Size of a header at the last attempt: room for a request id; what is longer are headers that a result
    repeats."""


@dataclass(frozen=True, slots=True)
class AdministrationPolicy:
    """Numbers of queries about topics and brokers, and of the topics that ``topics ensure`` creates."""

    reach_timeout: float = 10.0
    """A broker that has not answered by then is unreachable."""
    attempt: float = 2.0
    """One query to the brokers; a refusal is reported before the next."""
    limits_timeout: float = 5.0
    """Query for a topic's configuration: a broker that has just returned its metadata answers this in milliseconds."""
    propagation: float = 10.0
    """A new topic is known to all brokers by then."""
    partitions: int = 12
    """Partitions of each topic that is created: as many replicas or processes can share the work."""
    requests_days: int = 3
    """Days that requests are kept: less than the 7 days after which a group without members loses its offsets."""
    results_days: int = 7
    """Days that results are kept: a subscriber may be down over a long weekend."""
    dead_letters_days: int = 30
    """Days that dead letters are kept: long enough for people to look at them and to redrive them."""
    topic_look: float = 5.0
    """Between two queries for the ids of topics: for so long, requests of a topic that was created again may be
    skipped; then it is read from its start."""
    topic_answer: float = 2.0
    """One such query. The first one delays the start; a broker without topic ids (the embedded one) never answers."""
    topic_id_bytes: int = 8
    """Bytes kept of the 16 random ones of a topic id: enough to tell two topics with the same name apart."""
    clock_answer: float = 5.0
    """For a broker's time, which ``doctor`` compares with ours."""
    refusal_connect: float = 1.0
    """For a connection that only finds out why librdkafka has none."""
    handshake: float = 3.0
    """For TCP and TLS with a broker whose certificate is looked at."""
    trial_connect: float = 3.0
    """One connection to an advertised address."""
    trial_answer: float = 5.0
    """One query to a broker that can be reached."""
    trial_transaction: float = 10.0
    """The beginning of a transaction: a cluster that never had one creates its log first."""


CLIENTS: Final = ClientPolicy()
READING: Final = ReadingPolicy()
PUBLISHING: Final = PublishingPolicy()
ADMIN: Final = AdministrationPolicy()
