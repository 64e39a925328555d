"""Objects that many tests need and few care about in full: each with plain values, changed by name."""

from dataclasses import replace
from typing import Any

from consumer.domain.model import ApiKey, AuthScheme, ClientSpecification, Role
from consumer.engine.records import Headers, Record

SPECIFICATION_ID = "11111111-2222-3333-4444-555555555555"
COMPLETED_AT = 1_700_000_000_250

_SPECIFICATION = ClientSpecification(
    id=SPECIFICATION_ID,
    tenant="default",
    name="acme",
    base_url="https://mirakl.example",
    credential="secret-credential",
    auth_scheme=AuthScheme.BEARER,
    active=True,
    suspended=False,
    products_per_call=1_000,
    concurrent_calls=4,
    calls_per_hour=None,
)
_API_KEY = ApiKey("key-1", "default", "ops", Role.OPERATOR, expires_at=None, revoked=False)


def client_specification(**changes: Any) -> ClientSpecification:  # noqa: ANN401 - of any field
    """Return an active specification of the tenant ``default``."""
    return replace(_SPECIFICATION, **changes)


def api_key(**changes: Any) -> ApiKey:  # noqa: ANN401 - of any field
    """Return a valid operator's key of the tenant ``default``."""
    return replace(_API_KEY, **changes)


def result_fields(request_id: str, **changes: object) -> dict[str, Any]:
    """Return the fields of a ``SYNCHRONIZED`` result, by their names in the contract."""
    return {
        "requestId": request_id,
        "status": "SYNCHRONIZED",
        "synchronizedProducts": 1,
        "clientSpecificationId": SPECIFICATION_ID,
        "trackingIds": ["4711"],
        "unsynchronizedProducts": [],
        "error": None,
        "requestedAt": 1_700_000_000_000,
        "completedAt": COMPLETED_AT,
        **changes,
    }


def fetched_record(
    partition: int,
    offset: int,
    timestamp: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers | None,
    problem: str | None = None,
) -> Record:
    """Return a record as it is read, with its size counted."""
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(text or b"") for name, text in headers or ())
    return Record(partition, offset, timestamp, key, value, headers, problem, size)
