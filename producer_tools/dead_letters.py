"""Records that could not be read as a request, and redriving them.

A dead letter is redriven to the partition of the requests topic that it came from, with the header ``dlq.redrive-of``
naming it. So whether it was redriven before can be read there: between the original record and the end of that one
partition. Limits: what the requests topic no longer keeps (3 days by default) cannot be ruled out, so such dead letters
are sent only ``again``; and two redrives at the same moment do not see each other.

A redriven record carries the caller's own key, or is signed with it by the sender; a signature that it had is replaced.
A dead letter whose key the service did not know could have been written by anybody who can write to the requests topic,
so it is sent only ``unverified``.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import Message

from producer_tools.connection import Connection
from producer_tools.sender import OutgoingRecord
from producer_tools.topic_reader import HIGHEST_OFFSET, HIGHEST_PARTITION, Headers, Start, TopicReader, headers_of
from schemas.console.text import decimal, moment
from schemas.contract import (
    API_KEY_HEADER,
    CLIENT_HEADER,
    DLQ_MESSAGE_HEADER,
    DLQ_OFFSET_HEADER,
    DLQ_PARTITION_HEADER,
    DLQ_PREFIX,
    DLQ_REASON_HEADER,
    DLQ_REDRIVE_COUNT_HEADER,
    DLQ_REDRIVE_OF_HEADER,
    DLQ_TENANT_HEADER,
    DLQ_TIMESTAMP_HEADER,
    DLQ_TOPIC_HEADER,
    DLQ_VALUE_OMITTED_HEADER,
    MAX_HEADERS,
    OPERATOR,
    SIGNATURE_HEADER,
    Credential,
)
from schemas.settings import Settings, format_duration

HIGHEST_REDRIVE_COUNT = 999_999_999
"""A larger count is ignored, as by the service."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of the dead-letter topic, as the service wrote it: the original record and the ``dlq.*`` headers."""

    partition: int
    offset: int
    dead_lettered_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers
    """All headers, including repeated ones; empty if they cannot be read."""

    def __repr__(self) -> str:
        return f"DeadLetter({self.coordinates}, {self.reason})"

    @property
    def coordinates(self) -> str:
        """``PARTITION:OFFSET`` in the dead-letter topic, by which the commands name it."""
        return f"{self.partition}:{self.offset}"

    @property
    def reason(self) -> str | None:
        """``UNREADABLE`` or ``UNKNOWN_SCHEMA``; ``None``: the service did not write this record."""
        return self.text(DLQ_REASON_HEADER)

    @property
    def message(self) -> str | None:
        return self.text(DLQ_MESSAGE_HEADER)

    @property
    def tenant(self) -> str | None:
        return self.text(DLQ_TENANT_HEADER)

    @property
    def topic(self) -> str | None:
        return self.text(DLQ_TOPIC_HEADER)

    @property
    def request_partition(self) -> int | None:
        return decimal(self.text(DLQ_PARTITION_HEADER), HIGHEST_PARTITION)

    @property
    def request_offset(self) -> int | None:
        return decimal(self.text(DLQ_OFFSET_HEADER), HIGHEST_OFFSET)

    @property
    def sent_at(self) -> float | None:
        """Time of the original record in seconds since the epoch; ``None``: it has none."""
        milliseconds = decimal(self.text(DLQ_TIMESTAMP_HEADER))
        return None if milliseconds is None else milliseconds / 1000

    @property
    def redrive_count(self) -> int:
        """How often the record had been redriven when it was dead-lettered; 0 where the header is not a number."""
        return decimal(self.text(DLQ_REDRIVE_COUNT_HEADER), HIGHEST_REDRIVE_COUNT) or 0

    @property
    def value_omitted(self) -> bool:
        """Whether the original value is lost because it did not fit on the dead-letter topic."""
        return DLQ_VALUE_OMITTED_HEADER in self._own

    def text(self, name: str) -> str | None:
        """Return the last header of this name as text, with undecodable bytes replaced; ``None`` without one."""
        value = self._own.get(name)
        return None if value is None else value.decode(errors="replace")

    @property
    def _own(self) -> Mapping[str, bytes | None]:
        return dict(self.headers)


class DeadLetters:
    """The dead letters from ``start`` up to the end of the topic as of the first iteration, oldest first per partition.

    Reads every partition, joins no group and commits nothing. Raises ``UnreachableError`` or ``MisconfiguredError``.
    """

    def __init__(self, settings: Settings, start: Start = "beginning") -> None:
        self._settings = settings
        self._start = start

    def __iter__(self) -> Iterator[DeadLetter]:
        reader = self._reader(self._start)
        try:
            yield from map(_dead_letter, reader.to_end())
        finally:
            reader.close()

    def find(self, coordinates: Iterable[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], DeadLetter | None]]:
        """Look up each (partition, offset) of the dead-letter topic.

        ``None``: there is no such record, or retention has deleted it.
        """
        reader = self._reader("end")
        try:
            for partition, offset in coordinates:
                yield (partition, offset), _find(reader, partition, offset)
        finally:
            reader.close()

    def _reader(self, start: Start) -> TopicReader:
        return TopicReader(Connection(self._settings.kafka), self._settings.topics.dead_letters, start)


def _find(reader: TopicReader, partition: int, offset: int) -> DeadLetter | None:
    first, end = reader.bounds.get(partition, (0, 0))
    if not first <= offset < end:
        return None
    reader.seek(partition, offset)
    message = next(reader.to_end(), None)
    return _dead_letter(message) if message is not None and message.offset() == offset else None


def _dead_letter(message: Message) -> DeadLetter:
    _, milliseconds = message.timestamp()
    return DeadLetter(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        dead_lettered_at=moment(milliseconds),
        key=message.key(),
        value=message.value(),
        headers=headers_of(message) or (),
    )


