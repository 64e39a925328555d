"""Records to bytes and back: `RequestDecoder`, `ResultDecoder`, `encode_request`, `ResultEncoder`.

Reading never raises, whatever the bytes are, and costs at most in proportion to their number; what cannot be
read is an `Unreadable` value. Values are plain: strings, ints, lists and dicts by the contract's field
names, no logical types, so that a bad uuid can be answered instead of failing here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, TypeAlias

from fastavro import schemaless_writer

from schemas.avro.binary import MALFORMED, Read
from schemas.avro.framing import ID_BYTES, ID_MAGIC, SINGLE_OBJECT_BYTES, SchemaRef, header_framing, parse_framing
from schemas.avro.learnt import LearntSchemas, Unreadable
from schemas.avro.policy import SCHEMAS
from schemas.avro.released import ReleasedSchema, plain_schema, requests, results
from schemas.avro.resolution import Resolved, resolve
from schemas.avro.writer_schema import SchemaError
from schemas.contract import MAX_ERROR_TEXT_CHARACTERS, SCHEMA_ID_HEADER, DeadLetterReason, request_id_fault

Record: TypeAlias = dict[str, Any]

EARLIEST_MILLIS: Final = -62_135_596_800_000
"""The beginning of the year 1, UTC, in milliseconds since the epoch."""
LATEST_MILLIS: Final = 253_402_300_799_999
"""The end of the year 9999, UTC, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class UnknownSchema:
    """A writer schema that has to be requested from the registry first.

    ``RecordDecoder.decode`` returns it instead of a record. After ``RecordDecoder.learn`` the same bytes can be
    decoded.
    """

    ref: SchemaRef


