"""What the stores promise, held by SQLite and PostgreSQL alike. "By hand" is a connection that is not ours."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from consumer.adapters.stores import (
    ApiKeys,
    Binding,
    ClientSpecifications,
    DirectoryReader,
    Encryption,
    StoreError,
    check_schema,
    create_engine,
)
from consumer.adapters.stores import directory as directory_rows
from consumer.adapters.stores.schema import upgrade
from consumer.domain.base_url import origin
from consumer.domain.model import AuthScheme, ClientSpecification, Role
from schemas.signature import signing_secret
from tests.contract.store_rows import (
    ANOTHER_API_KEY_BY_HAND,
    ANOTHER_SPECIFICATION_BY_HAND,
    API_KEY_BY_HAND,
    ENCRYPTION,
    SECRET,
    SPECIFICATION_BY_HAND,
    URL,
    snapshot,
)
from tests.support.postgres import Postgres
from tests.support.stores import Hand, hand_connection


def is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


class TestDirectory:
    def test_an_empty_database_is_an_empty_directory(self, reader: DirectoryReader) -> None:
        directory = snapshot(reader)
        assert (directory.specifications, directory.api_keys, directory.active) == ({}, {}, {})

    def test_it_holds_what_was_stored(
        self, reader: DirectoryReader, specifications: ClientSpecifications, api_keys: ApiKeys
    ) -> None:
        row = specifications.add("one", f"{URL}/api/", SECRET, auth_scheme=AuthScheme.API_KEY, calls_per_hour=60)
        issued = api_keys.issue("alerts", tenant="acme", role=Role.ACCOUNT)
        directory = snapshot(reader)
        specification = directory.specifications[row.id]
        assert (specification.base_url, specification.credential) == (URL, SECRET)
        assert (specification.auth_scheme, specification.calls_per_hour) == (AuthScheme.API_KEY, 60)
        assert (specification.products_per_call, specification.concurrent_calls) == (1000, 4)
        assert directory.active == {"default": (row.id,)}
        key = directory.api_keys[hashlib.sha256(issued.key.encode()).digest()]
        assert (key.id, key.tenant, key.role, key.expires_at, key.revoked) == (
            issued.row.id,
            "acme",
            Role.ACCOUNT,
            None,
            False,
        )
        assert reader.warnings == ()

    def test_unchanged_it_is_not_read_again(
        self, reader: DirectoryReader, specifications: ClientSpecifications
    ) -> None:
        specifications.add("one", URL, SECRET)
        assert reader.read(snapshot(reader).version) is None

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE client_specifications SET active = NOT active",
            "UPDATE client_specifications SET credential = 'garbage'",
            "DELETE FROM client_specifications",
            "UPDATE api_keys SET revoked = NOT revoked",
            "UPDATE api_keys SET expires_at = '2020-01-01 00:00:00'",
            "DELETE FROM api_keys",
            ANOTHER_SPECIFICATION_BY_HAND,
            ANOTHER_API_KEY_BY_HAND,
        ],
    )
    def test_a_change_by_hand_is_seen(self, change: str, reader: DirectoryReader, by_hand: Hand) -> None:
        by_hand(SPECIFICATION_BY_HAND, API_KEY_BY_HAND)
        before = snapshot(reader)
        by_hand(change)
        after = reader.read(before.version)
        assert after is not None
        assert after.version != before.version
        assert reader.read(after.version) is None

    @pytest.mark.parametrize("truncate", ["TRUNCATE client_specifications", "TRUNCATE api_keys"])
    def test_truncating_is_a_change(self, truncate: str, postgres_database: str) -> None:
        engine = create_engine(postgres_database)
        upgrade(engine)
        with closing(DirectoryReader(engine, ENCRYPTION)) as reader, hand_connection(postgres_database) as hand:
            hand.execute(SPECIFICATION_BY_HAND)
            hand.execute(API_KEY_BY_HAND)
            hand.commit()
            before = snapshot(reader)
            hand.execute(truncate)
            hand.commit()
            after = reader.read(before.version)
        assert after is not None
        assert len(after.specifications) + len(after.api_keys) == 1

    def test_a_change_counts_from_its_commit_on_and_not_before(
        self, database_url: str, reader: DirectoryReader, engine: Engine
    ) -> None:
        before = snapshot(reader)
        with closing(hand_connection(database_url)) as hand:
            hand.execute(SPECIFICATION_BY_HAND)
            assert reader.read(before.version) is None
            hand.rollback()
            assert reader.read(before.version) is None
            hand.execute(SPECIFICATION_BY_HAND)
            hand.commit()
        after = reader.read(before.version)
        assert after is not None
        assert len(after.specifications) == 1
        assert not is_sqlite(engine) or after.version > before.version

    def test_a_long_transaction_hides_no_later_change(self, postgres_database: str) -> None:
        """A writer waits for the one before it: so numbers become visible in their order."""
        engine = create_engine(postgres_database)
        upgrade(engine)
        with (
            closing(DirectoryReader(engine, ENCRYPTION)) as reader,
            hand_connection(postgres_database) as first,
            hand_connection(postgres_database) as second,
        ):
            second.execute(SPECIFICATION_BY_HAND)
            first.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                first.execute(API_KEY_BY_HAND)
            first.rollback()
            second.commit()
            seen = snapshot(reader)
            first.execute(API_KEY_BY_HAND)
            first.commit()
            after = reader.read(seen.version)
        assert after is not None
        assert len(after.api_keys) == 1

    def test_an_operator_need_not_set_what_has_a_default(self, reader: DirectoryReader, by_hand: Hand) -> None:
        binding = Binding("default", "11111111-1111-4111-8111-111111111111", f"{URL}:443")
        token = ENCRYPTION.encrypt(SECRET, binding)
        by_hand(SPECIFICATION_BY_HAND.replace("garbage", token), API_KEY_BY_HAND)
        directory = snapshot(reader)
        (specification,) = directory.specifications.values()
        assert specification.unusable is None
        assert (specification.tenant, specification.active, specification.suspended) == ("default", True, False)
        (key,) = directory.api_keys.values()
        assert (key.role, key.tenant, key.revoked) == (Role.OPERATOR, "default", False)

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("id", "'no uuid'"),
            ("credential", "'garbage'"),
            ("base_url", "'http://elsewhere.example'"),
            ("auth_scheme", "'basic'"),
            ("products_per_call", "0"),
            ("calls_per_hour", "-1"),
        ],
    )
    def test_a_broken_specification_spoils_no_other(
        self, column: str, value: str, engine: Engine, reader: DirectoryReader, specifications: ClientSpecifications
    ) -> None:
        good, bad = specifications.add("good", URL, SECRET), specifications.add("bad", URL, SECRET)
        unchecked(engine, "UPDATE client_specifications SET", column, "=", value, "WHERE name = 'bad'")
        directory = snapshot(reader)
        assert directory.specifications[good.id].unusable is None
        assert bad.id not in directory.specifications or directory.specifications[bad.id].unusable
        assert len(reader.warnings) == 1
        assert len(specifications.list()) == 2

    @pytest.mark.parametrize(
        ("column", "value"), [("role", "'ROOT'"), ("key_hash", "'the key itself'"), ("expires_at", "'0001-01-01 BC'")]
    )
    def test_a_broken_key_spoils_no_other(
        self, column: str, value: str, engine: Engine, reader: DirectoryReader, api_keys: ApiKeys
    ) -> None:
        good, bad = api_keys.issue("good").row, api_keys.issue("bad").row
        unchecked(engine, "UPDATE api_keys SET", column, "=", value, "WHERE name = 'bad'")
        assert [key.id for key in snapshot(reader).api_keys.values()] == [good.id]
        assert bad.id in str(reader.warnings[0])
        assert len(api_keys.list()) == 2

    def test_values_that_only_sqlite_takes_spoil_no_other(self, tmp_path: Path) -> None:
        engine = create_engine(f"sqlite:///{tmp_path}/stores.db")
        upgrade(engine)
        specifications = ClientSpecifications(engine, ENCRYPTION)
        good = specifications.add("good", URL, SECRET)
        specifications.add("bad", URL, SECRET)
        unchecked(
            engine,
            "UPDATE client_specifications SET active = 'yes', base_url = x'00', concurrent_calls = x'ff', "
            "created_at = 7, credential = CAST(x'ff' AS TEXT), updated_at = 'now' WHERE name = 'bad'",
        )
        with closing(DirectoryReader(engine, ENCRYPTION)) as reader:
            assert snapshot(reader).specifications[good.id].unusable is None
            assert len(reader.warnings) == 1
        assert len(specifications.list()) == 2

    def test_infinity_is_a_time_that_never_comes(self, postgres_database: str) -> None:
        engine = create_engine(postgres_database)
        upgrade(engine)
        with hand_connection(postgres_database) as hand:
            hand.execute(API_KEY_BY_HAND)
            hand.execute("UPDATE api_keys SET expires_at = 'infinity'")
        with closing(DirectoryReader(engine, None)) as reader:
            (key,) = snapshot(reader).api_keys.values()
        assert key.expires_at is None
        assert [row.expires_at for row in ApiKeys(engine).list()] == [None]

    def test_an_emptied_counter_is_a_trouble_and_no_silence(self, reader: DirectoryReader, by_hand: Hand) -> None:
        version = snapshot(reader).version
        by_hand("DELETE FROM directory_version")
        with pytest.raises(StoreError, match="INSERT INTO directory_version"):
            reader.read(version)
        by_hand("INSERT INTO directory_version VALUES (1, 1)")
        assert reader.read(version) is not None

    def test_a_counter_that_is_no_number_is_a_trouble_with_its_remedy(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/resync.db"
        upgrade(create_engine(url))
        reader = DirectoryReader(create_engine(url), None)
        reader.read(None)
        with closing(sqlite3.connect(tmp_path / "resync.db")) as hand, hand:
            hand.execute("UPDATE directory_version SET version = 'three'")
        with pytest.raises(StoreError, match="UPDATE directory_version"):
            reader.read(None)
        reader.close()

    def test_a_row_that_cannot_be_read_at_all_is_left_out_and_told_of(
        self, engine: Engine, specifications: ClientSpecifications, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spoilt = specifications.add(name="spoilt", base_url=URL, credential=SECRET)
        sound = specifications.add(name="sound", base_url=URL, credential=SECRET)
        load = directory_rows.load_specification

        def raising(row: directory_rows.StoredRow, *others: Any) -> ClientSpecification | None:  # noqa: ANN401
            if row["id"] == spoilt.id:
                raise OverflowError(SECRET)
            return load(row, *others)

        monkeypatch.setattr(directory_rows, "load_specification", raising)
        reader = DirectoryReader(engine, ENCRYPTION)
        assert {sound.id} == set(snapshot(reader).specifications)
        (warning,) = reader.warnings
        assert spoilt.id in warning.problem
        assert "OverflowError" in warning.problem
        assert SECRET not in str(warning)
        reader.close()


class TestTroubles:
    def test_a_table_that_vanished_is_named_as_that(self, reader: DirectoryReader, by_hand: Hand) -> None:
        version = snapshot(reader).version
        by_hand("DROP TABLE directory_version")
        with pytest.raises(StoreError, match="lacks our tables"):
            reader.read(version)

    def test_a_sqlite_file_that_is_replaced_is_read_anew(self, tmp_path: Path) -> None:
        path, other = tmp_path / "stores.db", tmp_path / "other.db"
        for each in (path, other):
            upgrade(create_engine(f"sqlite:///{each}"))
        ClientSpecifications(create_engine(f"sqlite:///{other}"), ENCRYPTION).add("one", URL, SECRET)
        with closing(DirectoryReader(create_engine(f"sqlite:///{path}"), ENCRYPTION)) as reader:
            version = snapshot(reader).version
            path.unlink()
            with pytest.raises(StoreError, match="does not exist") as trouble:
                reader.read(version)
            assert trouble.value.missing_or_old
            other.rename(path)
            after = reader.read(version)
        assert after is not None
        assert len(after.specifications) == 1

    def test_a_locked_database_is_a_trouble_that_ends(self, database_url: str, reader: DirectoryReader) -> None:
        version = snapshot(reader).version
        with closing(hand_connection(database_url)) as hand:
            if database_url.startswith("sqlite"):
                reader.close()
                hand.execute("PRAGMA journal_mode=DELETE")
                hand.execute("BEGIN EXCLUSIVE")
            else:
                hand.execute("LOCK TABLE directory_version")
            with pytest.raises(StoreError, match="locked or too slow") as trouble:
                reader.read(version)
        assert not trouble.value.missing_or_old
        assert reader.read(version) is not None

    def test_a_writer_that_holds_the_database_does_not_keep_readers_out(
        self, database_url: str, reader: DirectoryReader, specifications: ClientSpecifications
    ) -> None:
        version = snapshot(reader).version
        with closing(hand_connection(database_url)) as hand:
            hand.execute(SPECIFICATION_BY_HAND)
            assert reader.read(version) is None
            assert specifications.list() == ()
            with pytest.raises(StoreError, match="locked or too slow"):
                specifications.add("two", URL, SECRET)

    def test_a_broken_connection_is_made_anew_unnoticed(self, postgres_database: str) -> None:
        engine = create_engine(postgres_database)
        upgrade(engine)
        with closing(DirectoryReader(engine, ENCRYPTION)) as reader, hand_connection(postgres_database) as hand:
            version = snapshot(reader).version
            hand.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mirakl%'")
            assert reader.read(version) is not None
            assert reader.read(version) is None

    def test_a_server_that_freezes_or_restarts_is_a_trouble_that_ends_and_heals(self, own_postgres: Postgres) -> None:
        engine = create_engine(own_postgres.url, statement_seconds=0.5)
        upgrade(engine)
        with closing(DirectoryReader(engine, ENCRYPTION)) as reader:
            version = snapshot(reader).version
            own_postgres.pause()
            try:
                with pytest.raises(StoreError, match="locked or too slow"):
                    reader.read(version)
                with pytest.raises(StoreError, match="connection timeout"):
                    reader.read(version)
            finally:
                own_postgres.resume()
            assert reader.read(version) is not None
            own_postgres.stop()
            with pytest.raises(StoreError, match="Check that it runs") as trouble:
                reader.read(version)
            assert not trouble.value.missing_or_old
            own_postgres.start()
            assert reader.read(version) is not None

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql+psycopg://me:hunter2@127.0.0.1:1/stores",
            "postgresql+psycopg://me:hunter2@no-such-host.invalid/stores?sslpassword=hunter2",
            "postgresql+psycopg://me:hun@ter2@127.0.0.1:1/stores",
            "postgresql+psycopg://me:hunter2@127.0.0.1:hunter2/stores",
            "mysql://me:hunter2@127.0.0.1/stores",
            "hunter2",
            "sqlite://",
            "sqlite:///stores.db?key=hunter2",
        ],
    )
    def test_no_trouble_tells_a_password(self, url: str) -> None:
        with pytest.raises(StoreError) as trouble:
            check_schema(create_engine(url))
        told = f"{trouble.value!r} {trouble.value.__cause__!r}"
        assert "hunter2" not in told
        assert "ter2" not in told


def test_no_secret_is_readable_in_the_database(
    database_url: str,
    tmp_path: Path,
    specifications: ClientSpecifications,
    engine: Engine,
    reader: DirectoryReader,
) -> None:
    specifications.add("one", URL, "replaced-" + SECRET)
    specifications.set("one", credential=SECRET)
    key = ApiKeys(engine, ENCRYPTION).issue("alerts", signing=True).key
    assert snapshot(reader).specifications
    stored = raw_bytes(database_url, tmp_path)
    assert b"alerts" in stored
    assert SECRET.encode() not in stored
    assert key.encode() not in stored
    assert key.removeprefix("mrk_").encode() not in stored
    assert signing_secret(key.encode()).hex().encode() not in stored


def raw_bytes(database_url: str, folder: Path) -> bytes:
    """All that the database keeps: SQLite's files (the write-ahead log too) or a dump of every row."""
    if database_url.startswith("sqlite"):
        return b"".join(path.read_bytes() for path in folder.glob("stores.db*"))
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        specifications = connection.execute("SELECT * FROM client_specifications").fetchall()
        keys = connection.execute("SELECT * FROM api_keys").fetchall()
    return repr((specifications, keys)).encode()


