"""Ends of transactions: what each error of the producer means, and what is done about it."""

import threading
from dataclasses import replace
from time import sleep

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.adapters.kafka.membership import Membership
from consumer.domain.progress import CommitPoint
from consumer.engine.commands import Commit
from tests.unit.adapters.kafka.committing import ABORTED, COMMITTED, UNKNOWN, Bench, part
from tests.unit.adapters.kafka.fake_producer import ABORTABLE, FATAL, FINAL, REFUSED, RETRIABLE


def test_outcomes_offsets_and_maps_are_committed_together(bench: Bench) -> None:
    assert COMMITTED is bench.commit(part(0, b"a", b"b"), part(1, b"c"))

    assert [b"a", b"b", b"c"] == bench.values
    assert {0: (2, "map-0"), 1: (1, "map-1")} == bench.broker.offsets
    assert ["metadata-1"] == bench.broker.metadata
    assert frozenset({0, 1}) == bench.kept
    assert [COMMITTED] == [finished.result for finished in bench.observed]


def test_only_what_has_certainly_committed_is_known_to_be(bench: Bench) -> None:
    bench.commit(part(0, b"a", b"b"), part(1, b"c", epoch=7))
    bench.broker.script["commit"].append(FATAL)
    assert UNKNOWN is bench.commit(part(0, b"d", b"e", b"f"))

    assert CommitPoint(2, "map-0") == bench.known.denied(0, CommitPoint(1, ""))
    assert bench.known.denied(1, CommitPoint(0, "")) is None


def test_one_producer_serves_all_transactions_that_go_well(bench: Bench) -> None:
    for _ in range(3):
        assert COMMITTED is bench.commit(part())

    assert 1 == len(bench.broker.producers)
    assert ["init", *["begin", "produce", "flush", "offsets", "commit"] * 3] == bench.broker.asked


def test_a_partition_of_another_epoch_is_left_out_whole(bench: Bench) -> None:
    assert COMMITTED is bench.commit(part(0, b"old", epoch=7), part(1, b"ours"))

    assert [b"ours"] == bench.values
    assert {1} == set(bench.broker.offsets)
    assert frozenset({1}) == bench.kept


def test_with_nothing_of_ours_left_nothing_is_begun(bench: Bench) -> None:
    assert ABORTED is bench.commit(part(0, epoch=7))

    assert "begin" not in bench.broker.asked


def test_a_partition_lost_between_producing_and_sending_offsets_aborts_the_whole(bench: Bench) -> None:
    def lose() -> None:
        bench.membership = Membership("metadata-2", {1: 1})

    bench.broker.script["produce"].append(lose)
    assert ABORTED is bench.commit(part(0, b"a"), part(1, b"b"))
    assert [] == bench.values
    assert "commit" not in bench.broker.asked

    assert COMMITTED is bench.commit(part(0, b"a"), part(1, b"b"))
    assert [b"b"] == bench.values
    assert ["metadata-2"] == bench.broker.metadata


def test_offsets_are_sent_with_the_metadata_of_a_membership_that_names_their_partitions(bench: Bench) -> None:
    """The generation moved on, the partitions stayed."""

    def move_on() -> None:
        bench.membership = Membership("metadata-2", {0: 1})

    bench.broker.script["produce"].append(move_on)
    assert COMMITTED is bench.commit(part())
    assert ["metadata-2"] == bench.broker.metadata


def test_without_metadata_of_the_group_nothing_is_committed(bench: Bench) -> None:
    bench.membership = Membership(None, {0: 1})

    assert ABORTED is bench.commit(part())
    assert [] == bench.values


@pytest.mark.parametrize("step", ["produce", "offsets", "commit"])
def test_an_abortable_error_aborts_and_the_next_transaction_has_a_new_producer(bench: Bench, step: str) -> None:
    bench.broker.script[step].append(ABORTABLE)
    assert ABORTED is bench.commit(part(0, b"a"))
    assert "abort" in bench.broker.asked
    assert [] == bench.values

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values
    assert 2 == len(bench.broker.producers)


def test_offsets_that_the_group_refuses_abort_and_the_producer_goes_on(bench: Bench) -> None:
    """A new producer would cost half a second of silence, in each rebalance."""
    bench.broker.script["offsets"].append(REFUSED)
    assert ABORTED is bench.commit(part(0, b"a", b"b"))
    assert [] == bench.values

    assert COMMITTED is bench.commit(part(0, b"a", b"b"))
    assert [b"a", b"b"] == bench.values
    assert 1 == len(bench.broker.producers)


