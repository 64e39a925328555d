"""A schema registry with Confluent's REST API: what is asked, what its answers mean, and who asks.

A `Question` is a value: a request and the meaning of its answers. `SchemaRegistry` carries it out, and blocks
while it does. A registry in trouble is never a "no": whatever is not one of the answers that a question expects
is a `RegistryTroubleError`, worded for people, with no secret in it. Answers are bounded in bytes, as received,
and in time.

Source: Confluent's "Schema Registry API Reference".
"""

import json
import ssl
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from schemas.avro.framing import SchemaRef
from schemas.avro.resolution import SCHEMA_MAX_CHARS, SchemaError
from schemas.registry.bounded_network import Bounds, TooMuchReceivedError, bound
from schemas.registry.references import self_contained

Answer = TypeVar("Answer")
Json: TypeAlias = Any

TIMEOUT_SECONDS: Final = 10.0
"""For the whole of one answer."""
MAX_BODY_BYTES: Final = 1 << 20
"""Of an answer: the longest schema that is read, with each character escaped."""
MAX_REFERENCES: Final = 100
"""Schemas that one schema may be made of."""
MAX_ID: Final = 2**31 - 1
"""Ids of schemas are ints in every registry and client."""
EXCERPT_CHARS: Final = 200
"""Of the registry's own words."""

SUBJECT_NOT_FOUND: Final = 40401
VERSION_NOT_FOUND: Final = 40402
SCHEMA_NOT_FOUND: Final = 40403


