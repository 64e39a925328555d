"""The schema registry behind the engine's port, and the choice of how results are framed."""

from collections.abc import Hashable
from typing import Final

from consumer.adapters.wire import RequestReader
from consumer.engine.ports import SourceTrouble
from consumer.settings import SchemaRegistrySettings
from schemas.codec import ResultEncoder
from schemas.framing import SchemaRef
from schemas.registration import value_subject
from schemas.registry import (
    AsyncSchemaRegistry,
    Missing,
    RegistryAddress,
    RegistryTroubleError,
    SchemaRegistry,
    registered_id,
)
from schemas.released import results

_NOT_CONFIGURED: Final = "no schema registry is configured: set RESYNC_SCHEMA_REGISTRY__URL"


class SchemaNotRegisteredError(Exception):
    """The registry does not have our schema of results; the text says what to do."""


class RegistrySchemas:
    """Teaches the reader writer schemas; without a registry nobody asks it to."""

    def __init__(self, settings: SchemaRegistrySettings, reader: RequestReader) -> None:
        self._address = _address(settings)
        self._reader = reader
        self._registry: AsyncSchemaRegistry | None = None

    def result_encoder(self, topic: str) -> ResultEncoder:
        """Frame results by their schema's id where there is a registry, else as single objects.

        Blocks while it asks. Raises ``RegistryTroubleError`` or ``SchemaNotRegisteredError``.
        """
        if self._address is None:
            return ResultEncoder()
        subject = value_subject(topic)
        with SchemaRegistry(self._address) as registry:
            schema_id = registry.ask(registered_id(subject, results()[-1].text))
        if isinstance(schema_id, Missing):
            raise SchemaNotRegisteredError(
                f"The schema registry has no schema of results under {subject}: "
                "register ours with `mirakl-resync-consumer schemas register`."
            )
        return ResultEncoder(schema_id)

    async def learn(self, reference: Hashable) -> bool:
        """Ask the registry for a writer schema; ``False``: it says that it has none. Raises ``SourceTrouble``."""
        if self._address is None or not isinstance(reference, SchemaRef):
            raise SourceTrouble(_NOT_CONFIGURED)
        if self._registry is None:
            self._registry = AsyncSchemaRegistry(self._address)
        try:
            found = await self._registry.schema(reference)
        except RegistryTroubleError as trouble:
            raise SourceTrouble(str(trouble)) from trouble
        if isinstance(found, Missing):
            return False
        self._reader.learn(reference, found)
        return True

    async def aclose(self) -> None:
        """Close its connections."""
        if self._registry is not None:
            await self._registry.close()


def _address(settings: SchemaRegistrySettings) -> RegistryAddress | None:
    if settings.url is None:
        return None
    password = settings.password.get_secret_value() if settings.password is not None else None
    return RegistryAddress(settings.url, settings.username, password, settings.ca_file)
