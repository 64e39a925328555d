"""Progress maps: whatever order records finish in, the next owner of the partition knows which are done."""

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.domain.progress import (
    WINDOW,
    CommitPoint,
    Progress,
    ProgressMapIgnoredError,
    decode_map,
    encode_map,
    topic_id_of,
)

METADATA_MOST = 4095
"""Characters that a broker takes from this client library (ARCHITECTURE.md, law 3)."""


@dataclass
class Naive:
    """The same, as one would say it: sets of offsets."""

    base: int
    position: int
    open: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)

    def commit_point(self, also: set[int]) -> tuple[int, set[int]]:
        """The lowest unfinished offset, and what is done beyond."""
        still_open = self.open - also
        base = min(still_open, default=self.position)
        return base, {offset for offset in self.done | also if offset >= base}


def offsets_of(base: int, metadata: str) -> set[int]:
    """The offsets that a committed map calls done."""
    bitmap = decode_map(base, metadata)
    return {base + index for index in range(8 * len(bitmap)) if bitmap[index // 8] >> index % 8 & 1}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.integers(1, 30)),
        st.tuples(st.just("receive"), st.sampled_from([3_000, 6_000])),
        st.tuples(st.just("gap"), st.integers(1, 40)),
        st.tuples(st.just("hole"), st.integers(1, 40)),
        st.tuples(st.just("give back"), st.integers(1, 40)),
        st.tuples(st.just("forget"), st.integers(1, 40)),
        st.tuples(st.just("finish"), st.integers(0, 2**32)),
        st.tuples(st.just("finish"), st.just(2**32 - 1)),
        st.tuples(st.just("abort"), st.integers(0, 2**32)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("again"), st.just(0)),
        st.tuples(st.just("leap"), st.integers(2 * WINDOW, 3 * WINDOW)),
    ),
    max_size=40,
)


def chosen(open_offsets: set[int], number: int) -> set[int]:
    """Some of them, as the bits of a number say."""
    return {offset for index, offset in enumerate(sorted(open_offsets)) if number >> index % 32 & 1}


class Story:
    """One log, a ``Progress`` and the naive bookkeeper, side by side."""

    def __init__(self, start: int) -> None:
        self.log: list[int] = []
        self.progress, self.naive = Progress(start), Naive(start, start)
        self.committed = (start, "")

    def receive(self, count: int) -> None:
        """So many records follow."""
        progress, naive = self.progress, self.naive
        begin = naive.position
        assert progress.extend(begin, begin + count)
        for offset in range(begin, begin + count):
            self.log.append(offset)
            assert progress.receive(offset) is (offset not in naive.done)
            if offset not in naive.done:
                naive.open.add(offset)
            naive.position = offset + 1

    def gap(self, width: int) -> None:
        """The log goes on without records."""
        self.naive.position += width
        assert self.progress.extend(self.naive.position - width, self.naive.position)
        self.progress.advance()

    def hole(self, width: int) -> None:
        """What is read does not continue what was read before: it is not taken, however often it comes."""
        begin = self.naive.position + width
        assert not self.progress.extend(begin, begin + width)
        self.progress.advance()
        with pytest.raises(ValueError, match="is read to"):
            self.progress.receive(begin)

    def give_back(self, gap: int) -> None:
        """A record behind a gap is received, finds no room, and is received later."""
        offset = self.naive.position + gap
        assert self.progress.extend(self.naive.position, offset + 1)
        self.log.append(offset)
        assert self.progress.receive(offset)
        self.progress.give_back(offset)
        assert self.progress.receive(offset)
        self.naive.open.add(offset)
        self.naive.position = offset + 1

    def forget(self, count: int) -> None:
        """So many records are read and not taken in: nothing may count them as a gap."""
        begin = self.naive.position
        assert self.progress.extend(begin, begin + count)
        self.progress.drop_unreceived()
        self.progress.advance()
        assert not self.progress.extend(begin + count, begin + count + 1)

    def leap(self, width: int) -> None:
        """A record comes behind a gap that is wider than all that a window can hold."""
        if self.naive.open:
            return
        self.gap(width)
        self.receive(1)

    def end(self, number: int, *, commits: bool) -> None:
        """A transaction ends."""
        naive = self.naive
        outcomes = chosen(naive.open, number)
        point = self.progress.preview(outcomes)
        base, beyond = naive.commit_point(outcomes)
        if naive.position - base <= WINDOW:
            assert (base, beyond) == (point.offset, offsets_of(point.offset, point.metadata))
        if commits and naive.position - base <= WINDOW:
            self.progress.finish(outcomes)
            naive.open -= outcomes
            naive.done |= outcomes
            naive.base, self.committed = base, (point.offset, point.metadata)

    def restart(self) -> None:
        """The next owner begins at what was committed."""
        naive = self.naive
        offset, metadata = self.committed
        progress = self.progress = Progress(offset, decode_map(offset, metadata))
        naive.open = set()
        naive.base = naive.position = offset
        rest = sorted({each for each in self.log if each >= offset})
        assert progress.extend(offset, max(rest, default=offset - 1) + 1)
        for known in rest:
            assert progress.receive(known) is (known not in naive.done)
            naive.open |= {known} - naive.done
            naive.position = known + 1

    def again(self) -> None:
        """A record is delivered a second time."""
        if self.log and self.log[-1] in self.naive.open | self.naive.done:
            assert not self.progress.receive(self.log[-1])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(start=st.integers(0, 2**40), steps=STEPS)
