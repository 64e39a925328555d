"""Client specifications, API keys, and the counter of their changes.

The counter is raised inside the transaction of the change, on a row that stays locked until its commit. So numbers
become visible in their order and together with their changes: who reads counter and tables in one snapshot, and
later an unchanged counter, has missed nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

COUNTED = ("client_specifications", "api_keys")
COUNT_IN_SQLITE = "BEGIN UPDATE directory_version SET version = version + 1; END"


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    _create_client_specifications(_is_uuid(postgresql=postgresql))
    _create_api_keys(_is_uuid(postgresql=postgresql))
    _create_directory_version()
    if postgresql:
        _count_changes_in_postgresql()
    else:
        _count_changes_in_sqlite()


def _is_uuid(*, postgresql: bool) -> str:
    """As people write ids by hand: only the form that requests are compared with is taken."""
    if postgresql:
        return "id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
    groups = ("[0-9a-f]" * length for length in (8, 4, 4, 4, 12))
    return f"id GLOB '{'-'.join(groups)}'"


def _create_client_specifications(is_uuid: str) -> None:
    op.create_table(
        "client_specifications",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("tenant", sa.String(255), nullable=False, server_default="default"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("base_url", sa.String(2048), nullable=False),
        sa.Column("credential", sa.Text, nullable=False),
        sa.Column("auth_scheme", sa.String(16), nullable=False, server_default="bearer"),
        _flag("active", default=sa.true()),
        _flag("suspended", default=sa.false()),
        sa.Column("products_per_call", sa.Integer, nullable=False, server_default="1000"),
        sa.Column("concurrent_calls", sa.Integer, nullable=False, server_default="4"),
        sa.Column("calls_per_hour", sa.Integer),
        _time("created_at"),
        _time("updated_at"),
        sa.UniqueConstraint("tenant", "name", name="client_specifications_tenant_name"),
        sa.CheckConstraint(is_uuid, name="client_specifications_id_is_uuid"),
        sa.CheckConstraint("auth_scheme IN ('bearer', 'api-key')", name="client_specifications_auth_scheme"),
        sa.CheckConstraint("products_per_call BETWEEN 1 AND 100000", name="client_specifications_products_per_call"),
        sa.CheckConstraint("concurrent_calls BETWEEN 1 AND 1000", name="client_specifications_concurrent_calls"),
        sa.CheckConstraint("calls_per_hour BETWEEN 1 AND 1000000000", name="client_specifications_calls_per_hour"),
    )


def _create_api_keys(is_uuid: str) -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("tenant", sa.String(255), nullable=False, server_default="default"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False, server_default="OPERATOR"),
        _time("created_at"),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        _flag("revoked", default=sa.false()),
        sa.UniqueConstraint("key_hash", name="api_keys_key_hash"),
        sa.CheckConstraint(is_uuid, name="api_keys_id_is_uuid"),
        sa.CheckConstraint("role IN ('OPERATOR', 'ACCOUNT', 'SUPPLIER')", name="api_keys_role"),
    )
    live = sa.text("NOT revoked")
    op.create_index(
        "api_keys_live_name", "api_keys", ["tenant", "name"], unique=True, sqlite_where=live, postgresql_where=live
    )


def _create_directory_version() -> None:
    table = op.create_table(
        "directory_version",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="directory_version_one_row"),
    )
    op.bulk_insert(table, [{"id": 1, "version": 1}])


def _count_changes_in_postgresql() -> None:
    """Count before each statement: the counter is then the first lock of every writer, and none waits in a circle."""
    op.execute("""
        CREATE FUNCTION count_directory_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE format('UPDATE %I.directory_version SET version = version + 1', TG_TABLE_SCHEMA);
            RETURN NULL;
        END
        $$
    """)
    for table in COUNTED:
        op.execute(f"""
            CREATE TRIGGER count_directory_change BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION count_directory_change()
        """)


def _count_changes_in_sqlite() -> None:
    for table in COUNTED:
        for change in ("INSERT", "UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER count_{table}_{change.lower()} AFTER {change} ON {table} {COUNT_IN_SQLITE}")


def _flag(name: str, *, default: sa.ColumnElement[bool]) -> sa.Column[bool]:
    return sa.Column(
        name, sa.Boolean(create_constraint=True, name=f"{name}_is_boolean"), nullable=False, server_default=default
    )


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