class RecordDecoder:
    """Decodes one kind of record, written with any schema that resolves to our newest one.

    ``registry`` says whether schema ids can be asked for: without, an id is unknown for good. ``others`` are our
    bundled schemas of another kind of record. What was learnt is kept in a bounded cache; a schema that fell out
    of it is an `UnknownSchema` again.
    """

    def __init__(
        self,
        versions: Sequence[ReleasedSchema],
        others: Sequence[ReleasedSchema],
        *,
        registry: bool,
        max_bytes: int,
    ) -> None:
        self._registry = registry
        self._max_bytes = max_bytes
        self._ours = plain_schema(versions[-1].text)
        self._reads: dict[bytes, Read] = {}
        """By framing: bundled and learnt."""
        self._newest = b""
        """The framing that was read last: the cache is told of changes only, not of every record."""
        self._learnt = LearntSchemas()
        self._bundled_refused: dict[SchemaRef, Unreadable] = {}
        for version in versions:
            self._reads[version.ref.wire] = resolve(version.text, *self._ours).read
        for other in others:
            prepared = self.prepare(other.ref, other.text)
            if isinstance(prepared, Unreadable):
                self._bundled_refused[other.ref] = prepared

    def learn(self, ref: SchemaRef, schema_text: str) -> None:
        """Prepare a schema and adopt it.

        Only for a thread that decodes and may wait: a hostile schema takes up to a second. Otherwise ``prepare`` it
        elsewhere and ``adopt`` the outcome.
        """
        self.adopt(ref, self.prepare(ref, schema_text))

    def prepare(self, ref: SchemaRef, schema_text: str) -> Resolved | Unreadable:
        """Resolve a writer schema. Takes up to a second for a hostile one; may run on any thread."""
        try:
            return resolve(schema_text, *self._ours)
        except SchemaError as error:
            return self.refusal(ref, error)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's schema provokes concerns its records only
            return _unreadable(f"{ref}: cannot be resolved ({type(error).__name__})")

    def refusal(self, ref: SchemaRef, error: SchemaError) -> Unreadable:
        """Return the result for records whose schema cannot be resolved, with a message that names the schema."""
        return _unreadable(f"{ref}: {error}")

    def adopt(self, ref: SchemaRef, prepared: Resolved | Unreadable) -> None:
        """Remember a prepared schema, or that it cannot be read, until others need its place."""
        for evicted in self._learnt.add(ref, prepared):
            self._reads.pop(evicted.wire, None)
        if isinstance(prepared, Resolved):
            self._reads[ref.wire] = prepared.read

    def decode(self, value: bytes | None, schema_header: bytes | None = None) -> Record | Unreadable | UnknownSchema:
        """Return the record in a Kafka value; ``schema_header`` is the value of `SCHEMA_ID_HEADER`, if present."""
        if value is None:
            return _unreadable("the value is null")
        if len(value) > self._max_bytes:
            return _unreadable(f"{len(value)} bytes are more than the {self._max_bytes} that are read")
        if schema_header is not None:
            framing, at = header_framing(schema_header), 0
        elif value[:1] == ID_MAGIC:
            framing, at = value[:ID_BYTES], ID_BYTES
        else:
            framing, at = value[:SINGLE_OBJECT_BYTES], SINGLE_OBJECT_BYTES
        read = self._reads.get(framing)
        if read is None:
            return self._unread(framing, schema_header)
        if framing != self._newest:
            self._newest = framing
            self._learnt.touch(framing)
        try:
            record, at = read(value, at)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's bytes provoke concerns this record only
            return _unreadable_body(error)
        if at != len(value):
            return _unreadable(f"the body ends at byte {len(value)} where its schema ends it at {at}")
        return self._checked(record)

    def _checked(self, record: Record) -> Record | Unreadable:
        """Return the record, or why it is of no use although it matches its schema."""
        return record

    def _unread(self, framing: bytes, schema_header: bytes | None) -> Unreadable | UnknownSchema:
        ref = parse_framing(framing)
        if ref is None:
            if schema_header is None:
                return _unreadable(f"no known framing: the value begins with {framing.hex()!r}")
            begin = schema_header[:SINGLE_OBJECT_BYTES].hex()
            return _unreadable(f"the header {SCHEMA_ID_HEADER} is not a schema id or GUID: it begins with {begin!r}")
        refused = self._bundled_refused.get(ref) or self._learnt.refused(ref)
        if refused is not None:
            return refused
        if ref.fingerprint is not None:
            return Unreadable(DeadLetterReason.UNKNOWN_SCHEMA, f"{ref} is not among the schemas bundled here")
        if not self._registry:
            return Unreadable(
                DeadLetterReason.UNKNOWN_SCHEMA, f"{ref} cannot be looked up: no schema registry is configured"
            )
        return UnknownSchema(ref)


class RequestDecoder(RecordDecoder):
    """Decodes ``ProductResyncRequested`` into its six fields.

    It has everything that a result needs; validation decides whether it is a *valid* request.
    """

    def __init__(self, *, registry: bool, max_bytes: int) -> None:
        super().__init__(requests(), results(), registry=registry, max_bytes=max_bytes)

    def _checked(self, record: Record) -> Record | Unreadable:
        """Refuse what no result could be written for: it repeats these two fields."""
        if fault := request_id_fault(record["requestId"]):
            return _unreadable(f"requestId {fault}")
        requested_at = record["requestedAt"]
        if not EARLIEST_MILLIS <= requested_at <= LATEST_MILLIS:
            return _unreadable(f"requestedAt ({requested_at}) lies outside the years 1 to 9999")
        return record


class ResultDecoder(RecordDecoder):
    """Decoder of ``ProductResyncResult``.

    A status that our schema does not have reads as ``UNKNOWN``, so that an older reader survives a newer service.
    """

    def __init__(self, *, registry: bool, max_bytes: int = SCHEMAS.result_bytes) -> None:
        super().__init__(results(), requests(), registry=registry, max_bytes=max_bytes)