def test_after_a_refusal_nothing_is_written_under_the_same_generation_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, refused_pause=10.0))
    bench = Bench(monkeypatch)
    bench.broker.script["offsets"].append(REFUSED)
    assert ABORTED is bench.commit(part())

    bench.sink.commit(Commit(2, (part(),)))
    sleep(0.1)
    assert 1 == bench.broker.asked.count("begin")
    bench.membership = Membership("metadata-2", {0: 1, 1: 1})
    assert COMMITTED is bench.core.told.get(timeout=5)[0]
    assert ["metadata-2"] == bench.broker.metadata


def test_a_group_that_refuses_under_its_own_generation_is_asked_again(bench: Bench) -> None:
    bench.broker.script["offsets"].append(REFUSED)
    assert ABORTED is bench.commit(part())
    assert COMMITTED is bench.commit(part())


def test_a_commit_that_timed_out_is_asked_for_again_before_anything_else(bench: Bench) -> None:
    bench.broker.script["commit"].extend([RETRIABLE, RETRIABLE])
    assert COMMITTED is bench.commit(part(0, b"a"))

    assert ["commit"] * 3 == bench.broker.asked[-3:]
    assert 1 == bench.broker.asked.count("produce")
    assert "abort" not in bench.broker.asked
    assert [b"a"] == bench.values


def test_offsets_that_are_not_taken_yet_are_sent_again_with_the_latest_membership(bench: Bench) -> None:
    def move_on() -> None:
        bench.membership = Membership("metadata-2", {0: 1})
        raise KafkaException(RETRIABLE)

    bench.broker.script["offsets"].append(move_on)
    assert COMMITTED is bench.commit(part())
    assert ["metadata-2"] == bench.broker.metadata


@pytest.mark.parametrize("error", [FATAL, FINAL], ids=["fatal", "neither retriable nor abortable"])
def test_a_producer_lost_while_it_commits_leaves_the_outcome_unknown(bench: Bench, error: KafkaError) -> None:
    bench.broker.script["commit"].append(error)
    assert UNKNOWN is bench.commit(part(0, b"a"))

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert 2 == len(bench.broker.producers)


def test_a_commit_that_times_out_and_then_has_to_be_aborted_has_no_effect(bench: Bench) -> None:
    bench.broker.script["commit"].extend([RETRIABLE, ABORTABLE])

    assert ABORTED is bench.commit(part())
    assert "abort" in bench.broker.asked


def test_an_abort_that_timed_out_is_asked_for_again(bench: Bench) -> None:
    bench.broker.script["offsets"].append(ABORTABLE)
    bench.broker.script["abort"].extend([RETRIABLE, RETRIABLE])

    assert ABORTED is bench.commit(part())
    assert 3 == bench.broker.asked.count("abort")


def test_a_producer_that_hangs_while_it_sends_offsets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, first_patience=0.05))
    bench, released = Bench(monkeypatch), threading.Event()

    def hang() -> None:
        released.wait(10)

    bench.broker.script["offsets"].append(hang)
    assert ABORTED is bench.commit(part(0, b"a"))
    released.set()
    assert [] == bench.values

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values
    assert 2 == len(bench.broker.producers)
    assert bench.sink.stop(5)


def test_a_producer_that_has_lost_its_coordinator_while_it_sends_offsets_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, first_patience=0.05))
    bench = Bench(monkeypatch)

    def time_out() -> None:
        if len(bench.broker.producers) == 1:
            sleep(0.02)
            raise KafkaException(RETRIABLE)

    bench.broker.script["offsets"].extend([time_out] * 10)
    assert ABORTED is bench.commit(part(0, b"a"))
    assert "commit" not in bench.broker.asked
    assert bench.sink.stop(5)
    assert 2 == len(bench.broker.producers)


@pytest.mark.parametrize("step", ["abort", "commit"])
def test_a_producer_that_cannot_end_its_transaction_has_a_successor_at_once(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The successor's beginning ends what is open, which holds up all subscribers; nobody knows how it ends."""
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, end_patience=0.0))
    bench = Bench(monkeypatch)
    bench.broker.script["commit"].append(ABORTABLE if step == "abort" else RETRIABLE)
    bench.broker.script["abort"].append(RETRIABLE)

    assert UNKNOWN is bench.commit(part(0, b"a"))
    assert bench.sink.stop(5)
    assert [step, "init"] == bench.broker.asked[bench.broker.asked.index(step) :][:2]