def test_progress_says_what_a_naive_bookkeeper_says(start: int, steps: list[tuple[str, int]]) -> None:
    """Records arrive with gaps, finish in any order, in transactions that commit or abort; the owner may restart."""
    story = Story(start)
    actions: dict[str, Callable[[int], None]] = {
        "receive": story.receive,
        "gap": story.gap,
        "hole": story.hole,
        "give back": story.give_back,
        "forget": story.forget,
        "leap": story.leap,
        "finish": lambda number: story.end(number, commits=True),
        "abort": lambda number: story.end(number, commits=False),
        "restart": lambda _: story.restart(),
        "again": lambda _: story.again(),
    }
    for step, number in steps:
        actions[step](number)
        assert len(story.naive.open) == story.progress.unfinished
        assert story.naive.position == story.progress.position


@pytest.mark.parametrize("gap", [0, 1, 7])
def test_what_lies_below_the_base_is_forgotten_without_moving_the_rest(gap: int) -> None:
    """Beyond 10,000 offsets the tracker forgets what is done: a shifted map would name the wrong records."""
    story = Story(5)
    for _ in range(6):
        story.receive(4_000)
        story.gap(gap)
        story.end(0x7FFF_FFFF, commits=True)
        story.end(2**32 - 1, commits=True)
        story.receive(64)
        story.end(0xAAAA_AAAA, commits=True)
        story.end(0x0000_0001, commits=False)
        story.restart()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 1), base=st.sampled_from([0, 1, 2**31, 2**62]))
def test_a_full_window_always_fits_into_the_metadata_of_a_commit(seed: int, share: float, base: int) -> None:
    chance = Random(seed)
    progress = Progress(base)
    progress.extend(base, base + WINDOW)
    for offset in range(base, base + WINDOW):
        progress.receive(offset)
    done = {offset for offset in range(base + 1, base + WINDOW) if chance.random() < share} | {base + WINDOW - 1}
    point = progress.preview(done)

    assert base == point.offset
    assert METADATA_MOST >= len(point.metadata)
    assert done == offsets_of(base, point.metadata)


def test_a_tracker_that_forgets_what_lies_below_its_base_keeps_the_map_beyond_it() -> None:
    """The offsets below the base are forgotten once there are half a window of them."""
    forgotten = WINDOW // 2
    progress = Progress(0)
    progress.extend(0, forgotten + 5)
    for offset in range(forgotten + 4):
        progress.receive(offset)
    progress.finish([*range(forgotten), forgotten + 1, forgotten + 3])

    assert 2 == progress.unfinished
    point = progress.preview([])
    assert (forgotten, {forgotten + 1, forgotten + 3}) == (point.offset, offsets_of(point.offset, point.metadata))
    point = progress.preview([forgotten])
    assert (forgotten + 2, {forgotten + 3}) == (point.offset, offsets_of(point.offset, point.metadata))
    assert progress.receive(forgotten + 4)


def test_a_preview_changes_nothing() -> None:
    progress = Progress(0)
    progress.extend(0, 3)
    for offset in range(3):
        progress.receive(offset)
    progress.preview([0, 1])

    assert 3 == progress.unfinished
    assert 0 == progress.base


def test_with_nothing_unfinished_the_position_is_committed() -> None:
    """Not last + 1: transaction markers would leave a lag of one for ever."""
    progress = Progress(10)
    progress.extend(10, 12)
    progress.receive(10)
    progress.advance()
    point = progress.preview([10])

    assert (12, "") == (point.offset, point.metadata)


def test_a_record_delivered_twice_is_taken_once() -> None:
    progress = Progress(5)
    progress.extend(5, 6)

    assert progress.receive(5)
    assert not progress.receive(5)
    assert not progress.receive(4)
    progress.finish([5])
    assert not progress.receive(5)
    assert 6 == progress.base


def test_the_window_in_use_shrinks_when_the_lowest_record_finishes() -> None:
    progress = Progress(0)
    progress.extend(0, 100)
    for offset in range(100):
        progress.receive(offset)
    progress.finish(range(1, 100))
    assert 100 == progress.used
    progress.finish([0])

    assert 0 == progress.used
    assert 100 == progress.base


