"""Making requests: what is checked before anything is sent, and that no key shows."""

import pytest

from producer_tools import InvalidRequestError, MisconfiguredError, ResyncPublisher, new_request
from producer_tools.publisher import encoded, operator_headers, request_key
from producer_tools.sender import OutgoingRecord
from schemas.avro.codec import RequestEncoder
from schemas.settings import Settings, load

SPECIFICATION = "0B6FF0DD-6E62-4F9F-8C6B-0F2E5A4E9D11"
SETTINGS = load({"RESYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        new_request([("", "S"), ("M", "S ")], requested_by="\ud800", client_specification_id="x", request_id="")

    assert [
        "clientSpecificationId: 'x' is not a UUID in its 36-character form.",
        "products[0]: miraklProductId must not be blank.",
        "products[1]: productSku must not begin or end with white space: 'S '.",
        "requestId: must have 1 to 255 characters, not all blank.",
        "requestedBy: is not valid Unicode text.",
    ] == str(caught.value).split("\n")


def test_a_request_has_products_and_not_too_many() -> None:
    with pytest.raises(InvalidRequestError, match="is empty"):
        new_request([], requested_by="test")
    with pytest.raises(InvalidRequestError, match="has 3 products; at most 2 go into a request"):
        new_request([(f"M{n}", "S") for n in range(3)], requested_by="test", max_products=2)


@pytest.mark.parametrize("request_id", ["", " ", "x" * 256])
def test_a_request_id_that_the_service_would_not_read_is_refused(request_id: str) -> None:
    with pytest.raises(InvalidRequestError, match="requestId: must have 1 to 255 characters, not all blank"):
        new_request([("M", "S")], requested_by="test", request_id=request_id)


def test_the_client_specification_is_the_key_in_lower_case_so_that_its_requests_share_a_partition() -> None:
    request = new_request([("M", "S")], requested_by="test", client_specification_id=SPECIFICATION)

    assert SPECIFICATION.lower().encode() == request_key(request)
    assert request_key(new_request([("M", "S")], requested_by="test")) is None


def test_a_request_larger_than_the_service_reads_names_the_setting() -> None:
    request = new_request([(f"{n:0>200}", "S") for n in range(10)], requested_by="test")

    with pytest.raises(InvalidRequestError, match=r"more than RESYNC_MAX_REQUEST_BYTES \(1024\).*fewer products"):
        encoded(request, RequestEncoder(), 1024)


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_there_is_no_publisher(key: str | None) -> None:
    with pytest.raises(MisconfiguredError, match="Set RESYNC_API_KEY"):
        ResyncPublisher(SETTINGS, api_key=key)


@pytest.mark.parametrize("key", ["two\nlines", "\udc80", "nul\0"])
def test_a_key_that_is_no_line_of_text_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(MisconfiguredError) as caught:
        operator_headers(SETTINGS, key)

    assert key not in str(caught.value)


def test_the_key_comes_from_the_settings_and_shows_nowhere() -> None:
    settings: Settings = load({"RESYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "RESYNC_API_KEY": "very-secret"})

    headers = operator_headers(settings)

    assert (("dj-client", b"OPERATOR"), ("dj-api-key", b"very-secret")) == headers
    assert "very-secret" not in repr(OutgoingRecord(b"", None, headers)) + repr(settings)


def test_without_brokers_the_setting_is_named() -> None:
    with pytest.raises(MisconfiguredError, match="RESYNC_KAFKA__BOOTSTRAP_SERVERS is not set"):
        ResyncPublisher(load({}), api_key="k").open()
