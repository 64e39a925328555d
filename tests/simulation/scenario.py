"""What a seed decides beforehand: the parts, the requests, the faults. Plain data, so that it can be made smaller."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from consumer.domain.authorization import key_digest
from consumer.domain.model import ApiKey, ClientSpecification, Role
from consumer.engine.policy import Policy
from schemas.contract import REQUESTS_TOPIC
from schemas.signature import Content, Signing, signing_secret
from tests.simulation.broker import METADATA_BYTES
from tests.support.builders import api_key, client_specification

NORTH, SOUTH = "north", "south"
KEYS = {
    b"north-operator": (NORTH, Role.OPERATOR),
    b"south-operator": (SOUTH, Role.OPERATOR),
    b"north-account": (NORTH, Role.ACCOUNT),
    b"south-late": (SOUTH, Role.OPERATOR),
}
LATE_KEY = b"south-late"
"""Not issued at first."""
UNKNOWN_SCHEMA = 100
"""Schema ids from here on are not known to the registry."""
POISON = "poison"
BACKLOGS = 0.05
"""Share of the plans that are about nothing but a backlog."""
MAX_PRODUCTS = 40
REQUESTED_AT = 1_700_000_000_000
"""Milliseconds since the epoch: when the world begins."""
REFUSALS = 0.1
"""Chance of each right that it is missing for a while."""


@dataclass(frozen=True, slots=True)
class Regime:
    """How a Mirakl misbehaves for a while."""

    start: float
    end: float
    kind: str
    seconds: float = 0.0
    """Retry-After, or how much slower."""


@dataclass(frozen=True, slots=True)
class Shop:
    """One client specification and the Mirakl behind it."""

    specification: ClientSpecification
    pace: float
    """Seconds of a usual call."""
    regimes: tuple[Regime, ...] = ()
    largest_call: int | None = None
    """More entries are refused with 413."""
    refuses_with: int = 400
    """What a poisoned entry gets."""
    steady: bool = False
    """Its calls last about as long as the ones before."""

    @property
    def always_well(self) -> bool:
        """No request of it may ever hear that its Mirakl is away."""
        hiccups = all(each.kind == "hiccup" for each in self.regimes)
        return hiccups and self.specification.calls_per_hour is None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to the world at a time."""

    time: float
    kind: str
    args: tuple[Any, ...] = ()


@dataclass(eq=False, slots=True)
class SentRecord:
    """A record of the requests topic; what the oracle knows of it stands beside the bytes."""

    number: int
    time: float
    partition: int
    gap: int
    """Offsets left out in front of it."""
    api_key: bytes | None
    caller: bytes | None
    given: str | None
    products: tuple[tuple[str, str], ...]
    schema: int | None = None
    readable: bool = True
    padding: int = 0
    signature: str | None = None
    """Its key signed it: "good", "of another record" or "too old". ``None``: it carries the key."""
    value: bytes = b""
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes | None]] = ()
    offset: int = -1
    batch: int | None = None
    """Records of one number are in one batch, which cannot be unpacked."""
    incarnation: int = 0
    """Of the topic, which may be deleted and created again."""

    def __post_init__(self) -> None:
        named = b"".join(part for id_, _ in self.products for part in named_in_value(id_))
        self.value = b"%d|%s|%s" % (self.number, named, b"x" * self.padding)
        headers: list[tuple[str, bytes | None]] = []
        if self.caller is not None:
            headers.append(("dj-client", self.caller))
        if self.api_key is not None and self.signature is None:
            headers.append(("dj-api-key", self.api_key))
        elif self.api_key is not None:
            content = Content(None, self.caller, self.value + (b"!" if self.signature == "of another record" else b""))
            headers.append(("dj-signature", Signing(REQUESTS_TOPIC).header(self.api_key, content)))
        self.headers = headers

    def body(self) -> dict[str, Any]:
        """The fields that the decoder gives."""
        return {
            "requestId": f"r{self.number}",
            "clientSpecificationId": self.given,
            "products": [{"miraklProductId": id_, "productSku": sku} for id_, sku in self.products],
            "requestedAt": self.number + (0 if self.signature == "too old" else REQUESTED_AT),
        }


