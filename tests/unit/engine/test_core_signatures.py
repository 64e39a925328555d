"""Signed requests: whose they are, for how long they count, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumer.domain.authorization import CredentialPolicy, key_digest
from consumer.domain.model import ApiKey, build_directory
from consumer.domain.outcome import DeadLettered, Failed, Synchronized
from consumer.engine.credentials import Credentials
from consumer.engine.events import SchemaFound, SchemaMissing
from consumer.engine.records import Record
from schemas.contract import REQUESTS_TOPIC, Credential, CredentialFault, ErrorCode
from schemas.signature import Content, Signature, Signing, signing_secret
from tests.support.builders import api_key
from tests.unit.engine.world import FIRST, KEY, SECOND, WALL, World, body, specification

DAY = 86_400


class CountingVerifier:
    """Verifies, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def matches(self, secret: bytes, signature: Signature, content: Content) -> bool:
        self.count += 1
        return Signing(REQUESTS_TOPIC).matches(secret, signature, content)


def signing_key(key: bytes = KEY, **changes: object) -> ApiKey:
    return api_key(signing_secret=signing_secret(key), **changes)


def world(*, key: ApiKey | None = None, **policy: object) -> World:
    """A world in which ``KEY`` can sign."""
    made = World(credentials=Credentials(CredentialPolicy(**policy)))  # type: ignore[arg-type]
    made.change(specification(), keys={KEY: key or signing_key()})
    made.wait(2.0)
    return made


def asked(world: World, headers: Sequence[tuple[str, bytes | None]], value: bytes | None = None) -> str:
    """The answer to a request with exactly these headers: its code, and what the message says of a credential."""
    record = world.record(value or body("asks"))
    return answer(world, replace(record, headers=headers))


def answer(world: World, record: Record) -> str:
    world.fetch([record])
    world.wait(0.5)
    while world.calls:
        world.answer()
    world.settle()
    verdict = world.committed[-1].verdict
    if not isinstance(verdict, Failed):
        return "SYNCHRONIZED" if isinstance(verdict, Synchronized) else "DEAD"
    code, message = verdict.error.code, verdict.error.message
    return fault_in(message).name if code is ErrorCode.API_KEY_INVALID else code.value


def fault_in(message: str) -> CredentialFault:
    """The fault that a message is about, whatever times it names."""
    [fault] = [each for each in CredentialFault if message.startswith(each.split("{", maxsplit=1)[0])]
    return fault


def signed_at(requested_at: float) -> bytes:
    """A request that was made at this time, in seconds since the epoch."""
    return body("asks").replace(b"1700000000000", str(round(requested_at * 1000)).encode())


def test_a_signed_request_is_the_key_holders() -> None:
    here = world()
    assert "SYNCHRONIZED" == answer(here, here.record(body("asks"), signed=True))


def test_a_request_has_the_name_of_its_key_whether_it_was_sent_or_signed_with() -> None:
    """Nobody whose credential is not valid gets the name of a key."""
    here = world(key=signing_key(name="erp"))
    long_ago = body("asks").replace(b"1700000000000", b"1")
    records = [
        here.record(body("asks")),
        here.record(body("asks"), signed=True),
        here.record(b"no request", signed=True),
        here.record(body("asks", given=SECOND)),
        here.record(body("asks"), key=b"stranger"),
        here.record(long_ago, signed=True),
    ]
    for record in records:
        answer(here, record)

    assert ["erp", "erp", "erp", "erp", None, None] == [each.key_name for each in here.committed]
    assert ["default"] * 4 + [None] * 2 == [each.tenant for each in here.committed]


