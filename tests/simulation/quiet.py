"""What studies are made of: plans in which nothing goes wrong by itself, Mirakls, and requests for them."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from tests.simulation.broker import METADATA_BYTES
from tests.simulation.scenario import NORTH, POISON, SOUTH, Plan, Regime, SentRecord, Shop, specification

READY_SECONDS = 3.0
"""After this time every replica of a quiet plan has its partitions."""


def quiet(plan: Plan, **changes: object) -> Plan:
    """Leave out everything that goes wrong by itself; one replica has all partitions."""
    plan = replace(
        plan,
        replicas=1,
        network_trouble=0.0,
        transaction_trouble=0.0,
        faults=[],
        turn_bytes=1_000_000,
        duration=16.0,
        longest_metadata=METADATA_BYTES,
    )
    return replace(plan, **changes)  # type: ignore[arg-type]  # of Plan


def well_shop(number: int, rng: Random, *, pace: float, regimes: tuple[Regime, ...] = (), **row: object) -> Shop:
    """Make a Mirakl whose calls last about ``pace`` seconds; ``row`` are fields of its specification."""
    tenant = SOUTH if number == 0 else NORTH
    return Shop(
        replace(specification(number, tenant, rng, per_hour=None), **row),  # type: ignore[arg-type]  # its fields
        pace=pace,
        steady=True,
        regimes=regimes,
    )


def request(number: int, time: float, partition: int, shop: Shop, *, poisoned: bool = False) -> SentRecord:
    prefix = POISON if poisoned else "p"
    return SentRecord(
        number=number,
        time=time,
        partition=partition,
        gap=0,
        api_key=b"south-operator" if shop.specification.tenant == SOUTH else b"north-operator",
        caller=b"OPERATOR",
        given=shop.specification.id,
        products=((f"{prefix}{number}", f"{number}-a"),),
    )


def in_order(records: Iterable[SentRecord]) -> list[SentRecord]:
    return sorted(records, key=lambda record: record.time)
