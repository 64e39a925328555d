"""A database URL may be shown to anybody once it was redacted, and one that cannot work is refused before any use."""

import pytest

from consumer.adapters.stores import StoreError, create_engine, redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///mirakl-resync.db", "sqlite:///mirakl-resync.db"),
        ("sqlite:////var/lib/a@b.db", "sqlite:////var/lib/a@b.db"),
        ("postgresql+psycopg://me@db:5432/stores", "postgresql+psycopg://me@db:5432/stores"),
        ("postgresql+psycopg://me:hunter2@db/stores", "postgresql+psycopg://me:***@db/stores"),
        ("postgresql+psycopg://me:hunter2@db/stores?sslpassword=hunter2", "postgresql+psycopg://me:***@db/stores"),
        ("postgresql+psycopg://db/stores?user=me&password=hunter2", "postgresql+psycopg://db/stores"),
        ("postgresql+psycopg://me:hun@ter2@db/stores", "postgresql+psycopg://***"),
        ("postgresql+psycopg://me:hun@t/er2@db/stores", "postgresql+psycopg://***"),
        ("postgresql+psycopg://me:hunter2@db:port/stores", "***"),
        ("hunter2", "***"),
    ],
)
def test_a_redacted_url_shows_where_it_points_and_no_password(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stores.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://host/stores.db",
        "sqlite:///file:stores.db?uri=true",
        "mysql://db/stores",
        "postgresql+asyncpg://db/stores",
        "postgresql+psycopg://me:a@b@db/stores",
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(StoreError, match="RESYNC_DATABASE_URL") as trouble:
        create_engine(url)
    assert trouble.value.missing_or_old
