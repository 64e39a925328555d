# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""What commands reach for: settings, database, brokers, registry; and what their troubles mean to a person.

Heavy libraries are imported here only when something is reached for.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from consumer.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from consumer.adapters.kafka.topics import TopicAdmin
    from schemas.registry.client import RegistryTroubleError, SchemaRegistry
    from schemas.settings import Edge, KafkaSettings, SchemaRegistrySettings, Settings


def read_settings(*uses: Edge, needs: Collection[str] = ()) -> Settings:
    """Read what this command uses; everything else in the environment only has to exist by name."""
    from schemas.settings import SettingsError, load

    try:
        return load(os.environ, uses=uses, needs=needs)
    except SettingsError as error:
        raise wrong_settings(error.mistakes) from None


def wrong_settings(mistakes: Collection[str]) -> Failure:
    return Failure("\n".join(("The settings are wrong:", *(f"  {mistake}" for mistake in mistakes))), ExitCode.USAGE)


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """Reach the stores."""
    from consumer.adapters.stores import create_engine

    with store_troubles():
        engine = create_engine(settings.database_url.get_secret_value())
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def store_troubles() -> Iterator[None]:
    """Say what is wrong with the database, or with what was asked of it."""
    from consumer.adapters.stores import AdministrationError, StoreTrouble

    try:
        yield
    except AdministrationError as error:
        raise Failure(str(error), ExitCode.USAGE) from error
    except StoreTrouble as error:
        raise Failure(str(error), ExitCode.FAILED) from error


@contextmanager
def brokers(kafka: KafkaSettings) -> Iterator[TopicAdmin]:
    """Reach Kafka."""
    from consumer.adapters.kafka.topics import TopicAdmin

    with broker_troubles():
        yield TopicAdmin(kafka)


@contextmanager
def broker_troubles() -> Iterator[None]:
    """Say what is wrong with the brokers, the topics, or with what was asked of them."""
    from consumer.adapters.kafka.topics import BrokerRefusedError, BrokerUnreachableError, KafkaTroubleError
    from schemas.settings import SettingsError

    try:
        yield
    except BrokerUnreachableError as error:
        raise Failure(str(error), ExitCode.UNREACHABLE) from error
    except BrokerRefusedError as error:
        raise Failure(str(error), ExitCode.USAGE) from error
    except KafkaTroubleError as error:
        raise Failure(str(error), ExitCode.FAILED) from error
    except SettingsError as error:
        raise wrong_settings(error.mistakes) from error


@contextmanager
def schema_registry(settings: SchemaRegistrySettings) -> Iterator[SchemaRegistry]:
    """Reach the schema registry."""
    from schemas.registry.client import RegistryAddress, SchemaRegistry

    password = settings.password.get_secret_value() if settings.password else None
    with (
        registry_troubles(),
        SchemaRegistry(RegistryAddress(str(settings.url), settings.username, password, settings.ca_file)) as registry,
    ):
        yield registry


@contextmanager
def registry_troubles() -> Iterator[None]:
    """Say what is wrong with the schema registry."""
    from schemas.registry.client import RegistryTroubleError

    try:
        yield
    except RegistryTroubleError as error:
        raise Failure(str(error), ExitCode.UNREACHABLE if unreachable(error) else ExitCode.USAGE) from error


def unreachable(error: RegistryTroubleError) -> bool:
    """Whether nobody answered, or nobody who could; another refusal is about what we asked, or who we are."""
    return error.status is None or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def read_all_settings() -> Settings:
    """Read what the service uses: everything but the key that ``mirakl-resync`` sends."""
    return read_settings(
        *("kafka", "topics", "schema_registry", "database_url", "encryption_keys", "insecure_hosts", "admin", "log"),
        *("request_deadline", "call_timeout", "shutdown_timeout", "max_products_per_request", "max_request_bytes"),
        needs=["RESYNC_KAFKA__BOOTSTRAP_SERVERS", "RESYNC_ENCRYPTION_KEYS"],
    )
