"""The schema registry behind the engine's port, and how results are framed where there is one."""

import asyncio
import logging
import threading
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from consumer.adapters.request_reader import RequestReader
from consumer.engine.policy import Policy
from consumer.engine.ports import SourceError
from schemas.avro.codec import ResultEncoder
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.released import results
from schemas.avro.resolution import Resolved
from schemas.avro.writer_schema import SchemaError
from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.registry.errors import RegistryError
from schemas.registry.policy import REGISTRY
from schemas.registry.questions import Missing
from schemas.registry.registration import newest_id
from schemas.settings import SchemaRegistrySettings

LEARN_SECONDS: Final = 3 * REGISTRY.timeout_seconds
"""For one schema: the look-up of the registry's name, its answer, and those for the schemas that it refers to."""
_log = logging.getLogger(__name__)


class RegistrySchemas:
    """Teaches the reader writer schemas. The URL of the registry must be set.

    The registry is asked and its schemas are resolved on threads: neither a slow registry nor a hostile schema
    holds up the loop. The reader learns on the loop.
    """

    def __init__(self, settings: SchemaRegistrySettings, reader: RequestReader) -> None:
        address = RegistryAddress.of(settings)
        assert address is not None  # noqa: S101 - the composition root makes this only with a URL
        self._address = address
        self._reader = reader
        self._threads = ThreadPoolExecutor(Policy().schema_lookups, "schemas")
        self._connecting = threading.Lock()
        self._registry: SchemaRegistry | None = None

    def result_encoder(self, topic: str) -> ResultEncoder:
        """Frame results by the id of their schema.

        Blocks while it asks for the id. Raises ``RegistryError`` or ``SchemaNotRegisteredError``.
        """
        return ResultEncoder(newest_id(self._address, topic, results()))

    async def learn(self, reference: Hashable) -> bool:
        """Ask the registry for a writer schema; ``False``: it says that it has none. Raises ``SourceError``."""
        assert isinstance(reference, SchemaRef)  # noqa: S101 - the reader makes no other references
        try:
            async with asyncio.timeout(LEARN_SECONDS):
                found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, reference)
        except RegistryError as error:
            raise SourceError(error.problem, error.remedy) from error
        except TimeoutError as late:
            problem = f"The schema registry {self._address} did not deliver {reference} within {LEARN_SECONDS:g} s."
            raise SourceError(problem, "Check that it runs and is not overloaded.") from late
        except Exception as defect:
            _log.exception("a defect keeps %s from being looked up", reference)
            problem = f"{reference} cannot be looked up ({type(defect).__name__})."
            raise SourceError(problem, "See the log, and report it.") from defect
        if isinstance(found, Missing):
            return False
        self._reader.adopt(reference, found)
        return True

    def _look_up(self, ref: SchemaRef) -> Resolved | Unreadable | Missing:
        """Ask for a schema and prepare it; on a thread."""
        try:
            found = self._connected().schema(ref)
        except SchemaError as error:
            return self._reader.refusal(ref, error)
        return found if isinstance(found, Missing) else self._reader.prepare(ref, found)

    def _connected(self) -> SchemaRegistry:
        with self._connecting:
            if self._registry is None:
                self._registry = SchemaRegistry(self._address)
            return self._registry

    def close(self) -> None:
        """Close the connections to the registry; does not wait for answers that are due."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._registry is not None:
            self._registry.close()
