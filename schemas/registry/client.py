"""Asks a schema registry, blocking, within bounds of time and bytes; its errors become `RegistryError` here, once.

A registry in trouble never means "no": whatever is not one of the answers that a question expects is a `RegistryError`,
worded for people and without secrets.
"""

import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Self, TypeAlias

import httpx

from schemas.avro.framing import SchemaRef
from schemas.avro.policy import SCHEMAS
from schemas.avro.writer_schema import SchemaError
from schemas.registry.address import RegistryAddress
from schemas.registry.bounded_network import Bounds, TooMuchReceivedError, bound
from schemas.registry.errors import RegistryError
from schemas.registry.policy import REGISTRY
from schemas.registry.questions import (
    GUIDS_PATH,
    Answer,
    Json,
    Missing,
    Question,
    excerpt,
    schema_named,
    schema_version,
)
from schemas.registry.references import self_contained

_CHECK_URL: Final = "Check RESYNC_SCHEMA_REGISTRY__URL, including its path."
_CHECK_CREDENTIALS: Final = "Check RESYNC_SCHEMA_REGISTRY__USERNAME and __PASSWORD."
_REMEDIES: Final[Mapping[int, str]] = {
    **dict.fromkeys((301, 302, 303, 307, 308), f"Redirects are not followed. {_CHECK_URL}"),
    **dict.fromkeys((401, 403), _CHECK_CREDENTIALS),
    404: _CHECK_URL,
    405: _CHECK_URL,
    409: "It is incompatible with a registered version: release another one.",
    422: "The registry does not accept this schema: see its log.",
}
"""By HTTP status."""


def interpret(question: Question[Answer], address: RegistryAddress, status: int, body: bytes) -> Answer:
    """Return the answer that a response contains.

    A documented refusal (``error_code``) is an answer too. Raises `RegistryError` if the response contains none.
    """
    answer = _parse(body)
    if httpx.codes.is_success(status):
        try:
            return question.read(answer)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise _error(question, address, status, "not the answer of a schema registry", _CHECK_URL) from error
    code = answer.get("error_code") if isinstance(answer, dict) else None
    if status == HTTPStatus.NOT_FOUND and isinstance(code, int) and code in question.said_no:
        return question.said_no[code]
    message = answer.get("message") if isinstance(answer, dict) else None
    said = excerpt(message) if isinstance(message, str) else "no message"
    raise _error(question, address, status, said, _remedy(question, status))


def _parse(body: bytes) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _remedy(question: Question[Any], status: int) -> str:
    if status == HTTPStatus.NOT_FOUND and question.path.startswith(GUIDS_PATH):
        return f"If this registry keeps no GUIDs, let producers send ids. Otherwise: {_CHECK_URL}"
    return _REMEDIES.get(status, "See its log, and try again.")


def _error(
    question: Question[Any], address: RegistryAddress, status: int | None, detail: str, remedy: str
) -> RegistryError:
    answered = "does not answer" if status is None else f"answers HTTP {status} to"
    problem = f"The schema registry {address} {answered} the question for {question.what} ({detail})."
    return RegistryError(problem, remedy, status)


@contextmanager
def _network_errors(question: Question[Any], address: RegistryAddress) -> Generator[None]:
    """Turn errors of other libraries into ours: whatever happens, it concerns this question only."""
    try:
        yield
    except (RegistryError, SchemaError):
        raise
    except (TimeoutError, httpx.TimeoutException) as error:
        detail = f"no answer within {address.timeout:g} s"
        raise _error(question, address, None, detail, "Check that it runs and can be reached from here.") from error
    except Exception as error:
        detail = excerpt(str(error)) or type(error).__name__
        raise _error(question, address, None, detail, _unreached(detail)) from error


def _unreached(detail: str) -> str:
    if "certificate required" in detail.lower().replace("_", " ") or "handshake failure" in detail.lower():
        return "It seems to demand a client certificate, which is not supported: let it accept HTTP Basic instead."
    return f"Check that it runs. {_CHECK_URL}"


Conversation: TypeAlias = Generator[Question[Any], Any, Answer]
"""Questions out, their answers in, one answer in the end."""


