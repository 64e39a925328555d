"""The tools' settings, from the environment."""

import os
from collections.abc import Mapping
from typing import Final

from producer_tools.errors import MisconfiguredError
from schemas.settings import Edge, Settings, SettingsError, load

READING: Final[tuple[Edge, ...]] = ("kafka", "topics", "schema_registry")
SENDING: Final[tuple[Edge, ...]] = (
    *READING,
    "max_products_per_request",
    "max_request_bytes",
    "api_key",
    "request_auth",
)
SERVING: Final[tuple[Edge, ...]] = (*SENDING, "request_deadline", "shutdown_timeout", "admin", "gateway", "log")
BROKERS: Final = "RESYNC_KAFKA__BOOTSTRAP_SERVERS"


def tool_settings(
    uses: tuple[Edge, ...], *, needs: tuple[str, ...] = (BROKERS,), environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings that the caller uses, from the environment unless one is given.

    Raises ``MisconfiguredError`` with every mistake, one line each. Other settings are only checked by name.
    """
    try:
        return load(os.environ if environ is None else environ, uses=uses, needs=needs)
    except SettingsError as error:
        raise MisconfiguredError(error.problem, error.remedy) from error
