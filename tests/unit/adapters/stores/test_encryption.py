"""Credentials are encrypted with the first key, read with all, and fit to travel in a header."""

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.stores import Binding, Encryption, EncryptionKeysError, new_key, read_credential
from consumer.adapters.stores.encryption import (
    LONGEST_CREDENTIAL,
    Decrypted,
    Undecryptable,
    credential_problem,
    fingerprint,
)

OLD, NEW = new_key(), new_key()
HERE = Binding("default", "0b6a2c1e-7f0e-4c52-9d1c-2d3f6f0f8a11", "https://mirakl.example:443")


def test_what_was_encrypted_is_decrypted() -> None:
    encryption = Encryption([NEW])
    assert encryption.decrypt(encryption.encrypt("front-key", HERE), HERE) == Decrypted("front-key", bound=True)


@pytest.mark.parametrize(
    "elsewhere",
    [
        Binding("other", HERE.row_id, HERE.use),
        Binding(HERE.tenant, "11111111-1111-4111-8111-111111111111", HERE.use),
        Binding(HERE.tenant, HERE.row_id, "https://evil.example:443"),
        Binding(HERE.tenant, HERE.row_id, "http://mirakl.example:443"),
        Binding(HERE.tenant, HERE.row_id, "https://mirakl.example:8443"),
    ],
)
def test_a_credential_is_of_use_only_where_it_was_stored(elsewhere: Binding) -> None:
    encryption = Encryption([NEW])
    assert encryption.decrypt(encryption.encrypt("front-key", HERE), elsewhere) is Undecryptable.BOUND_ELSEWHERE


def test_a_credential_of_an_earlier_release_is_still_read() -> None:
    token = Fernet(NEW).encrypt(b"front-key").decode()
    assert Encryption([NEW]).decrypt(token, HERE) == Decrypted("front-key", bound=False)


def test_a_credential_can_be_given_the_form_of_release_0_1() -> None:
    """That release takes all that it decrypts for the credential."""
    token = Encryption([OLD]).encrypt("front-key", HERE)
    unbound = Encryption([NEW, OLD]).unbind(token, HERE)
    assert unbound is not None
    assert b"front-key" == Fernet(NEW).decrypt(unbound)
    assert Encryption([NEW]).decrypt(unbound, HERE) == Decrypted("front-key", bound=False)
    assert Encryption([NEW]).unbind(token, HERE) is None


def test_a_credential_out_of_place_is_not_made_usable_by_unbinding_it() -> None:
    elsewhere = Binding("other", HERE.row_id, HERE.use)
    unbound = Encryption([NEW]).unbind(Encryption([NEW]).encrypt("front-key", elsewhere), HERE)
    assert unbound is not None
    assert Encryption([NEW]).decrypt(unbound, HERE) is Undecryptable.BOUND_ELSEWHERE


@pytest.mark.parametrize("content", [b"\x01", b"\x01[]", b"\x01{}", b"\x01[1, 2]", b"\x01nonsense", b"\x017"])
def test_a_binding_that_is_none_yields_no_credential(content: bytes) -> None:
    assert isinstance(Encryption([NEW]).decrypt(Fernet(NEW).encrypt(content).decode(), HERE), Undecryptable)


def test_neither_token_nor_repr_show_the_credential() -> None:
    token = Encryption([NEW]).encrypt("front-key", HERE)
    assert "front-key" not in token
    assert "front-key" not in repr(Encryption([NEW]).decrypt(token, HERE))


def test_the_first_key_encrypts() -> None:
    token = Encryption([NEW, OLD]).encrypt("front-key", HERE)
    assert Encryption([NEW]).decrypt(token, HERE) == Decrypted("front-key", bound=True)
    assert Encryption([OLD]).decrypt(token, HERE) is Undecryptable.NO_KEY


def test_a_rotated_key_still_decrypts() -> None:
    token = Encryption([OLD]).encrypt("front-key", HERE)
    assert Encryption([NEW, OLD]).decrypt(token, HERE) == Decrypted("front-key", bound=True)


@given(st.text())
def test_garbage_is_no_credential(token: str) -> None:
    assert Encryption([NEW]).decrypt(token, HERE) is Undecryptable.NO_KEY


