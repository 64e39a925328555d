import base64
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

import httpx
import pytest

from schemas.avro.framing import SchemaRef
from schemas.avro.writer_schema import SchemaError
from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.registry.errors import RegistryError
from schemas.registry.policy import REGISTRY
from schemas.registry.questions import Missing, registered_id, registration, schema_version

ID_7 = SchemaRef.from_id(7)
SECRET = "t0p-s3cret"  # noqa: S105 - of this test
ADDRESS = RegistryAddress("https://registry.test/apis/ccompat/v7", username="alice", password=SECRET)

Handler: TypeAlias = Callable[[httpx.Request], httpx.Response]


class Asked(Protocol):
    def __call__(self, handler: Handler, address: RegistryAddress = ADDRESS) -> str | Missing: ...


def answer(status: int, body: bytes = b"", **headers: str) -> Handler:
    return lambda _: httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def ask_and_wait(handler: Handler, address: RegistryAddress = ADDRESS) -> str | Missing:
    with SchemaRegistry(address, httpx.MockTransport(handler)) as registry:
        return registry.schema(ID_7)


@pytest.fixture
def asked() -> Asked:
    """The answer to the question for the schema 7."""
    return ask_and_wait


def test_a_schema_is_asked_for_by_its_id_below_the_path_of_the_url(asked: Asked) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url == "https://registry.test/apis/ccompat/v7/schemas/ids/7"
        return answer(200, b'{"schema": "\\"string\\""}')(request)

    assert asked(handler) == '"string"'


def test_credentials_are_sent_without_being_asked_for(asked: Asked) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        expected = base64.b64encode(f"alice:{SECRET}".encode()).decode()
        assert request.headers["authorization"] == f"Basic {expected}"
        return answer(200, b'{"schema": "text"}')(request)

    assert asked(handler) == "text"
    assert asked(handler, RegistryAddress(f"https://alice:{SECRET}@registry.test")) == "text"


def test_missing_is_asked_for_again() -> None:
    answers = iter([answer(404, b'{"error_code": 40403}'), answer(200, b'{"schema": "text"}')])

    def handler(request: httpx.Request) -> httpx.Response:
        return next(answers)(request)

    with SchemaRegistry(ADDRESS, httpx.MockTransport(handler)) as registry:
        assert [Missing(), "text"] == [registry.schema(ID_7) for _ in range(2)]


