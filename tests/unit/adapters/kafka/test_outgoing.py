"""Outcomes in a producer's hands: those that are too large are reduced, each by itself; none is passed over."""

import pytest

from tests.unit.adapters.kafka.committing import ABORTED, COMMITTED, SMALL, Bench, part, until_committed


@pytest.mark.parametrize(
    ("large", "becomes"), [(b"x" * 2500, b"x" * 250), (b"x" * 100_000, b"r")], ids=["a bit", "by far"]
)
def test_a_record_that_the_broker_finds_too_large_is_reduced_and_its_mates_are_not(
    bench: Bench, large: bytes, becomes: bytes
) -> None:
    """Although the broker refuses all that travel in one batch with it."""
    bench.broker.most_bytes = 2000
    until_committed(bench, part(0, SMALL, large, SMALL))

    assert [SMALL, becomes, SMALL] == bench.values


def test_many_small_records_that_are_too_large_together_all_stay_whole(bench: Bench) -> None:
    bench.broker.most_bytes = 20_000
    until_committed(bench, part(0, *[SMALL] * 200))
    assert [SMALL] * 200 == bench.values

    assert 1 == until_committed(bench, part(1, *[SMALL] * 200))


def test_a_record_that_the_library_finds_too_large_is_reduced_at_once_and_its_mates_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, **{"message.max.bytes": 1000})
    assert COMMITTED is bench.commit(part(0, SMALL, b"x" * 2000, b"y" * 50_000, SMALL))

    assert [SMALL, b"x" * 200, b"r", SMALL] == bench.values
    assert bench.sink.stop(5)


def test_an_outcome_that_does_not_fit_however_small_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather no commit at all than one without its outcome; and it waits, since it is decided."""
    bench = Bench(monkeypatch, **{"message.max.bytes": 0})
    assert ABORTED is bench.commit(part(0, SMALL))

    assert {} == bench.broker.offsets
    assert bench.core.trouble is not None
    assert "max.message.bytes of the topic" in bench.core.trouble.message
    assert bench.sink.stop(5)
    assert bench.sink.failure is None


def test_what_was_reduced_once_is_whole_again_in_a_later_record(bench: Bench) -> None:
    bench.broker.most_bytes = 2000
    until_committed(bench, part(0, b"x" * 2500))
    bench.broker.most_bytes = 1 << 30

    assert COMMITTED is bench.commit(part(0, b"x" * 2500))
    assert [b"x" * 250, b"x" * 2500] == bench.values


def test_a_full_queue_is_waited_for(bench: Bench) -> None:
    def full() -> None:
        raise BufferError("queue full")

    bench.broker.script["produce"].extend([full, full])
    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values
