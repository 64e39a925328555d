"""The list of the revisions whose programs may use the database, and the signing secrets of API keys.

Programs of revision 0001 do not know the list. They look for their revision in ``alembic_version``, which therefore
keeps it for as long as the list does: they go on beside newer ones, and can be rolled back to.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("signing_secret", sa.Text))  # encrypted; null: the key cannot sign
    op.create_table("supported_revisions", sa.Column("revision", sa.String(32), primary_key=True))
    connection = op.get_bind()
    if not sa.inspect(connection).has_table("alembic_version"):
        op.create_table("alembic_version", sa.Column("version_num", sa.String(32), primary_key=True))
    if connection.scalar(sa.text("SELECT count(*) FROM alembic_version")) == 0:
        op.execute("INSERT INTO alembic_version VALUES ('0001')")
    if connection.dialect.name == "postgresql":
        _let_the_same_roles_read_it()


def _let_the_same_roles_read_it() -> None:
    """Grant SELECT to the roles that read the revision until now: their programs must not wait for an operator."""
    op.execute("""
        DO $$
        DECLARE reader text;
        BEGIN
            FOR reader IN
                SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
                FROM pg_class, aclexplode(relacl)
                WHERE oid = 'alembic_version'::regclass AND privilege_type = 'SELECT' AND grantee <> relowner
            LOOP
                EXECUTE format('GRANT SELECT ON supported_revisions TO %s', reader);
            END LOOP;
        END
        $$
    """)