def whole_schema(ref: SchemaRef) -> Conversation[str | Missing]:
    """Return the text of the schema with this id or GUID, including the schemas that it refers to."""
    found = yield schema_named(ref)
    if isinstance(found, Missing):
        return found
    definitions: dict[str, str] = {}
    wanted = list(found.references)
    chars = len(found.text)
    while wanted:
        reference = wanted.pop()
        if reference.name in definitions:
            continue
        if len(definitions) == REGISTRY.references or chars > SCHEMAS.schema_characters:
            raise SchemaError(
                f"the schema refers to more than {REGISTRY.references} others or {SCHEMAS.schema_characters} characters"
            )
        part = yield schema_version(reference.subject, reference.version)
        if isinstance(part, Missing):
            raise RegistryError(
                f"The schema registry has {ref}, but not the version {reference.version} of {reference.subject} "
                "that it refers to.",
                "Restore that version in the registry.",
            )
        definitions[reference.name] = part.text
        chars += len(part.text)
        wanted += part.references
    return self_contained(found.text, definitions)


_GREETING: Final[Question[Json]] = Question("its configuration", "GET", "config", lambda answer: answer)


@dataclass(frozen=True, slots=True)
class Greeting:
    """Certificate and clock of the registry's server, observed with one response, for ``doctor``."""

    certificate: bytes | None = field(repr=False)
    """DER; ``None``: without TLS."""
    date: str | None
    """The header ``Date``; ``None``: absent, or from a cache."""
    before: float
    """Time of ours before the question, in seconds since the epoch."""
    after: float
    """The same after the answer's head."""


class SchemaRegistry:
    """A connection to a schema registry, which several threads may use. ``transport`` replaces the network in tests.

    Raises `RegistryError` if the CA file or a proxy of the environment cannot be used.
    """

    def __init__(self, address: RegistryAddress, transport: httpx.BaseTransport | None = None) -> None:
        self._address = address
        self._bounds = Bounds()
        try:
            self._http = httpx.Client(
                auth=address.credentials,
                base_url=f"{address}/",
                follow_redirects=False,
                headers={
                    "accept": "application/vnd.schemaregistry.v1+json, application/json",
                    "accept-encoding": "identity",
                },
                timeout=address.timeout,
                **({"verify": address.trust()} if transport is None else {"transport": transport}),
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise RegistryError(
                f"The schema registry {address} cannot be asked ({excerpt(str(error))}).",
                f"{_CHECK_URL} Check the proxies in HTTPS_PROXY, HTTP_PROXY and ALL_PROXY as well.",
            ) from error
        bound(self._http, self._bounds)

    def ask(self, question: Question[Answer]) -> Answer:
        """Return the answer to one question, within the policy's ``timeout_seconds``. Raises `RegistryError`.

        Blocks; questions of several threads are independent of each other.
        """
        try:
            return self._ask(question)
        except SchemaError as error:
            raise _error(question, self._address, None, str(error), "Register a smaller schema.") from error

    def schema(self, ref: SchemaRef) -> str | Missing:
        """Return the schema with this id or GUID, self-contained.

        Raises `RegistryError`, or `SchemaError` if the schema is beyond our bounds.
        """
        conversation = whole_schema(ref)
        answer = None
        while True:
            try:
                question = conversation.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # typeshed leaves it open
            answer = self._ask(question)

    def greet(self) -> Greeting:
        """Return what its next answer shows of the server, whatever that answer is. Raises `RegistryError`."""
        with _network_errors(_GREETING, self._address):
            self._bounds.begin(self._address.timeout)
            before = time.time()
            with self._http.stream("GET", _GREETING.path) as response:
                encrypted = response.extensions["network_stream"].get_extra_info("ssl_object")
                certificate = encrypted and encrypted.getpeercert(True)  # noqa: FBT003 - CPython's object has no keywords
                cached = "age" in response.headers
                return Greeting(certificate, None if cached else response.headers.get("date"), before, time.time())

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Question[Answer]) -> Answer:
        with _network_errors(question, self._address):
            return interpret(question, self._address, *self._exchange(question))

    def _exchange(self, question: Question[Any]) -> tuple[int, bytes]:
        body = bytearray()
        self._bounds.begin(self._address.timeout)
        with self._http.stream(question.method, question.path, json=question.body) as response:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > REGISTRY.body_bytes:
                    raise self._oversized(question, response)
                self._bounds.body(len(chunk))
        return response.status_code, bytes(body)

    def _oversized(self, question: Question[Any], response: httpx.Response) -> Exception:
        """A proxy may send long pages with 200 as well: the registry's own answers are JSON."""
        if question.for_schema and response.is_success and "json" in response.headers.get("content-type", ""):
            return SchemaError(f"the registry's answer has more than {REGISTRY.body_bytes} bytes")
        return TooMuchReceivedError(f"more than {REGISTRY.body_bytes} bytes")
