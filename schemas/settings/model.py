"""The settings: one frozen model for each part. The names of the environment variables follow from the names here.

A field with ``repr=False`` holds a secret: no ``repr``, no message and no listing shows its value.
"""

import json
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from schemas.contract import (
    DEAD_LETTERS_TOPIC,
    MAX_PRODUCTS,
    MAX_REQUEST_BYTES,
    REQUEST_DEADLINE_SECONDS,
    REQUESTS_TOPIC,
    RESULTS_TOPIC,
    SIGNATURE_MAX_AGE_SECONDS,
    Credential,
)
from schemas.settings.fields import Authorities, Duration, EdgeModel, Host, lower, separated
from schemas.settings.foreign import PORTS, check_database_url, check_url
from schemas.settings.gateway import GatewaySettings
from schemas.settings.librdkafka import CONSUMER_ONLY, FILES, PRODUCER_ONLY, refusals
from schemas.settings.mirakl import MiraklSettings


class GroupProtocol(StrEnum):
    """Protocol by which the members of the group agree on partitions: classic, or KIP-848 (``consumer``)."""

    CLASSIC = "classic"
    CONSUMER = "consumer"
    """KIP-848: the broker assigns."""


class Delivery(StrEnum):
    """The delivery guarantee for results: what a ``read_committed`` subscriber sees after crashes and rebalances."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"
    """For brokers without transactions."""


class LogLevel(StrEnum):
    """The least severe line that is written to the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """The format of log lines: JSON for machines, ``console`` for people, or ``auto`` by what stderr is."""

    AUTO = "auto"
    """``console`` on a terminal, ``json`` elsewhere."""
    JSON = "json"
    CONSOLE = "console"


class LoggedRequests(StrEnum):
    """Selection of the answered requests that are logged, one line each."""

    ALL = "all"
    FAILED = "failed"


def _bare_hosts(hosts: frozenset[str]) -> frozenset[str]:
    for host in hosts:
        if host.count(":") == 1 or not host.isprintable() or any(character in " /@[]" for character in host):
            raise ValueError("must be host names only, comma-separated: without http://, port or path")
    return hosts


