"""Plans about one thing each: quiet but for it, so that more can be promised, or larger than others.

Windows and bounds are small here, so that a few hundred records reach the shares of them at which the engine acts.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from consumer.domain.progress import WINDOW
from tests.simulation.kafka_studies import KAFKA_STUDIES
from tests.simulation.quiet import READY_SECONDS, in_order, quiet, request, well_shop
from tests.simulation.scenario import LATE_KEY, STEPS, Fault, Plan, Regime, SentRecord, make_general_plan

STUDIES_SHARE = 0.35
"""Share of the seeds whose plan is a study."""
TOPIC_IDS_SHARE = 0.5
"""Share of the other plans in which the brokers tell the id of the topic, which maps then carry."""
CROWD_REQUESTS = 24
"""Of each client where there are more clients than slots: enough calls for an unfair round to show."""
PROMPT_SECONDS = 3.0
"""From sending a request to its result, where its Mirakl answers within 50 ms and nothing else is due before it."""


def make_plan(seed: int) -> Plan:
    """Draw a plan, of any kind."""
    plan = make_general_plan(seed)
    rng = Random(f"{seed}/study")
    if rng.random() < STUDIES_SHARE:
        return rng.choice(STUDIES)(rng, plan)
    plan.garbled = rng.choice((0.0, 0.0, 0.0, 0.02, 0.2))
    plan.hanging = rng.choice((0.0, 0.0, 0.0, 0.05))
    plan.faults = sorted(plan.faults + list(_more_faults(rng, plan)), key=lambda fault: fault.time)
    plan.topic_ids = rng.random() < TOPIC_IDS_SHARE
    return plan


def _more_faults(rng: Random, plan: Plan) -> Iterator[Fault]:
    """Draw stops in every phase, and changes of the directory beside those of every plan."""
    if rng.random() < 0.2:
        at_step = rng.choice(STEPS), rng.randrange(1, 4), 0.0
        yield Fault(rng.uniform(0.0, plan.duration), "terminate at step", at_step)
    number = rng.randrange(len(plan.shops))
    if rng.random() < 0.1:
        yield Fault(rng.uniform(0.0, plan.duration), "quota", (number, rng.choice((None, 3600, 20_000))))
    if rng.random() < 0.1:
        yield Fault(rng.uniform(0.0, plan.duration), "concurrency", (number, rng.choice((1, 2, 4))))
    if rng.random() < 0.1:
        yield Fault(0.0, "remove", (number, True))
        yield Fault(rng.uniform(0.0, plan.duration), "remove", (number, False))  # a client that is added
    if rng.random() < 0.2:
        yield Fault(rng.uniform(0.0, plan.duration), "issue key")
        for record in plan.records:
            if record.api_key == b"south-operator" and rng.random() < 0.3:
                record.api_key = LATE_KEY
                record.__post_init__()


# -- isolation -----------------------------------------------------------------------------------------


def _neighbour(rng: Random, plan: Plan) -> Plan:
    """A Mirakl that does not answer, or only with failures, beside one that is well, on the same partitions."""
    kind = rng.choice(("hang", "hang", "503", "503", "refused", "refused", "429"))
    window = 100
    flood = rng.choice((0.4, 1.5, 1.5)) if kind != "hang" else 0.4
    plan = quiet(
        plan,
        study=f"neighbour {kind}",
        partitions=rng.choice((1, 2)),
        limits=replace(
            plan.limits,
            window=window,
            records=1000,
            active_records=600,
            calls=8,
            record_bytes=100_000,
            request_deadline=rng.choice((20.0, 40.0) if flood > 1 else (12.0, 20.0, 40.0)),
        ),
        call_timeout=rng.choice((6.0, 30.0)),
        shops=(
            well_shop(0, rng, pace=0.05, products_per_call=10, concurrent_calls=2),
            well_shop(
                1,
                rng,
                pace=0.05,
                regimes=(Regime(0.0, plan.duration + 60, kind, 60.0),),
                products_per_call=rng.choice((2, 10)),
                concurrent_calls=rng.choice((1, 2)),
            ),
            well_shop(2, rng, pace=0.5, products_per_call=2, concurrent_calls=2),
        ),
    )
    well, ill, slow = plan.shops
    count = int(flood * window) * plan.partitions
    slow_count = len(range(0, count, 10)) if flood > 1 else 0
    promised = PROMPT_SECONDS + 0.5 * slow_count / 4  # a backlog of a client that is well may pause its partitions
    burst = rng.uniform(READY_SECONDS, 6.0)
    records = [
        request(
            number,
            burst + rng.random() * 0.5,
            rng.randrange(plan.partitions),
            slow if flood > 1 and number % 10 == 0 else ill,
        )
        for number in range(count)
    ]
    for number in range(count, count + 30):
        records.append(request(number, rng.uniform(READY_SECONDS, 15.0), rng.randrange(plan.partitions), well))
        plan.promised[number] = promised
    plan.records = in_order(records)
    return plan


def _undecidable(rng: Random, plan: Plan) -> Plan:
    """The registry is down, and in nearly every partition one record waits for it with others behind it."""
    partitions = 12
    plan = quiet(
        plan,
        study="undecidable",
        partitions=partitions,
        limits=replace(
            plan.limits,
            window=20,
            records=400,
            active_records=rng.choice((40, 100)),
            calls=8,
            record_bytes=100_000,
            request_deadline=20.0,
        ),
        shops=(well_shop(0, rng, pace=0.05, products_per_call=10, concurrent_calls=2),),
        faults=[Fault(0.0, "registry down", (plan.duration + 60,))],
    )
    (shop,) = plan.shops
    records: list[SentRecord] = []
    for partition in range(1, partitions):
        records.append(replace(request(len(records), READY_SECONDS, partition, shop), schema=1))
        records += [
            request(len(records) + each, READY_SECONDS + 0.1 + rng.random(), partition, shop) for each in range(40)
        ]
    for number in range(len(records), len(records) + 20):
        records.append(request(number, rng.uniform(READY_SECONDS, 15.0), 0, shop))
        plan.promised[number] = PROMPT_SECONDS
    plan.records = in_order(records)
    return plan


def _crowd(rng: Random, plan: Plan) -> Plan:
    """More clients that are well than there are slots for calls: each gets its turn."""
    many = rng.choice((20, 40))
    plan = quiet(
        plan,
        study="crowd",
        partitions=rng.choice((1, 2)),
        limits=replace(
            plan.limits,
            window=WINDOW,
            records=4000,
            active_records=4000,
            calls=4,
            record_bytes=1_000_000,
            request_deadline=60.0,
        ),
        call_timeout=30.0,
        shops=tuple(
            well_shop(number, rng, pace=0.2, products_per_call=2, concurrent_calls=1) for number in range(many)
        ),
    )
    plan.records = in_order(
        request(each * many + number, READY_SECONDS + rng.random(), rng.randrange(plan.partitions), shop)
        for each in range(CROWD_REQUESTS)
        for number, shop in enumerate(plan.shops)
    )
    return plan


# -- slow and poisoned ---------------------------------------------------------------------------------


def _slow_start(rng: Random, plan: Plan) -> Plan:
    """Nothing is known of a Mirakl whose calls take long, and a backlog waits for it."""
    plan = quiet(
        plan,
        study="slow start",
        partitions=rng.choice((1, 2)),
        limits=replace(
            plan.limits,
            window=rng.choice((20, 60)),
            records=rng.choice((60, 1000)),
            active_records=60,
            calls=8,
            record_bytes=100_000,
            request_deadline=150.0,
        ),
        call_timeout=60.0,
        shops=(well_shop(0, rng, pace=rng.choice((3.0, 6.0, 10.0)), products_per_call=10, concurrent_calls=2),),
    )
    plan.records = in_order(
        request(number, READY_SECONDS + rng.random(), rng.randrange(plan.partitions), plan.shops[0])
        for number in range(150)
    )
    return plan


def _hiccup(rng: Random, plan: Plan) -> Plan:
    """A quick Mirakl answers nothing for some seconds, and then everything, under load."""
    starts = rng.uniform(5.0, 8.0)
    plan = quiet(
        plan,
        study="hiccup",
        partitions=rng.choice((1, 2)),
        limits=replace(
            plan.limits,
            window=100,
            records=rng.choice((150, 1000)),
            active_records=150,
            calls=8,
            record_bytes=100_000,
            request_deadline=60.0,
        ),
        call_timeout=60.0,
        shops=(
            well_shop(
                0,
                rng,
                pace=0.05,
                regimes=(Regime(starts, starts + rng.choice((4.0, 7.0, 10.0)), "hiccup"),),
                products_per_call=rng.choice((5, 20)),
                concurrent_calls=rng.choice((1, 2)),
            ),
        ),
    )
    plan.records = in_order(
        request(number, rng.uniform(READY_SECONDS, 13.0), rng.randrange(plan.partitions), plan.shops[0])
        for number in range(600)
    )
    return plan


def _poisoned(rng: Random, plan: Plan) -> Plan:
    """A share of the requests is refused, and with them the whole calls in which they travel."""
    share = rng.choice((0.02, 0.1))
    plan = quiet(
        plan,
        study="poisoned",
        partitions=1,
        limits=replace(
            plan.limits,
            window=400,
            records=1000,
            active_records=600,
            calls=8,
            record_bytes=1_000_000,
            request_deadline=60.0,
        ),
        call_timeout=30.0,
        shops=(well_shop(0, rng, pace=0.1, products_per_call=50, concurrent_calls=2),),
    )
    plan.records = in_order(
        request(number, rng.uniform(READY_SECONDS, 13.0), 0, plan.shops[0], poisoned=rng.random() < share)
        for number in range(900)
    )
    return plan


# -- order ---------------------------------------------------------------------------------------------


def _two_skus(rng: Random, plan: Plan) -> Plan:
    """A few ids with two SKUs, in requests that wait for schemas and keys, and that change from one client to another.

    Until it is removed, the first client is the only active one; then the second is.
    """
    plan = quiet(
        plan,
        study="two skus",
        partitions=rng.choice((1, 2)),
        limits=replace(plan.limits, window=400, records=1000, active_records=600, calls=8, record_bytes=100_000),
        shops=(
            well_shop(1, rng, pace=0.5, products_per_call=2, concurrent_calls=rng.choice((1, 2))),
            well_shop(2, rng, pace=0.5, products_per_call=2, concurrent_calls=rng.choice((1, 2)), active=False),
        ),
    )
    moved = rng.uniform(5.0, 10.0)
    plan.faults = [
        Fault(moved, "remove", (0, True)),
        Fault(moved, "deactivate", (1, False)),
        Fault(rng.uniform(0.0, 12.0), "registry down", (rng.uniform(0.5, 6.0),)),
    ]
    if rng.random() < 0.3:  # or most requests are refused before they come to a client
        plan.faults += [
            Fault(rng.uniform(2.0, 8.0), "revoke key", (b"north-operator", True)),
            Fault(rng.uniform(8.0, 9.0), "revoke key", (b"north-operator", False)),
        ]
    plan.faults.sort(key=lambda fault: fault.time)
    waits = rng.choice((0.0, 0.1, 0.4))
    records = [
        request(number, rng.uniform(moved - 1.0, moved + 1.0), rng.randrange(plan.partitions), rng.choice(plan.shops))
        for number in range(60)
    ]
    plan.records = in_order(
        replace(
            record,
            given=rng.choice((None, record.given)),
            schema=rng.choice((1, 2, 3)) if rng.random() < waits else None,
            products=((f"p{rng.randrange(8)}", rng.choice("ab")),),
        )
        for record in records
    )
    return plan


# -- far and many --------------------------------------------------------------------------------------


def _far(rng: Random, plan: Plan) -> Plan:
    """Wide gaps in the log: trackers trim and leap, and maps reach far; everything may go wrong meanwhile."""
    plan = replace(plan, study="far", limits=replace(plan.limits, window=WINDOW, records=40_000))
    for record in plan.records:
        record.gap = rng.choice((0, 0, 0, 1, 400, 3000, 9000, 45_000))
    return plan


def _many(rng: Random, plan: Plan) -> Plan:
    """More records than elsewhere, while everything may go wrong."""
    plan = replace(
        plan,
        study="many",
        limits=replace(plan.limits, window=rng.choice((100, 400)), records=1000, active_records=600),
        shops=tuple(
            replace(each, pace=0.05, specification=replace(each.specification, products_per_call=50))
            for each in plan.shops
        ),
    )
    plan.records = in_order(
        request(number, rng.uniform(0.0, plan.duration), rng.randrange(plan.partitions), rng.choice(plan.shops))
        for number in range(rng.choice((500, 500, 500, 2000)))
    )
    return plan


STUDIES: tuple[Callable[[Random, Plan], Plan], ...] = (
    _neighbour,
    _neighbour,
    _neighbour,
    _neighbour,
    _undecidable,
    _crowd,
    _slow_start,
    _hiccup,
    _poisoned,
    _two_skus,
    _two_skus,
    _two_skus,
    _far,
    _far,
    _many,
    *KAFKA_STUDIES,
)
