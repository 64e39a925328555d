"""Markers that a broker loses: nothing counts as committed, or is committed, that the next marker could turn round."""

from collections.abc import Callable
from dataclasses import replace
from time import monotonic, sleep

import pytest
from confluent_kafka import KafkaException

from consumer.adapters.kafka.membership import Membership
from consumer.domain.progress import CommitPoint
from tests.unit.adapters.kafka.committing import ABORTED, COMMITTED, Bench, part
from tests.unit.adapters.kafka.fake_producer import REFUSED, RETRIABLE

SWEEP = ["begin", "offsets", "abort", "begin", "touch", "touch", "touch", "flush", "abort"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """It looks for lost brokers after each commit only."""
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, idle_look=60.0))
    bench = Bench(monkeypatch)
    bench.broker.partitions = 3
    return bench


def eventually(seen: Callable[[], bool]) -> None:
    deadline = monotonic() + 5
    while not seen():
        assert monotonic() < deadline
        sleep(0.001)


def test_a_commit_confirmed_right_before_all_brokers_were_lost_does_not_count(bench: Bench) -> None:
    """Its markers may never be written; the abort of any later transaction would then undo it, in some partitions."""
    assert COMMITTED is bench.commit(part(0, b"a"))
    assert COMMITTED is bench.commit(part(0, b"b", b"c"), part(1, b"d", epoch=1))
    bench.broker.lost = True

    assert ABORTED is bench.commit(part(0, b"e"))
    eventually(lambda: bench.broker.asked[-len(SWEEP) :] == SWEEP)
    assert [{0: 1, 1: 1}] == bench.anew
    assert bench.known.denied(0, CommitPoint(1, "map-0")) is None
    assert bench.known.denied(0, CommitPoint(0, "")) is not None
    assert bench.known.denied(1, CommitPoint(-1, "")) is None


def test_assignments_that_count_with_it_commit_nothing_any_more(bench: Bench) -> None:
    bench.commit(part(0, b"a"))
    bench.broker.lost = True
    assert ABORTED is bench.commit(part(0, b"b"))
    assert ABORTED is bench.commit(part(0, b"b"))
    assert [b"a"] == bench.values

    bench.membership = Membership("metadata-2", {0: 2})
    assert COMMITTED is bench.commit(part(0, b"b", epoch=2))


def test_brokers_that_are_lost_while_a_commit_is_asked_for_leave_it_in_doubt(bench: Bench) -> None:
    def lose() -> None:
        bench.broker.lost = True

    bench.broker.script["commit"].append(lose)
    assert COMMITTED is bench.commit(part(0, b"a"))
    eventually(lambda: bench.broker.asked[-len(SWEEP) :] == SWEEP)
    assert [{0: 1}] == bench.anew


def test_a_commit_is_certain_once_the_next_transaction_has_its_partitions(bench: Bench) -> None:
    def lose() -> None:
        bench.broker.lost = True

    bench.commit(part(0, b"a"))
    bench.broker.script["commit"].append(lose)
    bench.commit(part(1, b"b"))
    eventually(lambda: bench.broker.asked[-len(SWEEP) :] == SWEEP)
    assert [{1: 1}] == bench.anew
    assert CommitPoint(1, "map-0") == bench.known.denied(0, CommitPoint(0, ""))


def test_a_commit_is_certain_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, markers=0.0))
    bench = Bench(monkeypatch)
    bench.commit(part(0, b"a"))
    bench.broker.lost = True
    assert COMMITTED is bench.commit(part(0, b"b"))
    assert [] == bench.anew


def test_lost_brokers_are_noticed_though_nothing_is_to_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results would stay hidden from subscribers until the next request."""
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, idle_look=0.01))
    bench = Bench(monkeypatch)
    bench.commit(part(0, b"a"))
    bench.broker.lost = True
    eventually(lambda: [{0: 1}] == bench.anew)
    eventually(lambda: bench.broker.asked[-1] == "abort")


def test_a_transaction_aborted_right_before_is_not_committed_with_the_next(bench: Bench) -> None:
    bench.broker.script["offsets"].append(REFUSED)
    assert ABORTED is bench.commit(part(0, b"a"))
    bench.broker.lost = True

    assert ABORTED is bench.commit(part(0, b"a"))
    eventually(lambda: bench.broker.asked[-len(SWEEP) :] == SWEEP)
    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values
    assert [] == bench.anew


def test_markers_that_are_lost_once_more_are_made_up_for_once_more(bench: Bench) -> None:
    def lose() -> None:
        bench.broker.lost = True

    bench.commit(part(0, b"a"))
    bench.broker.lost = True
    bench.broker.script["abort"].extend([lambda: None, lambda: None, lose])
    assert ABORTED is bench.commit(part(1, b"b"))
    assert ABORTED is bench.commit(part(1, b"b"))
    eventually(lambda: bench.broker.asked[-len(SWEEP) :] == SWEEP)
    assert COMMITTED is bench.commit(part(1, b"b"))
    assert [{0: 1}] == bench.anew


def test_brokers_that_do_not_take_its_records_yet_are_asked_again(bench: Bench) -> None:
    def refuse() -> None:
        raise KafkaException(RETRIABLE)

    bench.commit(part(0, b"a"))
    bench.broker.lost = True
    bench.broker.script["touch"].append(refuse)
    assert ABORTED is bench.commit(part(1, b"b"))
    eventually(lambda: bench.broker.asked[-len(SWEEP) :] == SWEEP)
    assert 2 == len(bench.broker.producers)


def test_a_topic_that_takes_no_records_holds_up_nothing(bench: Bench) -> None:
    """A missing right for dead letters must not keep results from being published."""
    bench.commit(part(0, b"a"))
    bench.broker.lost = True
    bench.broker.refuses_touching = True
    assert ABORTED is bench.commit(part(1, b"b"))
    assert COMMITTED is bench.commit(part(1, b"b"))
    assert [b"a", b"b"] == bench.values
    assert 2 == len(bench.broker.producers)
    assert [None] == bench.core.publishing[-1:]