_BROKER = re.compile(r"(?:[A-Z_]+://)?(?:\[[0-9a-fA-F:.]+\]|[^\s:,/\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_GROUP_ID = re.compile(r"[!-~]{1,200}")
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def _brokers(given: str) -> str:
    brokers = [broker.strip() for broker in given.split(",") if broker.strip()]
    for broker in brokers:
        found = _BROKER.fullmatch(broker)
        if not found:
            raise ValueError(f"{broker!r} is not a broker: write host:port, several separated by commas")
        if found["port"] and int(found["port"]) not in PORTS:
            raise ValueError(f"the port of {broker!r} must be 1 to 65535")
    return ",".join(brokers)


def _group_id(given: str) -> str:
    if not _GROUP_ID.fullmatch(given):
        raise ValueError("write 1 to 200 visible ASCII characters: the name also stands in headers and ids")
    return given


def _topic(given: str) -> str:
    if not _TOPIC.fullmatch(given) or given in {".", ".."}:
        raise ValueError(f"{given!r} is not a topic name: write 1 to 249 letters, digits, dots, dashes or underscores")
    return given


def _json_object(given: object) -> Mapping[str, object]:
    try:
        parsed = json.loads(given) if isinstance(given, str) else given
    except json.JSONDecodeError as error:
        # neither the text nor the cause: both hold the secrets that the properties hold
        raise ValueError(f"this is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError):
        raise ValueError('write a JSON object, such as {"security.protocol": "SASL_SSL"}') from None
    if not isinstance(parsed, Mapping):
        raise ValueError('write a JSON object, such as {"security.protocol": "SASL_SSL"}')  # noqa: TRY004  pydantic reports a ValueError
    return parsed


def _is_c_string(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _is_readable(path: str) -> bool:
    return os.access(path, os.R_OK)


def _as_text(value: object) -> str:
    """Write a value as librdkafka reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class KafkaSettings(EdgeModel):
    """The brokers, our group on them, and how results are delivered.

    Both programs read it; the tools use only the brokers and the librdkafka properties.
    """

    bootstrap_servers: Annotated[str, AfterValidator(_brokers)] = Field(
        default="", description="The Kafka brokers to connect to first: `host:port`, comma-separated."
    )
    group_id: Annotated[str, AfterValidator(_group_id)] = Field(
        default="mirakl-resync",
        description="The consumer group; transactional ids begin with it. The same for all replicas.",
    )
    group_protocol: Annotated[GroupProtocol, BeforeValidator(lower)] = Field(
        default=GroupProtocol.CLASSIC,
        description="`classic`, or `consumer` (KIP-848; a killed replica's partitions then wait 45 s).",
    )
    group_instance_id: Annotated[str, AfterValidator(_group_id)] | None = Field(
        default=None,
        description="Static membership: stable and unique per replica, so that a restarted replica resumes at once.",
    )
    delivery: Annotated[Delivery, BeforeValidator(lower)] = Field(
        default=Delivery.EXACTLY_ONCE,
        description="`exactly-once`, or `at-least-once` for brokers without transactions.",
    )
    properties: Mapping[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="Any librdkafka property, as JSON; those that would break the guarantees are refused.",
    )

    @field_validator("properties", mode="before")
    @classmethod
    def _check(cls, given: object, info: ValidationInfo) -> dict[str, str]:
        properties = _json_object(given)
        classic = info.data.get("group_protocol") is not GroupProtocol.CONSUMER
        complaints = refusals(properties, classic=classic) + [
            f"give {name!r} a string, a number or a boolean"
            for name, value in properties.items()
            if not isinstance(value, str | int | float)
        ]
        complaints += [
            f"{name!r} holds a character that librdkafka cannot take"
            for name, value in properties.items()
            if isinstance(value, str) and not _is_c_string(value)
        ]
        complaints += [
            f"{name!r} names a file that cannot be read"
            for name, value in properties.items()
            if name in FILES and isinstance(value, str) and _is_c_string(value) and not _is_readable(value)
        ]
        if complaints:
            raise ValueError("\n".join(complaints))
        return {name: _as_text(value) for name, value in properties.items()}

    def consumer_properties(self) -> dict[str, str]:
        """The operator's librdkafka properties for a ``Consumer``, brokers included; group and guarantees are not."""
        return self._without(PRODUCER_ONLY)

    def producer_properties(self) -> dict[str, str]:
        """Return the operator's librdkafka properties that a ``Producer`` accepts, brokers included."""
        return self._without(CONSUMER_ONLY)

    def admin_properties(self) -> dict[str, str]:
        """Return the operator's librdkafka properties that an ``AdminClient`` accepts, brokers included."""
        return self._without(CONSUMER_ONLY | PRODUCER_ONLY)

    def _without(self, names: frozenset[str]) -> dict[str, str]:
        chosen = {name: value for name, value in self.properties.items() if name not in names}
        return {"bootstrap.servers": self.bootstrap_servers, **chosen}


class TopicSettings(EdgeModel):
    """The names of the three topics: requests, results and dead letters. They must differ."""

    requests: Annotated[str, AfterValidator(_topic)] = Field(
        default=REQUESTS_TOPIC, description="The topic that requests are read from."
    )
    results: Annotated[str, AfterValidator(_topic)] = Field(
        default=RESULTS_TOPIC, description="The topic that results are written to."
    )
    dead_letters: Annotated[str, AfterValidator(_topic)] = Field(
        default=DEAD_LETTERS_TOPIC,
        description="The topic for records that cannot be read as a request.",
    )

    @field_validator("results", "dead_letters")
    @classmethod
    def _differ(cls, topic: str, info: ValidationInfo) -> str:
        for other, name in info.data.items():
            if name == topic:
                raise ValueError(f"{topic!r} is also the name of RESYNC_TOPICS__{other.upper()}: use a topic for each")
        return topic


def _registry_url(given: str) -> str:
    check_url(given)
    return given.rstrip("/")


def _basic_user(given: str) -> str:
    if ":" in given:
        raise ValueError("HTTP Basic knows no user name with a colon")
    return given


class SchemaRegistrySettings(EdgeModel):
    """A Confluent-compatible schema registry; without a URL the system works on its bundled schemas."""

    url: Annotated[str, AfterValidator(_registry_url)] | None = Field(
        default=None, description="A Confluent-compatible schema registry; unset: none is used."
    )
    username: Annotated[str, AfterValidator(_basic_user)] | None = Field(
        default=None, description="Its user, for HTTP Basic authentication."
    )
    password: SecretStr | None = Field(default=None, repr=False, description="Its user's password.")
    ca_file: Authorities | None = Field(
        default=None, description="CA certificates (PEM) to trust instead of the system's."
    )

    @field_validator("password")
    @classmethod
    def _pair(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (info.data.get("username") is None) != (password is None):
            raise ValueError("goes together with RESYNC_SCHEMA_REGISTRY__USERNAME: set both or none")
        return password


class AdminSettings(EdgeModel):
    """The address of health and metrics (``/livez``, ``/readyz``, ``/metrics``)."""

    host: Host = Field(
        default="0.0.0.0",  # noqa: S104  probes and scrapers come from other hosts
        description="The address that serves `/livez`, `/readyz` and `/metrics`.",
    )
    port: int = Field(default=8080, ge=0, le=65_535, description="Its port; 0: any that is free.")


class LogSettings(EdgeModel):
    """The log on stderr: its level, its format, and which answered requests get a line."""

    level: Annotated[LogLevel, BeforeValidator(lower)] = Field(
        default=LogLevel.INFO, description="`debug`, `info`, `warning` or `error`."
    )
    format: Annotated[LogFormat, BeforeValidator(lower)] = Field(
        default=LogFormat.AUTO, description="`json`, `console`, or `auto`: console on a terminal, else JSON."
    )
    requests: Annotated[LoggedRequests, BeforeValidator(lower)] = Field(
        default=LoggedRequests.ALL, description="One line per answered request: `all`, or only the `failed` ones."
    )


_DEFAULT_DATABASE_URL = "sqlite:///mirakl-resync.db"
_DATABASES = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
"""32 bytes in URL-safe base64."""


def _database_url(given: SecretStr) -> SecretStr:
    scheme, separator, _ = given.get_secret_value().partition("://")
    if not separator or scheme not in _DATABASES:
        raise ValueError("write sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE")
    if given.get_secret_value() != _DEFAULT_DATABASE_URL:
        check_database_url(given.get_secret_value())
    return given


def _fernet_keys(given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    wrong = [str(number) for number, key in enumerate(given, 1) if not _FERNET_KEY.fullmatch(key.get_secret_value())]
    if wrong:
        raise ValueError(
            f"number {', '.join(wrong)} of {len(given)} is not a Fernet key: "
            "`mirakl-resync-consumer encryption-key` makes one"
        )
    return given


class Settings(EdgeModel):
    """All settings of both programs, one field for each edge. A command reads only those that it uses."""

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    schema_registry: SchemaRegistrySettings = Field(default_factory=SchemaRegistrySettings)
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        default=SecretStr(_DEFAULT_DATABASE_URL),
        repr=False,
        description="SQLAlchemy URL of the stores: SQLite for a single host, `postgresql+psycopg://` in production.",
    )
    encryption_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(separated), AfterValidator(_fernet_keys)] = Field(
        default=(),
        repr=False,
        description="Fernet keys for the stored credentials, comma-separated; the first encrypts, all decrypt.",
    )
    request_deadline: Duration = Field(
        default=REQUEST_DEADLINE_SECONDS,
        ge=1.0,
        le=86_400.0,
        description="Every request is decided within this time of being read.",
    )
    call_timeout: Duration = Field(default=60.0, ge=0.1, le=3_600.0, description="Total timeout of one CM21 call.")
    shutdown_timeout: Duration = Field(
        default=25.0,
        ge=0.0,
        le=3_600.0,
        description="Longest time that a stop takes. Answers that are due within 3 s are waited for.",
    )
    processes: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default=1,
        description="Processes of one `run`, which share its quotas; `auto`: one per core, at most one per partition.",
    )
    max_products_per_request: int = Field(
        default=MAX_PRODUCTS, ge=1, le=1_000_000, description="A request with more product pairs is answered 400."
    )
    max_request_bytes: int = Field(
        default=MAX_REQUEST_BYTES, ge=1_024, le=134_217_728, description="A larger request is dead-lettered."
    )
    insecure_hosts: Annotated[
        frozenset[str], BeforeValidator(separated), BeforeValidator(lower), AfterValidator(_bare_hosts)
    ] = Field(
        default=frozenset(),
        description="Host names whose Mirakl may be called over plain http, comma-separated.",
    )
    mirakl: MiraklSettings = Field(default_factory=MiraklSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    log: LogSettings = Field(default_factory=LogSettings)
    event_trace_file: Path | None = Field(
        default=None, description="Write a replayable trace of the engine's events there, at most 64 MiB; unset: none."
    )
    api_key: SecretStr | None = Field(
        default=None,
        repr=False,
        description="The API key that `mirakl-resync` sends with its requests, or signs them with.",
    )
    request_auth: Annotated[Credential, BeforeValidator(lower)] = Field(
        default=Credential.KEY,
        description="How `mirakl-resync` proves who asks: `key` sends the API key, `signature` signs with it.",
    )
    accept_credentials: Annotated[
        frozenset[Credential], BeforeValidator(separated), BeforeValidator(lower), Field(min_length=1)
    ] = Field(
        default=frozenset(Credential),
        description="Kinds of credentials that the service accepts, comma-separated.",
    )
    signature_max_age: Duration = Field(
        default=SIGNATURE_MAX_AGE_SECONDS,
        ge=1.0,
        le=31_536_000.0,
        description="A signed request whose `requestedAt` is older when it is read is refused.",
    )
