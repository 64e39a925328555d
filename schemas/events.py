"""The events as typed, frozen models, which producers build and subscribers receive.

Attributes are snake_case, their aliases the names of the contract; both are accepted. Times are aware, in UTC,
and exact to the millisecond.

>>> ProductReference(mirakl_product_id="MKL-001", product_sku="SKU-WIDGET-42").to_record()
{'miraklProductId': 'MKL-001', 'productSku': 'SKU-WIDGET-42'}
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def _from_millis(given: object) -> object:
    """Convert a record's milliseconds since the epoch; pydantic itself would guess seconds below 2e10."""
    if not isinstance(given, int):
        return given
    try:
        return _EPOCH + given * _MILLISECOND
    except OverflowError as error:
        raise ValueError("a time outside the years 1 to 9999") from error


def _to_the_millisecond(time: datetime) -> datetime:
    time = time.astimezone(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def millis(time: datetime) -> int:
    """Return an aware time in whole milliseconds since the epoch, as a record holds it."""
    return (time - _EPOCH) // _MILLISECOND


Time = Annotated[AwareDatetime, BeforeValidator(_from_millis), AfterValidator(_to_the_millisecond)]
"""An aware time, kept in UTC; a number is milliseconds since the epoch."""


class Event(BaseModel):
    """A frozen model of a record on a topic, with the names of the contract as aliases."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the model of a decoded record. Raises ``pydantic.ValidationError`` if it does not match."""
        return cls.model_validate(record)

    def to_record(self) -> dict[str, Any]:
        """Return the fields as they are encoded: names of the contract, plain values, times in milliseconds."""
        return {field.alias or name: _plain(getattr(self, name)) for name, field in type(self).model_fields.items()}


def _plain(value: object) -> object:
    if isinstance(value, Event):
        return value.to_record()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    return millis(value) if isinstance(value, datetime) else value


class ProductReference(Event):
    """A product pair: the product as Mirakl knows it and as the operator knows it."""

    mirakl_product_id: str
    product_sku: str


class ProductResyncRequested(Event):
    """A request that product pairs are pushed to Mirakl again: the value on the requests topic.

    Built by ``producer_tools.new_request``, which checks the rules of the contract; the model checks types only.
    """

    request_id: str
    """1 to 255 characters; the result repeats it byte for byte."""
    products: tuple[ProductReference, ...]
    requested_at: Time
    requested_by: str
    """The requester: a person, an alert or a job."""
    client_specification_id: str | None = None
    """The Mirakl client configuration to use, a UUID; ``None``: the tenant's only active one."""
    reason: str | None = None


class ResyncStatus(StrEnum):
    """The outcome of a request. A value that this release does not know is read as ``UNKNOWN``."""

    SYNCHRONIZED = "SYNCHRONIZED"
    PARTIALLY_SYNCHRONIZED = "PARTIALLY_SYNCHRONIZED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    """A status that is newer than this reader."""


class FieldError(Event):
    """One violation of the contract's rules: ``field`` is its path, such as ``products[3].productSku``."""

    field: str
    message: str


class ResyncError(Event):
    """Error of a request that was not, or only partially, synchronized.

    ``code`` is for programs, ``message`` for people. Lists hold the first 100 rows; the message gives the totals.
    """

    http_status: int
    """The status that the published HTTP operation answers with."""
    code: str
    """Stable, for programs; a newer service may have new ones."""
    message: str
    """For people: one sentence that says what to do."""
    retryable: bool
    """Whether the same request could succeed later."""
    available_client_specification_ids: tuple[str, ...] = ()
    field_errors: tuple[FieldError, ...] = ()


class ProductResyncResult(Event):
    """The result of one request: the value on the results topic, to be read with ``isolation.level=read_committed``."""

    request_id: str
    status: ResyncStatus
    synchronized_products: int
    """Number of products sent to Mirakl for synchronization."""
    client_specification_id: str | None
    """The configuration that was used; ``None``: none was resolved."""
    tracking_ids: tuple[str, ...]
    """The CM21 tracking ids that cover the request, in the order of sending."""
    unsynchronized_products: tuple[ProductReference, ...] = ()
    """With ``PARTIALLY_SYNCHRONIZED``: the pairs that were not accepted, to be requested again."""
    error: ResyncError | None = None
    """``None`` if and only if ``SYNCHRONIZED``."""
    requested_at: Time
    completed_at: Time
