"""The queue of spans: bounded, never waited for, and honest about what was lost."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from consumer.adapters.observability.span_queue import QueuePolicy, SpanFate, SpanQueue
from consumer.adapters.observability.spans import Kind, Period, Span, SpanContext
from tests.support.parts import wait_until

QUICK = QueuePolicy(max_queue_size=10, max_export_batch_size=4, schedule_delay=0.01)


def span(number: int) -> Span:
    return Span(f"span {number}", Kind.CONSUMER, SpanContext(1, number + 1), None, Period(0, 1), {})


def spans(count: int) -> list[Span]:
    return [span(number) for number in range(count)]


class FakeCollector:
    """A collector that can hang, refuse, and break."""

    destination = "http://collector:4317/v1/traces"

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.sizes: list[int] = []
        self.reason: str | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.entered = threading.Event()
        self.broken = False

    def export(self, batch: Sequence[Span]) -> str | None:
        self.entered.set()
        self.answers.wait()
        if self.broken:
            raise RuntimeError("not what the interface says")
        if self.reason is None:
            self.taken += [each.name for each in batch]
            self.sizes.append(len(batch))
        return self.reason

    def close(self) -> None:
        self.answers.set()


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    made = FakeCollector()
    yield made
    made.close()


def started(collector: FakeCollector, policy: QueuePolicy = QUICK) -> SpanQueue:
    queue = SpanQueue(collector, policy)
    queue.start()
    return queue


def test_spans_are_exported_in_order_and_in_batches(collector: FakeCollector) -> None:
    queue = started(collector)
    queue.offer(spans(10))

    assert queue.close(5)
    assert [f"span {number}" for number in range(10)] == collector.taken
    assert 4 == max(collector.sizes)
    assert {SpanFate.EXPORTED: 10, SpanFate.DROPPED: 0} == queue.counts()


def test_a_whole_batch_does_not_wait_for_the_delay(collector: FakeCollector) -> None:
    queue = started(collector, QueuePolicy(10, 4, 3_600.0))
    queue.offer(spans(4))

    wait_until(lambda: len(collector.taken) == 4, timeout=5, what="an export")
    queue.close(5)


def test_a_collector_that_hangs_holds_up_nobody_and_what_has_no_room_is_counted(
    collector: FakeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.answers.clear()
    queue = started(collector)
    queue.offer(spans(4))
    assert collector.entered.wait(5)
    began = time.monotonic()
    for _ in range(1_000):
        queue.offer(spans(3))
    taken = time.monotonic() - began

    assert taken < 1
    assert 3_000 - 10 == queue.counts()[SpanFate.DROPPED]
    assert "Spans are dropped" in caplog.text


def test_a_stop_waits_for_a_collector_that_hangs_no_longer_than_told(collector: FakeCollector) -> None:
    collector.answers.clear()
    queue = started(collector)
    queue.offer(spans(4))
    assert collector.entered.wait(5)
    began = time.monotonic()

    assert not queue.close(0.1)
    assert time.monotonic() - began < 1


def test_a_collector_that_refuses_is_told_of_once_and_again_once_it_takes_spans(
    collector: FakeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector.reason = "HTTP 404 Not Found"
    queue = started(collector)
    for _ in range(3):
        queue.offer(spans(4))
        wait_until(lambda: not queue._waiting, timeout=5, what="an export")
    wait_until(lambda: queue.counts().get(SpanFate.FAILED) == 12, timeout=5, what="three failures")
    collector.reason = None
    queue.offer(spans(4))

    assert queue.close(5)
    assert [
        (
            "Spans cannot be exported to http://collector:4317/v1/traces (HTTP 404 Not Found). They are lost; requests "
            "are answered as ever. Check the collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT if this is not its "
            "address. 4317 is usually the port for gRPC: HTTP has 4318."
        ),
        "Spans are exported to http://collector:4317/v1/traces again.",
    ] == caplog.messages


def test_an_exporter_that_raises_loses_its_batch_and_no_more(collector: FakeCollector) -> None:
    collector.broken = True
    queue = started(collector)
    queue.offer(spans(4))
    wait_until(lambda: queue.counts().get(SpanFate.FAILED) == 4, timeout=5, what="a failure")
    collector.broken = False
    queue.offer(spans(2))

    assert queue.close(5)
    assert 2 == len(collector.taken)
