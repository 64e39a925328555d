"""Requests of the demo, with their expected results.

Each tenant stands for one way of having client specifications: ACME has a single active one, GLOBEX several, INITECH
none. Specifications whose Mirakl misbehaves are GLOBEX's, inactive, and asked for by their id. Wherever calls are
counted, a case has a specification, and so a simulated Mirakl, of its own.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from producer_tools.sandbox.mirakl import Effect, Fault
from schemas.events import ProductReference

DEADLINE_SECONDS: Final = 15
"""``RESYNC_REQUEST_DEADLINE`` of the demo. No call starts in its last 5 s, so Mirakl has 10 s to come back."""

RIGHT_CREDENTIAL: Final = "demo-token"
UNREADABLE_VALUE: Final = b'{"products": "this is JSON, and no Avro"}'


@dataclass(frozen=True, slots=True)
class Specification:
    """A client specification of the demo, and how the Mirakl that it leads to behaves."""

    name: str
    """Also the name of the simulated Mirakl's instance."""
    tenant: str
    active: bool = False
    products_per_call: int = 1000
    credential: str = field(default=RIGHT_CREDENTIAL, repr=False)
    faults: tuple[Fault, ...] = ()

    @property
    def id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:mirakl-resync:demo:{self.name}"))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Requester of a case: the API key's tenant and role, and whether it exists, for good and bad keys."""

    name: str
    tenant: str
    role: str = "OPERATOR"
    issued: bool = True
    """Whether the service knows it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Comparable part of a result; ``Case.expected`` is compared with the actual one."""

    outcome: str
    """The result's status, its error's HTTP status and code, or a dead letter's reason."""
    products: int = 0
    """Taken in by Mirakl."""
    specification_id: str | None = None
    """The one that was used."""
    available: frozenset[str] = frozenset()
    """Specifications that the error offers."""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One request of the demo: who sends what, and which answer is expected."""

    title: str
    shows: str
    """In one sentence, what the right answer shows."""
    expected: Answer
    api_key: ApiKey | None
    specification_id: str | None = None
    """As the request gives it."""
    called: Specification | None = None
    """The one whose Mirakl is called, and called by no other case."""
    calls: range = range(1)
    """Expected number of CM21 calls."""
    least_seconds: float = 0.0
    """An answer that comes sooner cannot be true."""
    product_count: int = 2
    readable: bool = True

    @property
    def products(self) -> tuple[ProductReference, ...]:
        """The products of the request; no two cases share one."""
        slug = self.title.upper().replace(" ", "-")
        return tuple(
            ProductReference(mirakl_product_id=f"MKL-{slug}-{number}", product_sku=f"SKU-{slug}-{number}")
            for number in range(1, self.product_count + 1)
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """Actual result of a case: the answer, the time that it took, and the CM21 calls that it cost."""

    answer: Answer | None
    """``None``: nothing came."""
    seconds: float
    """From sending the request to seeing its answer."""
    calls: int = 0
    missing: int = 0
    """Products that the answer calls taken in, and Mirakl does not know under the answer's tracking ids."""
    answers: int = 1


def complaints(case: Case, seen: Observation) -> Iterator[str]:
    """Return what is wrong with the result, for people; empty: nothing."""
    if seen.answer is None:
        yield f"no answer within {seen.seconds:.0f} s"
        return
    yield from _differences(case.expected, seen.answer)
    if seen.calls not in case.calls:
        yield f"{seen.calls} CM21 calls, expected {_counted(case.calls)}"
    if seen.seconds < case.least_seconds:
        yield f"answered after {seen.seconds:.1f} s, impossible before {case.least_seconds:g} s"
    if seen.missing:
        yield f"{seen.missing:,} products never reached Mirakl"
    if seen.answers > 1:
        yield f"answered {seen.answers} times"


