"""The secret with which the holder of an API key signs requests, encrypted; null: the key cannot sign."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("signing_secret", sa.Text))
