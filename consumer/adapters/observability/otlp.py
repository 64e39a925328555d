# ruff: noqa: PLC0415 - OpenTelemetry is an extra: it is imported only where spans are exported
"""Spans to OpenTelemetry's, and over OTLP/HTTP to a collector: the one module that imports OpenTelemetry.

Its exporter reads the variables ``OTEL_EXPORTER_OTLP_*`` itself: headers, certificates, compression, timeout.
"""

import logging
import os
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from consumer.adapters.observability import spans
from consumer.adapters.observability.spans import Kind, Span
from schemas.conventions import SCHEMA_URL, SERVICE_INSTANCE, SERVICE_NAME, SERVICE_VERSION

if TYPE_CHECKING:
    import requests
    from opentelemetry.sdk.trace import ReadableSpan

SCOPE: Final = "mirakl_resync.consumer"
"""Instrumentation scope of all spans."""
PROGRAM: Final = "mirakl-resync"
"""Name of the service, unless ``OTEL_SERVICE_NAME`` or ``OTEL_RESOURCE_ATTRIBUTES`` has another."""
REASON_CHARACTERS: Final = 200

_CREDENTIAL_PROVIDERS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
)
"""Variables by which OpenTelemetry's exporter gets a session of somebody else's, with credentials of its own."""
_EXPORTERS_LOGGER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_STATUS: Final = re.compile(r"batch code: (\d+), reason: (.+)")
_SYSTEM_ERROR: Final = re.compile(r"\[Errno -?\d+\] ([\w ]+)")
_ADDRESS: Final = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")


Convert: TypeAlias = Callable[[Span], "ReadableSpan"]


class OtlpExporter:
    """Sends spans to a collector; see ``span_queue.Exporter``."""

    def __init__(self, endpoint: str, version: str, instance: str, *, timeout: float | None = None) -> None:
        """Make the exporter, without a connection.

        ``timeout``: seconds of one export, retries included; unset: by OpenTelemetry's variables, or 10.
        """
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        self.destination = endpoint
        self._words = _LastWords()
        self._redirect = ""
        given = any(os.environ.get(each) for each in _CREDENTIAL_PROVIDERS)
        session = None if given else self._session()
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=timeout, session=session)
        self._readable = _converter(version, instance)

    def export(self, spans: Sequence[Span]) -> str | None:
        """Send spans, retrying until the timeout; return why the collector does not have them."""
        self._words.last = ""
        self._redirect = ""
        result = self._exporter.export([self._readable(span) for span in spans])
        if self._redirect:
            return self._redirect
        return None if result.name == "SUCCESS" else reason(self._words.last)

    def _session(self) -> "requests.Session":
        """Return a session that notes redirects: OpenTelemetry's exporter takes any status below 400 for success."""
        import requests  # the library that the exporter sends with

        session = requests.Session()
        session.hooks["response"].append(self._note_redirect)
        return session

    def _note_redirect(self, response: "requests.Response", *_: Any, **__: Any) -> None:  # noqa: ANN401 - requests' hook
        if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
            target = _without_secrets(response.headers.pop("Location", ""))  # without it, none is followed
            self._redirect = f"HTTP {response.status_code} {response.reason}, a redirect{target}"[:REASON_CHARACTERS]

    def close(self) -> None:
        """End a wait between two attempts, and close the connection."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call, unused-ignore]  # untyped there; unknown without the extra


def _converter(version: str, instance: str) -> Convert:
    """Return what turns a span into one of OpenTelemetry's, with the program that it comes from."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util import BoundedList
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

    ours = {SERVICE_NAME: PROGRAM, SERVICE_VERSION: version, SERVICE_INSTANCE: instance}
    resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
    scope = InstrumentationScope(SCOPE, version, SCHEMA_URL)
    kinds = {kind: SpanKind[kind.value] for kind in Kind}
    well = Status(StatusCode.UNSET)

    def context(of: spans.SpanContext, *, remote: bool = False, state: str = "") -> SpanContext:
        trace_state = TraceState.from_header([state]) if state else None
        return SpanContext(of.trace_id, of.span_id, remote, TraceFlags(of.flags), trace_state)

    def links(span: Span) -> "Sequence[Link]":
        if not span.links:
            return ()
        made = [Link(context(each)) for each in span.links]
        if not span.dropped_links:
            return made
        kept: Sequence[Link] = BoundedList.from_seq(len(made), [*made[:1] * span.dropped_links, *made])
        return kept

    def convert(span: Span) -> ReadableSpan:
        parent = None
        if span.parent_id is not None:
            parent = context(span.context._replace(span_id=span.parent_id), remote=span.remote_parent)
        return ReadableSpan(
            span.name,
            context(span.context, state=span.trace_state),
            parent,
            resource,
            span.attributes,
            (),
            links(span),
            kinds[span.kind],
            None,
            well if span.failure is None else Status(StatusCode.ERROR, span.failure),
            span.period.begin,
            span.period.end,
            scope,
        )

    return convert


class _LastWords(logging.Handler):
    """Keeps what OpenTelemetry's exporter logs, which is the only place where it says why an export failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        logger = logging.getLogger(_EXPORTERS_LOGGER)
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not (self.last and "due to timeout" in text):  # which follows the cause, and does not repeat it
            self.last = text


def _without_secrets(location: str) -> str:
    """Return where a redirect leads, as the end of a clause about it; empty: it names no host."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f" to {parts.scheme}://{host}{parts.path}" if host else ""


def reason(words: str) -> str:
    """Return why an export failed, as a clause, from what OpenTelemetry's exporter logged about it."""
    if answered := _STATUS.search(words):
        return f"HTTP {answered[1]} {answered[2]}"[:REASON_CHARACTERS]
    if "timed out" in words.lower() or "timeout" in words.lower():
        return "no answer in time"
    if refused := _SYSTEM_ERROR.search(words):
        return refused[1].strip().lower()
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return "its certificate is not accepted"
    if "resolve" in words:
        return "its host name cannot be looked up"
    return _ADDRESS.sub("…", words)[:REASON_CHARACTERS] or "no reason given"
