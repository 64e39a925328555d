"""Migrations, and which programs may use the database afterwards; on SQLite and PostgreSQL alike."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from consumer.adapters.stores import (
    OURS,
    ApiKeys,
    ClientSpecifications,
    DirectoryReader,
    Encryption,
    StoreError,
    check_schema,
    create_engine,
    new_key,
    open_to_others,
)
from consumer.adapters.stores.schema import Migration, alembic_config, released_migrations, upgrade
from consumer.adapters.stores.tables import SCHEMA_REVISIONS, metadata
from tests.support.stores import Hand, hand_connection

ENCRYPTION = Encryption([new_key()])
URL = "https://shop.mirakl.example"
ROOT = Path(__file__).parents[2]


def expand() -> None:
    """Change what is there, as a later release may without disturbing programs of this one."""
    op.add_column("client_specifications", sa.Column("region", sa.String(16)))
    op.add_column("api_keys", sa.Column("uses", sa.Integer, nullable=False, server_default="0"))
    op.create_table("regions", sa.Column("name", sa.String(16), primary_key=True))


def contract() -> None:
    """Take away what programs of this release use."""
    op.drop_column("api_keys", "signing_secret")


LATER = Migration("0003", expand)
CONTRACTION = Migration("0004", contract, retires=frozenset(SCHEMA_REVISIONS))


@pytest.fixture
def specifications(engine: Engine) -> ClientSpecifications:
    return ClientSpecifications(engine, ENCRYPTION)


@pytest.fixture
def reader(engine: Engine) -> Iterator[DirectoryReader]:
    with closing(DirectoryReader(engine, ENCRYPTION)) as reader:
        yield reader


def uses(engine: Engine) -> list[Callable[[], object]]:
    """All ways in which a program gets at the database."""
    return [
        partial(check_schema, engine),
        partial(upgrade, engine),
        partial(DirectoryReader(engine, None).read, None),
        ApiKeys(engine).list,
        ClientSpecifications(engine).list,
    ]


def supported(by_hand: Hand) -> set[object]:
    return {revision for (revision,) in by_hand("SELECT revision FROM supported_revisions")}


def make_first_release(engine: Engine) -> None:
    """Make the database of the first release, as Alembic's own runner made it."""
    engine.connect().close() if engine.dialect.name != "sqlite" else Path(str(engine.url.database)).touch()
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        released_migrations()[0].apply()
        op.create_table("alembic_version", sa.Column("version_num", sa.String(32), primary_key=True))
        op.execute("INSERT INTO alembic_version VALUES ('0001')")


