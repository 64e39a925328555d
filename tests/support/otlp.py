"""A collector of spans: OTLP over HTTP, decoded by OpenTelemetry's own protocol package."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.parts import wait_until

NEEDS_OTEL = pytest.mark.skipif(
    find_spec("opentelemetry") is None and "CI" not in os.environ,
    reason="needs the extra otel: run `make .venv/.development`",
)
"""Mark of the tests that need what the extra ``otel`` installs; in CI it must be there."""


@dataclass(frozen=True, slots=True)
class CollectedSpan:
    """One span as the collector got it; ids in hex, empty: none."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    seconds: float
    attributes: Mapping[str, str | int]
    links: Sequence[tuple[str, str]]
    dropped_links: int
    failed: bool
    message: str
    trace_state: str
    schema_url: str
    resource: Mapping[str, str | int] = field(repr=False)


class Collector:
    """Takes spans while it is entered. ``hang``: from now on it takes requests and never answers."""

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        self.status = 200
        self.location: str | None = None
        """Target of a redirect; ``status`` has to be that of one."""
        self.asked = 0
        """Requests that came in, answered or not."""
        self._let_go = threading.Event()
        self._let_go.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="collector")

    @property
    def endpoint(self) -> str:
        """Value of ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def hang(self) -> None:
        self._let_go.clear()

    def recover(self) -> None:
        self._let_go.set()

    def find(self, wanted: Callable[[CollectedSpan], bool]) -> list[CollectedSpan]:
        return [span for span in list(self.spans) if wanted(span)]

    def wait(
        self, wanted: Callable[[CollectedSpan], bool], *, count: int = 1, timeout: float = 15
    ) -> list[CollectedSpan]:
        """Wait until there are so many of these spans; return them."""
        wait_until(lambda: len(self.find(wanted)) >= count, timeout=timeout, what=f"{count} spans, not {self.spans}")
        return self.find(wanted)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.asked += 1
                collector._let_go.wait()
                if collector.status == 200 and self.path == "/v1/traces":
                    collector.spans += decode(body)
                self.send_response(collector.status if self.path == "/v1/traces" else 404)
                if collector.location is not None:
                    self.send_header("Location", collector.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as http.server has it
                pass

        return Handler


def decode(body: bytes) -> list[CollectedSpan]:
    """Read an export request (opentelemetry/proto/collector/trace/v1/trace_service.proto)."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

    request = ExportTraceServiceRequest.FromString(body)
    return [
        CollectedSpan(
            name=span.name,
            kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            attributes=_attributes(span.attributes),
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            dropped_links=span.dropped_links_count,
            failed=span.status.code == Status.STATUS_CODE_ERROR,
            message=span.status.message,
            trace_state=span.trace_state,
            schema_url=scope.schema_url,
            resource=_attributes(resource.resource.attributes),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, str | int]:  # noqa: ANN401 - a repeated KeyValue
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