def test_what_is_signed_differently_is_refused() -> None:
    here = world()
    good = here.record(body("asks"), signed=True)
    elsewhere = Signing("another-topic").header(KEY, Content(None, b"OPERATOR", good.value))

    assert "MISMATCH" == answer(here, replace(good, value=body("asks", given=SECOND)))
    assert "MISMATCH" == asked(here, [("dj-signature", elsewhere), ("dj-client", b"OPERATOR")])
    assert "MISMATCH" == asked(here, [*(good.headers or ()), ("dj-client", b"operator")])
    assert "MALFORMED" == asked(here, [("dj-signature", b"v1:0123"), ("dj-client", b"OPERATOR")])


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (api_key(), "CANNOT_SIGN"),
        (signing_key(revoked=True), "REVOKED"),
        (signing_key(expires_at=WALL), "EXPIRED"),
        (signing_key(b"another"), "MISMATCH"),
    ],
)
def test_a_key_that_does_not_count_signs_nothing(key: ApiKey, fault: str) -> None:
    here = world(key=key)
    assert fault == answer(here, here.record(body("asks"), signed=True))


def test_a_key_that_was_never_issued_costs_no_hmac() -> None:
    verifier = CountingVerifier()
    here = World(credentials=Credentials(verifier=verifier))
    here.change(specification(), keys={KEY: signing_key(), b"old": signing_key(b"old", revoked=True)})

    assert "UNKNOWN" == answer(here, here.record(body("asks"), key=b"never issued", signed=True))
    assert "REVOKED" == answer(here, here.record(body("asks"), key=b"old", signed=True))
    assert 0 == verifier.count


def test_of_keys_with_the_same_name_the_one_that_signed_counts() -> None:
    here = World(specification(tenant="other"), specification(SECOND))
    digest = key_digest(KEY)
    rows = {
        digest[:8] + bytes(24): signing_key(b"first", id="1"),
        digest: signing_key(id="2", tenant="other"),
        digest[:8] + b"\xff" * 24: signing_key(b"third", id="3", revoked=True),
    }
    here.directory, here.changed = (
        build_directory(7, [specification(tenant="other"), specification(SECOND)], rows),
        True,
    )
    here.wait(2.0)

    assert "SYNCHRONIZED" == answer(here, here.record(body("asks", given=FIRST), signed=True))
    assert "other" == here.committed[-1].tenant


@pytest.mark.parametrize(
    ("age", "code"),
    [(3 * DAY - 60, "SYNCHRONIZED"), (3 * DAY + 60, "TOO_OLD"), (-240, "SYNCHRONIZED"), (-360, "IN_THE_FUTURE")],
)
def test_a_signature_counts_for_a_while(age: float, code: str) -> None:
    here = world()
    assert code == answer(here, here.record(signed_at(here.at.wall - age), signed=True))


def test_of_an_old_signature_that_does_not_match_the_mismatch_is_told() -> None:
    here = world()
    old = here.record(signed_at(0.0), signed=True)

    assert "MISMATCH" == answer(here, replace(old, value=signed_at(1.0)))
    assert "TOO_OLD" == answer(here, replace(old, offset=2))


def test_the_age_may_be_set_and_a_key_has_none() -> None:
    here = world(max_age=60.0)
    old = signed_at(here.at.wall - 70)

    assert "TOO_OLD" == answer(here, here.record(old, signed=True))
    assert "SYNCHRONIZED" == answer(here, here.record(old))


def test_the_age_is_that_at_which_the_record_was_read() -> None:
    """Whatever it waits for later."""
    here = world(max_age=60.0)
    here.database = False
    value = signed_at(here.at.wall - 55).replace(FIRST.encode(), b"")
    here.fetch([here.record(value, signed=True, schema="late")])
    here.wait(4.0)
    here.jump(10.0)
    here.database = True
    here.wait(2.0)
    here.decoder.learnt.add("late")
    here.do(SchemaFound("late"))
    here.wait(1.0)
    here.answer()
    here.settle()

    assert "SYNCHRONIZED" == here.code("asks")


