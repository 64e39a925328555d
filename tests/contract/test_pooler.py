"""The stores behind a transaction pooler: each transaction may meet another server process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from consumer.adapters.stores import (
    ApiKeys,
    ClientSpecifications,
    DirectoryReader,
    Encryption,
    StoreError,
    check_schema,
    create_engine,
    new_key,
)
from consumer.adapters.stores.database import troubles
from consumer.adapters.stores.schema import upgrade
from tests.support.fixtures import cannot_run
from tests.support.parts import PartMissing
from tests.support.pgbouncer import PgBouncer

ENCRYPTION = Encryption([new_key()])


@pytest.fixture
def pooled(postgres_database: str) -> Iterator[str]:
    try:
        pooler = PgBouncer(postgres_database)
    except PartMissing as missing:
        cannot_run(missing)
    with pooler:
        yield pooler.url


def test_all_that_the_program_does_with_its_database_works(pooled: str) -> None:
    engine = create_engine(pooled)
    assert upgrade(engine)
    assert not upgrade(engine)
    check_schema(engine)
    specifications, keys = ClientSpecifications(engine, ENCRYPTION), ApiKeys(engine)
    row = specifications.add("one", "https://shop.mirakl.example", "secret")
    keys.issue("alerts")
    with (
        closing(DirectoryReader(engine, ENCRYPTION)) as first,
        closing(DirectoryReader(engine, ENCRYPTION)) as second,
        closing(DirectoryReader(engine, ENCRYPTION)) as third,
        ThreadPoolExecutor(3) as threads,
    ):
        for limit in range(1, 20):
            specifications.set("one", concurrent_calls=limit)
            for directory in threads.map(lambda reader: reader.read(None), (first, second, third)):
                assert directory is not None
                assert directory.specifications[row.id].concurrent_calls == limit
                assert directory.specifications[row.id].credential == "secret"
            version = directory.version if directory else None
            assert first.read(version) is None


def test_a_statement_still_ends_in_time(pooled: str) -> None:
    engine = create_engine(pooled, statement_seconds=0.3)
    with pytest.raises(StoreError, match="too slow"), troubles(engine), engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(10)"))