class TestTables:
    def test_a_database_that_was_never_upgraded_says_so(self, database_url: str) -> None:
        with pytest.raises(StoreError, match="db upgrade") as trouble:
            check_schema(create_engine(database_url))
        assert trouble.value.missing_or_old

    def test_a_database_that_has_lost_a_table_names_it(self, engine: Engine) -> None:
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE api_keys"))

        with pytest.raises(StoreError, match=r"has lost api_keys\. Restore it") as trouble:
            check_schema(engine)
        assert trouble.value.missing_or_old

    def test_looking_for_a_sqlite_file_does_not_make_it(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="does not exist"):
            check_schema(create_engine(f"sqlite:///{tmp_path}/none.db"))
        assert not (tmp_path / "none.db").exists()

    def test_a_sqlite_file_is_its_owners_alone(self, tmp_path: Path) -> None:
        upgrade(create_engine(f"sqlite:///{tmp_path}/stores.db"))
        assert (tmp_path / "stores.db").stat().st_mode & 0o777 == 0o600

    def test_a_sqlite_file_that_others_can_use_is_closed_to_them(self, tmp_path: Path) -> None:
        file = tmp_path / "stores.db"
        upgrade(create_engine(f"sqlite:///{file}"))
        file.chmod(0o664)
        assert open_to_others(create_engine(f"sqlite:///{file}")) == file
        upgrade(create_engine(f"sqlite:///{file}"))
        assert file.stat().st_mode & 0o777 == 0o660
        assert open_to_others(create_engine(f"sqlite:///{file}")) is None

    def test_a_sqlite_file_that_cannot_be_made_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="cannot be made"):
            upgrade(create_engine(f"sqlite:///{tmp_path}/no/such/folder.db"))

    def test_a_file_that_is_no_database_is_left_alone(self, tmp_path: Path) -> None:
        other = tmp_path / "notes.txt"
        other.write_text("not a database, though longer than the header of one" * 10)
        with pytest.raises(StoreError, match="not a database"):
            upgrade(create_engine(f"sqlite:///{other}"))
        assert other.read_text().startswith("not a database")

    def test_upgrading_once_more_changes_nothing(
        self, engine: Engine, specifications: ClientSpecifications, reader: DirectoryReader
    ) -> None:
        specifications.add("one", URL, "secret")
        before = reader.read(None)
        assert upgrade(engine) is False
        assert before == reader.read(None)

    def test_two_upgrades_at_once_both_succeed(self, database_url: str) -> None:
        program = (
            "import sys; from consumer.adapters.stores import create_engine; "
            "from consumer.adapters.stores.schema import upgrade; print(upgrade(create_engine(sys.argv[1])))"
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program, database_url],
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(3)
        ]
        said = [process.communicate(timeout=60) for process in both]
        assert [process.returncode for process in both] == [0, 0, 0], said
        assert sorted(out.strip() for out, _ in said) == ["False", "False", "True"]
        check_schema(create_engine(database_url))

    def test_the_migrations_make_the_tables_that_the_program_uses(self, engine: Engine) -> None:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            assert compare_metadata(context, metadata) == []

    def test_the_program_knows_every_released_schema(self) -> None:
        scripts = ScriptDirectory.from_config(alembic_config())
        assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == SCHEMA_REVISIONS

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE client_specifications SET id = upper(id) || 'X'",
            "UPDATE client_specifications SET auth_scheme = 'basic'",
            "UPDATE client_specifications SET products_per_call = 0",
            "UPDATE client_specifications SET concurrent_calls = 0",
            "UPDATE client_specifications SET calls_per_hour = 0",
            "UPDATE client_specifications SET tenant = 'default', name = 'one'",
            "UPDATE client_specifications SET credential = NULL",
            "UPDATE api_keys SET role = 'ROOT'",
            "UPDATE api_keys SET key_hash = NULL",
            "INSERT INTO directory_version VALUES (2, 1)",
        ],
    )
    def test_a_mistake_by_hand_is_refused_at_once(
        self, change: str, by_hand: Hand, specifications: ClientSpecifications, engine: Engine
    ) -> None:
        specifications.add("one", URL, "secret")
        specifications.add("two", URL, "secret")
        ApiKeys(engine).issue("alerts")
        with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError, psycopg.DataError)):
            by_hand(change)


class TestLaterReleases:
    def test_a_database_that_a_later_release_has_migrated_is_used_as_before(
        self, engine: Engine, specifications: ClientSpecifications, reader: DirectoryReader
    ) -> None:
        specifications.add("one", URL, "secret")
        before = reader.read(None)
        assert before is not None
        assert upgrade(engine, (*released_migrations(), LATER))

        assert "0003" == check_schema(engine)
        assert reader.read(before.version) is None  # over the connection from before
        with closing(DirectoryReader(engine, ENCRYPTION)) as anew:
            again = anew.read(None)
            assert again is not None
            assert before.specifications == again.specifications
        specifications.set("one", concurrent_calls=2)
        specifications.add("two", URL, "secret")
        ApiKeys(engine, ENCRYPTION).issue("erp", signing=True)
        after = reader.read(before.version)
        assert after is not None
        assert (2, 1) == (len(after.specifications), len(after.api_keys))

    def test_an_older_program_leaves_it_alone(self, engine: Engine, by_hand: Hand) -> None:
        upgrade(engine, (*released_migrations(), LATER))
        assert upgrade(engine) is False
        assert {*SCHEMA_REVISIONS, "0003"} == supported(by_hand)
        assert [] == by_hand("SELECT name FROM regions")

    def test_a_database_that_no_longer_lists_a_program_says_what_to_do(
        self, engine: Engine, reader: DirectoryReader, by_hand: Hand
    ) -> None:
        assert reader.read(None) is not None
        upgrade(engine, (*released_migrations(), LATER, CONTRACTION))
        assert {"0003", "0004"} == supported(by_hand)
        for use in uses(engine):
            with pytest.raises(StoreError, match=r"newer release \(schema '0004'\).*Run that release") as trouble:
                use()
            assert trouble.value.missing_or_old
        with pytest.raises(StoreError):  # a replica that still runs notices it by the missing column
            reader.read(None)
        with pytest.raises(StoreError, match="newer release"):
            reader.read(None)

    def test_an_emptied_list_is_no_permission(self, engine: Engine, by_hand: Hand) -> None:
        by_hand("DELETE FROM supported_revisions")
        for use in uses(engine):
            with pytest.raises(StoreError, match=rf"lists no schema revision.*'{OURS}'.*insert that") as trouble:
                use()
            assert trouble.value.missing_or_old

    def test_replicas_do_not_queue_behind_a_migration_that_waits_for_a_table(self, postgres_database: str) -> None:
        """Somebody else's open transaction delays the migration, and nobody who only reads."""
        engine = create_engine(postgres_database)
        upgrade(engine)
        done: list[bool] = []
        migration = threading.Thread(
            target=lambda: done.append(upgrade(engine, (*released_migrations(), LATER))), daemon=True
        )
        with closing(DirectoryReader(engine, ENCRYPTION)) as reader, hand_connection(postgres_database) as hand:
            hand.execute("SELECT * FROM client_specifications")
            migration.start()
            until = time.monotonic() + 2.5
            while time.monotonic() < until:
                assert reader.read(None) is not None
                time.sleep(0.05)
            assert not done
            hand.commit()
            migration.join(timeout=10)
            assert [True] == done
            assert reader.read(None) is not None


