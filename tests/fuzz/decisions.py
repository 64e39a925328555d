"""Decisions that remember answers within a turn, beside the same decisions without any memory."""

from collections import deque
from dataclasses import replace
from random import Random
from typing import Any, Final

from consumer.domain.authorization import key_digest
from consumer.domain.batching import cut_batch
from consumer.domain.calls import CallFailure
from consumer.domain.model import ApiKey, ClientSpecification, Directory, Role, build_directory
from consumer.domain.progress import Progress
from consumer.domain.retry import Backoff
from consumer.engine.admission.decisions import Decider
from consumer.engine.clock import Instant
from consumer.engine.credentials import Credentials
from consumer.engine.dispatch.lanes import Call, Lane
from consumer.engine.policy import Policy
from consumer.engine.request_headers import read_headers
from consumer.engine.requests import Assignment, Part, Request
from schemas.contract import REQUESTS_TOPIC
from schemas.explanation import Explanation
from schemas.signature import Content, Signing, signing_secret
from tests.support.builders import api_key, fetched_record
from tests.unit.engine.world import FIRST, SECOND, JsonDecoder, body, specification

THIRD: Final = "abcdefab-0000-0000-0000-00000000000c"
GIVEN: Final = (None, None, FIRST, SECOND, THIRD, THIRD.upper(), THIRD.replace("-", ""), "", "no-uuid", f"{FIRST} ")
KEYS: Final = (b"one", b"two", b"three", b"One", b"unknown", b"", b" ", b"\xff", None)
CALLERS: Final = (b"OPERATOR", b"OPERATOR", b"operator", b"SUPPLIER", b"", None)
TENANTS: Final = ("default", "other", "")
NOW: Final = 1_700_000_000.0
STEPS: Final = 60
"""Of one run."""


def intake(rng: Random) -> None:
    """Records of one list ask the same questions again and again: each is answered as if it were the only one."""
    remembers, at = Decider(JsonDecoder(), Credentials(), 3), Instant(0.0, NOW)
    remembers.directory = _directory(rng)
    routed: list[Request] = []
    for _ in range(STEPS):
        chance = rng.random()
        if chance < 0.1:
            at = Instant(at.mono + 1, at.wall + rng.choice((0.0, 1.0)))
        elif chance < 0.2:
            remembers.directory = _directory(rng)
        elif chance < 0.3:
            remembers.confirmed_at = at.mono
        if routed and chance > 0.6:
            _same_decision(remembers, rng.choice(routed), at, again=True)
        elif _same_decision(remembers, request := _request(rng, at), at):
            routed.append(request)


def _same_decision(remembers: Decider, request: Request, at: Instant, *, again: bool = False) -> bool:
    """Whether it has a lane to go to."""
    alone = Decider(JsonDecoder(), Credentials(), 3)
    alone.directory, alone.confirmed_at = remembers.directory, remembers.confirmed_at
    other = replace(request)

    decision = alone.decide_again(other, at) if again else alone.decide(other, at)
    assert decision == (remembers.decide_again(request, at) if again else remembers.decide(request, at))
    assert _learnt(other) == _learnt(request)
    if not isinstance(decision, ClientSpecification):
        return False
    assert decision.tenant == request.tenant
    assert request.given in (None, decision.id)
    return True


def _learnt(request: Request) -> tuple[Any, ...]:
    return request.request_id, request.tenant, request.given, request.products


def _request(rng: Random, at: Instant) -> Request:
    products = rng.choice(({"a": "1"}, {}, {"a": "1", " b": "1"}, dict.fromkeys("abcd", "1")))
    value = rng.choice((b"no request", *(4 * [body("r", products, rng.choice(GIVEN))])))
    headers: list[tuple[str, bytes | None]] = [("dj-api-key", rng.choice(KEYS)), ("dj-client", rng.choice(CALLERS))]
    if rng.random() < 0.4:
        headers.append(("dj-signature", _signature(rng, headers[1][1], value)))
    record = fetched_record(0, 0, 0, None, value, headers)
    return Request(record, Assignment(0, 1, Progress(0)), read_headers(headers), at.mono - rng.choice((0, 1)), 300.0)


def _signature(rng: Random, caller: bytes | None, value: bytes) -> bytes | None:
    """Of this record, or hostile: of another one, blank, cut short or changed in one byte."""
    good = Signing(REQUESTS_TOPIC).header(rng.choice((b"one", b"two", b"unknown")), Content(None, caller, value))
    at = rng.randrange(len(good))
    changed = good[:at] + bytes([rng.randrange(256)]) + good[at + 1 :]
    other = Signing(REQUESTS_TOPIC).header(b"one", Content(None, caller, value + b" "))
    return rng.choice((good, good, good, other, changed, good[:at], b"", b" \t", None))


