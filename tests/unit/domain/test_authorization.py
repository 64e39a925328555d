"""Who may ask: the first three rows of the contract's table."""

import pytest

from consumer.domain.authorization import identify, key_digest, refuse
from consumer.domain.model import ApiKey, Directory, Role, build_directory
from consumer.domain.outcome import ResyncError
from schemas.contract import ErrorCode
from tests.support.builders import api_key

NOW = 1_700_000_000.0


def directory(row: ApiKey, key: bytes = b"key") -> Directory:
    return build_directory(1, [], {key_digest(key): row})


def code(answer: ApiKey | ResyncError | None) -> str:
    assert isinstance(answer, ResyncError)
    return answer.code.value


def test_a_known_key_names_its_owner() -> None:
    row = api_key()

    assert row is identify(directory(row), b"key", NOW)
    assert refuse(row, b"OPERATOR") is None


@pytest.mark.parametrize("blank", [None, b"", b" ", b"\t\n ", "\u00a0\u3000".encode()])
def test_a_blank_key_is_missing(blank: bytes | None) -> None:
    assert ErrorCode.API_KEY_MISSING == code(identify(directory(api_key()), blank, NOW))


@pytest.mark.parametrize("wrong", [b"Key", b" key", b"key ", b"key\x00", b"\xff\xfe"])
def test_a_key_is_known_byte_for_byte(wrong: bytes) -> None:
    assert ErrorCode.API_KEY_INVALID == code(identify(directory(api_key()), wrong, NOW))


def test_a_revoked_key_is_invalid() -> None:
    assert ErrorCode.API_KEY_INVALID == code(identify(directory(api_key(revoked=True)), b"key", NOW))


@pytest.mark.parametrize(("expires_at", "valid"), [(NOW - 1, False), (NOW, False), (NOW + 1, True)])
def test_a_key_is_valid_until_it_expires(expires_at: float, *, valid: bool) -> None:
    answer = identify(directory(api_key(expires_at=expires_at)), b"key", NOW)

    assert valid is isinstance(answer, ApiKey)


@pytest.mark.parametrize("caller", [None, b"", b"operator", b"OPERATOR ", b"SUPPLIER", b"OPERATOR\x00"])
def test_only_callers_that_say_operator_may(caller: bytes | None) -> None:
    assert ErrorCode.OPERATOR_REQUIRED == code(refuse(api_key(), caller))


@pytest.mark.parametrize("role", [Role.ACCOUNT, Role.SUPPLIER])
def test_only_keys_with_the_operator_role_may(role: Role) -> None:
    assert ErrorCode.OPERATOR_REQUIRED == code(refuse(api_key(role=role), b"OPERATOR"))


def test_no_answer_repeats_the_key() -> None:
    answer = identify(directory(api_key()), b"hush-hush", NOW)

    assert "hush-hush" not in repr(answer)
    assert "hush" not in repr(directory(api_key(), b"hush-hush"))
