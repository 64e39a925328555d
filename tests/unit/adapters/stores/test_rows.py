"""A row that no constraint let through, and that stands there all the same, harms itself alone."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.stores import Binding, Encryption, new_key
from consumer.adapters.stores.directory import load_api_key, load_specification
from consumer.adapters.stores.encryption import SIGNING
from consumer.adapters.stores.limits import LONGEST_NAME, name_problem
from consumer.domain.base_url import HostRules
from consumer.domain.model import ApiKey, AuthScheme, ClientSpecification, Role
from consumer.domain.resolution import unfit
from schemas.contract import ErrorCode
from schemas.explanation import Explanation
from schemas.signature import signing_secret

ID = "0b6a2c1e-7f0e-4c52-9d1c-2d3f6f0f8a11"
KEY = new_key()
ENCRYPTION = Encryption([KEY])
HERE = Binding("default", ID, "https://mirakl.example:443")
SPECIFICATION: dict[str, Any] = {
    "id": ID,
    "tenant": "default",
    "name": "one",
    "base_url": "https://mirakl.example/api/",
    "credential": ENCRYPTION.encrypt("front-key", HERE),
    "auth_scheme": "api-key",
    "active": 1,
    "suspended": 0,
    "products_per_call": 50,
    "concurrent_calls": 2,
    "calls_per_hour": None,
}
DIGEST = bytes(range(32))
API_KEY: dict[str, Any] = {
    "id": ID,
    "tenant": "default",
    "name": "alerts",
    "key_hash": DIGEST.hex(),
    "role": "OPERATOR",
    "expires_at": None,
    "revoked": False,
    "signing_secret": None,
}
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


def specification(**changes: object) -> ClientSpecification:
    loaded = load_specification(SPECIFICATION | changes, ENCRYPTION, HostRules())
    assert loaded is not None
    return loaded


def test_a_sound_row_is_a_usable_specification() -> None:
    assert specification() == ClientSpecification(
        id=ID,
        tenant="default",
        name="one",
        base_url="https://mirakl.example",
        credential="front-key",
        auth_scheme=AuthScheme.API_KEY,
        active=True,
        suspended=False,
        products_per_call=50,
        concurrent_calls=2,
        calls_per_hour=None,
        unusable=None,
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("credential", "garbage"),
        ("credential", ""),
        ("credential", None),
        ("credential", b"\x00"),
        pytest.param("credential", ENCRYPTION.encrypt("two\nlines", HERE), id="credential-two lines"),
        pytest.param(
            "credential", Encryption([new_key()]).encrypt("of another key", HERE), id="credential-another key"
        ),
        ("base_url", "ftp://mirakl.example"),
        ("base_url", "http://mirakl.example"),
        ("base_url", None),
        ("base_url", "https://xn--i-7iq.ws"),
        ("tenant", None),
        ("tenant", "x" * (LONGEST_NAME + 1)),
        ("products_per_call", -1),
        ("concurrent_calls", 10**30),
        ("auth_scheme", "basic"),
        ("auth_scheme", None),
        ("active", "yes"),
        ("suspended", None),
        ("products_per_call", 0),
        ("products_per_call", None),
        ("products_per_call", "fifty"),
        ("products_per_call", 50.5),
        ("concurrent_calls", -1),
        ("calls_per_hour", 0),
    ],
)
def test_a_broken_row_is_an_unusable_specification(column: str, value: object) -> None:
    loaded = specification(**{column: value})
    assert loaded.unusable
    assert loaded.credential == ""


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("tenant", "another"),
        ("id", "11111111-1111-4111-8111-111111111111"),
        ("base_url", "https://evil.example"),
        ("base_url", "https://mirakl.example:8443"),
    ],
)
def test_a_credential_that_was_copied_from_another_row_is_not_used(column: str, value: str) -> None:
    loaded = specification(**{column: value})
    assert loaded.credential == ""
    assert loaded.unusable
    assert "clients set" in loaded.unusable.remedy


@pytest.mark.parametrize("base_url", ["https://mirakl.example:443", "https://MIRAKL.example./gateway/api"])
def test_another_way_to_write_the_same_origin_keeps_the_credential(base_url: str) -> None:
    assert specification(base_url=base_url).credential == "front-key"


@pytest.mark.parametrize(("scheme", "sent"), [("bearer", "front-key"), ("api-key", "Bearer front-key")])
def test_a_credential_that_was_pasted_with_its_scheme_is_not_sent_with_two(scheme: str, sent: str) -> None:
    token = ENCRYPTION.encrypt("Bearer front-key", HERE)
    assert specification(credential=token, auth_scheme=scheme).credential == sent


def test_an_upper_case_id_is_the_same_id() -> None:
    assert specification(id=ID.upper()).id == ID


@pytest.mark.parametrize("row_id", [None, "", "one", ID.replace("-", ""), 7, b"\x00" * 16])
def test_a_row_that_nobody_could_name_is_left_out(row_id: object) -> None:
    assert load_specification(SPECIFICATION | {"id": row_id}, ENCRYPTION, HostRules()) is None


def test_a_password_in_a_base_url_goes_no_further() -> None:
    assert "hunter2" not in repr(specification(base_url="https://me:hunter2@mirakl.example"))


def test_the_host_names_allowed_plain_http_are_asked() -> None:
    row = SPECIFICATION | {"base_url": "http://simulator:8080"}
    row["credential"] = ENCRYPTION.encrypt("front-key", Binding("default", ID, "http://simulator:8080"))
    loaded = load_specification(row, ENCRYPTION, HostRules(insecure={"simulator"}))
    assert loaded is not None
    assert loaded.unusable is None


def test_a_host_that_is_no_longer_allowed_makes_a_specification_unusable_and_spoils_no_other() -> None:
    """Requests for it are answered `CLIENT_SPECIFICATION_UNUSABLE`: nothing is called, and nothing else ends."""
    loaded = load_specification(SPECIFICATION, ENCRYPTION, HostRules(allowed={"*.elsewhere.example"}))
    assert loaded is not None
    assert ("", "") == (loaded.base_url, loaded.credential)
    refused = unfit(loaded)
    assert refused is not None
    assert ErrorCode.CLIENT_SPECIFICATION_UNUSABLE is refused.code
    assert "RESYNC_MIRAKL__ALLOWED_HOSTS" in refused.message
    allowed = load_specification(SPECIFICATION, ENCRYPTION, HostRules(allowed={"*.example"}))
    assert allowed is not None
    assert allowed.unusable is None


def test_without_keys_no_specification_can_be_used() -> None:
    loaded = load_specification(SPECIFICATION, None, HostRules())
    assert loaded is not None
    assert loaded.unusable is not None
    assert "RESYNC_ENCRYPTION_KEYS" in loaded.unusable.remedy


@given(st.sampled_from(sorted(SPECIFICATION)), anything)
def test_no_value_breaks_the_loading_of_a_specification(column: str, value: object) -> None:
    load_specification(SPECIFICATION | {column: value}, ENCRYPTION, HostRules())


def api_key(**changes: object) -> ApiKey:
    loaded = load_api_key(API_KEY | changes, ENCRYPTION)
    assert not isinstance(loaded, Explanation)
    return loaded.key


def test_a_sound_row_is_found_by_its_digest() -> None:
    expected = ApiKey(id=ID, tenant="default", name="alerts", role=Role.OPERATOR, expires_at=None, revoked=False)
    assert load_api_key(API_KEY, None) == (DIGEST, expected, None)


@pytest.mark.parametrize(
    ("stored", "seconds"),
    [
        ("2030-01-01 00:00:00", 1893456000.0),
        ("2030-01-01 00:00:00.500000", 1893456000.5),
        ("2030-01-01 00:00:00.5+00", 1893456000.5),
        ("2030-01-01T01:00:00+01:00", 1893456000.0),
        ("2030-01-01T00:00:00Z", 1893456000.0),
        ("2030-01-01", 1893456000.0),
        ("infinity", None),
    ],
)
def test_a_time_is_read_as_either_database_or_a_person_writes_it(stored: str, seconds: float | None) -> None:
    assert api_key(expires_at=stored).expires_at == seconds


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("key_hash", "the key itself"),
        ("key_hash", DIGEST[:31].hex()),
        ("key_hash", None),
        ("role", "ROOT"),
        ("role", None),
        ("tenant", None),
        ("tenant", "x" * (LONGEST_NAME + 1)),
        ("expires_at", "tomorrow"),
        ("expires_at", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_broken_key_opens_nothing_and_is_told_of(column: str, value: object) -> None:
    warning = load_api_key(API_KEY | {column: value}, ENCRYPTION)
    assert isinstance(warning, Explanation)
    assert column in warning.problem
    assert warning.remedy
    assert "the key itself" not in str(warning)


@pytest.mark.parametrize("revoked", [True, 1, "yes", None, 2])
def test_a_key_counts_as_revoked_unless_it_says_that_it_is_not(revoked: object) -> None:
    assert api_key(revoked=revoked).revoked


@given(st.sampled_from(sorted(API_KEY)), anything)
def test_no_value_breaks_the_loading_of_a_key(column: str, value: object) -> None:
    load_api_key(API_KEY | {column: value}, ENCRYPTION)


SECRET = signing_secret(b"mrk_of-somebody")
PLACE = Binding("default", ID, SIGNING)


def test_a_signing_secret_is_decrypted_and_shown_by_no_repr() -> None:
    loaded = load_api_key(API_KEY | {"signing_secret": ENCRYPTION.encrypt(SECRET.hex(), PLACE)}, ENCRYPTION)
    assert not isinstance(loaded, Explanation)
    assert loaded.key.signing_secret == SECRET
    assert loaded.warning is None
    assert SECRET.hex() not in repr(loaded)
    assert repr(SECRET) not in repr(loaded)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("garbage", "cannot be decrypted"),
        (b"garbage", "cannot be decrypted"),
        (7, "cannot be decrypted"),
        (Encryption([new_key()]).encrypt(SECRET.hex(), PLACE), "cannot be decrypted"),
        (ENCRYPTION.encrypt(SECRET.hex(), Binding("other", ID, SIGNING)), "was not stored for this key"),
        (
            ENCRYPTION.encrypt(SECRET.hex(), Binding("default", ID.replace("0", "1"), SIGNING)),
            "was not stored for this key",
        ),
        (ENCRYPTION.encrypt(SECRET.hex(), HERE), "was not stored for this key"),
        (ENCRYPTION.encrypt("no digest", PLACE), "was not stored for this key"),
        (Fernet(KEY).encrypt(SECRET.hex().encode()).decode(), "was not stored for this key"),
    ],
    ids=["garbage", "bytes", "number", "key", "tenant", "id", "credential", "content", "unbound"],
)
def test_a_secret_that_is_not_of_this_key_keeps_it_from_signing_and_from_nothing_else(
    stored: object, said: str
) -> None:
    loaded = load_api_key(API_KEY | {"signing_secret": stored}, ENCRYPTION)
    assert not isinstance(loaded, Explanation)
    assert loaded.key == api_key()
    assert loaded.warning is not None
    assert "cannot sign" in loaded.warning.problem
    assert said in loaded.warning.problem
    assert loaded.warning.remedy


def test_a_name_of_any_length_stays_short_enough_for_a_line_of_the_log() -> None:
    assert len(api_key(name="x" * 10**6).name) == LONGEST_NAME


def test_without_encryption_keys_no_key_can_sign() -> None:
    loaded = load_api_key(API_KEY | {"signing_secret": ENCRYPTION.encrypt(SECRET.hex(), PLACE)}, None)
    assert not isinstance(loaded, Explanation)
    assert loaded.key.signing_secret is None
    assert "RESYNC_ENCRYPTION_KEYS" in str(loaded.warning)


@pytest.mark.parametrize("name", ["a", "Shop 1", "Größe", "a" * LONGEST_NAME])
def test_a_name_that_people_can_read_and_type_is_taken(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\u200bb", "a" * (LONGEST_NAME + 1), "\ud800"])
def test_a_name_that_could_deceive_is_refused(name: str) -> None:
    assert name_problem(name) is not None
