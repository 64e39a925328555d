"""Dead letters: read, judged, and made requests again."""

from collections.abc import Iterator

import pytest

from producer_tools import DeadLetter, DeadLetters
from producer_tools.dead_letters import plan_redrive, redriven
from schemas.contract import MAX_HEADERS
from tests.unit.producer_tools.fake_kafka import FakeBroker, Header, fake_broker, settings


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    with fake_broker(monkeypatch, [("requests", 2), ("dlq", 2)]) as broker:
        yield broker


class Letters:
    """Writes dead letters as the service does, each for a record of the requests topic."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    def add(self, *more: Header, value: bytes | None = b"v", without: tuple[str, ...] = (), **changes: bytes) -> str:
        """Return the coordinates."""
        original = self._broker.add("requests", 1, value_=value)
        own = {
            "dlq.reason": b"UNREADABLE",
            "dlq.message": b"why",
            "dlq.topic": b"requests",
            "dlq.partition": b"1",
            "dlq.offset": b"%d" % original.offset_,
            "dlq.tenant": b"acme",
            "dlq.redrive-count": b"0",
        } | {f"dlq.{name.replace('_', '-')}": text for name, text in changes.items()}
        headers = [*more, *((name, text) for name, text in own.items() if name not in without)]
        letter = self._broker.add("dlq", 0, value_=value, key_=b"k", headers_=headers)
        return f"{letter.partition_}:{letter.offset_}"


@pytest.fixture
def letters(broker: FakeBroker) -> Letters:
    return Letters(broker)


def read() -> list[DeadLetter]:
    return list(DeadLetters(settings()))


def obstacles(*, again: bool = False, unverified: bool = False) -> list[str | None]:
    return [each.obstacle for each in plan_redrive(settings(), read(), again=again, unverified=unverified)]


def test_a_dead_letter_says_why_and_where_it_came_from(letters: Letters) -> None:
    letters.add(redrive_count=b"3")

    (letter,) = read()

    assert ("0:0", "UNREADABLE", "why", "acme", "requests") == (
        letter.coordinates,
        letter.reason,
        letter.message,
        letter.tenant,
        letter.topic,
    )
    assert (1, 0, 3, False) == (
        letter.request_partition,
        letter.request_offset,
        letter.redrive_count,
        letter.value_omitted,
    )


@pytest.mark.parametrize(
    "headers",
    [
        (),
        None,
        (("dlq.partition", b"x"), ("dlq.offset", b"-1"), ("dlq.redrive-count", b"9" * 5000)),
        (("dlq.partition", None), ("dlq.offset", "²".encode()), ("dlq.redrive-count", b"1000000000")),
    ],
)
def test_what_somebody_else_wrote_says_nothing_and_is_not_sent(
    broker: FakeBroker, headers: tuple[Header, ...] | None
) -> None:
    broker.add("dlq", 0, headers_=headers)

    (letter,) = read()

    assert (None, None, 0) == (letter.request_partition, letter.request_offset, letter.redrive_count)
    (obstacle,) = obstacles()
    assert obstacle is not None
    assert "the service did not write it" in obstacle


def test_one_is_found_by_its_place(letters: Letters) -> None:
    for _ in range(3):
        letters.add()

    found = dict(DeadLetters(settings()).find([(0, 1), (0, 9), (7, 0)]))

    assert {(0, 1): "0:1", (0, 9): None, (7, 0): None} == {
        place: letter and letter.coordinates for place, letter in found.items()
    }


def test_a_redriven_record_has_the_callers_key_and_no_header_twice(letters: Letters) -> None:
    theirs = (("DJ-Client", b"x"), ("dj-api-key", b"theirs"), ("DJ-Signature", b"theirs"))
    letters.add(*theirs, ("a", b"1"), ("a", None), redrive_count=b"1")

    record = redriven(read()[0], "mine")

    assert (b"v", b"k", 1) == (record.value, record.key, record.partition)
    assert (
        ("a", b"1"),
        ("a", None),
        ("dj-client", b"OPERATOR"),
        ("dj-api-key", b"mine"),
        ("dlq.redrive-count", b"2"),
        ("dlq.redrive-of", b"0:0"),
    ) == record.headers


def test_each_is_sent_at_most_once_unless_again(broker: FakeBroker, letters: Letters) -> None:
    letters.add()
    letters.add()
    first = redriven(read()[0], "key")
    broker.add("requests", 1, value_=first.value, headers_=first.headers)

    assert ["it was redriven before; --again sends it once more", None] == obstacles()
    assert [True, False] == [each.done for each in plan_redrive(settings(), read(), again=False, unverified=False)]
    assert [None, None] == obstacles(again=True)


def test_a_redrive_in_an_open_transaction_counts(broker: FakeBroker, letters: Letters) -> None:
    letters.add()

    obstacles()

    assert "read_uncommitted" in {handle.properties.get("isolation.level") for handle in broker.handles}


def test_what_the_topic_no_longer_keeps_is_sent_only_again(broker: FakeBroker, letters: Letters) -> None:
    for _ in range(3):
        letters.add()
    broker.first_offsets["requests"] = 2

    expired, kept, newest = obstacles()

    assert expired is not None
    assert "may have been redriven" in expired
    assert (None, None) == (kept, newest)
    assert [None] * 3 == obstacles(again=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"value_omitted": b"true"}, "is gone"),
        ({"topic": b"elsewhere"}, "RESYNC_TOPICS__REQUESTS=elsewhere"),
        ({"partition": b"9"}, "no such partition"),
    ],
)
def test_what_cannot_be_sent_says_why(letters: Letters, changes: dict[str, bytes], told: str) -> None:
    letters.add(**changes)  # type: ignore[arg-type] # of headers only

    (obstacle,) = obstacles()

    assert obstacle is not None
    assert told in obstacle


def test_one_whose_key_was_unknown_is_sent_only_unverified(letters: Letters) -> None:
    letters.add(without=("dlq.tenant",))

    (obstacle,) = obstacles()

    assert obstacle is not None
    assert "--unverified" in obstacle
    assert [None] == obstacles(unverified=True)


def test_one_that_would_have_too_many_headers_would_be_dead_lettered_again(letters: Letters) -> None:
    letters.add(*((f"h{number}", b"") for number in range(MAX_HEADERS - 4)))
    letters.add(*((f"h{number}", b"") for number in range(MAX_HEADERS - 3)))

    fits, too_many = obstacles()

    assert fits is None
    assert too_many is not None
    assert f"more than {MAX_HEADERS} headers" in too_many


@pytest.mark.parametrize(
    ("auth", "max_age", "seconds_ago", "sent"),
    [
        ("signature", "3d", 3 * 86_400 + 1, False),
        ("signature", "3d", 3 * 86_400 - 1, True),
        ("signature", "5d", 3 * 86_400 + 1, True),
        ("key", "3d", 3 * 86_400 + 1, True),
    ],
)
def test_what_the_service_would_refuse_for_its_age_is_not_signed(
    letters: Letters,
    auth: str,
    max_age: str,
    seconds_ago: int,
    sent: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Its answer would be final, and the dead letter would count as redriven."""
    now = 1_700_000_000
    letters.add(timestamp=b"%d" % ((now - seconds_ago) * 1000))
    letters.add(timestamp=b"soon")
    given = settings(RESYNC_REQUEST_AUTH=auth, RESYNC_SIGNATURE_MAX_AGE=max_age)

    old, without_a_time = plan_redrive(given, read(), again=False, unverified=False, now=now)

    assert sent == (old.obstacle is None)
    if old.obstacle:
        assert "RESYNC_SIGNATURE_MAX_AGE" in old.obstacle
        assert "RESYNC_REQUEST_AUTH=key" in old.obstacle
    assert without_a_time.obstacle is None