def unchecked(engine: Engine, *statement: str) -> None:
    """Change a row past the constraints, as if somebody had dropped them."""
    with engine.begin() as connection:
        if is_sqlite(engine):
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        else:
            constraints = connection.exec_driver_sql(
                "SELECT conrelid::regclass || ' DROP CONSTRAINT ' || conname FROM pg_constraint WHERE contype = 'c' "
                "AND conrelid IN ('client_specifications'::regclass, 'api_keys'::regclass)"
            ).scalars()
            for constraint in constraints.all():
                connection.exec_driver_sql(f"ALTER TABLE {constraint}")
        connection.exec_driver_sql(" ".join(statement))


def test_a_change_of_one_row_loads_no_other_again(
    engine: Engine, specifications: ClientSpecifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is read, and 20,000 keys that can sign would take seconds of the loop's core each time."""
    decrypted: list[str] = []
    decrypt = Encryption.decrypt

    def counted(self: Encryption, token: str, binding: Binding) -> object:
        decrypted.append(binding.use)
        return decrypt(self, token, binding)

    keys = ApiKeys(engine, ENCRYPTION)
    for number in range(3):
        keys.issue(f"key-{number}", signing=True)
    row = specifications.add("one", URL, SECRET)
    with closing(DirectoryReader(engine, ENCRYPTION)) as reader:
        monkeypatch.setattr(Encryption, "decrypt", counted)
        before = snapshot(reader)
        assert 4 == len(decrypted)
        decrypted.clear()
        specifications.set(row.id, credential="another")
        after = snapshot(reader)

    assert [origin(URL)] == decrypted
    assert "another" == after.specifications[row.id].credential
    assert before.api_keys == after.api_keys
