"""The schema registry behind the engine's port, and the choice of how results are framed."""

import asyncio
import logging
import threading
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from consumer.adapters.request_reader import RequestReader
from consumer.engine.policy import Policy
from consumer.engine.ports import SourceTrouble
from schemas.avro.codec import ResultEncoder
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.released import results
from schemas.avro.resolution import Resolved, SchemaError
from schemas.contract import value_subject
from schemas.registry.client import (
    TIMEOUT_SECONDS,
    Missing,
    RegistryAddress,
    RegistryTroubleError,
    SchemaRegistry,
    registered_id,
)
from schemas.settings import SchemaRegistrySettings

LEARN_SECONDS: Final = 3 * TIMEOUT_SECONDS
"""For one schema: the look-up of the registry's name, its answer, and those for the schemas that it refers to."""
_NOT_CONFIGURED: Final = "no schema registry is configured: set RESYNC_SCHEMA_REGISTRY__URL"


class SchemaNotRegisteredError(Exception):
    """The registry does not have our schema of results; the text says what to do."""


_log = logging.getLogger(__name__)


class RegistrySchemas:
    """Teaches the reader writer schemas; without a registry nobody asks it to.

    The registry is asked and its schemas are resolved on threads: neither a slow registry nor a hostile schema
    holds up the loop. The reader learns on the loop.
    """

    def __init__(self, settings: SchemaRegistrySettings, reader: RequestReader) -> None:
        self._address = _address(settings)
        self._reader = reader
        self._threads = ThreadPoolExecutor(Policy().schema_lookups, "schemas")
        self._connecting = threading.Lock()
        self._registry: SchemaRegistry | None = None

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
        try:
            async with asyncio.timeout(LEARN_SECONDS):
                found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, reference)
        except RegistryTroubleError as trouble:
            raise SourceTrouble(str(trouble)) from trouble
        except TimeoutError as late:
            msg = f"The schema registry {self._address} did not tell {reference} within {LEARN_SECONDS:g} s. Check it."
            raise SourceTrouble(msg) from late
        except Exception as defect:
            _log.exception("a defect keeps %s from being looked up", reference)
            msg = f"{reference} cannot be looked up ({type(defect).__name__}). See the log, and report it."
            raise SourceTrouble(msg) from defect
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
            if self._registry is None and self._address is not None:
                self._registry = SchemaRegistry(self._address)
            assert self._registry is not None  # noqa: S101 - without an address nobody gets here
            return self._registry

    def close(self) -> None:
        """Close its connections; does not wait for answers that are due."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._registry is not None:
            self._registry.close()


def _address(settings: SchemaRegistrySettings) -> RegistryAddress | None:
    if settings.url is None:
        return None
    password = settings.password.get_secret_value() if settings.password is not None else None
    return RegistryAddress(settings.url, settings.username, password, settings.ca_file)