def queue_jams(seen: Iterable[tuple[Case, Observation]]) -> Iterator[str]:
    """Name the cases that waited for somebody else's Mirakl: none may be answered later than one that has to wait."""
    took = [(case, observed.seconds) for case, observed in seen if observed.answer is not None]
    soonest = min((seconds for case, seconds in took if case.least_seconds), default=float("inf"))
    for case, seconds in took:
        if not case.least_seconds and seconds > soonest:
            yield f"{case.title} took {seconds:.1f} s: it waited for somebody else's Mirakl"


def _differences(expected: Answer, got: Answer) -> Iterator[str]:
    if got.outcome != expected.outcome:
        yield f"{got.outcome} instead of {expected.outcome}"
    if got.products != expected.products:
        yield f"{got.products:,} instead of {expected.products:,} products taken in"
    if got.specification_id != expected.specification_id:
        yield f"used client specification {got.specification_id} instead of {expected.specification_id}"
    if got.available != expected.available:
        yield f"offers client specifications {sorted(got.available)} instead of {sorted(expected.available)}"
    if got.retryable is not expected.retryable:
        yield f"says that asking again has {'a' if got.retryable else 'no'} chance"


def _counted(calls: range) -> str:
    return f"{calls.start}" if len(calls) == 1 else f"{calls.start} to {calls.stop - 1}"


# --- who asks, and with what --------------------------------------------------------------------------------------

ACME: Final = ApiKey("acme-operator", "acme")
ACME_SUPPLIER: Final = ApiKey("acme-supplier", "acme", role="SUPPLIER")
GLOBEX: Final = ApiKey("globex-operator", "globex")
INITECH: Final = ApiKey("initech-operator", "initech")
FORGED: Final = ApiKey("forged", "acme", issued=False)

ONLY: Final = Specification("only", "acme", active=True)
EAST: Final = Specification("east", "globex", active=True)
WEST: Final = Specification("west", "globex", active=True, products_per_call=500)
SPLIT: Final = Specification(
    "split",
    "globex",
    products_per_call=500,
    faults=(
        Fault(
            effect=Effect.STATUS,
            status=422,
            message="Product MKL-ONE-BAD-PRODUCT-700 is locked",
            mirakl_product_ids=frozenset({"MKL-ONE-BAD-PRODUCT-700"}),
        ),
    ),
)
SLOW: Final = Specification("slow", "globex", faults=(Fault(effect=Effect.DELAY, delay=2.0),))
THROTTLED: Final = Specification(
    "throttled", "globex", faults=(Fault(effect=Effect.STATUS, status=429, retry_after="2", count=1),)
)
RECOVERING: Final = Specification(
    "recovering",
    "globex",
    faults=(Fault(effect=Effect.STATUS, status=503, count=2), Fault(effect=Effect.CLOSE, count=1)),
)
DOWN: Final = Specification("down", "globex", faults=(Fault(effect=Effect.STATUS, status=503),))
FORGETFUL: Final = Specification("forgetful", "globex", faults=(Fault(effect=Effect.NO_TRACKING_ID),))
ROTATED: Final = Specification("rotated", "globex", credential="token-of-last-year")

UNKNOWN_ID: Final = str(uuid.uuid5(uuid.NAMESPACE_URL, "urn:mirakl-resync:demo:nobody's"))
MANY: Final = 2_500

