"""Capacity of a lane: the most that it may hold for all of it to meet its deadline."""

from consumer.engine.dispatch.lanes import Lane
from consumer.engine.policy import Policy


def spare_products(lane: Lane, policy: Policy, ease: float, slots: int, now: float) -> float:
    """Return the products that may still be queued without any of them waiting too long, as far as is known.

    ``ease``: share of the longest wait that counts; ``slots``: calls that may be in flight at once, if the
    specification allows as many; ``now``: monotonic seconds. Negative where too many are queued.

    A lane counts on no more than twice its equal part of the concurrent calls: the other half of the wait is spare, so
    what is queued is in time even if all processes of the replica come to share them.
    """
    health, longest_wait = lane.health, policy.longest_wait
    quota, specification = lane.quota, lane.specification
    equal = max(1, specification.concurrent_calls // quota.processes)
    at_once = min(quota.concurrent_calls, 2 * equal, slots)
    took = max(health.longest, health.silent(now), policy.shortest_call)
    rounds = longest_wait / max(took, _caution(lane, policy, longest_wait))
    if not lane.shares:
        rounds = min(rounds, max(policy.read_ahead / took, policy.read_ahead_calls))
    calls = (ease * rounds - 1) * at_once
    if health.bucket:
        calls = min(calls, ease * longest_wait * health.bucket.rate)
    return calls * lane.expected_products - lane.queue.products


def _caution(lane: Lane, policy: Policy, longest_wait: float) -> float:
    """Return the seconds that a call is expected to take at least, as long as few have come back."""
    share = policy.caution_share * longest_wait
    if lane.health.unheard:
        return share
    return min(share, policy.caution * policy.longest_kept**lane.health.answers)
