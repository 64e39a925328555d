"""Reads settings from the environment, and lists them for people.

``RESYNC_`` and the path of a field, in capitals, joined by ``__``: ``kafka.group_id`` is ``RESYNC_KAFKA__GROUP_ID``.
``…_FILE`` names a file with the value instead. An empty value counts as unset.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode
from schemas.explanation import sentences
from schemas.settings.durations import format_duration
from schemas.settings.foreign import proxy_mistakes, trust_mistakes
from schemas.settings.librdkafka import redacted
from schemas.settings.model import Settings
from schemas.settings.secret_files import FileTooLargeError, read_limited, read_value

PREFIX = "RESYNC_"

Edge: TypeAlias = Literal[
    "kafka",
    "topics",
    "schema_registry",
    "database_url",
    "encryption_keys",
    "request_deadline",
    "call_timeout",
    "shutdown_timeout",
    "processes",
    "max_products_per_request",
    "max_request_bytes",
    "insecure_hosts",
    "mirakl",
    "admin",
    "gateway",
    "log",
    "event_trace_file",
    "api_key",
    "request_auth",
    "accept_credentials",
    "signature_max_age",
]
"""A field of ``Settings``, by which a command declares what it uses."""
EDGES: tuple[Edge, ...] = get_args(Edge)


class SettingsError(ExplainedError):
    """All mistakes in the settings: a text each that names the variable and says what to do, without secrets."""

    exit_code = ExitCode.USAGE

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(("The settings are wrong:", *(f"  {mistake}" for mistake in self.mistakes))))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people meet it: its variable, its field in the model, and the edge that uses it."""

    name: str
    """``RESYNC_KAFKA__GROUP_ID``."""
    path: tuple[str, ...]
    """``("kafka", "group_id")``."""
    field: FieldInfo

    @property
    def description(self) -> str:
        return self.field.description or ""

    @property
    def default(self) -> str:
        """The default as it would be written in the environment; empty if there is none."""
        return _shown(self.field.get_default(call_default_factory=True))

    @property
    def secret(self) -> bool:
        return not self.field.repr


