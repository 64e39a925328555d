"""Sends resync requests."""

import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from producer_tools.connection import Connection
from producer_tools.environment import SENDING, tool_settings
from producer_tools.errors import InvalidRequestError, MisconfiguredError, Mistake
from producer_tools.products import LocatedProduct, Product, distinct_products
from producer_tools.registry_access import request_encoder
from producer_tools.sender import Acknowledgement, OutgoingRecord, RecordSender
from producer_tools.trace_context import SendSpan, context_headers
from schemas.avro.codec import RequestEncoder
from schemas.contract import (
    API_KEY_HEADER,
    CLIENT_HEADER,
    CORRELATION_HEADER,
    MAX_ID_CHARACTERS,
    MAX_PRODUCTS,
    OPERATOR,
    TRACEPARENT_HEADER,
    canonical_uuid,
    is_traceparent,
    request_id_fault,
)
from schemas.events import ProductReference, ProductResyncRequested
from schemas.settings import Settings


class ResyncPublisher:
    """Requests that products are pushed to Mirakl again.

    ::

        with ResyncPublisher() as publisher:
            request_id = publisher.send([("MKL-001", "SKU-42")], requested_by="stock-monitor")

    ``settings`` and ``api_key`` come from the environment unless given. With ``RESYNC_REQUEST_AUTH=signature`` the key
    signs the records, and is in none of them. Nothing connects before ``open`` or the first
    request. May be used from several threads. All trouble is a ``ResyncToolError``.
    """

    def __init__(self, settings: Settings | None = None, *, api_key: str | None = None) -> None:
        self.settings = tool_settings(SENDING) if settings is None else settings
        self._headers = operator_headers(self.settings, api_key)
        self._lock = threading.Lock()
        self._sender: RecordSender | None = None
        self._encoder: RequestEncoder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(wait=kind is None)

    def open(self) -> None:
        """Reach the brokers, and the schema registry where one is set.

        Raises ``UnreachableError`` or ``MisconfiguredError``; the brokers have 10 s for their first answer.
        """
        with self._lock:
            if self._encoder is None:
                topic = self.settings.topics.requests
                self._encoder = request_encoder(self.settings.schema_registry, topic)
            if self._sender is None:
                self._sender = RecordSender(
                    Connection(self.settings.kafka),
                    self.settings.topics.requests,
                    self.settings.max_request_bytes,
                    auth=self.settings.request_auth,
                )

    def close(self, *, wait: bool = True) -> None:
        """End the connection. With ``wait`` only after everything sent is acknowledged or given up, 15 s at most."""
        if self._sender is not None:
            self._sender.close(wait=wait)

    def send(
        self,
        products: Iterable[tuple[str, str]],
        *,
        requested_by: str,
        client_specification_id: str | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Request these ``(miraklProductId, productSku)`` pairs; return the request id once it is acknowledged.

        Raises ``InvalidRequestError`` with every mistake before anything is sent, and ``NotAcknowledgedError`` if the
        brokers do not confirm in time. Without ``traceparent``, the request continues the trace of the current
        OpenTelemetry span, if there is one, with a span of its own for sending.
        """
        request = new_request(
            products,
            requested_by=requested_by,
            client_specification_id=client_specification_id,
            reason=reason,
            request_id=request_id,
            max_products=self.settings.max_products_per_request,
        )
        self.submit(request, correlation_id=correlation_id, traceparent=traceparent).result()
        return request.request_id

    def submit(
        self, request: ProductResyncRequested, *, correlation_id: str | None = None, traceparent: str | None = None
    ) -> Future[Acknowledgement]:
        """Send a request made by ``new_request``; does not wait. In a coroutine: ``await asyncio.wrap_future(...)``."""
        record = self._record(request, _tracing(correlation_id, traceparent))
        topic = self.settings.topics.requests
        span = None if traceparent is not None else SendSpan.begin(topic, request.request_id, correlation_id)
        if span is None:
            return self.submit_record(record)
        return span.follow(self.submit_record, replace(record, headers=record.headers + span.headers()))

    def prepare(
        self, request: ProductResyncRequested, *, correlation_id: str | None = None, traceparent: str | None = None
    ) -> OutgoingRecord:
        """Make the record of a request; raises ``InvalidRequestError`` where the service would not read it.

        Without ``traceparent``, it continues the trace of the current OpenTelemetry span, if there is one.
        """
        context = () if traceparent is not None else context_headers()
        return self._record(request, _tracing(correlation_id, traceparent) + context)

    def _record(self, request: ProductResyncRequested, more: tuple[tuple[str, bytes], ...]) -> OutgoingRecord:
        self.open()
        assert self._encoder is not None  # noqa: S101  open() made it
        value = encoded(request, self._encoder, self.settings.max_request_bytes)
        return OutgoingRecord(value, request_key(request), self._headers + more)

    def submit_record(self, record: OutgoingRecord) -> Future[Acknowledgement]:
        """Send a record that ``prepare`` made; does not wait.

        The future yields the ``Acknowledgement``, or raises ``NotAcknowledgedError`` or another ``ResyncToolError``.
        """
        self.open()
        assert self._sender is not None  # noqa: S101  open() made it
        return self._sender.send(record)


def new_request(
    products: Iterable[tuple[str, str]],
    *,
    requested_by: str,
    client_specification_id: str | None = None,
    reason: str | None = None,
    request_id: str | None = None,
    max_products: int = MAX_PRODUCTS,
) -> ProductResyncRequested:
    """Make a request, with an id of its own unless one is given; raises ``InvalidRequestError`` with every mistake."""
    located = [LocatedProduct(f"products[{index}]", Product(*pair)) for index, pair in enumerate(products)]
    distinct, mistakes = distinct_products(located)
    if not located:
        mistakes.append(Mistake("products", "is empty; name at least one"))
    if len(distinct) > max_products:
        mistakes.append(Mistake("products", f"has {len(distinct)} products; at most {max_products} go into a request"))
    mistakes += text_mistakes(client_specification_id, {"requestedBy": requested_by, "reason": reason or ""})
    if request_id is not None and request_id_fault(request_id):
        mistakes.append(Mistake("requestId", f"must have 1 to {MAX_ID_CHARACTERS} characters, not all blank"))
    if mistakes:
        raise InvalidRequestError(mistakes)
    return ProductResyncRequested(
        request_id=request_id or str(uuid.uuid4()),
        client_specification_id=client_specification_id and canonical_uuid(client_specification_id),
        products=tuple(ProductReference(mirakl_product_id=mirakl_id, product_sku=sku) for mirakl_id, sku in distinct),
        requested_at=datetime.now(UTC),
        requested_by=requested_by,
        reason=reason,
    )


def text_mistakes(client_specification_id: str | None, texts: dict[str, str]) -> list[Mistake]:
    """Return the mistakes in the fields of a request besides its products.

    ``texts``: name of the field -> its value, which must be encodable as UTF-8.
    """
    mistakes = [Mistake(name, "is not valid Unicode text") for name, text in texts.items() if not _encodable(text)]
    if client_specification_id is not None and canonical_uuid(client_specification_id) is None:
        message = f"{client_specification_id!r} is not a UUID in its 36-character form"
        mistakes.append(Mistake("clientSpecificationId", message))
    return mistakes


def request_key(request: ProductResyncRequested) -> bytes | None:
    """Return the client specification, so that its requests share a partition; ``None`` without one."""
    specification = request.client_specification_id and canonical_uuid(request.client_specification_id)
    return specification.encode() if specification else None


def encoded(request: ProductResyncRequested, encoder: RequestEncoder, max_bytes: int) -> bytes:
    """Return the Kafka value. Raises ``InvalidRequestError`` if it is larger than the service reads."""
    value = encoder.encode(request.to_record())
    if len(value) > max_bytes:
        message = f"has {len(value)} bytes, more than RESYNC_MAX_REQUEST_BYTES ({max_bytes})"
        raise InvalidRequestError([Mistake("the request", f"{message}; ask for fewer products at once (--batch-size)")])
    return value


def operator_headers(settings: Settings, api_key: str | None = None) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that identify the requester. Raises ``MisconfiguredError`` without a usable API key."""
    configured = settings.api_key.get_secret_value() if settings.api_key else ""
    key = configured if api_key is None else api_key
    if not key.strip():
        raise MisconfiguredError(
            "There is no API key.", "Set RESYNC_API_KEY (or RESYNC_API_KEY_FILE), or give --api-key-file FILE."
        )
    if not _encodable(key) or any(character in key for character in "\r\n\0"):
        raise MisconfiguredError("The API key is not a single line of UTF-8 text.", "Give the key and nothing else.")
    return ((CLIENT_HEADER, OPERATOR), (API_KEY_HEADER, key.encode()))


def _tracing(correlation_id: str | None, traceparent: str | None) -> tuple[tuple[str, bytes], ...]:
    if traceparent is not None and not is_traceparent(traceparent.encode(errors="replace")):
        message = "is not a W3C traceparent, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        raise InvalidRequestError([Mistake("traceparent", message)])
    given = ((CORRELATION_HEADER, correlation_id), (TRACEPARENT_HEADER, traceparent))
    return tuple((name, text.encode()) for name, text in given if text is not None)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
