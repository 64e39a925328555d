"""Mirakl's response to CM21: status, headers and body in, one ``CallOutcome`` out.

Only the HTTP status decides; of a 2xx the tracking id is read. Excerpts of a body are bounded, printable and on one
line, and the credential is masked in them, should Mirakl echo it.
"""

import html
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.redaction import redacted
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged

_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_CONFUSING_TAGS: Final = re.compile(r"<(script|style|head)\b.*?(?:</\1[^<>]*>|\Z)", re.IGNORECASE | re.DOTALL)
"""An element that is never closed extends to the end, as in a browser: so each character is looked at once."""
_TITLE: Final = re.compile(r"<title\b[^<>]*>([^<>]*)</title", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
_QUERY: Final = re.compile(r"[?#]")
_AUTHORITY: Final = re.compile(r"(?s)\s*((?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2}|(?=[^/\\]*@))([^/\\]*)(.*)")
"""Scheme, authority and rest of a ``Location``. Browsers take backslashes for slashes; without scheme and slashes,
whatever stands before an ``@`` in the first segment is taken for user and password as well."""
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:]*)(:[0-9]*)?")
_ENOUGH_BYTES: Final = 64 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZLIB: Final = b"\x78"


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, credential: str, wall_time: float
) -> CallOutcome:
    """Return what a response means.

    ``headers``: names in any case. ``body``: at most ``body_bytes`` of the policy, undecoded. ``wall_time``: seconds
    since the epoch at which the answer came, for a ``Retry-After`` that is a date.
    """
    body = decompressed(body, headers.get("content-encoding", ""))
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        tracking_id = _tracking_id(body)
        return (
            Receipt(redacted(tracking_id, credential))
            if tracking_id
            else Unacknowledged(status, _excerpt(body, credential))
        )
    if status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # beyond 599 as 5xx: RFC 9110, 15
        excerpt = _excerpt(body, credential)
        return CallFailure(
            reason=f"HTTP {status}: {excerpt}" if excerpt else f"HTTP {status}",
            may_have_reached=status == HTTPStatus.GATEWAY_TIMEOUT,
            status=status,
            retry_after=retry_after(headers.get("retry-after"), wall_time),
        )
    if status < HTTPStatus.BAD_REQUEST and (destination := _destination(headers)):
        return Refusal(status, _line(redacted(f"redirect to {destination}", credential)))
    return Refusal(status, _excerpt(body, credential))


def retry_after(value: str | None, wall_time: float) -> float | None:
    """Read ``Retry-After``: seconds to wait, 0 to the policy's longest; ``None`` if nothing usable is there.

    Mirakl sends seconds; an HTTP date is read too (RFC 9110, 10.2.3), and one in the past means 0.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,300}(\.[0-9]{1,300})?", text):
        return min(float(text), MIRAKL.longest_retry_after)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - wall_time
    except (ValueError, TypeError, IndexError, OverflowError):  # as the standard library's parser may on garbage
        return None
    return min(max(seconds, 0.0), MIRAKL.longest_retry_after)


def _tracking_id(body: bytes) -> str | None:
    answer = parsed(body)
    tracking_id = answer.get("tracking_id") if isinstance(answer, dict) else None
    if not isinstance(tracking_id, str) or not tracking_id.strip() or len(tracking_id) > MIRAKL.tracking_id_characters:
        return None
    return tracking_id if tracking_id.isprintable() else None  # lone surrogates could not be written anywhere


def parsed(body: bytes) -> object:
    """Return a body, decompressed, as the JSON value that it is; ``None``: it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # not JSON, not text, or nested without end
        return None


def decompressed(body: bytes, encoding: str) -> bytes:
    """Decompress gzip and deflate, which nobody asked for, up to the limit.

    The first bytes decide, since headers of proxies are not always right; ``encoding`` only tells a raw deflate.
    """
    for _ in range(MIRAKL.encodings):
        if body.startswith(_GZIP):
            window = zlib.MAX_WBITS | 16
        elif "deflate" in encoding.lower() and not body.lstrip().startswith((b"{", b"<")):
            window = zlib.MAX_WBITS if body[:1] == _ZLIB else -zlib.MAX_WBITS
        else:
            break
        try:
            body = zlib.decompressobj(window).decompress(body, MIRAKL.body_bytes)
        except zlib.error:
            break
    return body


def _excerpt(body: bytes, credential: str) -> str:
    answer = parsed(body)
    words = " ".join(_messages(answer)) if answer is not None else ""
    text = words or _text(body)
    text = redacted(text[: MIRAKL.excerpt_source_characters], credential)
    if not words:
        text = redacted(_without_markup(text), credential)
    return _line(text)


def _text(body: bytes) -> str:
    """Return a body as text; of binary content only the size."""
    text = body[:_ENOUGH_BYTES].decode("utf-8", "replace")
    strange = sum(
        not (character.isprintable() or character in "\t\r\n\f") or character == "\ufffd" for character in text
    )
    if strange > max(1, len(text) // MIRAKL.unreadable_share):
        return f"(binary content, {len(body)} bytes)"
    return text


def _line(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= MIRAKL.excerpt_characters else line[: MIRAKL.excerpt_characters - 1] + "…"


def _destination(headers: Mapping[str, str]) -> str:
    """Return where a redirect leads, which shows a wrong base URL; without what may be somebody's secret.

    That is the query, the fragment, and user and password before the host (RFC 3986, 3.2.1), also where a password
    contains characters that should have been encoded.
    """
    found = _AUTHORITY.match(headers.get("location", ""))
    if found is None:  # a path, or nothing
        return _QUERY.split(headers.get("location", ""), maxsplit=1)[0]
    scheme, authority, rest = found.groups(default="")
    if "@" in rest and "@" not in authority and not _HOST_AND_PORT.fullmatch(authority):
        authority = rest  # a slash in the password
        rest = ""
    return _QUERY.split(f"{scheme}{authority.rpartition('@')[2]}{rest}", maxsplit=1)[0]


def _messages(answer: object) -> Iterator[str]:
    """Yield what the known shapes of Mirakl's error bodies say (CM21.md, "error body")."""
    if not isinstance(answer, dict):
        return
    for name in ("code", "message", "error"):
        if isinstance(said := answer.get(name), str | int):
            yield str(said)
    errors = answer.get("errors")
    for row in errors if isinstance(errors, list) else []:
        if isinstance(row, dict):
            yield ": ".join(str(row[name]) for name in ("field", "message") if name in row)


def _without_markup(text: str) -> str:
    title = _TITLE.search(text)
    page = _TAG.sub(" ", _CONFUSING_TAGS.sub(" ", text))
    return html.unescape(f"{title.group(1)} {page}" if title else page)
