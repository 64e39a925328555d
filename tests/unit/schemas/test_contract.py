"""The contract's rules: codes, ids, uuids and traces, as the service and the tools apply them."""

import string
import unicodedata
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools import InvalidRequestError, ResyncPublisher, new_request
from schemas.avro.codec import RequestEncoder
from schemas.contract import (
    MAX_ERROR_TEXT_CHARACTERS,
    AlertCode,
    CredentialFault,
    ErrorCode,
    GatewayCode,
    canonical_uuid,
    id_fault,
    is_traceparent,
    request_id_fault,
    value_subject,
)
from schemas.settings import load

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEX = st.text(st.sampled_from("0123456789abcdef"), min_size=1, max_size=40)
EVERY_VALUE = dict.fromkeys(
    (
        *("all", "allowed", "answer", "count", "fault", "id", "limit", "listed", "method", "missing"),
        *("mistakes", "name", "problem", "remedy", "seconds", "what"),
    ),
    "{this}",
)

GATEWAY = """
404 NOT_FOUND no
405 METHOD_NOT_ALLOWED no
413 REQUEST_TOO_LARGE no
415 UNSUPPORTED_MEDIA_TYPE no
408 REQUEST_TIMEOUT yes
429 TOO_MANY_CALLS yes
422 IDEMPOTENCY_KEY_REUSED no
503 KAFKA_UNAVAILABLE yes
503 GATEWAY_BUSY yes
504 RESULT_PENDING yes
"""
"""CONTRACT.md, "The gateway's own responses"."""


def test_status_and_retryable_of_the_gateways_own_codes_are_those_of_the_contract() -> None:
    rows = [f"{code.http_status} {code} {'yes' if code.retryable else 'no'}" for code in GatewayCode]

    assert GATEWAY.split("\n")[1:-1] == rows


@pytest.mark.parametrize("code", [*ErrorCode, *GatewayCode, *AlertCode])
def test_every_code_has_one_sentence_that_takes_values_as_they_are(code: ErrorCode | GatewayCode | AlertCode) -> None:
    message = code.message(**EVERY_VALUE)

    assert len(message) < MAX_ERROR_TEXT_CHARACTERS
    assert message.endswith((".", "{this}"))
    assert ". " not in message


@pytest.mark.parametrize("fault", CredentialFault)
def test_every_fault_of_a_credential_is_one_sentence(fault: CredentialFault) -> None:
    assert ErrorCode.API_KEY_INVALID.message(fault=fault) == fault.value
    assert fault.endswith(".")
    assert ". " not in fault


def test_a_message_without_its_values_is_a_defect_that_shows() -> None:
    with pytest.raises(KeyError, match="remedy"):
        ErrorCode.OPERATOR_REQUIRED.message()


@given(st.text(max_size=300))
def test_an_id_is_refused_exactly_for_what_the_contract_names(text: str) -> None:
    refused = (
        not text.strip()
        or len(text) > 255
        or text != text.strip()
        or any(unicodedata.category(character) in {"Cc", "Cf"} for character in text)
    )

    assert refused is (id_fault(text) is not None)


@pytest.mark.parametrize("text", ["", " ", "\u2003", "x" * 256])
def test_a_request_id_is_1_to_255_characters_and_not_blank(text: str) -> None:
    assert request_id_fault(text) is not None
    assert request_id_fault("x" * 255) is None
    assert request_id_fault(" x\n") is None


@given(st.uuids())
def test_a_uuid_is_known_in_its_36_character_form_only(uuid: UUID) -> None:
    assert str(uuid) == canonical_uuid(str(uuid).upper())
    assert canonical_uuid(uuid.hex) is None
    assert canonical_uuid(f"{{{uuid}}}") is None
    assert canonical_uuid(f"{uuid}\n") is None


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-09", True),
        (f"cc-{TRACE}-{SPAN}-09-what-comes-later", True),
        (f"cc-{TRACE}-{SPAN}-09what-comes-later", False),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-01\n", False),
        ("", False),
    ],
)
def test_a_traceparent_is_that_of_the_w3c(text: str, valid: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert valid is is_traceparent(text.encode())


@given(st.tuples(st.sampled_from(["00", "01", "ff"]), HEX, HEX, HEX))
def test_the_tool_sends_no_traceparent_that_the_service_would_ignore(parts: tuple[str, ...]) -> None:
    text = "-".join(parts)
    publisher = _Offline()

    if is_traceparent(text.encode()):
        record = publisher.prepare(new_request([("M", "S")], requested_by="test"), traceparent=text)
        assert ("traceparent", text.encode()) in record.headers
    else:
        with pytest.raises(InvalidRequestError, match="traceparent"):
            publisher.prepare(new_request([("M", "S")], requested_by="test"), traceparent=text)


class _Offline(ResyncPublisher):
    """A publisher that prepares records without brokers."""

    def __init__(self) -> None:
        super().__init__(load({"RESYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}), api_key="key")
        self._encoder = RequestEncoder()

    def open(self) -> None:
        """Connect to nothing."""


@given(st.text(string.ascii_lowercase + ".", max_size=20))
def test_a_subject_is_named_after_its_topic(topic: str) -> None:
    assert f"{topic}-value" == value_subject(topic)
