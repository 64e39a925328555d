"""Signatures: exactly the contract's bytes, and nothing else passes for them."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.signature import Content, Signature, Signing, signer, signing_secret

KEY = b"mrk_a-key-of-somebody"
TOPIC = "mirakl.product-resync.requests.v1"
CONTENT = Content(b"\x00\x00\x00\x01\x0a", b"OPERATOR", b"\xc3\x01 the record's value \x0a\x00")
SECRETS = {signer(hashlib.sha256(KEY).digest()): signing_secret(KEY)}


def by_the_contract(key: bytes, topic: str, content: Content) -> bytes:
    """CONTRACT.md, "Signed requests", word for word."""
    secret = hmac.new(key, b"mirakl-resync signing v1", hashlib.sha256).digest()
    lines = [b"mirakl-resync v1", topic.encode(), (content.schema_id or b"").hex().encode(), content.client or b""]
    signed = b"\n".join([*lines, content.value or b""])
    name = hashlib.sha256(key).hexdigest()[:16]
    return f"v1:{name}:".encode() + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())


def verified(header: bytes, content: Content = CONTENT, topic: str = TOPIC) -> bool:
    """As the service does, which finds the secret by the name in the header."""
    signature = Signature.read(header)
    secret = SECRETS.get(signature.signer) if signature is not None else None
    if signature is None or secret is None:
        return False
    return Signing(topic).matches(secret, signature, content)


@given(
    key=st.binary(min_size=1, max_size=80),
    topic=st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True),
    schema_id=st.none() | st.binary(min_size=1, max_size=17),
    client=st.none() | st.binary(max_size=10).filter(lambda client: b"\n" not in client),
    value=st.none() | st.binary(max_size=200),
)
def test_a_signature_is_that_of_the_contract_and_verifies(
    key: bytes, topic: str, schema_id: bytes | None, client: bytes | None, value: bytes | None
) -> None:
    content = Content(schema_id, client, value)
    header = Signing(topic).header(key, content)

    signature = Signature.read(header)
    assert by_the_contract(key, topic, content) == header
    assert signature is not None
    assert Signing(topic).matches(signing_secret(key), signature, content)


def test_the_secret_of_a_key_is_that_of_the_contract() -> None:
    """Computed with ``openssl dgst -sha256 -hmac mrk_example``."""
    assert "d12267e6850dacc38b9992f2c3bb783c80ccb82fee41a7407c530d1835327ecf" == signing_secret(b"mrk_example").hex()


def test_the_bytes_are_those_that_openssl_computes() -> None:
    """Computed once with ``openssl dgst -sha256 -mac HMAC``."""
    header = Signing("requests").header(b"key", Content(None, b"OPERATOR", b"value"))

    assert OPENSSL == header.decode()


OPENSSL = "v1:2c70e12b7a0646f9:hOALXRvHTi1eX1f7ql1c8TKJ3PjWNpLRaTwPmWHURRg="


@given(st.data())
def test_no_byte_of_what_is_signed_can_be_changed(data: st.DataObject) -> None:
    """Any one byte of topic, schema header, ``dj-client``, value or signature: changed, left out or added."""
    header = Signing(TOPIC).header(KEY, CONTENT)
    part = data.draw(st.sampled_from(("topic", "schema_id", "client", "value", "header")))
    whole = {"topic": TOPIC.encode(), "header": header}.get(part) or getattr(CONTENT, part)
    changed = data.draw(one_byte_off(whole))
    if part == "topic":
        passed = verified(header, topic=changed.decode("latin-1"))
    elif part == "header":
        passed = verified(changed)
    else:
        passed = verified(header, CONTENT._replace(**{part: changed}))

    assert not passed


@st.composite
def one_byte_off(draw: st.DrawFn, whole: bytes) -> bytes:
    at = draw(st.integers(0, len(whole) - 1))
    other = draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    changes = (
        whole[:at] + bytes([other]) + whole[at + 1 :],
        whole[:at] + whole[at + 1 :],
        whole[:at] + bytes([other]) + whole[at:],
    )
    return draw(st.sampled_from(changes))


@given(st.integers(0, len(CONTENT.value or b"")))
def test_nothing_can_be_moved_between_value_and_header(cut: int) -> None:
    """The signed bytes would be the same, cut at another line feed."""
    whole = (CONTENT.client or b"") + b"\n" + (CONTENT.value or b"")
    header = Signing(TOPIC).header(KEY, CONTENT)
    client, _, value = whole[cut:].partition(b"\n")

    moved = Content(CONTENT.schema_id, whole[:cut] + client, value)
    assert verified(header, moved) is (moved == CONTENT)


def test_an_empty_schema_header_is_not_the_same_as_none() -> None:
    content = Content(None, b"OPERATOR", b"value")
    header = Signing(TOPIC).header(KEY, content)

    assert verified(header, content)
    assert not verified(header, content._replace(schema_id=b""))


def test_a_missing_header_signs_as_an_empty_one() -> None:
    bare = Content(None, None, None)
    assert Signing(TOPIC).header(KEY, bare) == Signing(TOPIC).header(KEY, Content(None, b"", b""))


GOOD = Signing(TOPIC).header(KEY, CONTENT)


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\n",
        b" " + GOOD,
        GOOD[:-1] + b" ",
        b"v2" + GOOD[2:],
        b"V1" + GOOD[2:],
        GOOD[:3] + GOOD[3:19].upper().replace(b"0", b"G") + GOOD[19:],
        GOOD[:20] + b"-" + GOOD[21:],
        GOOD[:20] + b"\xff" * 44,
        "v1:0123456789abcdeé:".encode() + GOOD[20:],
        GOOD.replace(b":", b";"),
        GOOD + b":" + GOOD,
        b"v1:" + b"0" * 16 + b":" + b"A" * 32_000 + b"=",
    ],
)
def test_the_form_is_strict(malformed: bytes) -> None:
    assert Signature.read(GOOD) is not None
    assert Signature.read(malformed) is None


def test_no_other_spelling_of_the_same_bytes_is_accepted() -> None:
    """The last character of the base64 carries two bits that a lenient decoder ignores."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    others = [GOOD[:-2] + each.encode() + b"=" for each in alphabet if each.encode() != GOOD[-2:-1]]
    same = [each for each in others if base64.b64decode(each[20:]) == base64.b64decode(GOOD[20:])]

    assert 3 == len(same)
    assert not any(verified(each) for each in others)


def test_the_key_is_named_by_the_first_digits_of_its_hash() -> None:
    digest = hashlib.sha256(KEY).digest()
    assert hashlib.sha256(KEY).hexdigest()[:16] == signer(digest)
    assert f"v1:{signer(digest)}:".encode() == GOOD[:20]