CASES: Final = (
    Case(
        "given",
        "the specification that the request names is used",
        Answer("SYNCHRONIZED", 2, EAST.id),
        GLOBEX,
        EAST.id,
        called=EAST,
        calls=range(1, 2),
    ),
    Case(
        "automatic",
        "no specification named: the tenant's only active one is used",
        Answer("SYNCHRONIZED", 2, ONLY.id),
        ACME,
        called=ONLY,
        calls=range(1, 2),
    ),
    Case(
        "several active",
        "no specification named, two active: the answer lists them",
        Answer("400 MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS", available=frozenset({EAST.id, WEST.id})),
        GLOBEX,
    ),
    Case(
        "none active",
        "no specification named, and no active one",
        Answer("400 NO_ACTIVE_CLIENT_SPECIFICATION"),
        INITECH,
    ),
    Case(
        "unknown id",
        "the named specification does not exist",
        Answer("404 CLIENT_SPECIFICATION_NOT_FOUND"),
        GLOBEX,
        UNKNOWN_ID,
    ),
    Case("no key", "a request without an API key", Answer("401 API_KEY_MISSING"), None),
    Case("wrong key", "an API key that was never issued", Answer("401 API_KEY_INVALID"), FORGED),
    Case("wrong role", "a supplier's key lacks the operator role", Answer("403 OPERATOR_REQUIRED"), ACME_SUPPLIER),
    Case("empty list", "a request without products", Answer("400 VALIDATION_FAILED"), ACME, product_count=0),
    Case(
        "unreadable",
        "bytes that are not a request become a dead letter",
        Answer("dead letter UNREADABLE"),
        ACME,
        readable=False,
    ),
    Case(
        "large",
        f"{MANY:,} products, 500 a call: sent in parts, answered once",
        Answer("SYNCHRONIZED", MANY, WEST.id),
        GLOBEX,
        WEST.id,
        called=WEST,
        calls=range(5, 6),
        product_count=MANY,
    ),
    Case(
        "one bad product",
        "Mirakl refuses one of two parts: its pairs are named, to be asked for again",
        Answer("PARTIALLY_SYNCHRONIZED 502 CM21_REFUSED", 500, SPLIT.id),
        GLOBEX,
        SPLIT.id,
        called=SPLIT,
        calls=range(2, 3),
        product_count=1_000,
    ),
    Case(
        "no tracking id",
        "Mirakl answers 200 without a tracking id: taken in or not, nobody knows",
        Answer("502 CM21_OUTCOME_UNKNOWN", 0, FORGETFUL.id, retryable=True),
        GLOBEX,
        FORGETFUL.id,
        called=FORGETFUL,
        calls=range(1, 2),
    ),
    Case(
        "rotated key",
        "Mirakl refuses the client's credential",
        Answer("502 CM21_UNAUTHORIZED", 0, ROTATED.id),
        GLOBEX,
        ROTATED.id,
        called=ROTATED,
        calls=range(1, 2),
    ),
    Case(
        "slow",
        "Mirakl takes 2 s: nobody else waits for it",
        Answer("SYNCHRONIZED", 2, SLOW.id),
        GLOBEX,
        SLOW.id,
        called=SLOW,
        calls=range(1, 2),
        least_seconds=2.0,
    ),
    Case(
        "throttled",
        "429 with Retry-After: 2 is waited for, then tried again",
        Answer("SYNCHRONIZED", 2, THROTTLED.id),
        GLOBEX,
        THROTTLED.id,
        called=THROTTLED,
        calls=range(2, 3),
        least_seconds=2.0,
    ),
    Case(
        "down and back",
        "503 twice, a lost connection, then well: tried until it works",
        Answer("SYNCHRONIZED", 2, RECOVERING.id),
        GLOBEX,
        RECOVERING.id,
        called=RECOVERING,
        calls=range(4, 5),
        least_seconds=1.0,
    ),
    Case(
        "stays down",
        f"503 until the deadline of {DEADLINE_SECONDS} s is out of reach: answered all the same",
        Answer("503 CM21_UNAVAILABLE", 0, DOWN.id, retryable=True),
        GLOBEX,
        DOWN.id,
        called=DOWN,
        calls=range(3, 8),
        least_seconds=1.0,
    ),
)
SPECIFICATIONS: Final = (ONLY, EAST, WEST, SPLIT, SLOW, THROTTLED, RECOVERING, DOWN, FORGETFUL, ROTATED)
API_KEYS: Final = (ACME, ACME_SUPPLIER, GLOBEX, INITECH)