def named_in_value(id_: str) -> tuple[bytes]:
    """How a record's value names a Mirakl id, whatever its schema."""
    return (b"<%s>" % id_.encode(),)


@dataclass(slots=True)
class Plan:
    """A whole run."""

    seed: int
    partitions: int
    replicas: int
    static: bool
    limits: Policy
    session: float
    transaction_timeout: float
    drain: float
    call_timeout: float
    duration: float
    """Faults and requests come until then."""
    network_trouble: float
    """Chance of a lost or late answer of the broker, as long as faults come."""
    transaction_trouble: float
    turn_bytes: int
    """Maximum size of the records that one turn of the core decides about."""
    turn_events: int
    """Maximum of a turn."""
    longest_metadata: int
    """Characters of commit metadata that the broker takes."""
    shops: tuple[Shop, ...]
    records: list[SentRecord] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    garbled: float = 0.0
    """Chance that what is fetched cannot be unpacked, as long as faults come; fetched once more it can."""
    hanging: float = 0.0
    """Chance that a call of the producer hangs, beyond its own time-out."""
    topic_ids: bool = False
    """The brokers tell the topic's id."""
    at_least_once: bool = False
    """Results are published outside of transactions."""
    study: str = ""
    """What it is about, of ``studies``; empty: any trouble may come."""
    promised: dict[int, float] = field(default_factory=dict)
    """Number of a record -> seconds from its sending within which its outcome has to be visible."""
    promised_kept: float | None = None
    """Seconds, beyond those of two calls, from the sending of a well client's request to its visible outcome, where its
    partition has been in one assignment all the while."""


def api_keys() -> dict[bytes, ApiKey]:
    """The keys that the stores know at first."""
    return {key_digest(key): issued(key) for key in KEYS if key != LATE_KEY}


def issued(key: bytes) -> ApiKey:
    """Return the row of a key, which can sign."""
    tenant, role = KEYS[key]
    return api_key(id=key.decode(), tenant=tenant, name=key.decode(), role=role, signing_secret=signing_secret(key))


def specification(number: int, tenant: str, rng: Random, *, per_hour: int | None) -> ClientSpecification:
    """One row."""
    return client_specification(
        id=f"00000000-0000-4000-8000-{number:012d}",
        tenant=tenant,
        name=f"shop {number}",
        base_url=f"https://shop{number}.example",
        credential=f"secret {number}.0",
        products_per_call=rng.choice((2, 3, 5, 10, 50)),
        concurrent_calls=rng.choice((1, 1, 2, 3, 4)),
        calls_per_hour=per_hour,
    )


def make_general_plan(seed: int) -> Plan:
    """Draw a plan. Each seed takes only some of all troubles, so that each gets room."""
    rng = Random(seed)
    refusals = Random(f"{seed}/refusals")
    deadline = rng.choice((8.0, 12.0, 20.0, 40.0))
    window = rng.choice((16, 40, 100, 400))
    records = rng.choice((window, 2 * window, 1000))
    session = rng.choice((2.0, 3.0, 4.0))
    duration = rng.uniform(4.0, 16.0)
    plan = Plan(
        seed=seed,
        partitions=rng.choice((1, 1, 2, 3, 5)),
        replicas=rng.choice((1, 1, 2, 2, 3)),
        static=rng.random() < 0.3,
        limits=Policy(
            request_deadline=deadline,
            max_products=MAX_PRODUCTS,
            window=window,
            records=records,
            active_records=max(8, int(records * rng.choice((0.3, 0.5, 1.0)))),
            record_bytes=rng.choice((2_000, 100_000)),
            calls=rng.choice((4, 8, 64)),
        ),
        session=session,
        transaction_timeout=rng.uniform(0.5, 0.8) * session,
        drain=0.8 * session,
        call_timeout=rng.choice((2.0, 6.0, 30.0)),
        duration=duration,
        network_trouble=rng.choice((0.0, 0.0, 0.01, 0.1)),
        turn_bytes=rng.choice((100, 1_000, 1_000_000)),
        turn_events=rng.choice((1, 3, 32)),
        transaction_trouble=rng.choice((0.0, 0.0, 0.02, 0.15)),
        shops=_shops(rng, duration),
        longest_metadata=refusals.choice((METADATA_BYTES,) * 9 + (0, 30, 60)),
    )
    if rng.random() < BACKLOGS:
        return _backlog(rng, plan)
    plan.records = _signed(Random(f"{seed}/signatures"), _records(rng, plan))
    plan.faults = sorted(_faults(rng, plan) + _refusals(refusals, plan), key=lambda fault: fault.time)
    return plan


