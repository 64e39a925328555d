"""The grants of docs/operate/rights.md suffice, and each of them is needed."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

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
from consumer.adapters.stores.rotation import count_key_uses, rotate
from consumer.adapters.stores.schema import upgrade

PAGE = (Path(__file__).parents[2] / "docs" / "operate" / "rights.md").read_text()
GRANTS = re.findall(r"^GRANT .+ TO (?:resync_run|resync_admin);$", PAGE, re.MULTILINE)
ENCRYPTION = Encryption([new_key()])
PASSWORD = "of-a-throw-away-role"  # noqa: S105 - nobody else can reach that server


def run(engine: Engine) -> None:
    """Read what `run` and `doctor` read."""
    check_schema(engine)
    with closing(DirectoryReader(engine, ENCRYPTION)) as reader:
        assert reader.read(None) is not None
    count_key_uses(engine, ENCRYPTION)


def administer(engine: Engine) -> None:
    """Do what the administration's commands do."""
    check_schema(engine)
    specifications, keys = ClientSpecifications(engine, ENCRYPTION), ApiKeys(engine, ENCRYPTION)
    name = f"shop-{uuid4()}"
    specifications.add(name, "https://shop.mirakl.example", "secret")
    specifications.set(name, concurrent_calls=2)
    keys.issue(name, signing=True)
    assert rotate(engine, ENCRYPTION).signing_secrets
    specifications.remove(name)
    keys.revoke(name)


WORK: dict[str, Callable[[Engine], None]] = {"resync_run": run, "resync_admin": administer}


@pytest.fixture
def owner(postgres_database: str) -> Iterator[Engine]:
    """The owner of the tables, with none of the grants made yet."""
    engine = create_engine(postgres_database)
    upgrade(engine)
    yield engine
    engine.dispose()


@contextmanager
def role(owner: Engine, grants: list[str], documented: str) -> Iterator[Engine]:
    """Connect as a new role that has the grants of a documented one."""
    name = f"{documented}_{uuid4().hex[:8]}"
    with owner.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"))
        for grant in grants:
            connection.execute(text(grant.replace(documented, name)))
    url = owner.url.set(username=name, password=PASSWORD)
    engine = create_engine(url.render_as_string(hide_password=False))
    try:
        yield engine
    finally:
        engine.dispose()
        with owner.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


def of(documented: str) -> list[str]:
    """Return the grants of one documented role."""
    return [grant for grant in GRANTS if documented in grant]


@pytest.mark.parametrize("documented", WORK)
def test_a_role_with_the_documented_grants_can_do_its_work(owner: Engine, documented: str) -> None:
    with role(owner, of(documented), documented) as engine:
        WORK[documented](engine)


def test_without_any_one_of_the_documented_grants_its_table_is_named(owner: Engine) -> None:
    """A grant that nobody needs would be one too many."""
    for documented, work in WORK.items():
        for grant in of(documented):
            rest = [each for each in of(documented) if each != grant]
            said = rf"permission denied for table {grant.split(' ON ')[1].split()[0]}\b.*rights\.md"
            with role(owner, rest, documented) as engine, pytest.raises(StoreError, match=said):
                work(engine)


def test_the_role_of_the_service_cannot_write(owner: Engine) -> None:
    with role(owner, of("resync_run"), "resync_run") as engine, pytest.raises(StoreError, match="permission denied"):
        administer(engine)