def _walk(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        where = (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, where)
        else:
            yield Setting(PREFIX + "__".join(where).upper(), where, field)


SETTINGS = tuple(_walk(Settings))
"""Every setting, in the order of the models: the one list of names for both programs."""

_BY_PATH = {setting.path: setting for setting in SETTINGS}
_NAMES = frozenset(setting.name for setting in SETTINGS) | frozenset(f"{setting.name}_FILE" for setting in SETTINGS)


def load(environ: Mapping[str, str], *, uses: Collection[Edge] | None = None, needs: Collection[str] = ()) -> Settings:
    """Read the settings, or raise ``SettingsError`` with every mistake at once.

    ``uses`` names the fields of ``Settings`` that the caller looks at (``None``: all): what it does not use is
    neither read nor checked, and stays at its default. ``needs`` are the variables that must be set. A setting
    that does not exist is always a mistake.
    """
    chosen = tuple(setting for setting in SETTINGS if uses is None or setting.path[0] in uses)
    mistakes = _unknown(environ)
    given: dict[str, Any] = {}
    for setting in chosen:
        try:
            text = _read(environ, setting)
        except _UnreadableError as error:
            mistakes.append(str(error))
            continue
        if text:
            _put(given, setting.path, text)
        elif setting.name in needs:
            mistakes.append(f"{setting.name} is not set. {setting.description}")
    settings = _validated(given, mistakes)
    mistakes += _trust_mistakes(environ, given, uses)
    if settings is None or mistakes:
        raise SettingsError(mistakes)
    return settings


def _trust_mistakes(environ: Mapping[str, str], given: Mapping[str, Any], uses: Collection[Edge] | None) -> list[str]:
    """Return mistakes in variables of other libraries that set trusted certificates and proxies."""
    mistakes: list[str] = []
    registry_url = given.get("schema_registry", {}).get("url")
    calls = uses is None or "call_timeout" in uses
    if registry_url or calls:
        mistakes += trust_mistakes(environ)
    if registry_url:
        mistakes += proxy_mistakes(environ)
    elif calls and not given.get("mirakl", {}).get("proxy_url"):
        mistakes += proxy_mistakes(environ, ["HTTPS_PROXY"])
    return mistakes


class _UnreadableError(Exception):
    """The value of a variable cannot be read: it is given twice, or its ``_FILE`` is missing, too large or not text."""


def _read(environ: Mapping[str, str], setting: Setting) -> str | None:
    direct, file = environ.get(setting.name), environ.get(f"{setting.name}_FILE")
    if direct and file:
        raise _UnreadableError(f"{setting.name} and {setting.name}_FILE are both set: keep one of them.")
    if not file:
        return direct
    try:
        with Path(file).open("rb") as raw:
            return read_value(read_limited(raw))
    except FileTooLargeError as error:
        raise _UnreadableError(f"{setting.name}_FILE: {file!r} is {error}.") from None
    except UnicodeDecodeError:
        raise _UnreadableError(f"{setting.name}_FILE: {file!r} is not UTF-8 text.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _UnreadableError(f"{setting.name}_FILE: cannot read {file!r} ({reason}).") from None


def _put(tree: dict[str, Any], path: tuple[str, ...], text: str) -> None:
    *edges, name = path
    for edge in edges:
        tree = tree.setdefault(edge, {})
    tree[name] = text


def _validated(given: Mapping[str, Any], mistakes: list[str]) -> Settings | None:
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        mistakes.extend(chain.from_iterable(_sentences(details) for details in error.errors(include_url=False)))
        return None


def _sentences(details: ErrorDetails) -> list[str]:
    """Return what pydantic found, by the name of the variable, without the value of a secret."""
    setting = _BY_PATH.get(_path(details, 2)) or _BY_PATH[_path(details, 1)]
    value = "" if setting.secret or details["type"] == "value_error" else f", not {_written(details['input'])}"
    lines = _complaint(details).splitlines()
    return [sentences(f"{setting.name}: {line}{value}") for line in lines]


def _path(details: ErrorDetails, depth: int) -> tuple[str, ...]:
    return tuple(str(part) for part in details["loc"][:depth])


def _complaint(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be at least {_written(context['ge'])}"
        case "less_than_equal":
            return f"must be at most {_written(context['le'])}"
        case "int_parsing":
            return "must be a whole number"
        case _:
            return details["msg"].replace("Input should be", "must be", 1)


def _written(value: object) -> str:
    """Only durations are floats."""
    return format_duration(value) if isinstance(value, float) else repr(value)


_KUBERNETES = re.compile(
    r"RESYNC(?:_[A-Z0-9_]+?)?(?:_SERVICE_HOST|_SERVICE_PORT(?:_[A-Z0-9_]+)?|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_KUBERNETES_PORT = re.compile(r"(?:tcp|udp|sctp)://.*")


def _of_kubernetes(name: str, value: str) -> bool:
    """Return whether Kubernetes injected the variable for a service named ``resync…``."""
    return _KUBERNETES.fullmatch(name) is not None or (
        name.endswith("_PORT") and _KUBERNETES_PORT.fullmatch(value) is not None
    )


def _unknown(environ: Mapping[str, str]) -> list[str]:
    return [
        f"Unknown setting {name}. Did you mean {_nearest(name)}?"
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name not in _NAMES and not _of_kubernetes(name, value)
    ]


def _nearest(name: str) -> str:
    candidates = sorted(known for known in _NAMES if known.endswith("_FILE") == name.endswith("_FILE"))
    return get_close_matches(name, candidates, n=1, cutoff=0.0)[0]


class Source(StrEnum):
    """Where the value of a setting comes from, for ``config show``."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``config show``: variable, value with secrets redacted, and source."""

    name: str
    value: str
    """As it would be written in the environment, secrets as ``***``; empty: unset."""
    source: Source
    description: str


def describe(settings: Settings, environ: Mapping[str, str]) -> list[Row]:
    """List every setting, fit to be shown to anybody; ``environ`` says where the values came from."""
    return [
        Row(
            setting.name,
            _shown(attrgetter(".".join(setting.path))(settings)),
            _source(setting, environ),
            setting.description,
        )
        for setting in SETTINGS
    ]


def _source(setting: Setting, environ: Mapping[str, str]) -> Source:
    if environ.get(f"{setting.name}_FILE"):
        return Source.FILE
    return Source.ENVIRONMENT if environ.get(setting.name) else Source.DEFAULT


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return redacted_url(value.get_secret_value())
        case float():
            return format_duration(value)
        case tuple() | frozenset():
            return ",".join(sorted(map(_shown, value)))
        case Mapping():
            return json.dumps(redacted(value)) if value else ""
        case _:
            return str(value)


_USERINFO_OF_HTTP = re.compile(r"^(https?://)(?:.*@)", re.IGNORECASE | re.DOTALL)
"""Userinfo of a proxy's URL, hidden as a whole: a user without a password may be a token."""
_USERINFO_PASSWORD = re.compile(r"(://[^:/@]*):.*@", re.DOTALL)
_QUERY_PASSWORD = re.compile(r"([?&][^=&]*password=)[^&]*", re.IGNORECASE)


def redacted_url(text: str) -> str:
    """Return a URL without its passwords; ``***`` for anything that is not a URL and may be secret as a whole."""
    if "://" not in text:
        return "***"
    text = _USERINFO_OF_HTTP.sub(r"\1***@", text)
    return _QUERY_PASSWORD.sub(r"\1***", _USERINFO_PASSWORD.sub(r"\1:***@", text))
