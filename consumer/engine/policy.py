"""The engine's numbers: bounds, times and shares, each with its unit, its default and its reason.

A test that needs another number creates a ``Policy`` with it. ``docs/develop/policy.md`` has the same table.
"""

from dataclasses import dataclass, field
from typing import Any

from consumer.domain.progress import WINDOW
from schemas.contract import MAX_PRODUCTS, REQUEST_DEADLINE_SECONDS

MIB = 1024 * 1024


def _number(default: float, unit: str, reason: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"unit": unit, "reason": reason})


@dataclass(frozen=True, slots=True)
class Policy:
    """All numbers of one core and its driver, each with its unit and reason. Shares are of 1.

    docs/develop/policy.md is made from it. Tests set fields instead of patching constants.
    """

    # -- requests --------------------------------------------------------------------------------------
    request_deadline: float = _number(
        REQUEST_DEADLINE_SECONDS, "s", "From reading a request to its outcome (RESYNC_REQUEST_DEADLINE)."
    )
    max_products: int = _number(
        MAX_PRODUCTS, "products", "Of one request (RESYNC_MAX_PRODUCTS_PER_REQUEST); more are answered 400."
    )
    call_margin_most: float = _number(
        5.2, "s", "No call starts for a request with less than 5 s left; the time is looked at once a tick."
    )
    call_margin_share: float = _number(5 / 6, "share", "Of a deadline too short for that margin.")
    answer_margin: float = _number(
        0.5, "s", "A request whose call is in flight is answered this long before its deadline."
    )

    # -- bounds on what is in flight -------------------------------------------------------------------
    window: int = _number(
        WINDOW,
        "offsets",
        "Of a partition, from its lowest unfinished record to the newest one taken in: the map of them fits in a "
        "commit.",
    )
    records: int = _number(40_000, "records", "In flight, all partitions.")
    active_records: int = _number(12_000, "records", "In flight in lanes that can call: more would only wait.")
    record_bytes: int = _number(64 * MIB, "bytes", "Of the records in flight.")
    event_bytes: int = _number(
        512 * 1024,
        "bytes",
        "Of the records that one event decides about, at up to 1 s per MB: the loop stays responsive to calls and"
        " rebalances.",
    )
    calls: int = _number(256, "calls", "In flight, all lanes.")
    shared_calls_share: float = _number(
        0.75, "share", "Of these for lanes that have a call in flight already; the rest is for those that have none."
    )

    # -- admission: the directory ----------------------------------------------------------------------
    directory_interval: float = _number(1.0, "s", "Between two reads of the directory that nobody waits for.")
    directory_gap: float = _number(0.02, "s", "Between two reads, however many requests wait for one.")
    directory_patience: float = _number(
        5.0, "s", "A change counts within this time; an older snapshot closes the intake."
    )
    event_pause: float = _number(0.001, "s", "Until an event goes on that left records undecided for `event_bytes`.")
    look_ahead_records: int = _number(
        1000, "records", "Decided about per tick before they are taken in, to see whom a full lane or window holds up."
    )

    # -- admission: writer schemas and order -----------------------------------------------------------
    schema_retry: float = _number(2.0, "s", "Between two questions to a registry in trouble.")
    schema_confirmation: float = _number(
        30.0,
        "s",
        "Between the two answers that make an id unknown for good: a registry that was just restored may not know"
        " it yet.",
    )
    schema_lookups: int = _number(
        8, "questions", "To the registry in flight, 1 while it is in trouble: anyone can make up ids."
    )
    unread_bytes: int = _number(
        MIB,
        "bytes",
        "Of unread values of one tenant and partition that are searched for ids, 0.5 ms per id; beyond, newer "
        "requests wait in order.",
    )
    searched_bytes: int = _number(
        32 * MIB, "bytes", "Searched for one request (ids times unread bytes), about 15 ms; beyond, it waits."
    )
    search_discount: int = _number(64, "bytes", "Searched that cost as much as one byte of `event_bytes`.")

    # -- lanes: speed ----------------------------------------------------------------------------------
    typical_weight: float = _number(0.2, "share", "Of the newest call in the running mean of call durations.")
    longest_kept: float = _number(0.9, "share", "Of the decaying maximum of call durations that the next call leaves.")
    shortest_call: float = _number(0.001, "s", "No call is taken to last less.")
    caution: float = _number(
        5.0, "s", "No call is expected to take less as long as few have come back; shrinks by `longest_kept` with each."
    )
    caution_share: float = _number(
        0.5,
        "share",
        "Of the longest wait that a call is expected to take before the first one came back: one batch queued per"
        " call in flight meets any deadline that the first one meets.",
    )
    throughput_weight: float = _number(
        0.05, "share", "Of the newest call in the running mean of products decided per call."
    )
    tail_factor: float = _number(
        2.0, "times", "The usual duration, from which a call no longer keeps the next batch waiting."
    )
    tail: float = _number(0.1, "s", "No call counts as slow before this.")
    read_ahead: float = _number(
        4.0,
        "s",
        "Of work that a lane may queue whose partitions feed no other: a pause costs nobody anything there, and "
        "what is unread cannot miss its deadline.",
    )
    read_ahead_calls: float = _number(3.0, "calls", "The same for slow calls, one after the other.")

    # -- lanes: health ---------------------------------------------------------------------------------
    stall: float = _number(
        5.0, "s", "Without a call back, and `stall_factor` times the usual duration: the lane is stalled."
    )
    hesitation: float = _number(
        0.5,
        "s",
        "The same: the lane may be dead, so its partitions are not paused for exceeding its share, and no stop or "
        "revocation waits for it.",
    )
    stall_factor: float = _number(4.0, "times", "The usual duration.")
    throttled: float = _number(
        5.0, "s", "A lane whose quota allows its next call later than this is throttled; up to there it is merely slow."
    )
    own_trouble_retry: float = _number(
        1.0, "s", "Until the next probe after a call that failed for lack of our own resources."
    )
    call_trouble: float = _number(5.0, "s", "For which such a failure closes the intake: five probes of its lane.")

    # -- lanes: bisection of refused batches -----------------------------------------------------------
    search_calls: int = _number(
        1, "calls", "In a row that carry requests of refused batches while a whole batch of others waits: half of all."
    )
    search_calls_most: int = _number(3, "calls", "The same while fewer wait, which fill up meanwhile: three quarters.")
    batch_decrease: float = _number(0.5, "share", "Of its size that a refused batch leaves to the next ones.")
    batch_increase: int = _number(8, "requests", "By which batches may grow after one that was accepted.")
    groups_in_a_row: int = _number(
        8, "calls", "For groups, after which leftovers travel although they fill no batch yet."
    )

    # -- back-pressure ---------------------------------------------------------------------------------
    undecided_share: float = _number(
        0.5,
        "share",
        "Of the records, and of the bytes, in flight that may be undecided; then the partitions that bring them "
        "are paused.",
    )
    undecided_ease: float = _number(0.8, "share", "Of that, below which they no longer are.")
    blocked_share: float = _number(
        0.5,
        "share",
        "Of the bytes in flight that fetched records of blocked partitions may hold; beyond, they are given back "
        "and read again later.",
    )
    low_watermark: float = _number(0.75, "share", "Of a window, below which a paused partition is resumed.")
    lanes_weighed_at_once: int = _number(
        32,
        "lanes",
        "Up to so many, all are weighed as soon as one is answered for the first time; with more, at the next tick: "
        "weighing takes some microseconds a lane, and at a start each lane gets a first answer.",
    )
    overfull_ease: float = _number(0.5, "share", "Of its bound, below which a lane is no longer overfull.")
    scarce: float = _number(
        0.6,
        "share",
        "Of the records in flight from which lanes are held to their share: librdkafka hands over what it has "
        "fetched a partition at a time, and pausing costs all of it.",
    )
    crowded: float = _number(
        0.75,
        "share",
        "The same from which no partition is spared for feeding other lanes as well: here it costs less than all "
        "partitions without.",
    )
    seek_records: int = _number(
        1000,
        "records",
        "Fetched of a partition beyond what can be taken in, where its lanes may be unable to call, to see "
        "whether it holds up others.",
    )
    full_patience: float = _number(1.0, "s", "Without a fetch budget, after which the partitions are paused.")
    shed_from: float = _number(0.75, "share", "Of a window or a budget from which lanes that cannot call are shed.")
    shed_to: float = _number(0.5, "share", "The same down to which they are.")

    # -- partitions ------------------------------------------------------------------------------------
    reread_first: float = _number(
        2.0,
        "s",
        "After a range that left a hole, until the missing part is asked for again: a fetch from a slow broker "
        "must have time to come.",
    )
    reread_most: float = _number(60.0, "s", "The same after many.")
    hole_patience: float = _number(20.0, "s", "A partition where each range has left a hole for longer is reported.")
    problems_shown: int = _number(3, "texts", "Of problems of the same kind in the status.")

    # -- giving up -------------------------------------------------------------------------------------
    stop_patience: float = _number(
        3.0,
        "s",
        "For which a stop waits for answers that are due: until it is over, nobody serves its partitions. The next "
        "owner repeats the other calls.",
    )
    unheard_patience: float = _number(
        2.0,
        "s",
        "Up to which a stop waits for the first calls to a Mirakl: how long they take is not known yet, and a dead "
        "one looks the same.",
    )

    # -- transactions ----------------------------------------------------------------------------------
    gather: float = _number(
        0.02, "s", "For which outcomes gather after a transaction: the broker is still finishing it."
    )
    transaction_enough: int = _number(2_000, "outcomes", "That are worth a transaction at once.")
    transaction_most: int = _number(5_000, "outcomes", "Of one partition in one transaction.")
    broker_patience: float = _number(
        5.0, "s", "Outcomes that wait for longer without a commit mean that the brokers are in trouble."
    )
    failures_to_close: int = _number(
        3, "transactions", "Failed in a row that close the intake: a broker that restarts costs one or two."
    )
    attempt_factor: float = _number(2.0, "times", "By which the pause after a failed transaction grows, from `gather`.")
    attempt_pause_most: float = _number(
        10.0, "s", "The longest such pause: so long may it take to notice that an operator has helped."
    )
    attempt_pause_hurried: float = _number(1.0, "s", "The same while partitions are given up or the service stops.")
    attempt_growth: int = _number(8, "times", "By which a transaction may be larger after one that committed.")

    # -- the loop --------------------------------------------------------------------------------------
    tick: float = _number(0.1, "s", "Between two ticks.")
    status_interval: float = _number(0.25, "s", "Between two snapshots for health and metrics.")
    shortest_wait: float = _number(0.001, "s", "Of the loop for something that is due.")

    @property
    def shared_calls(self) -> int:
        """Calls in flight from which only lanes without one may start another; at least 1."""
        return max(1, int(self.calls * self.shared_calls_share))

    @property
    def longest_wait(self) -> float:
        """Seconds that a request may be expected to wait in a healthy lane: half of those in which calls may start."""
        return (self.request_deadline - self.call_margin) / 2

    @property
    def call_margin(self) -> float:
        """Seconds that must be left of a deadline for a call to start."""
        return min(self.call_margin_most, self.call_margin_share * self.request_deadline)