def _backlog(rng: Random, plan: Plan) -> Plan:
    """A slow Mirakl that is well, and more requests than it answers within their deadline."""
    shop = plan.shops[0]
    slow = replace(specification(0, SOUTH, rng, per_hour=None), products_per_call=2, concurrent_calls=1)
    plan.shops = (Shop(slow, pace=0.5, steady=True), *(replace(each, regimes=()) for each in plan.shops[1:]))
    plan.limits = replace(plan.limits, request_deadline=20.0, window=400, records=1000, active_records=600)
    plan.call_timeout = 30.0
    plan.records = [
        SentRecord(
            number=number,
            time=rng.uniform(0.0, 1.0) if number % 2 else rng.uniform(0.0, plan.duration),
            partition=rng.randrange(plan.partitions),
            gap=0,
            api_key=b"south-operator",
            caller=b"OPERATOR",
            given=shop.specification.id,
            products=((f"p{number}", f"p{number}-a"),),
        )
        for number in range(100)
    ]
    return plan


# -- Mirakl --------------------------------------------------------------------------------------------

_REGIMES = (
    "429",
    "429",
    "503",
    "lacking",
    "504",
    "hang",
    "refused",
    "reset",
    "reset after",
    "no id",
    "unauthorized",
    "slow",
)


def _shops(rng: Random, duration: float) -> tuple[Shop, ...]:
    shops = []
    for number in range(rng.choice((1, 2, 2, 3, 4))):
        tenant = SOUTH if number == 0 else NORTH
        per_hour = rng.choice((None, None, None, None, 3600, 20_000))
        shop = Shop(
            specification(number, tenant, rng, per_hour=per_hour),
            pace=rng.choice((0.01, 0.05, 0.2, 0.5, 1.5)),
            regimes=_regimes(rng, duration) if rng.random() < 0.5 else (),
            largest_call=rng.choice((None, None, None, 2, 4)),
            refuses_with=rng.choice((400, 422)),
        )
        shops.append(shop)
    return tuple(shops)


def _regimes(rng: Random, duration: float) -> tuple[Regime, ...]:
    found, time = [], rng.uniform(0, duration / 2)
    while time < duration:
        length = rng.choice((0.3, 2.0, 8.0, 20.0))
        seconds = rng.choice((0.0, 1.0, 4.0, 60.0))
        found.append(Regime(time, time + length, rng.choice(_REGIMES), seconds))
        time += length + rng.uniform(0.5, duration / 2)
    return tuple(found)


# -- requests ------------------------------------------------------------------------------------------


def _records(rng: Random, plan: Plan) -> list[SentRecord]:
    count = rng.choice((5, 20, 40, 80, 150))
    pool = rng.choice((5, 40, 1000))
    swarm = {
        "poison": rng.choice((0.0, 0.0, 0.05, 0.3)),
        "wrong": rng.choice((0.0, 0.1, 0.3)),
        "large": rng.choice((0.0, 0.05, 0.3)),
        "schema": rng.choice((0.0, 0.0, 0.0, 0.1)),
        "gap": rng.choice((0.0, 0.1, 0.5)),
        "two skus": rng.choice((0.0, 0.1, 0.5)),
    }
    bursts = [rng.uniform(0, plan.duration * 0.9) for _ in range(rng.choice((1, 2, 4)))]
    times = sorted(
        rng.choice(bursts) + rng.random() * 0.05 if rng.random() < 0.6 else rng.uniform(0, plan.duration)
        for _ in range(count)
    )
    return [_record(rng, plan, number, time, pool, swarm) for number, time in enumerate(times)]


