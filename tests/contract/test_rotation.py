"""Every stored secret changes to the first key at once, while others read and write; on SQLite and PostgreSQL alike."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Engine, text

from consumer.adapters.stores import (
    ApiKeys,
    ClientSpecifications,
    DirectoryReader,
    Encryption,
    StoreError,
    create_engine,
    new_key,
)
from consumer.adapters.stores.encryption import Binding, Decrypted
from consumer.adapters.stores.rotation import Rotation, count_key_uses, rotate
from consumer.domain.model import Directory
from schemas.signature import signing_secret
from tests.support.stores import Hand

OLD, NEW, OTHER = new_key(), new_key(), new_key()
BEFORE, DURING, AFTER = Encryption([OLD]), Encryption([NEW, OLD]), Encryption([NEW])
URL = "https://shop.mirakl.example"


def read(engine: Engine, encryption: Encryption) -> Directory:
    with closing(DirectoryReader(engine, encryption)) as reader:
        directory = reader.read(None)
    assert directory is not None
    return directory


def stored(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT credential FROM client_specifications")))


def test_every_secret_is_written_anew_with_the_first_key(engine: Engine) -> None:
    specifications, keys = ClientSpecifications(engine, BEFORE), ApiKeys(engine, BEFORE)
    for number in range(3):
        specifications.add(f"shop-{number}", URL, f"credential-{number}", tenant=f"tenant-{number}")
    issued = keys.issue("erp", signing=True)
    keys.revoke(keys.issue("former", signing=True).row.id)
    keys.issue("no signer")
    before, listed = read(engine, BEFORE), specifications.list()

    assert Rotation(3, 2, ()) == rotate(engine, DURING)

    after = read(engine, AFTER)
    assert before.specifications == after.specifications  # the time of change too: no lane starts anew
    assert before.api_keys == after.api_keys
    assert signing_secret(issued.key.encode()) in {each.signing_secret for each in after.api_keys.values()}
    assert listed == specifications.list()
    assert before.version != after.version
    assert not any(each.credential for each in read(engine, BEFORE).specifications.values())


def test_credentials_change_to_the_form_of_release_0_1_and_back(engine: Engine) -> None:
    """Signing secrets stay bound: that release does not know them."""
    ClientSpecifications(engine, BEFORE).add("one", URL, "secret")
    issued = ApiKeys(engine, BEFORE).issue("erp", signing=True)
    before = read(engine, BEFORE)

    assert Rotation(1, 1, ()) == rotate(engine, DURING, unbound=True)

    assert b"secret" == Fernet(NEW).decrypt(stored(engine))
    assert before.specifications == read(engine, AFTER).specifications
    assert signing_secret(issued.key.encode()) in {
        each.signing_secret for each in read(engine, AFTER).api_keys.values()
    }
    rotate(engine, AFTER)
    assert b"secret" != Fernet(NEW).decrypt(stored(engine))
    assert before.specifications == read(engine, AFTER).specifications


def test_it_is_safe_to_repeat(engine: Engine) -> None:
    ClientSpecifications(engine, BEFORE).add("one", URL, "secret")
    assert rotate(engine, DURING) == rotate(engine, DURING) == rotate(engine, AFTER) == Rotation(1, 0, ())


def test_without_any_secret_there_is_nothing_to_write(engine: Engine) -> None:
    ApiKeys(engine).issue("no signer")
    assert Rotation(0, 0, ()) == rotate(engine, DURING)


def test_a_credential_of_an_earlier_release_is_bound_to_its_row(engine: Engine, by_hand: Hand) -> None:
    row = ClientSpecifications(engine, BEFORE).add("one", URL, "secret")
    token = Fernet(OLD).encrypt(b"secret").decode()
    by_hand(f"UPDATE client_specifications SET credential = '{token}'")  # noqa: S608 - a token of our own

    rotate(engine, DURING)

    ((stored,),) = by_hand("SELECT credential FROM client_specifications")
    assert Decrypted("secret", bound=True) == AFTER.decrypt(str(stored), Binding("default", row.id, f"{URL}:443"))


def test_a_credential_that_is_out_of_place_can_still_be_put_right(engine: Engine, by_hand: Hand) -> None:
    """It keeps what it is bound to, and is not bound to where it happens to be."""
    row = ClientSpecifications(engine, BEFORE).add("one", URL, "secret")
    by_hand("UPDATE client_specifications SET base_url = 'https://evil.example'")

    rotate(engine, DURING)

    assert "" == read(engine, AFTER).specifications[row.id].credential
    by_hand(f"UPDATE client_specifications SET base_url = '{URL}'")  # noqa: S608 - a constant
    assert "secret" == read(engine, AFTER).specifications[row.id].credential


def test_a_secret_that_no_key_decrypts_is_named_and_keeps_nobody_from_rotating(engine: Engine, by_hand: Hand) -> None:
    ClientSpecifications(engine, BEFORE).add("sound", URL, "secret")
    ClientSpecifications(engine, Encryption([OTHER])).add("lost", URL, "secret")
    ApiKeys(engine, Encryption([OTHER])).issue("erp", signing=True)
    tokens = by_hand("SELECT credential FROM client_specifications WHERE name = 'lost'")

    done = rotate(engine, DURING)

    assert (1, 0) == (done.credentials, done.signing_secrets)
    assert ["client specification 'lost'", "API key 'erp'"] == [
        each.split(" of tenant 'default' (")[0] for each in done.undecryptable
    ]
    assert tokens == by_hand("SELECT credential FROM client_specifications WHERE name = 'lost'")
    uses = count_key_uses(engine, DURING)
    assert (2, [1, 0]) == (uses.undecryptable, list(uses.secrets.values()))


def test_the_keys_in_use_are_counted_by_fingerprint(engine: Engine) -> None:
    ClientSpecifications(engine, BEFORE).add("one", URL, "secret")
    ApiKeys(engine, DURING).issue("erp", signing=True)
    first, old = DURING.fingerprints
    assert {first: 1, old: 1} == count_key_uses(engine, DURING).secrets
    rotate(engine, DURING)
    assert {first: 2, old: 0} == count_key_uses(engine, DURING).secrets
    assert not any(each in repr(count_key_uses(engine, DURING)) for each in (OLD, NEW))


def test_a_rotation_that_fails_has_changed_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    specifications = ClientSpecifications(engine, BEFORE)
    for name in ("one", "two"):
        specifications.add(name, URL, "secret")
    renew, calls = Encryption.renew, iter([True, False])

    def failing(self: Encryption, *arguments: object) -> str | None:
        if next(calls):
            return renew(self, *arguments)  # type: ignore[arg-type]  # as they were given
        raise OverflowError

    monkeypatch.setattr(Encryption, "renew", failing)
    with pytest.raises(OverflowError):
        rotate(engine, DURING)
    assert {"secret"} == {each.credential for each in read(engine, BEFORE).specifications.values()}


@contextmanager
def repeatedly(work: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Do something again and again meanwhile; yields what it raised."""
    stop, raised = threading.Event(), list[BaseException]()

    def loop() -> None:
        while not stop.is_set():
            try:
                work()
            except (StoreError, AssertionError) as error:
                raised.append(error)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(loop)
        try:
            yield raised
        finally:
            stop.set()


