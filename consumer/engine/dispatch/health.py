"""Health of a lane: the state of its Mirakl as its calls show it, and the time at which the next call may start.

::

    HEALTHY ── a call failed ──> SICK ── a call was answered, after any pause that Mirakl ordered ──> HEALTHY
    HEALTHY ── no call has come back for long ──> STALLED ── one comes back ──> HEALTHY or SICK
    HEALTHY ── the calls per hour are spent ──> THROTTLED ── time passes ──> HEALTHY

``SICK`` begins and ends with a call; a changed row of the directory ends it as well. The other states follow from the
calls in flight and the time. ``LaneHealth.state`` is the only place that distinguishes them.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

from consumer.domain.calls import CallFailure
from consumer.domain.model import ClientSpecification
from consumer.domain.retry import Backoff, TokenBucket, chance
from consumer.engine.policy import Policy
from consumer.engine.status import LaneState


class Started(Protocol):
    """A call in flight, reduced to its start."""

    @property
    def started_at(self) -> float: ...


class LaneHealth:
    """Health of one lane. All times are monotonic seconds. ``calls`` are the lane's calls in flight, by number."""

    def __init__(
        self,
        specification: ClientSpecification,
        calls: Mapping[int, Started],
        policy: Policy,
        backoff: Backoff,
        salt: str,
        now: float,
    ) -> None:
        self._id = specification.id
        self._calls = calls
        self._policy = policy
        self._backoff = backoff
        self._salt = salt
        self.bucket = _bucket(specification, now)
        """Of the specification's calls per hour; ``None``: no limit."""
        self.sick_until: float | None = None
        self.trouble: str | None = None
        """Description of the last call's failure, for people; ``None`` after a response."""
        self.failed_at = 0.0
        self.typical: float | None = None
        """Running mean of call durations; ``None`` before the first answer."""
        self.longest = 0.0
        """Decaying maximum of recent call durations. Bounds use it rather than the mean, so that requests behind slow
        calls still meet their deadline."""
        self.answers = 0
        """Calls that were answered."""
        self._heard_at = float("-inf")
        """Monotonic time of the last completed call, in seconds."""
        self._failures = 0
        """In a row."""
        self._ordered_until = 0.0
        """The end of the pause that Mirakl has ordered."""

    # -- questions -------------------------------------------------------------------------------------

    def state(self, now: float) -> LaneState:
        if self.sick_until is not None:
            return LaneState.SICK
        if self.stalled(now):
            return LaneState.STALLED
        if self.bucket and self.bucket.next_at(now) > now + self._policy.throttled:
            return LaneState.THROTTLED
        return LaneState.HEALTHY

    def can_call_at(self, now: float) -> float:
        """Return the earliest time known at which a call may start."""
        at = max(now, self.sick_until or now)
        return max(at, self.bucket.next_at(now)) if self.bucket else at

    @property
    def can_call_now(self) -> bool:
        """Whether neither sickness nor a limit of calls per hour can be in the way."""
        return self.sick_until is None and self.bucket is None

    @property
    def unheard(self) -> bool:
        """Whether no call has ever been answered: how long they take is not known."""
        return self.typical is None

    def stalled(self, now: float) -> bool:
        """Return whether no call has come back for so long that the peer counts as dead.

        A Mirakl that has neither answered nor failed yet may be slow: only the call's own timeout judges it.
        """
        if self.unheard and self.sick_until is None:
            return False
        return self.silent(now) > self._longer_than_usual(self._policy.stall)

    def hesitates(self, now: float) -> bool:
        """Return whether no call has come back for so long that the peer may be dead, which is not certain yet."""
        return self.silent(now) > self._longer_than_usual(self._policy.hesitation)

    def is_due(self, started_at: float, end: float, now: float, *, stopping: bool) -> bool:
        """Return whether the answer of a call in flight is likely to come before ``end`` (monotonic seconds).

        Neither a Mirakl that hesitates is waited for, nor a call that takes longer than usual. A stop gives both more
        time than a revocation, during which partitions that are kept stand still, and waits for the first calls of a
        lane, although nothing tells yet how long they take.
        """
        policy = self._policy
        if self.state(now) in (LaneState.SICK, LaneState.STALLED) or now > end:
            return False
        if stopping and self.typical is None:
            return self.silent(now) <= policy.unheard_patience
        usual = self.typical or 0.0
        slow_after = max(policy.hesitation if stopping else policy.tail, policy.tail_factor * usual)
        overdue = now > started_at + slow_after or self.hesitates(now)
        return started_at + usual <= end and not overdue

    def is_worth_calling(self, end: float, now: float) -> bool:
        """Return whether a call could start at once, and its answer is likely to come before ``end``."""
        if self.state(now) is not LaneState.HEALTHY or self.can_call_at(now) > now:
            return False
        return self.is_due(now, end, now, stopping=True)

    def silent(self, now: float) -> float:
        """Return for how many seconds calls have been in flight without one coming back."""
        # of any: one that hangs among others says little
        return now - max(next(iter(self._calls.values())).started_at, self._heard_at) if self._calls else 0.0

    def slow_at(self) -> float:
        """Return when the call that started last counts as slow."""
        newest = next(reversed(self._calls.values()))  # type: ignore[call-overload]  # a dict
        started: float = newest.started_at
        return started + max(self._policy.tail, self._policy.tail_factor * (self.typical or 0.0))

    def may_probe(self) -> bool:
        """Return whether a sick lane has no probe in flight, beside the calls that started before the failure."""
        return all(call.started_at < self.failed_at for call in self._calls.values())

    def _longer_than_usual(self, seconds: float) -> float:
        return max(seconds, self._policy.stall_factor * (self.typical or 0.0))

    # -- events ----------------------------------------------------------------------------------------

    def update(self, former: ClientSpecification, specification: ClientSpecification, now: float) -> None:
        """Take a newer row of the directory; a lane whose row was changed gets a fresh chance at once.

        Another part of the same quotas is no reason for one.
        """
        if former.calls_per_hour != specification.calls_per_hour:
            self.bucket = _bucket(specification, now)
        if former != specification:
            self._recover()

    def call_started(self, now: float) -> None:
        if self.bucket:
            self.bucket.take(now)

    def call_returned(self, now: float) -> None:
        self._heard_at = now

    def answered(self, started_at: float, now: float) -> None:
        """Mirakl answered, whatever it said: the lane is healthy unless Mirakl has ordered a pause since."""
        self.trouble = None
        took = now - started_at
        policy = self._policy
        self.longest = max(took, policy.longest_kept * self.longest)
        self.answers += 1
        self.typical = took if self.typical is None else self.typical + policy.typical_weight * (took - self.typical)
        if now >= self._ordered_until:
            self._recover()

    def failed(self, started_at: float, failure: CallFailure, now: float) -> None:
        """A call failed: the lane falls sick, or stays so for longer."""
        self.trouble = failure.reason
        if failure.ours is not None:  # which says nothing about Mirakl: a single probe soon
            self.failed_at = now
            self._rest_until(now + self._policy.own_trouble_retry, now)
            return
        if failure.status == HTTPStatus.TOO_MANY_REQUESTS and self.bucket:
            self.bucket.empty(now)
        if started_at >= self.failed_at or self.sick_until is None:
            self._failures += 1
            self.failed_at = now
            self._rest_until(now + self._backoff.delay(self._failures, self._chance()), now)
        if failure.retry_after is not None:
            ordered = min(failure.retry_after, self._backoff.longest_ordered)
            self._ordered_until = max(self._ordered_until, now + ordered)
            self._rest_until(self._ordered_until, now)

    def _rest_until(self, until: float, now: float) -> None:
        self.sick_until = max(self.sick_until or now, until)

    def _chance(self) -> float:
        return chance(self._salt, self._id, self._failures)

    def _recover(self) -> None:
        self._failures = 0
        self._ordered_until = 0.0
        self.sick_until = None


def _bucket(specification: ClientSpecification, now: float) -> TokenBucket | None:
    per_hour = specification.quota.calls_per_hour
    return None if per_hour is None else TokenBucket(per_hour, now)
