"""Everything that a notification brings is acknowledged, known, or left out with its reason; or it is refused whole."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from producer_tools.alerts.asked import AskedRequests, digest_of
from producer_tools.alerts.hourly_limits import HourlyLimits
from producer_tools.alerts.intake import AlertIntake, Answer
from producer_tools.alerts.planning import SkipReason
from producer_tools.alerts.rules import Rules
from producer_tools.gateway.problems import Problem
from producer_tools.gateway.request_writer import Publication, Written
from producer_tools.topic_reader import Headers
from schemas.contract import GatewayCode
from schemas.events import ProductResyncRequested
from tests.unit.producer_tools.alerts.builders import NOW, alert_json, notification, rule, rules


class Broker:
    """Keeps what is written; ``deliveries`` says what becomes of the next records, then all are acknowledged."""

    def __init__(self, *deliveries: Written | Problem) -> None:
        self.deliveries = list(deliveries)
        self.written: list[str] = []
        self.keys: list[str] = []
        self.held: asyncio.Event | None = None

    async def publish(self, request: ProductResyncRequested, headers: Headers) -> Publication:
        self.keys.append((dict(headers)["dj-api-key"] or b"").decode())
        written = self.deliveries.pop(0) if self.deliveries else Written.ACKNOWLEDGED
        if isinstance(written, Problem):
            return Publication(Written.NOT_WRITTEN, written)
        if written is not Written.NOT_WRITTEN:
            self.written.append(request.request_id)
        await (self.held.wait() if self.held else asyncio.sleep(0))
        return Publication(written)


class Gateway:
    """An intake with what it needs."""

    def __init__(self, broker: Broker, in_force: Rules | None = None, *, remembered: int = 1000) -> None:
        self.asked = AskedRequests(remembered)
        self.hours = 0.0
        self.rules = in_force or rules()
        self.intake = AlertIntake(
            broker,
            lambda: self.rules,
            self.asked,
            max_products=10_000,
            clock=lambda: NOW,
            monotonic=lambda: self.hours * 3600,
        )

    async def take(self, *alerts: dict[str, Any], **changes: object) -> Answer:
        return await self.intake.take(notification(*alerts, **changes))


def numbered(count: int) -> list[dict[str, Any]]:
    return [alert_json(fingerprint=f"{number:016x}") for number in range(count)]


def running(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test that is a coroutine."""

    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def ids(answer: Answer) -> tuple[list[str], list[str]]:
    return [each.request_id for each in answer.requests], [each.request_id for each in answer.repeated]


@running
async def test_an_alert_is_asked_for_once_and_known_at_its_repetition() -> None:
    broker = Broker()
    gateway = Gateway(broker)
    first, second = await gateway.take(alert_json()), await gateway.take(alert_json())
    assert (broker.written, []) == ids(first)
    assert ([], broker.written) == ids(second)
    assert 1 == len(broker.written)
    assert ["key"] == broker.keys


@running
async def test_twins_that_notify_at_the_same_moment_are_one_request() -> None:
    broker = Broker()
    broker.held = asyncio.Event()
    gateway = Gateway(broker)
    twins = [asyncio.create_task(gateway.take(alert_json())) for _ in range(2)]
    await asyncio.wait(twins, timeout=0.05)
    broker.held.set()
    first, second = await asyncio.gather(*twins)
    assert (broker.written, [], [], broker.written) == (*ids(first), *ids(second))


@running
async def test_the_twin_of_a_request_that_is_not_acknowledged_is_refused_as_well() -> None:
    broker = Broker(Written.UNKNOWN)
    broker.held = asyncio.Event()
    gateway = Gateway(broker)
    twins = [asyncio.create_task(gateway.take(alert_json())) for _ in range(2)]
    await asyncio.wait(twins, timeout=0.05)
    broker.held.set()
    assert [1, 1] == [len(answer.unacknowledged) for answer in await asyncio.gather(*twins)]


@running
async def test_a_gateway_that_was_started_since_knows_what_has_a_result() -> None:
    broker = Broker()
    await Gateway(broker).take(alert_json())
    successor = Gateway(broker)
    successor.asked.add(broker.written[0].encode())
    assert ([], broker.written) == ids(await successor.take(alert_json()))
    assert 1 == len(broker.written)