# --- redriving -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Redrive:
    """The decision whether one dead letter is sent again, and the reason if it is not."""

    letter: DeadLetter
    obstacle: str | None
    """Reason why it is not sent, for people; ``None``: it is sent."""
    done: bool = False
    """Whether it is not sent because it was redriven before."""


def plan_redrive(
    settings: Settings, letters: Iterable[DeadLetter], *, again: bool, unverified: bool, now: float | None = None
) -> list[Redrive]:
    """Decide for each dead letter whether it may be sent.

    At most once each, unless ``again``; where the requester's key was unknown, only if ``unverified``. One that was
    sent before ``RESYNC_SIGNATURE_MAX_AGE`` is not signed again: its value has its ``requestedAt``, and so it would be
    refused for good. ``now``: seconds since the epoch.
    """
    letters = list(letters)
    signs = settings.request_auth is Credential.SIGNATURE
    oldest = (time.time() if now is None else now) - settings.signature_max_age if signs else -math.inf
    obstacles = {
        letter.coordinates: _obstacle(letter, settings.topics.requests)
        or (_too_old(settings) if letter.sent_at is not None and letter.sent_at < oldest else None)
        or (None if unverified or letter.tenant is not None else _UNVERIFIED)
        for letter in letters
    }
    possible = [letter for letter in letters if not obstacles[letter.coordinates]]
    earlier = {} if again or not possible else _earlier_redrives(settings, possible)
    return [
        Redrive(
            letter,
            obstacles[letter.coordinates] or earlier.get(letter.coordinates),
            done=earlier.get(letter.coordinates) == _DONE,
        )
        for letter in letters
    ]


def redriven(letter: DeadLetter, api_key: str) -> OutgoingRecord:
    """Return the record that redrives a dead letter with the caller's key; our own headers are replaced."""
    kept = tuple(
        (name, value)
        for name, value in letter.headers
        if not name.startswith(DLQ_PREFIX) and name.lower() not in (API_KEY_HEADER, CLIENT_HEADER, SIGNATURE_HEADER)
    )
    own = (
        (CLIENT_HEADER, OPERATOR),
        (API_KEY_HEADER, api_key.encode()),
        (DLQ_REDRIVE_COUNT_HEADER, str(letter.redrive_count + 1).encode()),
        (DLQ_REDRIVE_OF_HEADER, letter.coordinates.encode()),
    )
    return OutgoingRecord(letter.value, letter.key, kept + own, letter.request_partition)


def _obstacle(letter: DeadLetter, requests_topic: str) -> str | None:
    if letter.reason is None or letter.request_partition is None or letter.request_offset is None:
        return "it does not say where it came from: the service did not write it"
    if letter.value_omitted:
        return "its value was too large for the dead-letter topic and is gone: ask for the products anew with `send`"
    if letter.topic != requests_topic:
        return f"it came from topic {letter.topic}: set RESYNC_TOPICS__REQUESTS={letter.topic} to send it there"
    if len(redriven(letter, "").headers) > MAX_HEADERS:
        return f"with ours it would have more than {MAX_HEADERS} headers, and be dead-lettered again"
    return None


def _too_old(settings: Settings) -> str:
    return (
        f"it was sent more than {format_duration(settings.signature_max_age)} ago, and the service would refuse its "
        "signature (RESYNC_SIGNATURE_MAX_AGE): ask for the products anew with `send`, or send it with "
        "RESYNC_REQUEST_AUTH=key"
    )


_UNVERIFIED = "its key was unknown, and it would be sent with your authority; --unverified sends it"
_DONE = "it was redriven before; --again sends it once more"
_EXPIRED = "the requests topic no longer keeps all that came after it, so it may have been redriven; --again sends it"
_NO_PARTITION = "the requests topic has no such partition any more"


def _earlier_redrives(settings: Settings, letters: list[DeadLetter]) -> dict[str, str]:
    """Return coordinates -> obstacle, read from the requests topic behind each original record."""
    by_partition: dict[int, list[DeadLetter]] = {}
    for letter in letters:
        by_partition.setdefault(letter.request_partition or 0, []).append(letter)
    # Uncommitted, too: a record in somebody's open transaction must not hide those behind it.
    reader = TopicReader(
        Connection(settings.kafka), settings.topics.requests, "end", read_committed=False, partitions=by_partition
    )
    try:
        found = [_earlier_in(reader, partition, own) for partition, own in by_partition.items()]
    finally:
        reader.close()
    return {coordinates: obstacle for each in found for coordinates, obstacle in each.items()}


def _earlier_in(reader: TopicReader, partition: int, letters: list[DeadLetter]) -> dict[str, str]:
    if partition not in reader.bounds:
        return {letter.coordinates: _NO_PARTITION for letter in letters}
    first, end = reader.bounds[partition]
    begins = {letter.coordinates: _begin((letter.request_offset or 0) + 1, end) for letter in letters}
    reader.seek(partition, max(first, min(begins.values())))
    seen = {mark for message in reader.to_end() if (mark := _redrive_mark(message))}
    return {
        coordinates: _DONE if coordinates in seen else _EXPIRED
        for coordinates, begin in begins.items()
        if coordinates in seen or begin < first
    }


def _begin(behind: int, end: int) -> int:
    """Return where redrives of a record may be: behind it; anywhere, if the topic was recreated since."""
    return behind if behind <= end else 0


def _redrive_mark(message: Message) -> str | None:
    headers = headers_of(message)
    mark = dict(headers).get(DLQ_REDRIVE_OF_HEADER) if headers else None
    return mark.decode(errors="replace") if mark else None
