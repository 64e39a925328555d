"""Every row of the error table that needs no Mirakl, in its order, and what the result says beside it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, record
from tests.integration.contract.wire import Event, pairs, request
from tests.support.records import RawRecord

pytestmark = pytest.mark.usefixtures("service")

OPERATOR = ("dj-client", b"OPERATOR")
NOWHERE = "0B6FF0DD-6E62-4F9F-8C6B-0F2E5A4E9D11"


def pair(mirakl_id: str = "MKL", sku: str = "SKU") -> Event:
    return {"miraklProductId": mirakl_id, "productSku": sku}


def with_headers(event: Event, *headers: tuple[str, bytes | None]) -> RawRecord:
    return RawRecord(wire.single_object(event), None, headers)


@dataclass(frozen=True)
class Tenants:
    """Tenants that differ in their active client specifications."""

    none: str
    several: str
    several_ids: list[str]
    many: str
    one: str
    one_id: str
    one_inactive_id: str


@pytest.fixture(scope="module")
def tenants(deployment: Deployment) -> Tenants:
    several = [deployment.specification(f"several-{number}", tenant="several") for number in range(3)]
    for number in range(101):
        deployment.specification(f"many-{number}", tenant="many")
    return Tenants(
        deployment.key("none"),
        deployment.key("several"),
        several,
        deployment.key("many"),
        deployment.key("one"),
        deployment.specification("one", tenant="one"),
        deployment.specification("one-inactive", "--inactive", tenant="one"),
    )


def refused(deployment: Deployment, sent: RawRecord) -> Event:
    """The error of a request that must fail and must not have reached Mirakl."""
    [coordinates] = deployment.send(sent)
    result = deployment.result(coordinates)
    error: Event = result["error"]
    assert ("FAILED", 0, [], []) == (
        result["status"],
        result["synchronizedProducts"],
        result["trackingIds"],
        result["unsynchronizedProducts"],
    )
    assert 0 < len(error["message"]) <= 500
    assert error["message"].endswith((".", "…"))
    return {**error, "clientSpecificationId": result["clientSpecificationId"]}


def code(error: Event) -> tuple[int, str, bool]:
    return error["httpStatus"], error["code"], error["retryable"]


MISSING = (401, "API_KEY_MISSING", False)
INVALID = (401, "API_KEY_INVALID", False)
FORBIDDEN = (403, "OPERATOR_REQUIRED", False)
MALFORMED = (400, "VALIDATION_FAILED", False)


@pytest.mark.parametrize("value", [b"", b" \t", "\u3000".encode(), None], ids=["empty", "blank", "wide-blank", "null"])
def test_without_a_key_nothing_else_is_looked_at(deployment: Deployment, value: bytes | None) -> None:
    assert MISSING == code(refused(deployment, with_headers(request([]), ("dj-api-key", value))))


def test_without_any_header_the_key_is_missing(deployment: Deployment) -> None:
    error = refused(deployment, RawRecord(wire.single_object(request())))

    assert MISSING == code(error)
    assert ([], [], None) == (
        error["availableClientSpecificationIds"],
        error["fieldErrors"],
        error["clientSpecificationId"],
    )


@pytest.mark.parametrize("value", [b"wrong", b"\xff\xfe", b"x" * 10_000], ids=["unknown", "no-text", "long"])
def test_a_key_that_nobody_issued_is_invalid_before_anything_else(deployment: Deployment, value: bytes) -> None:
    assert INVALID == code(refused(deployment, with_headers(request([]), ("dj-api-key", value))))


def test_a_revoked_key_is_invalid(deployment: Deployment) -> None:
    key = deployment.administer("api-keys", "issue", "--name", "to-revoke")
    deployment.administer("api-keys", "revoke", "to-revoke")

    assert INVALID == code(refused(deployment, record(key, request([]))))


@pytest.mark.parametrize("role", ["ACCOUNT", "SUPPLIER"])
def test_a_key_of_another_role_is_forbidden_before_the_request_is_validated(deployment: Deployment, role: str) -> None:
    assert FORBIDDEN == code(refused(deployment, record(deployment.key(role=role), request([]))))


@pytest.mark.parametrize("client", [None, b"operator", b"ACCOUNT", b""], ids=["null", "lower", "other", "empty"])
def test_whoever_is_no_operator_is_forbidden_before_the_request_is_validated(
    deployment: Deployment, key: str, client: bytes | None
) -> None:
    sent = with_headers(request([]), ("dj-api-key", key.encode()), ("dj-client", client))

    assert FORBIDDEN == code(refused(deployment, sent))


def test_without_the_header_that_says_operator_it_is_forbidden(deployment: Deployment, key: str) -> None:
    assert FORBIDDEN == code(refused(deployment, with_headers(request([]), ("dj-api-key", key.encode()))))


def test_names_have_no_case_and_the_last_of_a_name_counts(deployment: Deployment, key: str) -> None:
    good, bad = ("Dj-API-key", key.encode()), ("DJ-Api-Key", b"wrong")

    assert MALFORMED == code(refused(deployment, with_headers(request([]), bad, good, ("dj-CLIENT", b"x"), OPERATOR)))
    assert INVALID == code(refused(deployment, with_headers(request([]), good, bad, OPERATOR)))
    assert MISSING == code(refused(deployment, with_headers(request([]), good, ("dj-api-key", None), OPERATOR)))


@pytest.mark.parametrize(
    ("products", "fields"),
    [
        ([], ["products"]),
        ([pair("", "")], ["products[0].miraklProductId", "products[0].productSku"]),
        ([pair(" \u3000")], ["products[0].miraklProductId"]),
        ([pair(), pair("x" * 256, "y" * 256)], ["products[1].miraklProductId", "products[1].productSku"]),
        ([pair(" a"), pair("b", "c\u00a0")], ["products[0].miraklProductId", "products[1].productSku"]),
        ([pair("a\u0007b", "a\u200bb")], ["products[0].miraklProductId", "products[0].productSku"]),
        ([pair("a\u0000b"), pair("a\u00adb")], ["products[0].miraklProductId", "products[1].miraklProductId"]),
        ([pair("A", "1"), pair("B", "1"), pair("A", "2")], ["products[2].productSku"]),
    ],
    ids=["none", "empty", "blank", "long", "spaces", "format", "nul", "two-skus"],
)
def test_each_mistake_is_named_by_its_field(
    deployment: Deployment, key: str, products: list[Event], fields: list[str]
) -> None:
    error = refused(deployment, record(key, request(products, NOWHERE)))

    assert MALFORMED == code(error)
    assert fields == [row["field"] for row in error["fieldErrors"]]
    assert all(0 < len(row["message"]) <= 500 for row in error["fieldErrors"])
    assert NOWHERE.lower() == error["clientSpecificationId"]


def test_ids_may_be_as_long_as_255_characters_and_of_any_script(deployment: Deployment, tenants: Tenants) -> None:
    ids = ["x" * 255, "\U0001f600" * 255, "a b", "é", "-", "0", "null", '"\\/'.strip()]
    [result] = deployment.ask(tenants.one, request([pair(each, each) for each in ids]))

    assert "SYNCHRONIZED" == result["status"]
    [submission] = [each for each in deployment.mirakl.submissions("one") if "\U0001f600" * 255 in each]
    assert {each: each for each in ids} == submission


@pytest.mark.parametrize(
    "given",
    ["", "x", NOWHERE.replace("-", ""), f"{{{NOWHERE}}}", f"urn:uuid:{NOWHERE}", f" {NOWHERE}", f"{NOWHERE}\n"],
)
def test_an_id_that_is_no_uuid_is_not_repeated(deployment: Deployment, key: str, given: str) -> None:
    error = refused(deployment, record(key, request(None, given)))

    assert MALFORMED == code(error)
    assert (["clientSpecificationId"], None) == (
        [row["field"] for row in error["fieldErrors"]],
        error["clientSpecificationId"],
    )


def test_more_products_than_allowed_are_one_mistake(deployment: Deployment, key: str) -> None:
    error = refused(deployment, record(key, request(pairs(10_001))))

    assert MALFORMED == code(error)
    assert ["products"] == [row["field"] for row in error["fieldErrors"]]


def test_of_many_mistakes_a_hundred_are_listed_and_all_are_counted(deployment: Deployment, key: str) -> None:
    error = refused(deployment, record(key, request([pair(f" {number}") for number in range(120)])))

    assert 100 == len(error["fieldErrors"])
    assert "120" in error["message"]


@pytest.mark.parametrize("given", [NOWHERE, NOWHERE.lower()])
def test_an_unknown_specification_is_not_found(deployment: Deployment, key: str, given: str) -> None:
    error = refused(deployment, record(key, request(None, given)))

    assert (404, "CLIENT_SPECIFICATION_NOT_FOUND", False) == code(error)
    assert error["clientSpecificationId"] is None


def test_another_tenants_specification_is_not_found(deployment: Deployment, tenants: Tenants) -> None:
    error = refused(deployment, record(tenants.none, request(None, tenants.one_id)))

    assert (404, "CLIENT_SPECIFICATION_NOT_FOUND", False) == code(error)


def test_no_active_specification(deployment: Deployment, tenants: Tenants) -> None:
    error = refused(deployment, record(tenants.none, request()))

    assert (400, "NO_ACTIVE_CLIENT_SPECIFICATION", False) == code(error)
    assert [] == error["availableClientSpecificationIds"]


def test_several_active_specifications_are_listed_in_order(deployment: Deployment, tenants: Tenants) -> None:
    error = refused(deployment, record(tenants.several, request()))

    assert (400, "MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS", False) == code(error)
    assert sorted(tenants.several_ids) == error["availableClientSpecificationIds"]


def test_of_many_active_specifications_a_hundred_are_listed_and_all_are_counted(
    deployment: Deployment, tenants: Tenants
) -> None:
    error = refused(deployment, record(tenants.many, request()))

    assert 100 == len(error["availableClientSpecificationIds"])
    assert "101" in error["message"]


def test_the_only_active_specification_is_used(deployment: Deployment, tenants: Tenants) -> None:
    sent = request([*pairs(2, "ONLY"), *pairs(2, "ONLY")], requestId="  any text, é  ", requestedAt=-1)
    [result] = deployment.ask(tenants.one, sent)
    [submission] = [each for each in deployment.mirakl.submissions("one") if "ONLY-0" in each]
    [tracking_id] = result.pop("trackingIds")

    assert {"ONLY-0": "SKU-0", "ONLY-1": "SKU-1"} == submission
    assert deployment.mirakl.simulator.journal.find(tracking_id) is not None
    assert result.pop("completedAt") > 0
    assert {
        "requestId": "  any text, é  ",
        "status": "SYNCHRONIZED",
        "synchronizedProducts": 2,
        "clientSpecificationId": tenants.one_id,
        "unsynchronizedProducts": [],
        "error": None,
        "requestedAt": -1,
    } == result


def test_a_given_specification_is_used_whether_active_or_not(deployment: Deployment, tenants: Tenants) -> None:
    wanted = [(tenants.one, tenants.one_inactive_id.upper()), (tenants.several, tenants.several_ids[1])]
    results = [deployment.ask(key, request(None, given))[0] for key, given in wanted]

    assert [given.lower() for _, given in wanted] == [result["clientSpecificationId"] for result in results]
    assert ["SYNCHRONIZED"] * 2 == [result["status"] for result in results]


def test_the_same_request_id_twice_is_two_requests(deployment: Deployment, tenants: Tenants) -> None:
    event = request()
    coordinates = deployment.send(record(tenants.one, event, partition=0), record(tenants.one, event, partition=0))

    assert [event["requestId"]] * 2 == [deployment.result(each)["requestId"] for each in coordinates]


def test_a_suspended_specification_has_a_chance_later(deployment: Deployment, key: str) -> None:
    given = deployment.specification("suspended", "--inactive")
    deployment.administer("clients", "suspend", given)
    error = refused(deployment, record(key, request(None, given)))
    assert (503, "CLIENT_SPECIFICATION_SUSPENDED", True) == code(error)
    assert given == error["clientSpecificationId"]

    deployment.administer("clients", "resume", "suspended")
    assert "SYNCHRONIZED" == settled(deployment, key, given)


def test_a_credential_under_a_lost_key_makes_the_specification_unusable(deployment: Deployment, key: str) -> None:
    own = deployment.encryption_key
    deployment.encryption_key = deployment.administer("encryption-key")
    given = deployment.specification("other-key", "--inactive")
    deployment.encryption_key = own
    error = refused(deployment, record(key, request(None, given)))

    assert (500, "CLIENT_SPECIFICATION_UNUSABLE", True) == code(error)
    assert given == error["clientSpecificationId"]


def settled(deployment: Deployment, key: str, given: str) -> str:
    """The status once it is no longer the one that a change has ended: within the promised 5 s."""
    events: Sequence[Event] = []
    for _ in range(50):
        events = deployment.ask(key, request(None, given))
        if events[0]["status"] == "SYNCHRONIZED":
            break
    return str(events[0]["status"])


def test_a_no_is_never_older_than_the_record(deployment: Deployment) -> None:
    """What was written to the database before the request was sent counts, at once."""
    for number in range(3):
        tenant = uuid.uuid4().hex
        key = deployment.key(tenant)
        assert "NO_ACTIVE_CLIENT_SPECIFICATION" == deployment.ask(key, request())[0]["error"]["code"]
        deployment.specification(f"{tenant}-{number}", tenant=tenant)
        assert "SYNCHRONIZED" == deployment.ask(key, request())[0]["status"]
