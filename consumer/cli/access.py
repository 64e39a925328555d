"""Access to what commands use: settings, encryption, database."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from consumer.adapters.stores import Encryption, create_engine
from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode
from schemas.settings import EDGES, Edge, Settings, load


class InvalidInputError(ExplainedError):
    """The options or files of a command are wrong. Exit code 2."""

    exit_code = ExitCode.USAGE


def read_settings(*uses: Edge, needs: Collection[str] = ()) -> Settings:
    """Read the settings that a command uses; of everything else in the environment, only the names are checked.

    Raises ``SettingsError``.
    """
    return load(os.environ, uses=uses, needs=needs)


def read_all_settings() -> Settings:
    """Read what the service uses: everything but what belongs to ``mirakl-resync``. Raises ``SettingsError``."""
    uses = [edge for edge in EDGES if edge not in ("gateway", "api_key", "request_auth")]
    return read_settings(*uses, needs=["RESYNC_KAFKA__BOOTSTRAP_SERVERS", "RESYNC_ENCRYPTION_KEYS"])


def encryption_of(settings: Settings) -> Encryption:
    """Return the encryption of stored secrets with the configured keys. Raises ``EncryptionKeysError``."""
    return Encryption([key.get_secret_value() for key in settings.encryption_keys])


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """Provide the stores' database, without migrating or creating anything. Raises ``StoreError``."""
    engine = create_engine(settings.database_url.get_secret_value())
    try:
        yield engine
    finally:
        engine.dispose()
