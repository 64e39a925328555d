"""The schema registry behind the engine's port, and the choice of how results are framed."""

from collections.abc import Hashable

from consumer.adapters.wire import RequestReader
from consumer.engine.ports import SourceTrouble
from consumer.settings import SchemaRegistrySettings
from schemas.codec import ResultEncoder


class RegistrySchemas:
    """Teaches the reader writer schemas; without a registry it is never asked."""

    def __init__(self, settings: SchemaRegistrySettings, reader: RequestReader) -> None:
        self._settings = settings
        self._reader = reader

    def result_encoder(self, topic: str) -> ResultEncoder:
        """Frame results by the registry's id where there is a registry, else as single objects."""
        return ResultEncoder()

    async def learn(self, reference: Hashable) -> bool:
        """Ask the registry for this writer schema."""
        raise SourceTrouble("no schema registry is configured: set RESYNC_SCHEMA_REGISTRY__URL")