def _directory(rng: Random) -> Directory:
    specifications = [
        specification(
            id_,
            tenant=rng.choice(TENANTS),
            active=rng.random() < 0.4,
            suspended=rng.random() < 0.2,
            unusable=rng.choice((None, None, None, Explanation("Its credential cannot be decrypted."))),
        )
        for id_ in rng.sample((FIRST, SECOND, THIRD), rng.randint(0, 3))
    ]
    keys = {key_digest(key): _key(rng, key) for key in rng.sample((b"one", b"two", b"three"), rng.randint(0, 3))}
    return build_directory(1, specifications, keys)


def _key(rng: Random, key: bytes) -> ApiKey:
    return api_key(
        signing_secret=rng.choice((signing_secret(key), signing_secret(key), None)),
        tenant=rng.choice(TENANTS),
        role=rng.choice((Role.OPERATOR, Role.OPERATOR, Role.SUPPLIER)),
        expires_at=rng.choice((None, None, NOW - 1, NOW, NOW + 1)),
        revoked=rng.random() < 0.1,
    )


def lanes(rng: Random) -> None:
    """Calls that overlap start and end in any order: what counts as out is what is out."""
    lane = Lane(_limits(rng), 0.0, Policy(), Backoff(first=1.0, factor=2.0, ceiling=30.0, jitter=0.0), "salt")
    out: list[Call] = []
    now = 0.0
    for number in range(STEPS):
        now += rng.choice((0.0, 0.0, 0.2, 40.0))
        lane.queue.waiting.extend(_part(rng) for _ in range(rng.choice((0, 1, 3))))
        if out and rng.random() < 0.5:
            _end(rng, lane, lane.call_returned(out.pop(rng.randrange(len(out))).call_id, now), now)
        elif (call := lane.next_call(number, now)) is not None:
            assert not any(each.products.get(id_, sku) != sku for each in out for id_, sku in call.products.items())
            out.append(call)
        assert {id_: sku for call in out for id_, sku in call.products.items()} == lane._in_flight


def _end(rng: Random, lane: Lane, call: Call, now: float) -> None:
    chance = rng.random()
    if chance < 0.2:
        lane.failed(call, CallFailure("HTTP 503", may_have_reached=False, status=503), now)
        return
    lane.health.answered(call.started_at, now)
    if chance < 0.5:
        if lane.refused(call, too_large=chance < 0.3):
            return
    elif chance < 0.6:
        lane.rejected(call)
    else:
        lane.accepted(call)
    for part in call.parts:
        part.receipt = call.call_id, "a-tracking-id"


def _limits(rng: Random) -> ClientSpecification:
    return specification(products_per_call=rng.choice((2, 3, 8)), concurrent_calls=rng.choice((1, 2, 5)))


def _part(rng: Random) -> Part:
    products = {rng.choice("abcdef"): rng.choice("111112") for _ in range(rng.choice((1, 1, 2, 5)))}
    record = fetched_record(0, 0, 0, None, None, [])
    return Part(Request(record, Assignment(0, 1, Progress(0)), read_headers([]), 0.0, 300.0), products)


def batches(rng: Random) -> None:
    """The next call takes what the rules allow, one by one and by their words."""
    ids, limit = "abcdef", rng.choice((1, 2, 5, 9))
    parts = [
        _Travelling({id_: rng.choice("12") for id_ in rng.sample(ids, rng.choice((1, 1, 2, 5)))}, rng.random() >= 0.1)
        for _ in range(rng.randint(0, 12))
    ]
    in_flight = {id_: rng.choice("12") for id_ in rng.sample(ids, rng.choice((0, 0, 1, 4)))}
    held = set(rng.sample(ids, rng.choice((0, 0, 1, 2))))
    queue = deque(parts)

    expected = _taken_by_the_rules(parts, limit, in_flight, held)
    taken, products = cut_batch(queue, limit, in_flight, held)
    assert expected == taken
    assert {id_: sku for part in taken for id_, sku in part.products.items()} == products


class _Travelling:
    def __init__(self, products: dict[str, str], sendable: bool) -> None:  # noqa: FBT001 - a fact, not a switch
        self.products = products
        self.sendable = sendable


def _taken_by_the_rules(
    parts: list[_Travelling], limit: int, in_flight: dict[str, str], held: set[str]
) -> list[_Travelling]:
    taken: list[_Travelling] = []
    waits = set(held)
    behind = False
    for part in parts:
        if not part.sendable:
            continue
        together = {pair for other in (*taken, part) for pair in other.products.items()}
        differs = len({id_ for id_, _ in together}) < len(together)
        out_differs = any(in_flight.get(id_, sku) != sku for id_, sku in part.products.items())
        if differs or out_differs or waits & {*part.products} or (behind and len(part.products) > limit):
            waits |= {*part.products}
            behind = True
        elif taken and len(together) > limit:
            break
        else:
            taken.append(part)
    return taken