def test_readers_and_writers_beside_it_notice_nothing(engine: Engine) -> None:
    """Each snapshot can be used, and no change of anybody is lost."""
    engine = create_engine(engine.url, statement_seconds=30.0)  # SQLite lets writers wait in no order
    specifications = ClientSpecifications(engine, BEFORE)
    names = [f"shop-{number}" for number in range(5)]
    for name in names:
        specifications.add(name, URL, "0")
    changes = iter(range(1, 10**6))
    stored: dict[str, str] = {}

    def change() -> None:
        number = next(changes)
        name = names[number % len(names)]
        specifications.set(name, credential=str(number), concurrent_calls=number % 9 + 1)
        stored[name] = str(number)

    with closing(DirectoryReader(engine, DURING)) as reader:

        def look() -> None:
            directory = reader.read(None)
            assert directory is not None
            assert not reader.warnings
            assert all(each.credential for each in directory.specifications.values())

        with repeatedly(look) as trouble_of_readers, repeatedly(change) as trouble_of_writers:
            for _ in range(15):
                assert 5 == rotate(engine, DURING).credentials
    assert [] == trouble_of_readers
    assert [] == trouble_of_writers
    assert stored
    rotate(engine, DURING)
    after = {each.name: each.credential for each in read(engine, AFTER).specifications.values()}
    assert {name: stored.get(name, "0") for name in names} == after