class RegistryTroubleError(Exception):
    """The registry gave no answer to the question; the message says what to do about it.

    ``status`` is its HTTP status; ``None``: it was not reached, or not in time.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Missing:
    """The registry says that it does not have this."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Another schema that defines a type of this one: its full name, and where it is registered."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry keeps it."""

    text: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Whether a schema may be registered under a subject."""

    compatible: bool
    messages: tuple[str, ...]
    """The registry's own words, where it has any."""


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Where the registry is and who we are there. Credentials inside the URL are taken out of it."""

    url: str = field(repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """CA certificates (PEM) to trust instead of the system's."""
    timeout: float = TIMEOUT_SECONDS
    """Seconds for the whole of one answer."""

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))

    @property
    def credentials(self) -> httpx.BasicAuth | None:
        """HTTP Basic, sent without being asked for: not every registry asks."""
        if self.username is not None:
            return httpx.BasicAuth(self.username, self.password or "")
        within = httpx.URL(self.url)
        return httpx.BasicAuth(within.username, within.password) if within.username else None

    def trust(self) -> ssl.SSLContext:
        """The certificates to trust. Raises `RegistryTroubleError` where the CA file is none."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            msg = f"{self.ca_file} holds no CA certificates in PEM form: correct RESYNC_SCHEMA_REGISTRY__CA_FILE"
            raise RegistryTroubleError(msg) from error


# What is asked

_GUIDS: Final = "schemas/guids/"


@dataclass(frozen=True, slots=True)
class Question(Generic[Answer]):
    """One request, and what its answers mean."""

    what: str
    """For people, as in "cannot tell ...: ..."."""
    method: str
    path: str
    read: Callable[[Json], Answer]
    """The JSON of a 2xx answer; raises KeyError, TypeError or ValueError where it is another."""
    body: Mapping[str, Json] | None = None
    said_no: Mapping[int, Answer] = field(default_factory=dict)
    """The meaning of a 404 with this ``error_code``; any other 404 may come from a proxy and means nothing."""
    for_schema: bool = False
    """Whether an answer beyond `MAX_BODY_BYTES` is a schema beyond our bounds, rather than a trouble."""


def schema_named(ref: SchemaRef) -> Question[RegisteredSchema | Missing]:
    """The schema with this id or GUID."""
    path = f"schemas/ids/{ref.id}" if ref.guid is None else f"{_GUIDS}{ref.guid}"
    no = {SCHEMA_NOT_FOUND: Missing()}
    return Question(str(ref), "GET", path, _registered_schema, said_no=no, for_schema=True)


def schema_version(subject: str, version: int | str = "latest") -> Question[RegisteredSchema | Missing]:
    """One version of a subject."""
    no: Mapping[int, RegisteredSchema | Missing] = {SUBJECT_NOT_FOUND: Missing(), VERSION_NOT_FOUND: Missing()}
    path = f"subjects/{quote(subject, safe='')}/versions/{version}"
    what = f"version {_excerpt(str(version))} of {_excerpt(subject)}"
    return Question(what, "GET", path, _registered_schema, said_no=no, for_schema=True)


def registered_id(subject: str, schema_text: str) -> Question[int | Missing]:
    """The id under which the subject has this schema."""
    no: Mapping[int, int | Missing] = {SUBJECT_NOT_FOUND: Missing(), SCHEMA_NOT_FOUND: Missing()}
    what, path = f"the schema's id under {subject}", f"subjects/{quote(subject, safe='')}"
    return Question(what, "POST", path, _id, {"schema": schema_text}, said_no=no)


def registration(subject: str, schema_text: str) -> Question[int]:
    """Register a version; the id of one that is registered already."""
    path = f"subjects/{quote(subject, safe='')}/versions"
    return Question(f"the registration under {subject}", "POST", path, _id, {"schema": schema_text})


def compatibility(subject: str, schema_text: str) -> Question[Compatibility]:
    """Whether the schema may follow the versions of the subject; it may where there are none."""
    first = Compatibility(compatible=True, messages=())
    path = f"compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
    no = {SUBJECT_NOT_FOUND: first, VERSION_NOT_FOUND: first}
    return Question(f"the compatibility with {subject}", "POST", path, _compatibility, {"schema": schema_text}, no)


def level(subject: str) -> Question[str | Missing]:
    """The compatibility level of the subject, or the global one."""
    path = f"config/{quote(subject, safe='')}?defaultToGlobal=true"
    no: Mapping[int, str | Missing] = {SUBJECT_NOT_FOUND: Missing()}
    return Question(
        f"the level of {subject}", "GET", path, lambda answer: str(answer["compatibilityLevel"]), said_no=no
    )


def new_level(subject: str, wanted: str) -> Question[str]:
    """Set the compatibility level of the subject."""
    path = f"config/{quote(subject, safe='')}"
    return Question(
        f"the new level of {subject}",
        "PUT",
        path,
        lambda answer: str(answer["compatibility"]),
        {"compatibility": wanted},
    )


def _registered_schema(answer: Json) -> RegisteredSchema:
    references = tuple(
        Reference(str(reference["name"]), _encodable(reference["subject"]), _version(reference["version"]))
        for reference in answer.get("references") or ()
    )
    return RegisteredSchema(_text(answer["schema"]), references)


def _version(value: Json) -> int:
    number = int(value)
    if not -1 <= number <= MAX_ID:  # -1: the latest
        raise ValueError("a version has 31 bits")
    return number


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("a schema is a text")
    return value


def _encodable(value: Json) -> str:
    """JSON can hold halves of characters, which no URL can. Raises ValueError."""
    text = str(value)
    text.encode()
    return text


def _id(answer: Json) -> int:
    number = int(answer["id"])
    if not 0 <= number <= MAX_ID:
        raise ValueError("an id has 31 bits")
    return number


def _compatibility(answer: Json) -> Compatibility:
    messages = tuple(_excerpt(str(message)) for message in answer.get("messages") or ())
    return Compatibility(compatible=answer["is_compatible"] is True, messages=messages)


# What its answers mean


def interpret(question: Question[Answer], address: RegistryAddress, status: int, body: bytes) -> Answer:
    """The answer in a response. Raises `RegistryTroubleError` where it is none."""
    answer = _parse(body)
    if httpx.codes.is_success(status):
        try:
            return question.read(answer)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise _trouble(question, address, status, "that is no answer of a schema registry", _CHECK_URL) from error
    code = answer.get("error_code") if isinstance(answer, dict) else None
    if status == HTTPStatus.NOT_FOUND and isinstance(code, int) and code in question.said_no:
        return question.said_no[code]
    raise _trouble(question, address, status, _words(answer), _remedy(question, status))


def _remedy(question: Question[Any], status: int) -> str:
    if status == HTTPStatus.NOT_FOUND and question.path.startswith(_GUIDS):
        return f"either it keeps no GUIDs, then producers must send ids, or {_CHECK_URL}"
    return _REMEDIES.get(status, "see its log, and ask again")


_CHECK_URL: Final = "check RESYNC_SCHEMA_REGISTRY__URL, its path included"
_CHECK_CREDENTIALS: Final = "check RESYNC_SCHEMA_REGISTRY__USERNAME and __PASSWORD"
_REMEDIES: Final[Mapping[int, str]] = {
    **dict.fromkeys((301, 302, 303, 307, 308), f"it redirects, which is not followed: {_CHECK_URL}"),
    **dict.fromkeys((401, 403), _CHECK_CREDENTIALS),
    404: _CHECK_URL,
    405: _CHECK_URL,
    409: "it is incompatible with a version that is registered: release another",
    422: "the registry does not take this in",
}


def _parse(body: bytes) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _words(answer: Json) -> str:
    message = answer.get("message") if isinstance(answer, dict) else None
    return _excerpt(message) if isinstance(message, str) else "no message"


def _excerpt(text: str) -> str:
    return text.encode("unicode_escape").decode()[:EXCERPT_CHARS]


def _trouble(
    question: Question[Any], address: RegistryAddress, status: int | None, problem: str, remedy: str
) -> RegistryTroubleError:
    answered = "does not tell" if status is None else f"answers HTTP {status} for"
    return RegistryTroubleError(
        f"The schema registry {address} {answered} {question.what} ({problem}): {remedy}.", status
    )


@contextmanager
def _reached(question: Question[Any], address: RegistryAddress) -> Generator[None]:
    """Foreign errors become ours here: whatever it is, it concerns this question only."""
    try:
        yield
    except (RegistryTroubleError, SchemaError):
        raise
    except (TimeoutError, httpx.TimeoutException) as error:
        problem = f"no answer within {address.timeout:g} s"
        raise _trouble(question, address, None, problem, "is it running, and is there a way to it?") from error
    except Exception as error:
        problem = _excerpt(str(error)) or type(error).__name__
        raise _trouble(question, address, None, problem, _unreached(problem)) from error


def _unreached(problem: str) -> str:
    if "certificate required" in problem.lower().replace("_", " ") or "handshake failure" in problem.lower():
        return "it seems to demand a client certificate, which is not supported: let it accept HTTP Basic instead"
    return f"is it running? Otherwise {_CHECK_URL}"


# Who asks

Conversation: TypeAlias = Generator[Question[Any], Any, Answer]
"""Questions out, their answers in, one answer in the end."""


def whole_schema(ref: SchemaRef) -> Conversation[str | Missing]:
    """The text of the schema with this id or GUID, the schemas that it refers to included."""
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
        if len(definitions) == MAX_REFERENCES or chars > SCHEMA_MAX_CHARS:
            raise SchemaError(
                f"the schema refers to more than {MAX_REFERENCES} others or {SCHEMA_MAX_CHARS} characters"
            )
        part = yield schema_version(reference.subject, reference.version)
        if isinstance(part, Missing):
            raise RegistryTroubleError(
                f"The schema registry has {ref}, but not the version {reference.version} of {reference.subject} "
                "that it refers to: restore it there."
            )
        definitions[reference.name] = part.text
        chars += len(part.text)
        wanted += part.references
    return self_contained(found.text, definitions)


class SchemaRegistry:
    """Asks and waits. May be used by several threads. ``transport`` replaces the network in tests.

    Raises `RegistryTroubleError` where the CA file or a proxy of the environment cannot be used.
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
            msg = (
                f"The schema registry {address} cannot be asked ({_excerpt(str(error))}): {_CHECK_URL}, "
                "and the proxies in HTTPS_PROXY, HTTP_PROXY and ALL_PROXY."
            )
            raise RegistryTroubleError(msg) from error
        bound(self._http, self._bounds)

    def ask(self, question: Question[Answer]) -> Answer:
        """The answer. Raises `RegistryTroubleError`."""
        try:
            return self._ask(question)
        except SchemaError as error:
            raise _trouble(question, self._address, None, str(error), "register a smaller schema") from error

    def schema(self, ref: SchemaRef) -> str | Missing:
        """The schema with this id or GUID, self-contained.

        Raises `RegistryTroubleError`, or `SchemaError` where the schema is beyond our bounds.
        """
        conversation = whole_schema(ref)
        answer = None
        while True:
            try:
                question = conversation.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # typeshed leaves it open
            answer = self._ask(question)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Question[Answer]) -> Answer:
        with _reached(question, self._address):
            return interpret(question, self._address, *self._exchange(question))

    def _exchange(self, question: Question[Any]) -> tuple[int, bytes]:
        body = bytearray()
        self._bounds.begin(self._address.timeout)
        with self._http.stream(question.method, question.path, json=question.body) as response:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise self._oversized(question, response)
                self._bounds.body(len(chunk))
        return response.status_code, bytes(body)

    def _oversized(self, question: Question[Any], response: httpx.Response) -> Exception:
        """A proxy may send long pages with 200 as well: the registry's own answers are JSON."""
        if question.for_schema and response.is_success and "json" in response.headers.get("content-type", ""):
            return SchemaError(f"the registry's answer has more than {MAX_BODY_BYTES} bytes")
        return TooMuchReceivedError(f"more than {MAX_BODY_BYTES} bytes")
