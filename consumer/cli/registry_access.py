"""Access to the schema registry, apart from ``access``: its HTTP client is loaded by the commands that use it."""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.settings import SchemaRegistrySettings


@contextmanager
def schema_registry(settings: SchemaRegistrySettings) -> Iterator[SchemaRegistry]:
    """Provide a connection to the registry, whose URL is set, and close it. Raises ``RegistryError``."""
    address = RegistryAddress.of(settings)
    assert address is not None  # noqa: S101 - the callers require the URL
    with SchemaRegistry(address) as registry:
        yield registry
