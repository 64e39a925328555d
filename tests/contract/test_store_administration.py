"""What operators do to client specifications and API keys, on SQLite and PostgreSQL."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Engine

from consumer.adapters.stores import (
    AdministrationError,
    ApiKeys,
    Binding,
    ClientSpecifications,
    DirectoryReader,
)
from consumer.adapters.stores.encryption import SIGNING, Decrypted
from consumer.domain.base_url import origin
from consumer.domain.model import AuthScheme
from schemas.signature import signing_secret
from tests.contract.store_rows import ENCRYPTION, KEY, SECRET, SPECIFICATION_BY_HAND, URL, snapshot
from tests.support.stores import Hand


class TestClientSpecifications:
    def test_what_is_added_is_listed_without_its_credential(self, specifications: ClientSpecifications) -> None:
        row = specifications.add("one", f"{URL}/api/", SECRET)
        assert specifications.list() == (row,)
        assert uuid.UUID(row.id).version == 4
        assert (row.tenant, row.name, row.base_url, row.auth_scheme) == ("default", "one", URL, "bearer")
        assert (row.active, row.suspended) == (True, False)
        assert (row.products_per_call, row.concurrent_calls, row.calls_per_hour) == (1000, 4, None)
        assert row.created_at is not None
        assert row.created_at == row.updated_at
        assert SECRET not in repr(row)

    def test_every_option_is_stored(self, specifications: ClientSpecifications) -> None:
        row = specifications.add(
            "one",
            URL,
            SECRET,
            "acme",
            id="ABCDEF00-1111-4111-8111-111111111111",
            auth_scheme=AuthScheme.API_KEY,
            active=False,
            products_per_call=7,
            concurrent_calls=2,
            calls_per_hour=60,
        )
        assert (row.id, row.tenant, row.auth_scheme) == ("abcdef00-1111-4111-8111-111111111111", "acme", "api-key")
        assert (row.active, row.products_per_call, row.concurrent_calls, row.calls_per_hour) == (False, 7, 2, 60)

    def test_only_what_is_given_changes(self, specifications: ClientSpecifications, reader: DirectoryReader) -> None:
        before = specifications.add("one", URL, SECRET, calls_per_hour=60)
        after = specifications.set("one", base_url="https://other.example", calls_per_hour=None)
        assert (after.base_url, after.calls_per_hour) == ("https://other.example", None)
        assert (after.id, after.name, after.created_at) == (before.id, before.name, before.created_at)
        assert after.updated_at is not None
        assert before.updated_at is not None
        assert after.updated_at > before.updated_at
        assert snapshot(reader).specifications[after.id].credential == SECRET

    def test_name_id_and_credential_can_change(
        self, specifications: ClientSpecifications, reader: DirectoryReader
    ) -> None:
        specifications.add("one", URL, SECRET)
        new_id = str(uuid.uuid4())
        assert specifications.set("one", name="two", id=new_id, credential="another").name == "two"
        assert snapshot(reader).specifications[new_id].credential == "another"

    def test_a_credential_copied_into_another_row_is_of_no_use_there(
        self, specifications: ClientSpecifications, reader: DirectoryReader, by_hand: Hand
    ) -> None:
        specifications.add("theirs", "https://theirs.example", SECRET, "theirs")
        mine = specifications.add("mine", "https://evil.example", "my own", "mine")
        by_hand(
            "UPDATE client_specifications SET credential = "
            "(SELECT credential FROM client_specifications WHERE name = 'theirs') WHERE name = 'mine'"
        )
        stolen = snapshot(reader).specifications[mine.id]
        assert stolen.credential == ""
        assert "clients set" in str(stolen.unusable)

    def test_a_base_url_that_is_changed_in_sql_takes_no_credential_with_it(
        self, specifications: ClientSpecifications, reader: DirectoryReader, by_hand: Hand
    ) -> None:
        row = specifications.add("one", URL, SECRET)
        by_hand("UPDATE client_specifications SET base_url = 'https://evil.example'")
        assert snapshot(reader).specifications[row.id].credential == ""
        with pytest.raises(AdministrationError, match="--credential-file"):
            specifications.set("one", base_url="https://third.example")
        specifications.suspend("one")
        specifications.set("one", base_url=URL)
        assert snapshot(reader).specifications[row.id].credential == SECRET

    @pytest.mark.parametrize("change", [{"concurrent_calls": 2}, {"base_url": "https://other.example"}, {}])
    def test_the_form_of_earlier_releases_is_replaced_by_the_next_change(
        self, change: dict[str, Any], specifications: ClientSpecifications, reader: DirectoryReader, by_hand: Hand
    ) -> None:
        row = specifications.add("one", URL, SECRET)
        old = Fernet(KEY).encrypt(SECRET.encode()).decode()
        by_hand(f"UPDATE client_specifications SET credential = '{old}'")  # noqa: S608 - a token of our own
        assert snapshot(reader).specifications[row.id].credential == SECRET
        changed = specifications.set("one", **change) if change else specifications.suspend("one")
        ((token,),) = by_hand("SELECT credential FROM client_specifications")
        binding = Binding("default", row.id, origin(changed.base_url))
        assert ENCRYPTION.decrypt(str(token), binding) == Decrypted(SECRET, bound=True)
        assert snapshot(reader).specifications[row.id].credential == SECRET

    def test_without_keys_everything_changes_but_what_a_credential_is_bound_to(
        self, engine: Engine, specifications: ClientSpecifications, reader: DirectoryReader
    ) -> None:
        row = specifications.add("one", URL, SECRET)
        keyless = ClientSpecifications(engine)
        keyless.suspend("one")
        keyless.set("one", base_url=f"{URL}/gateway", concurrent_calls=2)
        with pytest.raises(AdministrationError, match="RESYNC_ENCRYPTION_KEYS"):
            keyless.set("one", base_url="https://other.example")
        assert snapshot(reader).specifications[row.id].credential == SECRET

    def test_a_row_is_found_by_id_in_any_case_and_by_name(self, specifications: ClientSpecifications) -> None:
        row = specifications.add("one", URL, SECRET, "acme")
        assert specifications.get(row.id.upper()) == row
        assert specifications.get(row.id, "acme") == row
        assert specifications.get("one", "acme") == row

    def test_a_name_means_the_default_tenant_unless_another_is_given(
        self, specifications: ClientSpecifications
    ) -> None:
        theirs = specifications.add("one", URL, SECRET, "acme")
        with pytest.raises(AdministrationError, match=r"in 'acme'\. Give --tenant"):
            specifications.get("one")
        ours = specifications.add("one", URL, SECRET)
        assert specifications.get("one") == ours
        assert specifications.list("acme") == (theirs,)

    def test_an_id_of_another_tenant_is_not_touched(self, specifications: ClientSpecifications) -> None:
        row = specifications.add("one", URL, SECRET, "acme")
        with pytest.raises(AdministrationError, match="in 'acme'"):
            specifications.remove(row.id, "other")
        assert specifications.list() == (row,)

    def test_states_change_one_by_one(self, specifications: ClientSpecifications) -> None:
        specifications.add("one", URL, SECRET)
        assert not specifications.deactivate("one").active
        assert specifications.activate("one").active
        assert specifications.suspend("one").suspended
        assert not specifications.resume("one").suspended
        assert specifications.remove("one").name == "one"
        assert specifications.list() == ()

    def test_a_name_stands_once_in_a_tenant(self, specifications: ClientSpecifications) -> None:
        first = specifications.add("one", URL, SECRET)
        specifications.add("two", URL, SECRET)
        with pytest.raises(AdministrationError, match="already"):
            specifications.add("one", URL, SECRET)
        with pytest.raises(AdministrationError, match="already"):
            specifications.set("two", name="one")
        with pytest.raises(AdministrationError, match="is taken"):
            specifications.add("three", URL, SECRET, "acme", id=first.id)
        assert specifications.set("one", name="one").name == "one"
        assert specifications.add("one", URL, SECRET, "acme").name == "one"

    @pytest.mark.parametrize("method", ["get", "activate", "deactivate", "suspend", "resume", "remove", "set"])
    def test_a_row_that_is_not_there_is_named(self, method: str, specifications: ClientSpecifications) -> None:
        with pytest.raises(AdministrationError, match="'nobody' in tenant 'default'"):
            getattr(specifications, method)("nobody")

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"name": ""}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"name": str(uuid.uuid4())}, "look like an id"),
            ({"tenant": " acme"}, "tenant"),
            ({"base_url": "http://mirakl.example"}, "https"),
            ({"base_url": "https://xn--i-7iq.ws"}, "IDNA"),
            ({"credential": ""}, "empty"),
            ({"credential": f"{SECRET}\n"}, "line break"),
            ({"id": "one"}, "UUID"),
            ({"products_per_call": 0}, "products_per_call must be a whole number from 1"),
            ({"concurrent_calls": -1}, "concurrent_calls"),
            ({"calls_per_hour": 10**12}, "calls_per_hour"),
        ],
    )
    def test_wrong_input_is_refused_with_its_reason(
        self, wrong: dict[str, object], said: str, specifications: ClientSpecifications
    ) -> None:
        given: dict[str, object] = {"name": "one", "base_url": URL, "credential": SECRET} | wrong
        with pytest.raises(AdministrationError, match=said) as refused:
            specifications.add(**given)  # type: ignore[arg-type]  # each case is wrong in its own way
        assert SECRET not in str(refused.value)
        assert specifications.list() == ()

    def test_without_keys_no_credential_can_be_stored(self, engine: Engine) -> None:
        with pytest.raises(AdministrationError, match="RESYNC_ENCRYPTION_KEYS"):
            ClientSpecifications(engine).add("one", URL, SECRET)

    def test_a_password_that_was_written_into_a_url_by_hand_is_not_listed(
        self, specifications: ClientSpecifications, by_hand: Hand
    ) -> None:
        by_hand(SPECIFICATION_BY_HAND.replace("https://", "https://me:hunter2@"))
        assert "hunter2" not in repr(specifications.list())


class TestApiKeys:
    def test_a_key_has_256_random_bits_and_is_told_once(self, api_keys: ApiKeys) -> None:
        first, second = api_keys.issue("one"), api_keys.issue("two")
        assert first.key != second.key
        assert first.key.startswith("mrk_")
        assert len(first.key) == len("mrk_") + 43
        assert first.key not in repr(first)
        assert first.key not in repr(api_keys.list())

    def test_it_expires_when_it_was_said_to(self, api_keys: ApiKeys, reader: DirectoryReader) -> None:
        expires_at = datetime.now(UTC) + timedelta(days=90)
        elsewhere = expires_at.astimezone(tz=None)
        assert api_keys.issue("one", expires_at=elsewhere).row.expires_at == expires_at
        (key,) = snapshot(reader).api_keys.values()
        assert key.expires_at == expires_at.timestamp()

    def test_a_key_that_can_sign_has_its_secret_in_the_directory_and_nowhere_in_plain_text(
        self, engine: Engine, reader: DirectoryReader, by_hand: Hand
    ) -> None:
        issued = ApiKeys(engine, ENCRYPTION).issue("one", tenant="acme", signing=True)
        secret = signing_secret(issued.key.encode())
        (key,) = snapshot(reader).api_keys.values()
        assert key.signing_secret == secret
        assert issued.row.can_sign
        ((stored,),) = by_hand("SELECT signing_secret FROM api_keys")
        assert ENCRYPTION.decrypt(str(stored), Binding("acme", issued.row.id, SIGNING)) == Decrypted(
            secret.hex(), bound=True
        )

    def test_a_key_cannot_sign_unless_it_was_issued_for_that(self, api_keys: ApiKeys, reader: DirectoryReader) -> None:
        assert not api_keys.issue("one").row.can_sign
        (key,) = snapshot(reader).api_keys.values()
        assert key.signing_secret is None
        with pytest.raises(AdministrationError, match="RESYNC_ENCRYPTION_KEYS"):
            api_keys.issue("two", signing=True)
        assert [row.name for row in api_keys.list()] == ["one"]

    @pytest.mark.parametrize("column", ["tenant", "id"])
    def test_a_secret_that_is_moved_to_another_key_signs_nothing(
        self, column: str, engine: Engine, reader: DirectoryReader, by_hand: Hand
    ) -> None:
        keys = ApiKeys(engine, ENCRYPTION)
        other = keys.issue("one", signing=True)
        mine = keys.issue("two", tenant="acme")
        by_hand("UPDATE api_keys SET signing_secret = (SELECT signing_secret FROM api_keys WHERE name = 'one')")
        if column == "id":
            by_hand("UPDATE api_keys SET tenant = 'default'")
        by_name = {key.name: key for key in snapshot(reader).api_keys.values()}
        assert by_name["one"].signing_secret == signing_secret(other.key.encode())
        assert by_name["two"].signing_secret is None
        (warning,) = reader.warnings
        assert mine.row.id in warning.problem
        assert "cannot sign" in warning.problem

    def test_a_time_gone_by_is_refused(self, api_keys: ApiKeys) -> None:
        with pytest.raises(AdministrationError, match="expired"):
            api_keys.issue("one", expires_at=datetime.now(UTC))

    def test_a_revoked_key_is_known_as_revoked(self, api_keys: ApiKeys, reader: DirectoryReader) -> None:
        issued = api_keys.issue("one")
        assert api_keys.revoke(issued.row.id).revoked
        assert snapshot(reader).api_keys[hashlib.sha256(issued.key.encode()).digest()].revoked

    def test_revoking_once_more_does_no_harm(self, api_keys: ApiKeys) -> None:
        api_keys.issue("one")
        assert api_keys.revoke("one") == api_keys.revoke("one")

    def test_a_live_name_stands_once_and_revoking_frees_it(self, api_keys: ApiKeys) -> None:
        first = api_keys.issue("one").row
        with pytest.raises(AdministrationError, match="already"):
            api_keys.issue("one")
        api_keys.issue("one", tenant="acme")
        api_keys.revoke("one")
        second = api_keys.issue("one").row
        assert api_keys.revoke("one").id == second.id != first.id

    def test_a_key_that_is_not_there_is_named(self, api_keys: ApiKeys) -> None:
        api_keys.issue("one", tenant="acme")
        with pytest.raises(AdministrationError, match="Give --tenant"):
            api_keys.revoke("one")
        with pytest.raises(AdministrationError, match="no 'two'"):
            api_keys.revoke("two")