@settings(max_examples=100, deadline=None)
@given(
    offsets=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    bitmaps=st.tuples(st.binary(max_size=3), st.binary(max_size=3)),
)
def test_progress_includes_other_progress_if_it_is_ahead_or_has_finished_no_less(
    offsets: tuple[int, int], bitmaps: tuple[bytes, bytes]
) -> None:
    here, other = (
        CommitPoint(offset, encode_map(offset, bitmap)) for offset, bitmap in zip(offsets, bitmaps, strict=True)
    )
    if offsets[0] != offsets[1]:
        assert here.includes(other) is (offsets[0] > offsets[1])
    else:
        assert here.includes(other) is (
            offsets_of(other.offset, other.metadata) <= offsets_of(here.offset, here.metadata)
        )


def test_progress_with_a_foreign_map_includes_no_finished_offsets() -> None:
    assert not CommitPoint(5, "somebody's").includes(CommitPoint(5, encode_map(5, b"\2")))
    assert CommitPoint(5, "somebody's").includes(CommitPoint(5, ""))


@given(metadata=st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: base64.b85encode(raw).decode()))
def test_foreign_metadata_is_ignored(metadata: str) -> None:
    if metadata:
        with pytest.raises(ProgressMapIgnoredError):
            decode_map(7, metadata)


MAP = encode_map(7, b"\x02\x80")


@pytest.mark.parametrize(
    "metadata",
    [
        *(MAP[:index] + ("0" if MAP[index] != "0" else "1") + MAP[index + 1 :] for index in range(len(MAP))),
        *(MAP[:length] for length in range(1, len(MAP))),
        MAP + "0",
        MAP + MAP,
        " " + MAP,
    ],
)
def test_a_broken_map_is_ignored(metadata: str) -> None:
    with pytest.raises(ProgressMapIgnoredError):
        decode_map(7, metadata)


@pytest.mark.parametrize("base", [0, 6, 8, 2**40])
def test_a_map_of_another_offset_is_ignored(base: int) -> None:
    with pytest.raises(ProgressMapIgnoredError):
        decode_map(base, MAP)


def forged(form: bytes, body: bytes, version: int = 1) -> str:
    """A map with a right checksum, whatever it holds."""
    payload = (7).to_bytes(8, "big") + body
    blob = b"m" + bytes([version]) + form + zlib.crc32(form + payload).to_bytes(4, "big") + payload
    return base64.b85encode(blob).decode()


@pytest.mark.parametrize(
    "metadata",
    [
        forged(b"r", bytes(WINDOW // 8 + 1)),
        forged(b"z", zlib.compress(bytes(WINDOW))),
        forged(b"z", zlib.compress(bytes(100_000_000))),
        forged(b"z", b"no stream"),
        forged(b"z", zlib.compress(b"\xff" * 500)[:-9]),
        forged(b"x", b"\x02"),
        forged(b"r", b"\x02", version=2),
    ],
    ids=["too wide", "too wide when inflated", "a bomb", "no stream", "cut short", "unknown form", "unknown version"],
)
def test_an_implausible_map_is_ignored(metadata: str) -> None:
    with pytest.raises(ProgressMapIgnoredError):
        decode_map(7, metadata)


def test_no_metadata_is_an_empty_map() -> None:
    assert b"" == decode_map(3, "")
    assert "" == encode_map(3, b"")


# -- the topic's id ---------------------------------------------------------------------------------------

TOPIC_ID = b"\x00\x01topic\xff"


@pytest.mark.parametrize("bitmap", [b"", b"\x02\x80", b"\x01" * 500, Random(1).randbytes(WINDOW // 8)])
def test_the_topics_id_travels_with_the_map(bitmap: bytes) -> None:
    """Behind a deflated bitmap, where readers of former releases do not look."""
    metadata = encode_map(7, bitmap, None, TOPIC_ID)
    body = base64.b85decode(metadata)[15:]

    assert (bitmap, TOPIC_ID) == (decode_map(7, metadata), topic_id_of(7, metadata))
    assert METADATA_MOST >= len(metadata)
    former = zlib.decompressobj()
    assert (bitmap, True) == (former.decompress(body, WINDOW // 8 + 1), former.eof)


@pytest.mark.parametrize(
    "metadata", ["", "somebody else's words", encode_map(7, b"\x02"), encode_map(7, b"\x01" * 500)]
)
def test_a_map_without_the_topics_id_has_none(metadata: str) -> None:
    assert b"" == topic_id_of(7, metadata)


def test_a_transaction_commits_the_topics_id_also_with_nothing_done_beyond() -> None:
    assert TOPIC_ID == topic_id_of(7, Progress(7, topic_id=TOPIC_ID).preview([]).metadata)


@pytest.mark.parametrize("longest", [0, 30, 45, 100])
def test_a_map_that_is_cut_gives_up_the_topics_id_last(longest: int) -> None:
    metadata = encode_map(7, b"\x81" * 40, longest, TOPIC_ID)

    assert len(metadata) <= longest
    assert topic_id_of(7, metadata) == (TOPIC_ID if longest > 44 else b"")
