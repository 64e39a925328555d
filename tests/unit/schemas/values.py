"""Records that a producer may send and the service may answer, for examples and for properties."""

from typing import Any

from hypothesis import strategies as st

REQUEST: dict[str, Any] = {
    "requestId": "5b0d2c1e-9f7a-4c1d-8e55-0f6b7f7f0a11",
    "clientSpecificationId": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "products": [
        {"miraklProductId": "MKL-001", "productSku": "SKU-WIDGET-42"},
        {"miraklProductId": "MKL-002", "productSku": "Größe-43"},
    ],
    "requestedAt": 1_700_000_000_000,
    "requestedBy": "stock-alert",
    "reason": None,
}

RESULT: dict[str, Any] = {
    "requestId": REQUEST["requestId"],
    "status": "FAILED",
    "synchronizedProducts": 0,
    "clientSpecificationId": None,
    "trackingIds": [],
    "unsynchronizedProducts": [],
    "error": {
        "httpStatus": 400,
        "code": "VALIDATION_FAILED",
        "message": "Correct the field and ask again.",
        "retryable": False,
        "availableClientSpecificationIds": [],
        "fieldErrors": [{"field": "products", "message": "must not be empty"}],
    },
    "requestedAt": REQUEST["requestedAt"],
    "completedAt": 1_700_000_000_999,
}

LONGS = st.integers(-(2**63), 2**63 - 1)
INTS = st.integers(-(2**31), 2**31 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
REQUEST_IDS = TEXTS.map(lambda text: text[:254] + "x")
YEARS_1_TO_9999 = st.integers(-62_135_596_800_000, 253_402_300_799_999)
PRODUCTS = st.lists(st.fixed_dictionaries({"miraklProductId": TEXTS, "productSku": TEXTS}), max_size=5)

REQUESTS = st.fixed_dictionaries(
    {
        "requestId": REQUEST_IDS,
        "clientSpecificationId": st.none() | TEXTS,
        "products": PRODUCTS,
        "requestedAt": YEARS_1_TO_9999,
        "requestedBy": TEXTS,
        "reason": st.none() | TEXTS,
    }
)
ERRORS = st.fixed_dictionaries(
    {
        "httpStatus": INTS,
        "code": TEXTS,
        "message": TEXTS,
        "retryable": st.booleans(),
        "availableClientSpecificationIds": st.lists(TEXTS, max_size=3),
        "fieldErrors": st.lists(st.fixed_dictionaries({"field": TEXTS, "message": TEXTS}), max_size=3),
    }
)
RESULTS = st.fixed_dictionaries(
    {
        "requestId": TEXTS,
        "status": st.sampled_from(["SYNCHRONIZED", "PARTIALLY_SYNCHRONIZED", "FAILED", "UNKNOWN"]),
        "synchronizedProducts": INTS,
        "clientSpecificationId": st.none() | TEXTS,
        "trackingIds": st.lists(TEXTS, max_size=3),
        "unsynchronizedProducts": PRODUCTS,
        "error": st.none() | ERRORS,
        "requestedAt": LONGS,
        "completedAt": LONGS,
    }
)
