"""The stores on either database, each test on one of its own."""

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from consumer.adapters.stores import create_engine
from consumer.adapters.stores.schema import upgrade
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
