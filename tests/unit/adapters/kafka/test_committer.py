"""Reports of the committer: refusals with their remedies, how long a call has lasted, and bugs."""

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.engine.commands import Commit
from tests.unit.adapters.kafka.committing import ABORTED, COMMITTED, Bench, part
from tests.unit.adapters.kafka.fake_producer import REFUSED, RETRIABLE, Broker


def test_until_the_producer_is_ready_the_core_hears_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call may start before; a right that is missing is waited for, since what is decided must not be lost."""
    broker_script = [KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True), RETRIABLE]
    monkeypatch.setattr(Broker, "asked_for", _failing_first(broker_script))
    bench = Bench(monkeypatch)
    assert COMMITTED is bench.commit(part())
    assert bench.sink.stop(5)

    not_ready, no_right, no_coordinator, fine = (message or "" for message in bench.core.publishing[:4])
    assert "not ready" in not_ready
    assert "transactional ids with the prefix group-" in no_right
    assert "transaction.state.log.replication.factor" in no_coordinator
    assert "" == fine
    assert bench.core.publishing[-1] is None


def _failing_first(errors: list[KafkaError]) -> Callable[[Broker, str], None]:
    asked_for = Broker.asked_for

    def asked(self: Broker, what: str) -> None:
        if what == "init" and errors:
            raise KafkaException(errors.pop(0))
        asked_for(self, what)

    return asked


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "WRITE on the topic"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "READ on the group"),
        (KafkaError.INVALID_RECORD, "cleanup.policy"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "topics ensure"),
        (KafkaError.NOT_ENOUGH_REPLICAS, "min.insync.replicas"),
    ],
)
@pytest.mark.parametrize("step", ["produce", "offsets", "commit"])
def test_a_refusal_has_no_effect_and_is_told_with_what_an_operator_can_do(
    bench: Bench, step: str, code: int, named: str
) -> None:
    bench.broker.script[step].append(KafkaError(code, "refused", txn_requires_abort=True))

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is not None
    assert named in bench.core.trouble.message

    assert COMMITTED is bench.commit(part())
    assert bench.core.trouble is None


def test_a_map_that_is_too_large_is_told_as_such(bench: Bench) -> None:
    bench.broker.script["offsets"].append(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE, txn_requires_abort=True))

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is not None
    assert bench.core.trouble.metadata_too_large


def test_a_rebalance_is_no_trouble(bench: Bench) -> None:
    bench.broker.script["offsets"].append(REFUSED)

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is None


def test_the_watchdog_sees_no_call_between_transactions(bench: Bench) -> None:
    seen: list[float | None] = []
    bench.broker.script["commit"].append(lambda: seen.append(bench.sink.busy_since))
    bench.commit(part())

    assert seen[0] is not None
    assert bench.sink.busy_since is None


def test_a_bug_while_publishing_is_kept_for_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.broker.script["produce"].append(lambda: (_ for _ in ()).throw(TypeError("a bug")))
    raised: list[object] = []
    bench.sink._post = raised.append
    bench.sink.commit(Commit(1, [part()]))
    assert bench.sink.stop(5)

    assert isinstance(bench.sink.failure, TypeError)
    assert 1 == len(raised)