def _unreadable_body(error: Exception) -> Unreadable:
    if isinstance(error, IndexError):
        return _unreadable("the body is not what its schema says: it ends too early, or has what the schema has not")
    if isinstance(error, MALFORMED):
        return _unreadable(f"the body is not what its schema says: {error}")
    return _unreadable(f"the body cannot be read by its schema ({type(error).__name__})")


def _unreadable(message: str) -> Unreadable:
    """Escape the message: it may quote other people's schemas, which no terminal or log should receive as they are."""
    return Unreadable(
        DeadLetterReason.UNREADABLE, message.encode("unicode_escape").decode()[:MAX_ERROR_TEXT_CHARACTERS]
    )


class RecordEncoder:
    """Encodes one kind of record with its newest schema.

    ``schema_id`` is that schema's id in the registry: Confluent wire format. ``None``: single-object encoding.
    """

    def __init__(self, versions: Sequence[ReleasedSchema], schema_id: int | None) -> None:
        newest = versions[-1]
        self.framing = (newest.ref if schema_id is None else SchemaRef.from_id(schema_id)).wire
        self._schema, _ = plain_schema(newest.text)

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """Return the Kafka value. Raises ``ValueError`` or ``TypeError`` if the record does not match the schema."""
        value = BytesIO(self.framing)
        value.seek(len(self.framing))
        schemaless_writer(value, self._schema, record)
        return value.getvalue()


class RequestEncoder(RecordEncoder):
    """Encoder of ``ProductResyncRequested``, in the framing of the registry's id if one is given."""

    def __init__(self, schema_id: int | None = None) -> None:
        super().__init__(requests(), schema_id)


class ResultEncoder(RecordEncoder):
    """Encoder of ``ProductResyncResult``, one at a time (``encode``) or many that share nearly all (``share``)."""

    def __init__(self, schema_id: int | None = None) -> None:
        super().__init__(results(), schema_id)

    def share(
        self, *, status: str, client_specification_id: str | None, tracking_ids: Sequence[str], completed_at: int
    ) -> "SharedResult":
        """Encode what the results of one CM21 call share; ``completed_at`` in milliseconds since the epoch."""
        common = self.encode(
            {
                "requestId": "",
                "status": status,
                "synchronizedProducts": 0,
                "clientSpecificationId": client_specification_id,
                "trackingIds": list(tracking_ids),
                "unsynchronizedProducts": [],
                "error": None,
                "requestedAt": 0,
                "completedAt": completed_at,
            }
        )
        return SharedResult(self.framing, common[len(self.framing) :], completed=write_long(completed_at))


class SharedResult:
    """Results without error that differ in three fields: what is common is encoded once, the rest spliced in.

    An empty string and the number 0 take one byte each, and so does the status between them: so ``common``,
    encoded with those, is cut at bytes 0 to 2 and in front of ``completedAt``.
    """

    __slots__ = ("_before", "_between", "_completed", "_status")

    def __init__(self, framing: bytes, common: bytes, completed: bytes) -> None:
        self._before = framing
        self._status = common[1:2]
        self._between = common[3 : -len(completed) - 1]
        self._completed = completed

    def encode(self, request_id: bytes, synchronized_products: int, requested_at: int) -> bytes:
        """Return the Kafka value of one result, framing included.

        ``request_id`` is in UTF-8, ``requested_at`` in milliseconds since the epoch. On the hot path: once for each
        request that a CM21 call answered.
        """
        return b"".join(
            (
                self._before,
                write_long(len(request_id)),
                request_id,
                self._status,
                write_long(synchronized_products),
                self._between,
                write_long(requested_at),
                self._completed,
            )
        )


@lru_cache(maxsize=1024)
def write_long(number: int) -> bytes:
    """Encode a 64-bit number, variable-length and zig-zag. Raises ``OverflowError`` for a larger one.

    Lengths and counts repeat all the time, and so do the times of requests that were made in the same millisecond.
    """
    value = BytesIO()
    schemaless_writer(value, "long", number)
    return value.getvalue()
