"""OpenTelemetry's own environment variables, as far as the export of spans uses them, checked before anything starts.

Source: OpenTelemetry Specification, "OpenTelemetry Protocol Exporter" and "Environment Variable Specification".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from consumer.adapters.observability.span_queue import QueuePolicy
from schemas.settings import SettingsError
from schemas.settings.foreign import check_authorities, check_host

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""The first that is set counts; the path ``/v1/traces`` is added to the second only."""
TRACES_PATH: Final = "/v1/traces"
MAX_LINKS: Final = 128
"""Links of a span; the specification's default."""
EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"
"""Package of the extra ``otel``."""
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_CERTIFICATES: Final = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
_TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_PROTOCOL: Final = "http/protobuf"
_EXAMPLE: Final = "Write a URL such as http://collector:4318, or unset it."
_MILLISECONDS: Final = 1_000


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where spans go, and the bounds of their way."""

    endpoint: str
    """Full URL, with the path."""
    queue: QueuePolicy
    max_links: int


def read_otlp_settings(environ: Mapping[str, str]) -> OtlpSettings | None:
    """Return the settings of the export of spans; ``None``: there is none to export to, or it is switched off.

    Raises ``SettingsError`` with every mistake, also where the extra ``otel`` is not installed.
    """
    variable = _first(environ, ENDPOINTS)
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if variable is None or off or exporters == "none":
        return None
    mistakes = [
        *_endpoint_mistakes(variable, environ[variable].strip()),
        *_other_mistakes(environ, exporters),
    ]
    queue, max_links = QueuePolicy(), MAX_LINKS
    try:
        queue = QueuePolicy(
            _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", queue.max_queue_size),
            _number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", queue.max_export_batch_size),
            _number(environ, "OTEL_BSP_SCHEDULE_DELAY", int(queue.schedule_delay * _MILLISECONDS)) / _MILLISECONDS,
        )
        max_links = _number(environ, "OTEL_SPAN_LINK_COUNT_LIMIT", max_links)
    except ValueError as error:
        mistakes.append(str(error))
    if not mistakes and not _installed():
        mistakes.append(
            f"{variable} is set, but what exports spans is not installed. "
            "Install mirakl-resync[otel], or unset the variable."
        )
    if mistakes:
        raise SettingsError(mistakes)
    given = environ[variable].strip()
    endpoint = given if variable == ENDPOINTS[0] else given.removesuffix("/") + TRACES_PATH
    return OtlpSettings(endpoint, queue, max_links)


def _installed() -> bool:
    try:
        return find_spec(EXPORTER) is not None
    except ModuleNotFoundError:  # one of the packages that it is in
        return False


def _endpoint_mistakes(variable: str, given: str) -> list[str]:
    """Return what is wrong with the endpoint; its value is not repeated, since it may hold a password."""
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        return [f"{variable} has no valid host and port. {_EXAMPLE}"]
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return [f"{variable} is not the URL of a collector. {_EXAMPLE}"]
    if parts.username is not None or parts.password is not None:
        return [f"{variable} has credentials in it. Leave them out, and set OTEL_EXPORTER_OTLP_HEADERS instead."]
    if "?" in given or "#" in given:
        return [f"{variable} has a query or fragment. Leave out what stands from ? or # on."]
    try:
        check_host(host)
    except ValueError:
        return [f"{variable} has a host that is not a valid name. {_EXAMPLE}"]
    return []


def _other_mistakes(environ: Mapping[str, str], exporters: str) -> list[str]:
    mistakes = []
    protocol = _first(environ, _PROTOCOLS)
    if protocol is not None and environ[protocol].strip() != _PROTOCOL:
        mistakes.append(
            f"{protocol} is not {_PROTOCOL}, the only protocol that spans are sent with. Unset it, and name the "
            "collector's port for HTTP, usually 4318."
        )
    if exporters not in {"", "otlp"}:
        mistakes.append("OTEL_TRACES_EXPORTER is neither otlp nor none. Unset it, or write one of these.")
    certificate = _first(environ, _CERTIFICATES)
    if certificate is not None:
        try:
            check_authorities(Path(environ[certificate]))
        except ValueError as error:
            mistakes.append(f"{certificate}: {error}. Correct or unset it.")
    timeout = _first(environ, _TIMEOUTS)
    if timeout is not None:
        try:
            valid = float(environ[timeout]) > 0
        except ValueError:
            valid = False
        if not valid:
            mistakes.append(f"{timeout} is not a number of seconds above 0. Correct or unset it.")
    return mistakes


def _first(environ: Mapping[str, str], variables: tuple[str, ...]) -> str | None:
    """Return the first variable that is set; an empty one counts as unset, as the specification wants it."""
    return next((each for each in variables if environ.get(each, "").strip()), None)


def _number(environ: Mapping[str, str], variable: str, default: int) -> int:
    given = environ.get(variable, "").strip()
    if not given:
        return default
    if not given.isascii() or not given.isdigit() or not 0 < int(given[:10]) < 10**9:
        raise ValueError(f"{variable} is not a whole number above 0. Correct or unset it.")
    return int(given)