def _record(rng: Random, plan: Plan, number: int, time: float, pool: int, swarm: dict[str, float]) -> SentRecord:
    shop = rng.choice(plan.shops)
    tenant = shop.specification.tenant
    given: str | None = shop.specification.id
    if rng.random() < 0.3:
        given = None
    record = SentRecord(
        number=number,
        time=time,
        partition=rng.randrange(plan.partitions),
        gap=rng.choice((1, 1, 2, 30)) if rng.random() < swarm["gap"] else 0,
        api_key=b"south-operator" if tenant == SOUTH else b"north-operator",
        caller=b"OPERATOR",
        given=given,
        products=_products(rng, pool, swarm),
        padding=rng.choice((0, 20, 200)),
    )
    if rng.random() < swarm["wrong"]:
        record = _spoil(rng, record)
    if rng.random() < swarm["schema"]:
        record.schema = rng.choice((1, 1, 2, UNKNOWN_SCHEMA))
    return record


def _signed(rng: Random, records: list[SentRecord]) -> list[SentRecord]:
    """Let some of the senders sign; in a fifth of the plans many do."""
    share = rng.choice((0.0, 0.1, 0.1, 0.2, 0.7))
    forms = ("good",) * 8 + ("of another record", "too old")
    return [
        replace(record, signature=rng.choice(forms)) if record.api_key is not None and rng.random() < share else record
        for record in records
    ]


def _products(rng: Random, pool: int, swarm: dict[str, float]) -> tuple[tuple[str, str], ...]:
    count = rng.randrange(5, 41) if rng.random() < swarm["large"] else rng.choice((1, 1, 1, 2, 3))
    pairs = {}
    for _ in range(count):
        id_ = f"p{rng.randrange(pool)}"
        pairs[id_] = f"{id_}-{rng.choice('ab') if rng.random() < swarm['two skus'] else 'a'}"
    products = list(pairs.items())
    if rng.random() < swarm["poison"]:
        products.insert(rng.randrange(len(products) + 1), (f"{POISON}{rng.randrange(3)}", "s"))
    if rng.random() < 0.1:
        products.append(products[0])
    return tuple(products)


def _spoil(rng: Random, record: SentRecord) -> SentRecord:
    """Make a request that is answered without a call."""
    wrong: dict[str, Any] = rng.choice(
        (
            {"api_key": None},
            {"api_key": b"nobody"},
            {"caller": b"SUPPLIER"},
            {"api_key": b"north-account"},
            {"products": ()},
            {"products": (("x", "1"), ("x", "2"))},
            {"given": "00000000-0000-4000-8000-999999999999"},
            {"readable": False},
        )
    )
    return replace(record, **wrong)


# -- faults --------------------------------------------------------------------------------------------

STEPS = (
    "committed",
    "committed, answered",
    "send offsets",
    "send offsets, answered",
    "produce, answered",
    "commit",
    "commit, answered",
    "abort",
    "callback revoke",
    "callback assign",
)


def _faults(rng: Random, plan: Plan) -> list[Fault]:
    wanted = [kind for kind in _MAKERS if rng.random() < 0.35]
    faults = []
    for kind in wanted:
        for _ in range(rng.choice((1, 1, 2, 4))):
            faults += _MAKERS[kind](rng, plan, rng.uniform(0, plan.duration))
    return faults


def _refusals(rng: Random, plan: Plan) -> list[Fault]:
    """Draw rights that are missing for a while."""
    wanted = [what for what in ("results", "dead-letters", "transactions") if rng.random() < REFUSALS]
    return [
        Fault(rng.uniform(0, plan.duration), "refuse", (what, rng.choice((0.5, 4.0, 20.0))))
        for what in wanted
        for _ in range(rng.choice((1, 1, 2)))
    ]


def _crash(rng: Random, plan: Plan, time: float) -> list[Fault]:
    return [Fault(time, "crash", (rng.randrange(plan.replicas), rng.choice((0.1, 1.0, 5.0))))]


