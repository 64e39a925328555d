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
        MAX_PRODUCTS, "products", "Maximum of one request (RESYNC_MAX_PRODUCTS_PER_REQUEST); more are answered 400."
    )
    call_margin_most: float = _number(
        5.2, "s", "No call starts for a request with less than 5 s left; 0.2 s are for the time between two ticks."
    )
    call_margin_share: float = _number(5 / 6, "share", "Share of a deadline that is too short for that margin.")
    answer_margin: float = _number(
        0.5, "s", "A request whose call is in flight is answered this long before its deadline."
    )

    # -- bounds on what is in flight -------------------------------------------------------------------
    window: int = _number(
        WINDOW,
        "offsets",
        "Size of a partition's window, from its lowest unfinished record to the newest one taken in: their map "
        "fits in a commit.",
    )
    records: int = _number(50_000, "records", "Maximum in flight, all partitions together.")
    active_records: int = _number(
        30_000,
        "records",
        "In flight in lanes that can call: with 8 clients more would only wait, with hundreds it makes calls larger. "
        "About 4 KB each.",
    )
    record_bytes: int = _number(64 * MIB, "bytes", "Maximum size of the records in flight.")
    turn_bytes: int = _number(
        512 * 1024,
        "bytes",
        "Maximum size of the records that one turn decides about, at up to 1 s per MB: the loop stays responsive"
        " to calls and rebalances.",
    )
    turn_events: int = _number(
        32, "events", "Maximum of a turn: as many calls that have ended take about as long as a list of records."
    )
    calls: int = _number(256, "calls", "Maximum in flight, all lanes together.")
    shared_calls_share: float = _number(
        0.75,
        "share",
        "Part of these for lanes that have a call in flight already; the rest is for lanes that have none.",
    )

    # -- admission: the directory ----------------------------------------------------------------------
    directory_interval: float = _number(1.0, "s", "Between two reads of the directory that no request waits for.")
    directory_gap: float = _number(0.02, "s", "Minimum between two reads, however many requests wait for one.")
    directory_patience: float = _number(
        5.0, "s", "A change of the database takes effect within this time; an older snapshot closes the intake."
    )
    turn_pause: float = _number(
        0.001, "s", "Until the next turn continues with records that `turn_bytes` left undecided."
    )
    look_ahead_records: int = _number(
        1000, "records", "Decided per tick before they are taken in, to see which lanes a full lane or window holds up."
    )

    # -- admission: writer schemas and order -----------------------------------------------------------
    schema_retry: float = _number(2.0, "s", "Between two look-ups in a registry in trouble.")
    schema_confirmation: float = _number(
        30.0,
        "s",
        "Between the two answers that make an id unknown for good: a registry that was just restored may not know"
        " it yet.",
    )
    schema_lookups: int = _number(
        8, "questions", "Maximum in flight, 1 while the registry is in trouble: anyone can make up ids."
    )
    unread_bytes: int = _number(
        MIB,
        "bytes",
        "Maximum size of the unread values of one tenant and partition that are searched for ids, 0.5 ms per id; "
        "beyond, newer requests wait in order.",
    )
    searched_bytes: int = _number(
        32 * MIB, "bytes", "Maximum searched for one request (ids times unread bytes), about 15 ms; beyond, it waits."
    )
    search_discount: int = _number(64, "bytes", "Searched bytes that cost as much as one byte of `turn_bytes`.")

    # -- lanes: speed ----------------------------------------------------------------------------------
    typical_weight: float = _number(0.2, "share", "Weight of the newest call in the running mean of call durations.")
    longest_kept: float = _number(
        0.9, "share", "Factor by which each call lowers the decaying maximum of call durations."
    )
    shortest_call: float = _number(0.001, "s", "Lower bound of a call's duration in all calculations.")
    caution: float = _number(
        5.0, "s", "Least expected duration of a call while few have come back; shrinks by `longest_kept` with each."
    )
    caution_share: float = _number(
        0.5,
        "share",
        "Share of the longest wait that a call is expected to take before the first one has come back: one batch "
        "queued per call in flight meets any deadline that the first one meets.",
    )
    throughput_weight: float = _number(
        0.05, "share", "Weight of the newest call in the running mean of products decided per call."
    )
    tail_factor: float = _number(
        2.0, "times", "Multiple of the usual duration from which a call no longer keeps the next batch waiting."
    )
    tail: float = _number(0.1, "s", "No call counts as slow before this time.")
    read_ahead: float = _number(
        4.0,
        "s",
        "Work that a lane may have queued if its partitions feed no other: a pause costs nothing there, and an "
        "unread request cannot miss its deadline.",
    )
    read_ahead_calls: float = _number(
        3.0, "calls", "The same for slow calls, as a number of calls one after the other."
    )

    # -- lanes: health ---------------------------------------------------------------------------------
    stall: float = _number(
        5.0,
        "s",
        "A lane is stalled if no call has come back for this time and `stall_factor` times the usual duration.",
    )
    hesitation: float = _number(
        0.5,
        "s",
        "The same for a lane that may be dead: its partitions are not paused for exceeding its share, and no stop"
        " or revocation waits for it.",
    )
    stall_factor: float = _number(4.0, "times", "Multiple of the usual duration.")
    throttled: float = _number(
        5.0, "s", "A lane whose quota allows its next call later than this is throttled; up to this it is only slow."
    )
    own_trouble_retry: float = _number(
        1.0, "s", "Until the next probe after a call that failed because our own resources were exhausted."
    )
    call_trouble: float = _number(5.0, "s", "Such a failure closes the intake for this time: five probes of its lane.")

    # -- lanes: bisection of refused batches -----------------------------------------------------------
    search_calls: int = _number(
        1,
        "calls",
        "Calls in a row that carry requests of refused batches while a whole batch of others waits: half of all calls.",
    )
    search_calls_most: int = _number(
        3, "calls", "The same while fewer requests wait, whose batch fills up meanwhile: three quarters."
    )
    batch_decrease: float = _number(0.5, "share", "Factor by which a refused batch reduces the size of the next ones.")
    batch_increase: int = _number(8, "requests", "Growth of the batch size after one that was accepted.")
    groups_in_a_row: int = _number(
        8, "calls", "Maximum of calls for groups, after which leftovers are sent although they do not fill a batch yet."
    )

    # -- back-pressure ---------------------------------------------------------------------------------
    undecided_share: float = _number(
        0.4,
        "share",
        "Part of the records, and of the bytes, in flight that may be undecided; beyond, the partitions that "
        "bring them are paused.",
    )
    undecided_ease: float = _number(0.8, "share", "Part of that bound below which they are resumed.")
    blocked_share: float = _number(
        0.5,
        "share",
        "Part of the bytes in flight that fetched records of blocked partitions may hold; beyond, they are "
        "dropped and read again later.",
    )
    low_watermark: float = _number(0.75, "share", "Part of a window below which a paused partition is resumed.")
    lanes_weighed_at_once: int = _number(
        32,
        "lanes",
        "Up to this number, all lanes are weighed as soon as one is answered for the first time; with more, at "
        "the next tick: weighing takes some microseconds per lane, and at a start each lane gets a first answer.",
    )
    overfull_ease: float = _number(0.5, "share", "Part of its bound below which a lane is no longer overfull.")
    scarce: float = _number(
        0.6,
        "share",
        "Part of the records in flight from which lanes are held to their share: librdkafka delivers its fetched "
        "records one partition at a time, and pausing drops them all.",
    )
    crowded: float = _number(
        0.75,
        "share",
        "The same, from which a partition is paused even if it feeds other lanes as well: here that costs less "
        "than a pause of all partitions.",
    )
    seek_records: int = _number(
        1000,
        "records",
        "Fetched from a partition beyond what can be taken in, if its lanes may be unable to call, to see whether"
        " it holds up others.",
    )
    full_patience: float = _number(1.0, "s", "The partitions are paused after this time without a fetch budget.")
    shed_from: float = _number(
        0.75, "share", "Part of a window or a budget from which requests of lanes that cannot call are shed."
    )
    shed_to: float = _number(0.5, "share", "The same, down to which they are shed.")

    # -- partitions ------------------------------------------------------------------------------------
    reread_first: float = _number(
        2.0,
        "s",
        "Until the missing part is requested again after a range that left a hole: a fetch from a slow broker "
        "must have time to arrive.",
    )
    reread_most: float = _number(60.0, "s", "The same after many ranges with holes.")
    hole_patience: float = _number(20.0, "s", "A partition is reported if each range has left a hole for longer.")
    problems_shown: int = _number(3, "texts", "Maximum of problems of the same kind in the status.")

    # -- giving up -------------------------------------------------------------------------------------
    stop_patience: float = _number(
        3.0,
        "s",
        "A stop waits this long for answers that are due: until it is over, nobody serves its partitions. The "
        "next owner repeats the other calls.",
    )
    unheard_patience: float = _number(
        2.0,
        "s",
        "A stop waits this long for the first calls to a Mirakl: their usual duration is not known yet, and a "
        "dead Mirakl looks the same.",
    )

    # -- transactions ----------------------------------------------------------------------------------
    gather: float = _number(
        0.005, "s", "Outcomes gather at least for this time after a transaction: the broker is still finishing it."
    )
    gather_share: float = _number(
        0.5,
        "share",
        "Part of the time that the last transaction took, for which outcomes gather: busy brokers get fewer and "
        "larger transactions.",
    )
    gather_most: float = _number(0.05, "s", "Outcomes gather at most for this time.")
    transaction_enough: int = _number(2_000, "outcomes", "Enough outcomes for a transaction at once.")
    transaction_most: int = _number(5_000, "outcomes", "Maximum of one partition in one transaction.")
    broker_patience: float = _number(
        5.0, "s", "Outcomes that wait longer without a commit mean that the brokers are in trouble."
    )
    failures_to_close: int = _number(
        3, "transactions", "Failures in a row that close the intake: a broker that restarts causes one or two."
    )
    attempt_pause: float = _number(0.02, "s", "The first pause after a failed transaction.")
    attempt_factor: float = _number(2.0, "times", "Factor by which such pauses grow.")
    attempt_pause_most: float = _number(
        10.0,
        "s",
        "The longest such pause, and so the time until the service notices that an operator has removed the cause.",
    )
    attempt_pause_hurried: float = _number(
        1.0, "s", "The longest such pause while partitions are given up or the service stops."
    )
    attempt_growth: int = _number(8, "times", "Factor by which a transaction may be larger after one that committed.")

    # -- the loop --------------------------------------------------------------------------------------
    tick: float = _number(0.1, "s", "Between two ticks.")
    tick_share: float = _number(
        0.1, "share", "Of the loop's time, for ticks: with hundreds of busy lanes each takes long, so the next waits."
    )
    tick_longest: float = _number(
        0.2, "s", "Between two ticks, however long they take: what `call_margin_most` has for it."
    )
    status_interval: float = _number(0.25, "s", "Between two snapshots for health and metrics.")
    shortest_wait: float = _number(0.001, "s", "Least wait of the loop for the next due time.")

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
