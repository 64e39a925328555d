"""The stores on either database, each test on one of its own."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from consumer.adapters.stores import ApiKeys, ClientSpecifications, DirectoryReader, create_engine
from consumer.adapters.stores.schema import upgrade
from tests.contract.store_rows import ENCRYPTION
from tests.support.stores import Hand, hand_connection


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/stores.db"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def engine(database_url: str) -> Engine:
    engine = create_engine(database_url, statement_seconds=0.5)
    upgrade(engine)
    return engine


@pytest.fixture
def by_hand(database_url: str) -> Hand:
    def execute(*statements: str) -> list[tuple[object, ...]]:
        with closing(hand_connection(database_url)) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        return rows

    return execute


@pytest.fixture
def specifications(engine: Engine) -> ClientSpecifications:
    return ClientSpecifications(engine, ENCRYPTION)


@pytest.fixture
def api_keys(engine: Engine) -> ApiKeys:
    return ApiKeys(engine)


@pytest.fixture
def reader(engine: Engine) -> Iterator[DirectoryReader]:
    with closing(DirectoryReader(engine, ENCRYPTION)) as reader:
        yield reader