def _crash_at_step(rng: Random, plan: Plan, time: float) -> list[Fault]:  # noqa: ARG001 - one of _MAKERS
    return [Fault(time, "crash at step", (rng.choice(STEPS), rng.randrange(1, 4), rng.choice((0.1, 1.0, 5.0))))]


def _terminate(rng: Random, plan: Plan, time: float) -> list[Fault]:
    return [Fault(time, "terminate", (rng.randrange(plan.replicas), rng.choice((0.1, 3.0))))]


def _freeze(rng: Random, plan: Plan, time: float) -> list[Fault]:
    return [Fault(time, "freeze", (rng.randrange(plan.replicas), rng.choice((0.3, 1.1, 2.0)) * plan.session))]


def _freeze_at_step(rng: Random, plan: Plan, time: float) -> list[Fault]:
    seconds = rng.choice((0.3, 1.1, 2.0)) * plan.session
    return [Fault(time, "freeze at step", (rng.choice(STEPS), rng.randrange(1, 4), seconds))]


def _join(rng: Random, plan: Plan, time: float) -> list[Fault]:  # noqa: ARG001 - one of _MAKERS
    return [Fault(time, "join", (rng.choice((1.0, 3.0, 100.0)),))]


def _expel(rng: Random, plan: Plan, time: float) -> list[Fault]:
    return [Fault(time, "expel", (rng.randrange(plan.replicas),))]


def _expel_at_step(rng: Random, plan: Plan, time: float) -> list[Fault]:  # noqa: ARG001 - one of _MAKERS
    return [Fault(time, "expel at step", (rng.choice(STEPS), rng.randrange(1, 4), 0.0))]


def _broker_down(rng: Random, plan: Plan, time: float) -> list[Fault]:  # noqa: ARG001 - one of _MAKERS
    return [Fault(time, "broker down", (rng.choice((0.3, 2.0, 8.0)),))]


def _database_down(rng: Random, plan: Plan, time: float) -> list[Fault]:  # noqa: ARG001 - one of _MAKERS
    return [Fault(time, "database down", (rng.choice((0.5, 4.0, 8.0)),))]


def _registry_down(rng: Random, plan: Plan, time: float) -> list[Fault]:  # noqa: ARG001 - one of _MAKERS
    return [Fault(time, "registry down", (rng.choice((0.5, 4.0, 8.0)),))]


def _slow_core(rng: Random, plan: Plan, time: float) -> list[Fault]:
    return [Fault(time, "slow core", (rng.randrange(plan.replicas), rng.choice((0.05, 0.5, 2.0))))]


def _trim(rng: Random, plan: Plan, time: float) -> list[Fault]:
    return [Fault(time, "trim", (rng.randrange(plan.partitions),))]


def _directory_change(rng: Random, plan: Plan, time: float) -> list[Fault]:
    kind = rng.choice(("suspend", "deactivate", "remove", "rotate", "batch size"))
    number, back = rng.randrange(len(plan.shops)), rng.choice((0.2, 2.0, 6.0))
    if kind == "rotate":
        return [Fault(time, kind, (number,))]
    if kind == "batch size":
        return [Fault(time, kind, (number, rng.choice((2, 3, 5, 20))))]
    return [Fault(time, kind, (number, True)), Fault(time + back, kind, (number, False))]


def _revoke_key(rng: Random, plan: Plan, time: float) -> list[Fault]:  # noqa: ARG001 - one of _MAKERS
    key = rng.choice((b"north-operator", b"south-operator"))
    return [Fault(time, "revoke key", (key, True)), Fault(time + rng.choice((0.5, 3.0)), "revoke key", (key, False))]


_MAKERS = {
    "crash": _crash,
    "crash at step": _crash_at_step,
    "terminate": _terminate,
    "freeze": _freeze,
    "freeze at step": _freeze_at_step,
    "join": _join,
    "expel": _expel,
    "expel at step": _expel_at_step,
    "broker down": _broker_down,
    "database down": _database_down,
    "registry down": _registry_down,
    "slow core": _slow_core,
    "trim": _trim,
    "directory": _directory_change,
    "key": _revoke_key,
}