@pytest.mark.parametrize("refusal", [None, ABORTABLE], ids=str)
@pytest.mark.parametrize("member", [True, False])
def test_what_a_broker_left_open_of_a_transaction_is_ended_before_the_next(
    monkeypatch: pytest.MonkeyPatch, refusal: KafkaError | None, *, member: bool
) -> None:
    """A lost marker blocks the committed offsets; that of an aborted transaction with offsets ends both."""
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, end_patience=0.0))
    bench = Bench(monkeypatch)
    joined = bench.membership

    def leave() -> None:
        bench.membership = joined if member else Membership(None, {})
        raise KafkaException(RETRIABLE)

    bench.broker.script["commit"].append(leave)
    bench.broker.script["offsets"].extend([lambda: None] if refusal is None else [lambda: None, refusal])
    assert UNKNOWN is bench.commit(part(0, b"a"))
    while "abort" not in bench.broker.asked:
        sleep(0.001)

    bench.membership = joined
    assert COMMITTED is bench.commit(part(0, b"a"))
    ending = ["init", "begin", "offsets", "abort"]
    assert [*ending, "begin"] == bench.broker.asked[bench.broker.asked.index("commit") + 1 :][:5]
    assert [b"a"] == bench.values
    assert 2 == len(bench.broker.producers)


@pytest.mark.parametrize("step", ["init", "begin", "offsets", "abort"])
@pytest.mark.parametrize("error", [RETRIABLE, FATAL], ids=["not yet", "fatal"])
def test_nothing_is_committed_before_that_has_succeeded(
    monkeypatch: pytest.MonkeyPatch, step: str, error: KafkaError
) -> None:
    """The next commit would also commit the offsets that hang: what they belong to would never be answered."""
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, end_patience=0.0))
    bench = Bench(monkeypatch)

    def fail() -> None:
        bench.broker.script[step].extend([error, error])
        raise KafkaException(RETRIABLE)

    bench.broker.script["commit"].append(fail)
    assert UNKNOWN is bench.commit(part(0, b"a"))
    assert COMMITTED is bench.commit(part(0, b"a"))

    asked = bench.broker.asked[bench.broker.asked.index("commit") + 1 :]
    assert ["init", "begin", "offsets", "abort"] == asked[: asked.index("commit")][-8:-4]
    assert 4 == len(bench.broker.producers)


def test_the_first_commit_with_an_id_that_others_have_used_ends_what_they_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would commit their offsets that hang as well, of requests whose results were never committed."""
    monkeypatch.setattr(Bench, "inherits", True)
    bench = Bench(monkeypatch)
    for _ in range(2):
        assert COMMITTED is bench.commit(part(0, b"a"))

    ending, commit = ["begin", "offsets", "abort"], ["begin", "produce", "flush", "offsets", "commit"]
    assert ["init", *ending, *commit, *commit] == bench.broker.asked
    assert 1 == len(bench.broker.producers)


def test_a_transaction_whose_abort_is_confirmed_leaves_nothing_to_end(bench: Bench) -> None:
    bench.broker.script["offsets"].append(ABORTABLE)
    assert ABORTED is bench.commit(part(0, b"a"))

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert 1 == bench.broker.asked.count("abort")


def test_a_successor_that_hangs_has_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, end_patience=0.0, first_patience=0.05, retry=0.01))
    bench, released = Bench(monkeypatch), threading.Event()

    def hang() -> None:
        released.wait(10)

    bench.broker.script["commit"].append(RETRIABLE)
    bench.broker.script["offsets"].extend([lambda: None, hang])
    assert UNKNOWN is bench.commit(part(0, b"a"))

    assert COMMITTED is bench.commit(part(0, b"a"))
    released.set()
    assert 3 == len(bench.broker.producers)
    assert [b"a"] == bench.values


def test_a_fenced_producer_is_replaced(bench: Bench) -> None:
    bench.broker.script["begin"].append(FATAL)
    assert COMMITTED is not bench.commit(part(0, b"a"))

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values


def test_a_producer_that_is_not_ready_is_made_anew_until_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.broker.script["init"].extend([RETRIABLE, FATAL, RETRIABLE])

    assert COMMITTED is bench.commit(part())
    assert bench.sink.stop(5)


@pytest.mark.parametrize("step", ["begin", "produce", "offsets"])
def test_a_producer_lost_before_its_commit_was_asked_for_had_no_effect(bench: Bench, step: str) -> None:
    """Else the partitions would be read anew, and all calls made again, for a right that is missing."""
    bench.broker.script[step].append(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True))

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is not None
    assert "transactional id group-1" in bench.core.trouble.message


def test_an_abort_that_never_ends_is_no_doubt_where_no_commit_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, end_patience=0.0))
    bench = Bench(monkeypatch)
    bench.broker.script["offsets"].append(ABORTABLE)
    bench.broker.script["abort"].append(RETRIABLE)

    assert ABORTED is bench.commit(part())
