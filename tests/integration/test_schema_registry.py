"""A real registry that wants to know who asks."""

from collections.abc import Iterator

import pytest

from schemas.avro.framing import SchemaRef
from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.registry.errors import RegistryError
from schemas.registry.registration import check, register, subjects
from tests.support.fixtures import running
from tests.support.registry import RegistryProcess

PASSWORD = "s3cret-of-a-test"  # noqa: S105 - of a registry that lives for this test


@pytest.fixture(scope="module")
def guarded_url() -> Iterator[str]:
    for process in running(lambda: RegistryProcess(user="alice", password=PASSWORD)):
        yield process.url


@pytest.mark.registry
def test_who_has_the_password_registers_checks_and_reads(guarded_url: str) -> None:
    ours = subjects("requests", "results")
    with SchemaRegistry(RegistryAddress(guarded_url, username="alice", password=PASSWORD)) as registry:
        ids = [registered.id for registered in register(registry, ours)]

        assert [()] * 2 == [report.problems for report in check(registry, ours)]
        assert all(isinstance(registry.schema(SchemaRef.from_id(schema_id)), str) for schema_id in ids)


@pytest.mark.registry
@pytest.mark.parametrize("credentials", [{}, {"username": "alice", "password": "wrong"}], ids=["none", "wrong"])
def test_who_has_not_is_told_which_settings_to_check(guarded_url: str, credentials: dict[str, str]) -> None:
    with (
        SchemaRegistry(RegistryAddress(guarded_url, **credentials)) as registry,  # type: ignore[arg-type] # only texts
        pytest.raises(RegistryError, match="RESYNC_SCHEMA_REGISTRY__USERNAME and __PASSWORD") as refused,
    ):
        registry.schema(SchemaRef.from_id(1))
    assert refused.value.status == 401
