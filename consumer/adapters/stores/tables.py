"""The tables of the stores in SQLAlchemy. Migrations create them; a test compares the two."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    cast,
    false,
    func,
    true,
    type_coerce,
)
from sqlalchemy.types import NullType

SCHEMA_REVISIONS = ("0001", "0002")
"""Every released schema, oldest first; the last is that of this program. Known here so that `run` needs no Alembic."""

DEFAULT_TENANT = "default"
DEFAULT_PRODUCTS_PER_CALL = 1000
DEFAULT_CONCURRENT_CALLS = 4

metadata = MetaData()

client_specifications = Table(
    "client_specifications",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(255), nullable=False, server_default=DEFAULT_TENANT),
    Column("name", String(255), nullable=False),
    Column("base_url", String(2048), nullable=False),
    Column("credential", Text, nullable=False),
    Column("auth_scheme", String(16), nullable=False, server_default="bearer"),
    Column("active", Boolean, nullable=False, server_default=true()),
    Column("suspended", Boolean, nullable=False, server_default=false()),
    Column("products_per_call", Integer, nullable=False, server_default=str(DEFAULT_PRODUCTS_PER_CALL)),
    Column("concurrent_calls", Integer, nullable=False, server_default=str(DEFAULT_CONCURRENT_CALLS)),
    Column("calls_per_hour", Integer),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("tenant", "name", name="client_specifications_tenant_name"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(255), nullable=False, server_default=DEFAULT_TENANT),
    Column("name", String(255), nullable=False),
    Column("key_hash", String(64), nullable=False),
    Column("role", String(16), nullable=False, server_default="OPERATOR"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked", Boolean, nullable=False, server_default=false()),
    Column("signing_secret", Text),
    UniqueConstraint("key_hash", name="api_keys_key_hash"),
)

Index("api_keys_live_name", api_keys.c.tenant, api_keys.c.name, unique=True)
"""Only of keys that are not revoked: to repeat that condition of the migration here would load both dialects."""

directory_version = Table(
    "directory_version",
    metadata,
    Column("id", SmallInteger, primary_key=True),
    Column("version", BigInteger, nullable=False),
)
"""One row: a counter that triggers increase with every change of the other two tables, in the same transaction."""


supported_revisions = Table("supported_revisions", metadata, Column("revision", String(32), primary_key=True))
"""The schema revisions whose programs may use the database: see ``consumer.adapters.stores.revisions``."""


def as_stored(column: Column[Any]) -> ColumnElement[Any]:
    """Select raw values, so that one value that is not of its column's type harms no other row.

    SQLite takes any value in any column, and a PostgreSQL timestamp may be ``infinity``.
    """
    if isinstance(column.type, DateTime):
        return cast(column, Text).label(column.name)
    return type_coerce(column, NullType()).label(column.name)


def instant(stored: object) -> datetime | None:
    """Return a time as either database writes it, in UTC if it names no zone; ``None``: it is not a time."""
    try:
        read = datetime.fromisoformat(str(stored))
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