def test_only_a_404_with_error_code_40403_says_that_a_schema_does_not_exist(asked: Asked) -> None:
    assert Missing() == asked(answer(404, b'{"error_code": 40403, "message": "Schema not found"}'))


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (404, b"", "RESYNC_SCHEMA_REGISTRY__URL"),
        (404, b"<html>proxy</html>", "RESYNC_SCHEMA_REGISTRY__URL"),
        (404, b'{"error_code": 40401}', "RESYNC_SCHEMA_REGISTRY__URL"),
        (404, b'{"error_code": 404}', "RESYNC_SCHEMA_REGISTRY__URL"),
        (404, b'{"error_code": [40403]}', "RESYNC_SCHEMA_REGISTRY__URL"),
        (500, b'{"error_code": 40403}', "See its log"),
        (200, b'{"error_code": 40403}', "RESYNC_SCHEMA_REGISTRY__URL"),
        (200, b"<html>login</html>", "RESYNC_SCHEMA_REGISTRY__URL"),
        (200, b'{"schema": 7}', "RESYNC_SCHEMA_REGISTRY__URL"),
        (200, b'{"schema": "x", "references": [7]}', "RESYNC_SCHEMA_REGISTRY__URL"),
        (200, b'{"schema": "x", "references": [{"version": 1e999, "name": "a", "subject": "b"}]}', "__URL"),
        (200, b'{"schema": "x", "references": [{"subject": "\\ud800", "name": "a", "version": 1}]}', "__URL"),
        (200, b"[" * 100_000, "RESYNC_SCHEMA_REGISTRY__URL"),
        (401, b"", "RESYNC_SCHEMA_REGISTRY__USERNAME"),
        (403, b'{"message": "no"}', "RESYNC_SCHEMA_REGISTRY__USERNAME"),
        (429, b"", "try again"),
        (503, b"", "try again"),
        (200, b" " * (REGISTRY.body_bytes + 1), "RESYNC_SCHEMA_REGISTRY__URL"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_anything_else_is_a_trouble_with_its_remedy(asked: Asked, status: int, body: bytes, remedy: str) -> None:
    with pytest.raises(RegistryError, match=remedy) as trouble:
        asked(answer(status, body))

    assert "https://registry.test/apis/ccompat/v7" in str(trouble.value)


def test_a_redirect_is_not_followed(asked: Asked) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "registry.test"
        return answer(302, location="https://elsewhere.test/")(request)

    with pytest.raises(RegistryError, match="Redirect"):
        asked(handler)


def test_a_registry_that_cannot_be_reached_is_a_trouble_without_status(asked: Asked) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    with pytest.raises(RegistryError, match=r"Connection refused.*Check that it runs") as trouble:
        asked(handler)
    assert trouble.value.status is None


class Dripping(httpx.SyncByteStream):
    """A body that never ends, a byte at a time: no single read is slow."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            time.sleep(0.01)
            yield b" "


def test_the_whole_answer_has_a_time_limit(asked: Asked) -> None:
    address = RegistryAddress("https://registry.test", timeout=0.2)
    began = time.monotonic()

    with pytest.raises(RegistryError, match=r"no answer within 0.2 s"):
        asked(lambda _: httpx.Response(200, stream=Dripping()), address)

    assert time.monotonic() - began < 2


def test_a_registry_without_guids_is_told_apart_from_a_guid_that_does_not_exist() -> None:
    guid = SchemaRef(b"\x01" + bytes(16))
    with (
        SchemaRegistry(ADDRESS, httpx.MockTransport(answer(404))) as registry,
        pytest.raises(RegistryError, match="keeps no GUIDs"),
    ):
        registry.schema(guid)
    with SchemaRegistry(ADDRESS, httpx.MockTransport(answer(404, b'{"error_code": 40403}'))) as registry:
        assert Missing() == registry.schema(guid)


def test_a_schema_whose_pieces_are_gone_is_a_trouble(asked: Asked) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if "/ids/" in request.url.path:
            return answer(200, b'{"schema": "x", "references": [{"name": "a.B", "subject": "b", "version": 3}]}')(
                request
            )
        return answer(404, b'{"error_code": 40402}')(request)

    with pytest.raises(RegistryError, match="version 3 of b"):
        asked(handler)


def test_pieces_that_refer_to_each_other_for_ever_are_asked_for_a_bounded_number_of_times() -> None:
    asked_for: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked_for.append(request.url.path)
        number = len(asked_for)
        reference = b'{"schema": "x", "references": [{"name": "a.B%d", "subject": "b", "version": 1}]}'
        return answer(200, reference % number)(request)

    with (
        SchemaRegistry(ADDRESS, httpx.MockTransport(handler)) as registry,
        pytest.raises(SchemaError, match="more than 100 others"),
    ):
        registry.schema(ID_7)
    assert len(asked_for) <= 101


def test_an_incompatible_schema_is_a_trouble_with_the_registrys_own_words() -> None:
    handler = answer(409, b'{"error_code": 409, "message": "field urgency has no default"}')
    with (
        SchemaRegistry(ADDRESS, httpx.MockTransport(handler)) as registry,
        pytest.raises(RegistryError, match=r"urgency has no default.*incompatible"),
    ):
        registry.ask(registration("t-value", "x"))


def test_a_subject_is_one_part_of_the_path_whatever_its_name() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.raw_path == b"/apis/ccompat/v7/subjects/a%2Fb%3Fc"
        return answer(200, b'{"id": 3}')(request)

    with SchemaRegistry(ADDRESS, httpx.MockTransport(handler)) as registry:
        assert registry.ask(registered_id("a/b?c", "x")) == 3


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    for content in (None, "no certificate"):
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_text(content)
        with pytest.raises(RegistryError, match="RESYNC_SCHEMA_REGISTRY__CA_FILE"):
            SchemaRegistry(RegistryAddress("https://registry.test", ca_file=file))


@pytest.mark.parametrize("url", ["https://registry.test/", f"https://alice:{SECRET}@registry.test/"])
def test_the_password_is_in_no_message_and_no_log(asked: Asked, url: str, caplog: pytest.LogCaptureFixture) -> None:
    address = RegistryAddress(url) if SECRET in url else RegistryAddress(url, username="alice", password=SECRET)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")  # whatever the service's own logging has made of it before

    for status in (200, 302, 401, 404, 500):
        with pytest.raises(RegistryError) as trouble:
            asked(answer(status), address)
        assert SECRET not in str(trouble.value)
    assert SECRET not in caplog.text + repr(address) + str(address)
    assert "registry.test" in caplog.text


def test_a_version_that_is_longer_than_an_answer_may_be_is_a_trouble_of_commands() -> None:
    handler = answer(200, b'{"schema": "' + b"x" * REGISTRY.body_bytes + b'"}', **{"content-type": "application/json"})
    with (
        SchemaRegistry(ADDRESS, httpx.MockTransport(handler)) as registry,
        pytest.raises(RegistryError, match="bytes"),
    ):
        registry.ask(schema_version("t-value"))
