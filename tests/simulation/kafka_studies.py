"""Studies of Kafka: of its log, its group and its transactions."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from consumer.engine.policy import Policy
from tests.simulation.quiet import READY_SECONDS, in_order, quiet, request, well_shop
from tests.simulation.scenario import Fault, Plan, Regime

UNREADABLE_SECONDS = 12.0
"""From sending a request to its result, although a few batches of its partition cannot be unpacked."""
KEPT_SECONDS = 0.6
"""Beyond two calls, where replicas join and leave: a revocation waits for 0.25 s, and a transaction is repeated."""


def _roomy(plan: Plan) -> Policy:
    """Return bounds that only a partition which stands still for long comes near."""
    return replace(plan.limits, window=400, records=1000, active_records=600, request_deadline=40.0)


def _unwritable(rng: Random, plan: Plan) -> Plan:
    """No transaction can commit for a while, though everything else works."""
    plan = quiet(
        plan,
        study="unwritable",
        limits=replace(plan.limits, request_deadline=40.0),
        shops=(well_shop(0, rng, pace=0.2, products_per_call=2, concurrent_calls=2),),
        faults=[Fault(rng.uniform(READY_SECONDS, 5.0), "unwritable", (10.0,))],
    )
    plan.records = in_order(
        request(number, rng.uniform(READY_SECONDS, 15.0), rng.randrange(plan.partitions), plan.shops[0])
        for number in range(120)
    )
    return plan


def _cut(rng: Random, plan: Plan) -> Plan:
    """The log is cut beyond the reader: what was read is answered all the same."""
    plan = quiet(
        plan,
        study="cut",
        partitions=rng.choice((1, 2)),
        limits=replace(plan.limits, request_deadline=40.0),
        call_timeout=30.0,
        shops=(well_shop(0, rng, pace=rng.choice((0.5, 1.5)), products_per_call=2, concurrent_calls=1),),
    )
    plan.faults = [Fault(rng.uniform(READY_SECONDS, 10.0), "trim", (number,)) for number in range(plan.partitions)]
    plan.records = in_order(
        request(number, rng.uniform(READY_SECONDS, 12.0), rng.randrange(plan.partitions), plan.shops[0])
        for number in range(60)
    )
    return plan


def _expelled(rng: Random, plan: Plan) -> Plan:
    """Members are put out of the group amid their transactions."""
    steps = ("produce, answered", "send offsets", "send offsets, answered", "commit")
    faults = [
        Fault(rng.uniform(0.5, plan.duration), "expel at step", (rng.choice(steps), rng.randrange(1, 4), 0.0))
        for _ in range(16)
    ]
    plan = replace(plan, study="expelled", replicas=rng.choice((2, 3)), static=False, network_trouble=0.05)
    plan.faults = sorted(faults, key=lambda fault: fault.time)
    return plan


def _joined(rng: Random, plan: Plan) -> Plan:
    """Replicas join and leave while one client hangs and one is slow: kept partitions notice none of it."""
    hangs_from = rng.choice((0.0, READY_SECONDS + 1.0))
    plan = quiet(
        plan,
        study="joined",
        static=False,
        partitions=6,
        replicas=rng.choice((1, 1, 2)),
        session=4.0,
        drain=3.2,
        limits=replace(_roomy(plan), calls=8, record_bytes=100_000),
        call_timeout=30.0,
        promised_kept=KEPT_SECONDS,
        shops=(
            well_shop(0, rng, pace=0.05, products_per_call=10, concurrent_calls=2),
            well_shop(
                1,
                rng,
                pace=0.05,
                regimes=(Regime(hangs_from, plan.duration + 60, "hang"),),
                products_per_call=2,
                concurrent_calls=rng.choice((1, 2)),
            ),
            well_shop(2, rng, pace=1.5, products_per_call=10, concurrent_calls=2),
        ),
    )
    plan.faults = [
        Fault(rng.uniform(READY_SECONDS + 2.0, 7.0), "join", (rng.choice((3.0, 100.0)),)),
        Fault(rng.uniform(10.0, 13.0), "join", (100.0,)),
    ]
    well, hanging, slow = plan.shops
    plan.records = in_order(
        request(
            number,
            rng.uniform(READY_SECONDS, plan.duration),
            rng.randrange(plan.partitions),
            {0: hanging, 1: slow}.get(number % 10, well),
        )
        for number in range(300)
    )
    return plan


def _silent(rng: Random, plan: Plan) -> Plan:
    """Many partitions whose progress the brokers do not tell for a while: polling goes on."""
    plan = quiet(plan, study="silent", partitions=24, faults=[Fault(0.0, "silent progress", (rng.uniform(5.0, 9.0),))])
    for record in plan.records:
        record.partition = rng.randrange(plan.partitions)
    return plan


def _recreated(rng: Random, plan: Plan) -> Plan:
    """The topic is deleted and created again under its readers, who may crash: the newer one is read from its start."""
    plan = quiet(
        plan,
        study="recreated",
        topic_ids=True,
        static=False,
        partitions=rng.choice((1, 2)),
        replicas=rng.choice((1, 1, 2)),
        limits=replace(_roomy(plan), calls=8, record_bytes=100_000),
        call_timeout=30.0,
        shops=(well_shop(0, rng, pace=rng.choice((0.05, 0.5)), products_per_call=10, concurrent_calls=2),),
    )
    times = [rng.uniform(READY_SECONDS + 1.0, 8.0)] + [rng.uniform(9.0, 14.0)] * (rng.random() < 0.3)
    plan.faults = [Fault(time, "recreate", (rng.random() < 0.5,)) for time in times]
    if rng.random() < 0.5:
        plan.faults.append(Fault(times[0] + rng.uniform(-0.5, 6.0), "crash", (0, rng.choice((0.1, 1.0)))))
    plan.faults.sort(key=lambda fault: fault.time)
    records = [
        request(number, rng.uniform(READY_SECONDS, plan.duration), rng.randrange(plan.partitions), plan.shops[0])
        for number in range(rng.choice((40, 150)))
    ]
    # the newer log is often longer than what was read of the former one
    burst = rng.choice((0, 0, 100))
    records += [
        request(len(records) + number, times[0] + 0.1, rng.randrange(plan.partitions), plan.shops[0])
        for number in range(burst)
    ]
    plan.records = in_order(records)
    return plan


def _unreadable(rng: Random, plan: Plan) -> Plan:
    """Batches that cannot be unpacked, however often they are fetched: each of their records is a dead letter."""
    plan = quiet(
        plan,
        study="unreadable",
        partitions=rng.choice((1, 2)),
        limits=_roomy(plan),
        call_timeout=30.0,
        garbled=rng.choice((0.0, 0.0, 0.02)),
        shops=(well_shop(0, rng, pace=0.05, products_per_call=10, concurrent_calls=2),),
    )
    (shop,) = plan.shops
    records = [
        request(number, rng.uniform(READY_SECONDS, 14.0), rng.randrange(plan.partitions), shop) for number in range(60)
    ]
    for batch in range(rng.choice((1, 2, 5))):
        time, partition = rng.uniform(READY_SECONDS, 12.0), rng.randrange(plan.partitions)
        count = rng.choice((1, 2, 3, 17, 60))
        records += [
            replace(request(len(records) + number, time, partition, shop), batch=batch, readable=False)
            for number in range(count)
        ]
    if rng.random() < 0.3:
        plan.faults = [Fault(rng.uniform(READY_SECONDS, 12.0), "crash", (0, 0.1))]
    for record in records:
        if record.batch is None and not plan.garbled and not plan.faults:
            plan.promised[record.number] = UNREADABLE_SECONDS
    plan.records = in_order(records)
    return plan


def _forgetful(rng: Random, plan: Plan) -> Plan:
    """After transactions of unknown end the brokers tell progress of long ago, for longer than they are asked."""
    plan = quiet(
        plan,
        study="forgetful",
        partitions=rng.choice((1, 2, 3)),
        limits=_roomy(plan),
        call_timeout=30.0,
        transaction_trouble=0.3,
        shops=(well_shop(0, rng, pace=0.05, products_per_call=10, concurrent_calls=2),),
        faults=[Fault(rng.uniform(5.0, 8.0), "former progress", (rng.choice((30.0, 1000.0)),))],
    )
    plan.records = in_order(
        request(number, rng.uniform(READY_SECONDS, plan.duration), rng.randrange(plan.partitions), plan.shops[0])
        for number in range(80)
    )
    return plan


def _at_least_once(rng: Random, plan: Plan) -> Plan:  # noqa: ARG001 - a study
    """Results outside of transactions, while everything may go wrong: none is missing, some come twice."""
    return replace(plan, study="at least once", at_least_once=True)


KAFKA_STUDIES: tuple[Callable[[Random, Plan], Plan], ...] = (
    _unwritable,
    _cut,
    _expelled,
    _expelled,
    _silent,
    _joined,
    _joined,
    _recreated,
    _recreated,
    _unreadable,
    _unreadable,
    _forgetful,
    _forgetful,
    _at_least_once,
    _at_least_once,
)
