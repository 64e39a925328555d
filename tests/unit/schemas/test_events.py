import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import events
from schemas.avro import released
from schemas.avro.codec import RequestDecoder, RequestEncoder, ResultDecoder, ResultEncoder
from schemas.events import ProductReference, ProductResyncRequested, ProductResyncResult, ResyncError, ResyncStatus
from tests.unit.schemas.values import REQUEST, RESULT, RESULTS, YEARS_1_TO_9999

NEARLY_ALL_TIMES = (datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - hypothesis adds the zone
RECORDS_OF_MODELS: dict[str, type[events.Event]] = {
    "ProductReference": events.ProductReference,
    "ProductResyncRequested": events.ProductResyncRequested,
    "ProductResyncResult": events.ProductResyncResult,
    "ResyncError": events.ResyncError,
    "FieldError": events.FieldError,
}


def request(**changes: Any) -> ProductResyncRequested:  # noqa: ANN401 - any field
    return ProductResyncRequested.from_record(REQUEST | changes)


def test_a_request_is_built_in_pythons_names_and_written_in_the_contracts() -> None:
    made = ProductResyncRequested(
        request_id="r-1",
        products=(ProductReference(mirakl_product_id="MKL-1", product_sku="SKU-1"),),
        requested_at=datetime(2025, 1, 31, 12, tzinfo=UTC),
        requested_by="a test",
    )

    assert made.to_record() == {
        "requestId": "r-1",
        "clientSpecificationId": None,
        "products": [{"miraklProductId": "MKL-1", "productSku": "SKU-1"}],
        "requestedAt": 1_738_324_800_000,
        "requestedBy": "a test",
        "reason": None,
    }


def test_a_request_survives_the_wire() -> None:
    read = RequestDecoder(registry=False, max_bytes=1 << 20).decode(RequestEncoder().encode(request().to_record()))

    assert isinstance(read, dict)
    assert request() == ProductResyncRequested.from_record(read)


@given(RESULTS, YEARS_1_TO_9999, YEARS_1_TO_9999)
def test_a_result_survives_the_wire(result: dict[str, Any], requested_at: int, completed_at: int) -> None:
    result |= {"requestedAt": requested_at, "completedAt": completed_at}
    read = ResultDecoder(registry=False).decode(ResultEncoder().encode(result))

    assert isinstance(read, dict)
    assert result == ProductResyncResult.from_record(read).to_record()


def test_a_subscriber_reads_pythons_names_and_types() -> None:
    read = ProductResyncResult.from_record(RESULT)

    assert read.status is ResyncStatus.FAILED
    assert read.completed_at == datetime(2023, 11, 14, 22, 13, 20, 999_000, tzinfo=UTC)
    assert isinstance(read.error, ResyncError)
    assert [("products", "must not be empty")] == [(row.field, row.message) for row in read.error.field_errors]


@given(st.datetimes(*NEARLY_ALL_TIMES, timezones=st.just(timezone(timedelta(hours=5, minutes=30)))))
def test_a_time_is_kept_in_utc_to_the_millisecond_below(time: datetime) -> None:
    kept = request(requestedAt=time).requested_at

    assert UTC is kept.tzinfo
    assert timedelta(0) <= time - kept < timedelta(milliseconds=1)
    assert kept == request(requestedAt=request(requestedAt=time).to_record()["requestedAt"]).requested_at


def test_small_numbers_are_milliseconds_too() -> None:
    assert request(requestedAt=1000).requested_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"requestedAt": datetime(2025, 1, 1)},  # noqa: DTZ001 - that is the mistake
        {"requestedAt": 2**62},
        {"products": None},
        {"nosuch": 1},
    ],
)
def test_a_mistake_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**change)


def test_events_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        request().reason = "another"  # type: ignore[misc] # that is what must not work


def test_the_models_have_the_fields_of_the_newest_schemas() -> None:
    schemas = [json.loads(versions[-1].text) for versions in (released.requests(), released.results())]
    in_schemas = {name: fields for schema in schemas for name, fields in records(schema)}

    assert in_schemas == {
        name: {field.alias for field in model.model_fields.values()} for name, model in RECORDS_OF_MODELS.items()
    }


def test_the_statuses_are_those_of_the_newest_schema() -> None:
    status = json.loads(released.results()[-1].text)["fields"][1]["type"]

    assert status["symbols"] == [member.value for member in ResyncStatus]


def records(node: Any) -> list[tuple[str, set[str]]]:  # noqa: ANN401 - JSON
    """The records of a schema, outer and inner, with the names of their fields."""
    if isinstance(node, list):
        return [found for branch in node for found in records(branch)]
    if not isinstance(node, dict):
        return []
    own = [(node["name"], {field["name"] for field in node["fields"]})] if node["type"] == "record" else []
    inner = [*(field["type"] for field in node.get("fields", [])), node.get("items"), node["type"]]
    return own + [found for part in inner for found in records(part)]