@running
async def test_what_was_written_is_known_when_a_refused_notification_is_repeated() -> None:
    broker = Broker(Written.ACKNOWLEDGED, Written.NOT_WRITTEN, Written.ACKNOWLEDGED)
    gateway = Gateway(broker)
    refused = await gateway.take(*numbered(3))
    assert (2, 1) == (len(refused.requests), len(refused.unacknowledged))
    repeated = await gateway.take(*numbered(3))
    assert (1, 2, 0) == (len(repeated.requests), len(repeated.repeated), len(repeated.unacknowledged))
    assert 3 == len(set(broker.written)) == len(broker.written)


@running
async def test_while_nothing_can_be_written_a_large_notification_is_given_up_early() -> None:
    broker = Broker(*[Written.NOT_WRITTEN] * 1000)
    gateway = Gateway(broker, rules(max_requests_per_hour=1000))
    assert 1000 == len((await gateway.take(*numbered(1000))).unacknowledged)
    assert 200 == len(broker.keys)


@running
async def test_a_caller_that_hangs_up_leaves_its_request_to_be_remembered() -> None:
    broker = Broker()
    broker.held = asyncio.Event()
    gateway = Gateway(broker)
    caller = asyncio.create_task(gateway.take(alert_json()))
    await asyncio.wait([caller], timeout=0.05)
    caller.cancel()
    await asyncio.wait([caller])
    broker.held.set()
    await asyncio.sleep(0.01)
    assert ([], broker.written) == ids(await gateway.take(alert_json()))


@running
async def test_a_rule_makes_no_more_requests_an_hour_than_it_may() -> None:
    broker = Broker()
    gateway = Gateway(broker, rules(max_requests_per_hour=2))
    answer = await gateway.take(*numbered(3))
    assert (2, [SkipReason.TOO_MANY_REQUESTS]) == (len(answer.requests), [each.reason for each in answer.skipped])
    gateway.rules = rules(max_requests_per_hour=2)  # read again: the window stays
    gateway.hours = 0.99
    again = await gateway.take(*numbered(3))
    assert (0, 2, 1) == (len(again.requests), len(again.repeated), len(again.skipped))
    gateway.hours = 1.01
    assert 1 == len((await gateway.take(*numbered(3))).requests)


@running
async def test_requests_that_were_not_written_do_not_count_and_unknown_ones_count_once() -> None:
    gateway = Gateway(Broker(Written.NOT_WRITTEN), rules(max_requests_per_hour=1))
    await gateway.take(alert_json(fingerprint="a"))
    assert 1 == len((await gateway.take(alert_json(fingerprint="b"))).requests)
    gateway = Gateway(Broker(Written.UNKNOWN), rules(max_requests_per_hour=1))
    await gateway.take(alert_json())
    assert 1 == len((await gateway.take(alert_json())).requests)


@running
async def test_a_request_that_the_service_would_not_read_is_left_out() -> None:
    gateway = Gateway(Broker(Problem.of_gateway(GatewayCode.REQUEST_TOO_LARGE, limit=5)))
    (left_out,) = (await gateway.take(alert_json())).skipped
    assert SkipReason.INVALID is left_out.reason
    assert "more than 5 bytes" in left_out.message


@running
async def test_one_alert_twice_in_a_notification_is_one_request() -> None:
    broker = Broker()
    answer = await Gateway(broker).take(alert_json(), alert_json())
    assert (broker.written, broker.written) == ids(answer)
    assert 1 == len(broker.written)


@running
async def test_the_answer_is_that_of_the_contract() -> None:
    broker = Broker()
    answer = await Gateway(broker).take(
        alert_json(), alert_json(status="resolved"), alert_json(labels={}, fingerprint="f"), truncatedAlerts=3
    )
    assert {
        "requests": [
            {
                "requestId": broker.written[0],
                "rule": "stuck-products",
                "fingerprint": alert_json()["fingerprint"],
                "products": 2,
            }
        ],
        "repeated": [],
        "skipped": [
            {
                "fingerprint": alert_json()["fingerprint"],
                "rule": None,
                "reason": "RESOLVED",
                "message": "The alert is resolved.",
            },
            {"fingerprint": "f", "rule": None, "reason": "NO_RULE", "message": "No rule matches the labels."},
        ],
        "truncatedAlerts": 3,
    } == answer.body()


