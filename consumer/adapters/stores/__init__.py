"""Client specifications and API keys, on SQLite or PostgreSQL.

What is here reads them for the service and changes them for operators; ``stores.schema`` makes the tables, and
stands apart since only `db upgrade` needs Alembic.
"""

from consumer.adapters.stores.api_keys import ApiKeyRow, ApiKeys, IssuedApiKey
from consumer.adapters.stores.client_specifications import (
    ClientSpecificationRow,
    ClientSpecifications,
    SpecificationChanges,
    SpecificationOptions,
)
from consumer.adapters.stores.database import StoreError, create_engine, open_to_others, redacted
from consumer.adapters.stores.directory import DirectoryReader
from consumer.adapters.stores.directory_source import StoredDirectory
from consumer.adapters.stores.encryption import Binding, Encryption, EncryptionKeysError, new_key, read_credential
from consumer.adapters.stores.revisions import OURS, check_schema
from consumer.adapters.stores.rows import AdministrationError, EncryptionKeysNeededError
from consumer.adapters.stores.tables import DEFAULT_CONCURRENT_CALLS, DEFAULT_PRODUCTS_PER_CALL, DEFAULT_TENANT

__all__ = [
    "DEFAULT_CONCURRENT_CALLS",
    "DEFAULT_PRODUCTS_PER_CALL",
    "DEFAULT_TENANT",
    "OURS",
    "AdministrationError",
    "ApiKeyRow",
    "ApiKeys",
    "Binding",
    "ClientSpecificationRow",
    "ClientSpecifications",
    "DirectoryReader",
    "Encryption",
    "EncryptionKeysError",
    "EncryptionKeysNeededError",
    "IssuedApiKey",
    "SpecificationChanges",
    "SpecificationOptions",
    "StoreError",
    "StoredDirectory",
    "check_schema",
    "create_engine",
    "new_key",
    "open_to_others",
    "read_credential",
    "redacted",
]
