"""Requests to a registry with Confluent's REST API, and the reading of its responses.

A `Question` is a value: a request and the meaning of its answers. `schemas.registry.client` sends it.

Source: Confluent's "Schema Registry API Reference".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from schemas.avro.framing import SchemaRef
from schemas.registry.policy import REGISTRY

Answer = TypeVar("Answer")
Json: TypeAlias = Any

MAX_ID: Final = 2**31 - 1
"""Largest id of a schema: ids are 32-bit ints in every registry and client."""
GUIDS_PATH: Final = "schemas/guids/"

SUBJECT_NOT_FOUND: Final = 40401
VERSION_NOT_FOUND: Final = 40402
SCHEMA_NOT_FOUND: Final = 40403


@dataclass(frozen=True, slots=True)
class Missing:
    """The registry's answer, by its own error code, that it does not have what was asked for.

    A bare 404 is not that.
    """


@dataclass(frozen=True, slots=True)
class Reference:
    """Another schema that defines a type of this one: its full name, and where it is registered."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry keeps it: its text, its id and the schemas that it refers to."""

    text: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Verdict on whether a schema may be registered under a subject, with the registry's reasons if not."""

    compatible: bool
    messages: tuple[str, ...]
    """The registry's own words, if any."""


@dataclass(frozen=True, slots=True)
class Question(Generic[Answer]):
    """One request to the registry, and how its answers are read: data, so that tests need no server."""

    what: str
    """For people, as in "does not answer the question for ..."."""
    method: str
    path: str
    read: Callable[[Json], Answer]
    """Reads the JSON of a 2xx answer; raises KeyError, TypeError or ValueError if it is anything else."""
    body: Mapping[str, Json] | None = None
    said_no: Mapping[int, Answer] = field(default_factory=dict)
    """The meaning of a 404 with this ``error_code``; any other 404 may come from a proxy and means nothing."""
    for_schema: bool = False
    """Whether an answer beyond the limit is a schema beyond our bounds, rather than a trouble."""


def schema_named(ref: SchemaRef) -> Question[RegisteredSchema | Missing]:
    """Ask for the schema with this id or GUID. ``Missing``: the registry says so with error code 40403."""
    path = f"schemas/ids/{ref.id}" if ref.guid is None else f"{GUIDS_PATH}{ref.guid}"
    no = {SCHEMA_NOT_FOUND: Missing()}
    return Question(str(ref), "GET", path, _registered_schema, said_no=no, for_schema=True)


def schema_version(subject: str, version: int | str = "latest") -> Question[RegisteredSchema | Missing]:
    """Ask for one version of a subject: a number from 1 on, or ``latest``."""
    no: Mapping[int, RegisteredSchema | Missing] = {SUBJECT_NOT_FOUND: Missing(), VERSION_NOT_FOUND: Missing()}
    path = f"subjects/{quote(subject, safe='')}/versions/{version}"
    what = f"version {excerpt(str(version))} of {excerpt(subject)}"
    return Question(what, "GET", path, _registered_schema, said_no=no, for_schema=True)


def registered_id(subject: str, schema_text: str) -> Question[int | Missing]:
    """Ask for the id under which the subject has exactly this schema; registers nothing."""
    no: Mapping[int, int | Missing] = {SUBJECT_NOT_FOUND: Missing(), SCHEMA_NOT_FOUND: Missing()}
    what, path = f"the schema's id under {subject}", f"subjects/{quote(subject, safe='')}"
    return Question(what, "POST", path, _id, {"schema": schema_text}, said_no=no)


def registration(subject: str, schema_text: str) -> Question[int]:
    """Register a version; the answer is its id, also if it was registered before."""
    path = f"subjects/{quote(subject, safe='')}/versions"
    return Question(f"the registration under {subject}", "POST", path, _id, {"schema": schema_text})


def compatibility(subject: str, schema_text: str) -> Question[Compatibility]:
    """Ask whether the schema may follow the versions of the subject; it may if there are none."""
    first = Compatibility(compatible=True, messages=())
    path = f"compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
    no = {SUBJECT_NOT_FOUND: first, VERSION_NOT_FOUND: first}
    return Question(f"the compatibility with {subject}", "POST", path, _compatibility, {"schema": schema_text}, no)


def level(subject: str) -> Question[str | Missing]:
    """Ask for the compatibility level that applies to the subject: its own, or the registry's global one."""
    path = f"config/{quote(subject, safe='')}?defaultToGlobal=true"
    no: Mapping[int, str | Missing] = {SUBJECT_NOT_FOUND: Missing()}
    return Question(
        f"the level of {subject}", "GET", path, lambda answer: str(answer["compatibilityLevel"]), said_no=no
    )


def new_level(subject: str, wanted: str) -> Question[str]:
    """Set the compatibility level of the subject, such as ``FULL_TRANSITIVE``."""
    path = f"config/{quote(subject, safe='')}"
    return Question(
        f"the new level of {subject}",
        "PUT",
        path,
        lambda answer: str(answer["compatibility"]),
        {"compatibility": wanted},
    )


def excerpt(text: str) -> str:
    """Return the beginning of somebody else's text in printable ASCII, short enough for a message."""
    return text.encode("unicode_escape").decode()[: REGISTRY.excerpt_characters]


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
    """JSON can contain halves of characters, which no URL can. Raises ValueError."""
    text = str(value)
    text.encode()
    return text


def _id(answer: Json) -> int:
    number = int(answer["id"])
    if not 0 <= number <= MAX_ID:
        raise ValueError("an id has 31 bits")
    return number


def _compatibility(answer: Json) -> Compatibility:
    messages = tuple(excerpt(str(message)) for message in answer.get("messages") or ())
    return Compatibility(compatible=answer["is_compatible"] is True, messages=messages)
