"""The schemas that this release brings, behind the engine's port: a service without a schema registry."""

from collections.abc import Hashable

from consumer.engine.ports import SourceError
from schemas.avro.codec import ResultEncoder


class BundledSchemas:
    """Frames results as single objects, and knows no other writer schemas than the bundled ones."""

    def result_encoder(self, _topic: str) -> ResultEncoder:
        return ResultEncoder()

    async def learn(self, _reference: Hashable, /) -> bool:
        """Raise ``SourceError``: there is no registry to ask."""
        raise SourceError("No schema registry is configured.", "Set RESYNC_SCHEMA_REGISTRY__URL.")
