"""Writes records once each, and reports each acknowledgement.

The one way by which a request leaves the tools: with ``RESYNC_REQUEST_AUTH=signature`` no record with a key passes.
"""

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producer_tools.connection import UNCONFIRMED, Connection
from producer_tools.errors import InvalidRequestError, Mistake, NotAcknowledgedError, ResyncToolError
from producer_tools.policy import TOOLS
from schemas.contract import (
    API_KEY_HEADER,
    CLIENT_HEADER,
    HEADROOM_BYTES,
    SCHEMA_ID_HEADER,
    SIGNATURE_HEADER,
    Credential,
)
from schemas.rights import Right
from schemas.signature import Content, Signing

_log = logging.getLogger(__name__)

_FATAL: Final = KafkaError._FATAL  # noqa: SLF001 - librdkafka's own name for its code
_OF_FATAL_ERRORS: Final = frozenset({_FATAL, KafkaError._PURGE_QUEUE})  # noqa: SLF001 - librdkafka's own name for its code
"""Errors of records that a producer refused (``_FATAL``) or dropped from its queue because of a fatal error.

What it refused was not written. What it dropped may have been: a record that waits for another attempt is in the queue
too.
"""
_MAYBE_WRITTEN: Final = "A record that was sent before may have been written; sending it again is safe."


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The place (topic, partition, offset) of a record that all in-sync replicas have."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to send; ``partition`` of ``None`` leaves the choice to the key.

    ``headers`` contain the API key of whoever asks, also where the sender is to sign with it.
    """

    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    partition: int | None = None

    def __repr__(self) -> str:
        # headers hold an API key
        return f"OutgoingRecord({len(self.value or b'')} bytes)"


def signed(record: OutgoingRecord, signing: Signing) -> OutgoingRecord:
    """Return the record with a signature in the place of its API key; as it is, if it has none.

    Names are case-insensitive, and of a repeated header the last value counts, as for the service.
    """
    last = {name.lower(): value for name, value in record.headers}
    key = last.get(API_KEY_HEADER)
    if key is None:
        return record
    content = Content(last.get(SCHEMA_ID_HEADER), last.get(CLIENT_HEADER), record.value)
    others = tuple(each for each in record.headers if each[0].lower() not in (API_KEY_HEADER, SIGNATURE_HEADER))
    return replace(record, headers=(*others, (SIGNATURE_HEADER, signing.header(key, content))))


class RecordSender:
    """An idempotent producer for one topic, with a thread that waits for its acknowledgements.

    A producer that meets a fatal error takes no record any more, so the thread replaces it. That is so where the
    brokers refuse it the id that it needs to write each record once: without WRITE, for instance.

    Making one asks the brokers for the topic and raises what ``Connection.partitions`` raises.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        max_value_bytes: int,
        defaults: Mapping[str, object] | None = None,
        *,
        auth: Credential,
    ) -> None:
        """``defaults`` are librdkafka properties that the operator's own override.

        ``auth``: whether the records' API keys are sent, or each record is signed with its own.
        """
        self._connection = connection
        self._topic = topic
        self._signing = Signing(topic) if auth is Credential.SIGNATURE else None
        self._make = partial(connection.producer, max_value_bytes + HEADROOM_BYTES, defaults)
        self._producer: Producer = self._make()
        self._made_at = time.monotonic()
        self.failure: ResyncToolError | None = None
        """Fatal error of the last producer, until its successor has proven usable; may be read on any thread."""
        self.partitions = connection.partitions(self._producer, topic, Right.WRITE)
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="resync-acknowledgements", daemon=True)
        self._poller.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(wait=kind is None)

    def send(self, record: OutgoingRecord) -> Future[Acknowledgement]:
        """Hand a record to the library; the future ends with the acknowledgement, or with a ``ResyncToolError``.

        Waits while the library's queue is full.
        """
        record = self._proven(record)
        while not self._closing.is_set():
            acknowledged = Future[Acknowledgement]()
            try:
                if self._hand_over(record, acknowledged):
                    return acknowledged
            except KafkaException as exception:
                error = exception.args[0]
                if error.code() == _FATAL:
                    self._await_failure()
                acknowledged.set_exception(self._explain(error))
                return acknowledged
            self._closing.wait(TOOLS.sender_poll_seconds)
        raise ResyncToolError("This publisher is closed.", "Make a new one.")

    def offer(self, record: OutgoingRecord) -> Future[Acknowledgement] | None:
        """Hand a record to the library without waiting; ``None``: it has no room, and nothing was handed over.

        Raises a ``ResyncToolError`` where the library refuses the record; nothing was handed over then either. The
        future ends as that of ``send`` does.
        """
        if self._closing.is_set():
            return None
        acknowledged = Future[Acknowledgement]()
        try:
            return acknowledged if self._hand_over(self._proven(record), acknowledged) else None
        except KafkaException as exception:
            raise self._explain(exception.args[0]) from exception

    def close(self, *, wait: bool = True) -> None:
        """Close; with ``wait`` after everything sent is acknowledged or given up, otherwise drop what waits."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._poller.join()
        if not wait:
            self._give_up()
            return
        try:
            self._producer.flush()
        except KafkaException:  # a fatal error: nothing more will be acknowledged
            self._give_up()

    def _proven(self, record: OutgoingRecord) -> OutgoingRecord:
        return record if self._signing is None else signed(record, self._signing)

    def _hand_over(self, record: OutgoingRecord, acknowledged: Future[Acknowledgement]) -> bool:
        """Return whether the library had room for the record."""
        acknowledged.set_running_or_notify_cancel()  # what is sent cannot be called back: never cancelled

        def report(error: KafkaError | None, message: Message | None) -> None:
            if error is None and message is not None:
                acknowledged.set_result(Acknowledgement(self._topic, message.partition() or 0, message.offset() or 0))
            elif error is not None:
                acknowledged.set_exception(self._explain(error))

        try:
            self._producer.produce(
                self._topic,
                record.value,
                record.key,
                partition=-1 if record.partition is None else record.partition,
                headers=list(record.headers),
                on_delivery=report,
            )
        except BufferError:
            return False
        return True

    def _await_failure(self) -> None:
        """Wait until the thread has learnt why the producer refuses records: their own errors do not say it."""
        give_up_at = time.monotonic() + TOOLS.fatal_error_seconds
        while self.failure is None and time.monotonic() < give_up_at and not self._closing.is_set():
            self._closing.wait(TOOLS.sender_poll_seconds)

    def _explain(self, error: KafkaError) -> ResyncToolError:
        """Return a new error, for one record: a traceback grows with each raise, and its frames hold API keys."""
        failure = self.failure
        if failure is not None and error.code() in _OF_FATAL_ERRORS:
            refused = error.code() == _FATAL
            return type(failure)(failure.problem, failure.remedy if refused else f"{failure.remedy} {_MAYBE_WRITTEN}")
        if error.code() in UNCONFIRMED:
            return NotAcknowledgedError(
                "Kafka did not confirm the record in time, and may have written it.", "Send it again, which is safe."
            )
        if error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE):
            message = f"is larger than topic {self._topic} takes; ask for fewer products at once (--batch-size)"
            return InvalidRequestError([Mistake("the request", message)])
        return self._connection.explain(error, self._topic, Right.WRITE)

    def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                self._producer.poll(TOOLS.sender_poll_seconds)
            except KafkaException as exception:  # raised for fatal errors only, once for each producer
                self._replace(exception.args[0])
            if self.failure is not None and time.monotonic() - self._made_at > TOOLS.trial_seconds:
                self.failure = None
                _log.warning("records can be written again")

    def _give_up(self) -> None:
        """Drop all records that the producer still has; each of them hears."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        try:
            self._producer.flush()
        except KafkaException:  # a fatal error that was still to be reported, which happens once
            self._producer.flush()

    def _replace(self, error: KafkaError) -> None:
        """Replace a producer after a fatal error; each record that it still has hears of it."""
        if self.failure is None:
            self.failure = self._connection.explain(error, self._topic, Right.WRITE)
            _log.error("%s", self.failure)
        self._give_up()
        self._closing.wait(TOOLS.renewal_seconds)
        self._producer, self._made_at = self._make(), time.monotonic()