def test_the_signature_counts_before_a_key() -> None:
    here = world()
    good = here.record(body("asks"), signed=True).headers or ()

    assert "SYNCHRONIZED" == asked(here, [("dj-api-key", b"unknown"), *good])
    bad = ("DJ-Signature", b"v1:" + b"0" * 16 + b":" + b"A" * 43 + b"=")
    assert "UNKNOWN" == asked(here, [("dj-api-key", KEY), *good, bad])
    assert "SYNCHRONIZED" == asked(here, [bad, *good])


@pytest.mark.parametrize("blank", [b"", b" \t", "\u3000".encode(), None])
def test_a_blank_signature_is_a_missing_credential_although_there_is_a_key(blank: bytes | None) -> None:
    here = world()
    headers = [("dj-signature", blank), ("dj-api-key", KEY), ("dj-client", b"OPERATOR")]

    assert "API_KEY_MISSING" == asked(here, headers)


@pytest.mark.parametrize("hostile", [b"\xff" * 64, b"v1:" * 10_000, b"\x00", b"v1:" + b"\xff" * 16 + b":" + b"A" * 44])
def test_whatever_stands_in_the_header_is_answered(hostile: bytes) -> None:
    assert "MALFORMED" == asked(world(), [("dj-signature", hostile), ("dj-client", b"OPERATOR")])


def test_only_accepted_credentials_count() -> None:
    signatures = world(accepted=(Credential.SIGNATURE,))
    assert "KEYS_EXCLUDED" == answer(signatures, signatures.record(body("asks")))
    assert "SYNCHRONIZED" == answer(signatures, signatures.record(body("asks"), signed=True))
    assert "API_KEY_MISSING" == answer(signatures, signatures.record(body("asks"), key=b" "))
    assert "API_KEY_MISSING" == answer(signatures, signatures.record(body("asks"), key=None))

    keys = world(accepted=(Credential.KEY,))
    assert "SYNCHRONIZED" == answer(keys, keys.record(body("asks")))
    assert "SIGNATURES_EXCLUDED" == answer(keys, keys.record(body("asks"), signed=True))
    assert "SIGNATURES_EXCLUDED" == asked(keys, [("dj-signature", b"x"), ("dj-api-key", KEY)])


@pytest.mark.parametrize("schema", [None, "late"])
def test_the_age_is_looked_at_before_the_role(schema: str | None) -> None:
    """Also where the role is known to be wrong before the time can be read."""
    here = world()

    def asks(value: bytes) -> str:
        here.decoder.learnt.clear()
        here.fetch([here.record(value, signed=True, caller=b"SUPPLIER", schema=schema)])
        here.wait(1.0)
        if schema is not None:
            here.decoder.learnt.add(schema)
            here.do(SchemaFound(schema))
        here.settle()
        verdict = here.committed[-1].verdict
        assert isinstance(verdict, Failed)
        return verdict.error.code

    assert "OPERATOR_REQUIRED" == asks(body("asks"))
    assert "API_KEY_INVALID" == asks(signed_at(0.0))


def test_the_tenant_of_a_dead_letter_is_known_by_its_signature() -> None:
    here = world(key=signing_key(tenant="acme"))
    good = here.record(b"no request", signed=True)
    stolen = replace(here.record(b"no request either"), headers=good.headers)
    unknown = here.record(body("unknown"), signed=True, schema="nowhere")
    here.fetch([good, stolen, unknown])
    here.wait(1.0)
    here.do(SchemaMissing("nowhere"))
    here.wait(31.0)
    here.do(SchemaMissing("nowhere"))
    here.settle()

    assert ["acme", None, "acme"] == [each.tenant for each in here.committed]
    assert all(isinstance(each.verdict, DeadLettered) for each in here.committed)


def test_a_stranger_does_not_have_the_registry_asked() -> None:
    """Nor does a request that it signed wait for it in the way of others."""
    here = world()
    here.send("asks", key=b"stranger", signed=True, schema="late", given=FIRST)
    here.send("next", given=FIRST)
    here.wait(0.5)
    here.answer()
    here.settle()

    assert "SYNCHRONIZED" == here.code("next")