@running
async def test_the_outcomes_of_a_rule_begin_at_zero_so_that_the_first_is_an_increase() -> None:
    gateway = Gateway(Broker(), Rules((rule(),)))
    before = gateway.intake.counts()
    await gateway.take(alert_json(), alert_json(annotations={"mirakl_products": "no pair"}, fingerprint="f"))
    after = gateway.intake.counts()
    asked, left_out = ("stuck-products", "REQUESTED"), ("stuck-products", "PRODUCTS_UNREADABLE")
    assert (0, 0) == (before[asked], before[left_out])
    assert (1, 1) == (after[asked], after[left_out])
    assert 0 == after["stuck-products", "NOT_ACKNOWLEDGED"]


@running
async def test_what_is_left_out_is_counted_and_logged_by_rule_and_reason() -> None:
    gateway = Gateway(Broker(), Rules((rule(dry_run=True),)))
    with capture_logs() as lines:
        await gateway.take(*numbered(12), alert_json(labels={}))
    assert {("stuck-products", "DRY_RUN"): 12, ("", "NO_RULE"): 1} == gateway.intake.outcomes
    dry, unmatched = lines
    assert ("alerts left out", "stuck-products", "DRY_RUN", 12, 10) == (
        dry["event"],
        dry["rule"],
        dry["reason"],
        dry["alerts"],
        len(dry["fingerprints"]),
    )
    assert ("NO_RULE", 1) == (unmatched["reason"], unmatched["alerts"])


@running
async def test_neither_the_log_nor_the_answer_shows_a_key() -> None:
    gateway = Gateway(Broker(), rules(api_key="mrk_secret"))
    with capture_logs() as lines:
        answer = await gateway.take(alert_json(), alert_json(labels={}))
    assert "mrk_secret" not in f"{lines} {answer} {answer.body()}"


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(Written)), max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_whatever_the_brokers_do_each_alert_is_acknowledged_once_and_never_again(
    deliveries: list[Written], sizes: list[int]
) -> None:
    """Repeating every notification until it is accepted loses nothing, and what was acknowledged stays alone."""

    async def repeat_all() -> None:
        broker = Broker(*deliveries)
        gateway = Gateway(broker)
        acknowledged: list[str] = []
        for size in sizes:
            answer = Answer(unacknowledged=[None])  # type: ignore[list-item]  # not yet tried
            while answer.unacknowledged:
                answer = await gateway.take(*numbered(size))
                acknowledged += ids(answer)[0]
        assert max(sizes) == len(acknowledged) == len(set(acknowledged))

    asyncio.run(repeat_all())


def test_memory_is_bounded_and_keeps_what_is_still_met() -> None:
    asked = AskedRequests(maximum=2)
    first, second, third = (f"alert-{number:032x}" for number in range(3))
    for request_id in (first, second):
        asked.add(request_id.encode())
    assert first in asked
    asked.add(third.encode())
    assert [True, False, True] == [request_id in asked for request_id in (first, second, third)]


@pytest.mark.parametrize(
    "key", [None, b"", b"idem-" + b"0" * 33, b"alert-" + b"g" * 32, b"alert-" + b"\xff" * 32, b"alert-" + b"0" * 31]
)
def test_other_results_are_not_remembered(key: bytes | None) -> None:
    assert digest_of(key) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 7200)), max_size=60), st.integers(1, 5))
def test_no_hour_has_more_requests_than_the_limit(takes: list[tuple[int, int]], most: int) -> None:
    limits = HourlyLimits()
    taken: dict[str, float] = {}
    for number, now in sorted(takes, key=lambda take: take[1]):
        request_id = str(number)
        if limits.take("rule", request_id, most, now) and now - taken.get(request_id, -3600.0) >= 3600:
            taken[request_id] = now
        assert most >= sum(now - at < 3600 for at in taken.values())