def insert_key(name: str) -> str:
    """Return the statement by which programs of the first release stored a key."""
    values = f"('{uuid4()}', '{name}', '{uuid4().hex * 2}')"
    return f"INSERT INTO api_keys (id, name, key_hash) VALUES {values}"  # noqa: S608 - values of our own


class TestFirstRelease:
    """Schema 0001, whose programs compare ``alembic_version`` with their own revision and know no list."""

    def test_its_database_is_to_be_upgraded(self, database_url: str) -> None:
        engine = create_engine(database_url)
        make_first_release(engine)
        with pytest.raises(StoreError, match=r"older release.*db upgrade") as trouble:
            check_schema(engine)
        assert trouble.value.missing_or_old
        assert upgrade(engine)
        assert OURS == check_schema(engine)

    def test_a_list_of_its_own_that_is_empty_is_as_good_as_no_database(self, database_url: str, by_hand: Hand) -> None:
        engine = create_engine(database_url)
        by_hand("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        with pytest.raises(StoreError, match=r"lacks our tables\. Run `mirakl-resync"):
            check_schema(engine)
        assert upgrade(engine)
        assert OURS == check_schema(engine)
        assert [("0001",)] == by_hand("SELECT version_num FROM alembic_version")

    def test_its_tables_without_their_revision_say_what_to_insert_and_where(
        self, database_url: str, by_hand: Hand
    ) -> None:
        engine = create_engine(database_url)
        make_first_release(engine)
        by_hand("DELETE FROM alembic_version")
        for use in (check_schema, upgrade):
            with pytest.raises(StoreError, match=r"alembic_version is empty\..*insert '0001' into that") as trouble:
                use(engine)
            assert "supported_revisions" not in str(trouble.value)
        by_hand("INSERT INTO alembic_version VALUES ('0001')")
        assert upgrade(engine)

    def test_its_programs_go_on_after_the_upgrade(self, database_url: str, by_hand: Hand) -> None:
        make_first_release(create_engine(database_url))
        by_hand(insert_key("old"))
        upgrade(create_engine(database_url))
        assert {"0001", OURS} == supported(by_hand)
        assert [("0001",)] == by_hand("SELECT version_num FROM alembic_version")
        by_hand(insert_key("new"))
        read = "id, tenant, name, key_hash, role, created_at, expires_at, revoked"
        assert 2 == len(by_hand(f"SELECT {read} FROM api_keys"))  # noqa: S608 - names of columns

    def test_a_new_database_has_what_its_programs_look_for(self, engine: Engine, by_hand: Hand) -> None:
        assert check_schema(engine) == OURS
        assert [("0001",)] == by_hand("SELECT version_num FROM alembic_version")

    def test_who_could_read_the_revision_can_read_the_list(self, postgres_database: str) -> None:
        engine = create_engine(postgres_database)
        make_first_release(engine)
        role = f"resync_{uuid4().hex[:8]}"
        with engine.begin() as connection:
            for statement in (f"CREATE ROLE {role}", f"GRANT SELECT ON alembic_version TO {role}"):
                connection.execute(text(statement))
        upgrade(engine)
        with engine.begin() as connection:
            connection.execute(text(f"SET LOCAL ROLE {role}"))
            assert {"0001", OURS} == set(connection.scalars(text("SELECT revision FROM supported_revisions")))
            with pytest.raises(ProgrammingError, match="denied"):
                connection.execute(text("DELETE FROM supported_revisions"))
            connection.rollback()
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


class TestKilledHalfWay:
    """`kill -9` in the middle of an upgrade: one sentence, and the next upgrade does it all."""

    @pytest.mark.parametrize("made_before", [False, True], ids=["first", "later"])
    def test_nothing_of_it_is_left(self, database_url: str, by_hand: Hand, *, made_before: bool) -> None:
        engine = create_engine(database_url)
        if made_before:
            make_first_release(engine)
        program = (
            "import sys, time\n"
            "from consumer.adapters.stores import create_engine\n"
            "from consumer.adapters.stores.schema import Migration, released_migrations, upgrade\n"
            "def stop(): print('half way', flush=True); time.sleep(60)\n"
            "upgrade(create_engine(sys.argv[1]), (*released_migrations(), Migration('0003', stop)))\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, database_url],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert "half way\n" == process.stdout.readline()
            process.kill()

        said = r"of an older release\. Run `mirakl-resync" if made_before else r"lacks our tables\. Run `mirakl-resync"
        with pytest.raises(StoreError, match=said):
            check_schema(engine)
        assert upgrade(engine)
        assert OURS == check_schema(engine)
        assert set(SCHEMA_REVISIONS) == supported(by_hand)


Shape: TypeAlias = dict[str, dict[str, tuple[str, bool, bool]]]
"""Table -> column -> (type, nullable, has a default)."""


def shape(connection: Connection) -> tuple[Shape, set[str]]:
    """Return the tables, and every constraint of them by its words."""
    found = inspect(connection)
    tables, constraints = {}, set()
    for table in found.get_table_names():
        tables[table] = {
            each["name"]: (str(each["type"]), each["nullable"], each["default"] is not None)
            for each in found.get_columns(table)
        }
        unique = [index for index in found.get_indexes(table) if index["unique"]]
        rules = [*found.get_unique_constraints(table), *found.get_check_constraints(table), *unique]
        constraints |= {f"{table}: {rule['name']}" for rule in [*rules, *found.get_foreign_keys(table)]}
    return tables, constraints


def hindrances(before: tuple[Shape, set[str]], after: tuple[Shape, set[str]]) -> list[str]:
    """Return what keeps programs of the schema before from using the one after."""
    found = []
    for table, columns in before[0].items():
        kept = after[0].get(table, {})
        found += [f"{table}.{name} is gone or changed" for name, column in columns.items() if kept.get(name) != column]
        for name, (_, nullable, has_default) in kept.items():
            if name not in columns and not nullable and not has_default:
                found.append(f"{table}.{name} must be given")
    new = {rule for rule in after[1] - before[1] if rule.split(":")[0] in before[0]}
    return found + sorted(f"{rule} is new" for rule in new)


def effect(engine: Engine, migration: Migration) -> list[str]:
    """Return what a migration takes away."""
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        before = shape(connection)
        migration.apply()
        return hindrances(before, shape(connection))


class TestRules:
    """Docs/develop/migrations.md: expand first, contract a release later."""

    def test_a_migration_takes_nothing_away_unless_it_retires_those_that_use_it(self, database_url: str) -> None:
        engine = create_engine(database_url)
        make_first_release(engine)
        for migration in released_migrations()[1:]:
            assert migration.retires or [] == effect(engine, migration), migration.revision

    def test_no_migration_retires_the_release_before_it(self) -> None:
        released = released_migrations()
        for before, migration in pairwise(released):
            assert before.revision not in migration.retires, migration.revision
            assert migration.retires <= set(SCHEMA_REVISIONS), migration.revision

    def test_there_is_no_way_back_but_an_older_program(self) -> None:
        for script in ScriptDirectory.from_config(alembic_config()).walk_revisions():
            assert not hasattr(script.module, "downgrade"), script.revision

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (contract, "api_keys.signing_secret is gone or changed"),
            (partial(op.drop_table, "client_specifications"), "client_specifications.id is gone or changed"),
            (
                partial(op.add_column, "api_keys", sa.Column("uses", sa.Integer, server_default="0", nullable=False)),
                None,
            ),
            (partial(op.create_index, "names", "api_keys", ["name"], unique=True), "api_keys: names is new"),
            (partial(op.create_index, "names", "api_keys", ["name"]), None),
            (expand, None),
        ],
    )
    def test_a_change_that_hinders_older_programs_is_told_from_one_that_does_not(
        self, change: Callable[[], None], told: str | None, engine: Engine
    ) -> None:
        assert (
            (told in effect(engine, Migration("0003", change)))
            if told
            else not effect(engine, Migration("0003", change))
        )