def test_a_token_that_holds_no_text_is_no_credential() -> None:
    assert Encryption([NEW]).decrypt(Fernet(NEW).encrypt(b"\xff\xfe").decode(), HERE) is Undecryptable.NO_KEY


def test_no_keys_at_all_are_refused() -> None:
    with pytest.raises(EncryptionKeysError, match="encryption-key"):
        Encryption([])


@pytest.mark.parametrize("malformed", ["", "too-short", "Ü" * 44, NEW[:-2], NEW[:10] + NEW], ids=range(5))
def test_a_malformed_key_is_named_by_its_place_and_never_shown(malformed: str) -> None:
    with pytest.raises(EncryptionKeysError, match="Key 2 of RESYNC_ENCRYPTION_KEYS") as refused:
        Encryption([NEW, malformed])
    assert not malformed or malformed not in str(refused.value)
    assert refused.value.__cause__ is None
    assert NEW not in repr(refused.value)


def test_a_new_key_is_another_one_each_time() -> None:
    assert new_key() != new_key()
    Encryption([new_key()])


@pytest.mark.parametrize(
    ("content", "credential"),
    [(b"abc", "abc"), (b"abc\n", "abc"), (b"abc\r\n", "abc"), (b"abc\n\n", "abc"), (b"", "")],
)
def test_one_line_end_of_a_file_is_not_of_the_credential(content: bytes, credential: str) -> None:
    assert read_credential(content) == credential


@pytest.mark.parametrize("content", [b"abc\n\ndef", b"\xff\xff", b" abc", b"abc ", b"", b"a\x00c"])
def test_a_file_that_holds_no_header_value_is_refused(content: bytes) -> None:
    assert credential_problem(read_credential(content)) is not None


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_visible_ascii_is_a_credential(credential: str) -> None:
    assert credential_problem(credential) is None


def test_a_scheme_and_a_token_are_a_credential() -> None:
    assert credential_problem("Custom abc123") is None


@pytest.mark.parametrize("credential", ["se\ncret", "se\rcret", "secret\n", "secret\x7f", "secrét", "secret\u2028"])
def test_a_problem_never_repeats_the_credential(credential: str) -> None:
    problem = credential_problem(credential)
    assert problem is not None
    assert "se" + "cr" not in str(problem)


def test_a_credential_is_bounded() -> None:
    assert credential_problem("a" * LONGEST_CREDENTIAL) is None
    assert credential_problem("a" * (LONGEST_CREDENTIAL + 1)) is not None


def test_a_renewed_token_needs_the_first_key_alone_and_stays_in_its_place() -> None:
    token = Encryption([OLD]).encrypt("front-key", HERE)
    renewed = Encryption([NEW, OLD]).renew(token, None)
    assert renewed is not None
    assert Encryption([NEW]).decrypt(renewed, HERE) == Decrypted("front-key", bound=True)


@pytest.mark.parametrize("place", [HERE, None])
def test_the_form_of_earlier_releases_is_bound_where_a_place_is_given(place: Binding | None) -> None:
    token = Fernet(OLD).encrypt(b"front-key").decode()
    renewed = Encryption([NEW, OLD]).renew(token, place)
    assert renewed is not None
    assert Encryption([NEW]).decrypt(renewed, HERE) == Decrypted("front-key", bound=place is not None)


def test_what_is_no_text_is_kept_as_it_is() -> None:
    renewed = Encryption([NEW]).renew(Fernet(NEW).encrypt(b"\xff").decode(), HERE)
    assert Fernet(NEW).decrypt(str(renewed)) == b"\xff"


@given(st.none() | st.text() | st.binary() | st.integers())
def test_garbage_is_neither_renewed_nor_of_any_key(token: object) -> None:
    encryption = Encryption([NEW])
    assert encryption.renew(token, HERE) is None
    assert encryption.key_of(token) is None


def test_a_fingerprint_tells_keys_apart_and_shows_nothing_of_them() -> None:
    encryption = Encryption([NEW, OLD, NEW])
    first, second = encryption.fingerprints
    assert first != second
    assert fingerprint(f" {NEW}\n") == first
    assert len(first) == 8
    assert first not in NEW
    assert encryption.key_of(Encryption([OLD]).encrypt("front-key", HERE)) == second
