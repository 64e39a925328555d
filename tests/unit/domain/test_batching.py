"""The next call takes all that waits, up to the limit, and never two SKUs of one id at the same time."""

from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.batching import LOOKAHEAD, cut_batch
from consumer.domain.model import Products


@dataclass(eq=False)
class Part:
    """What can travel."""

    name: int
    products: Products
    sendable: bool = field(default=True)


IDS = st.sampled_from("abcdefgh")
PRODUCTS = st.dictionaries(IDS, st.sampled_from("12"), min_size=1, max_size=5)
PARTS = st.lists(PRODUCTS, max_size=20).map(lambda every: [Part(name, products) for name, products in enumerate(every)])
LIMITS = st.integers(5, 12)


@settings(max_examples=100, deadline=None)
@given(parts=PARTS, limit=LIMITS, in_flight=st.dictionaries(IDS, st.sampled_from("12")), held=st.sets(IDS, max_size=2))
def test_a_batch_keeps_every_rule(parts: list[Part], limit: int, in_flight: dict[str, str], held: set[str]) -> None:
    queue = deque(parts)
    taken, products = cut_batch(queue, limit, in_flight, held)

    assert limit >= len(products)
    assert products == {id_: sku for part in taken for id_, sku in part.products.items()}
    for part in taken:
        assert all(products[id_] == sku for id_, sku in part.products.items()), "two SKUs in one call"
        assert all(in_flight.get(id_, sku) == sku for id_, sku in part.products.items()), "two SKUs in concurrent calls"
        assert not held & set(part.products), "overtakes something older"
    assert Counter(part.name for part in parts) == Counter(part.name for part in [*taken, *queue])


@settings(max_examples=60, deadline=None)
@given(parts=PARTS, limit=LIMITS, concurrent=st.integers(1, 3), order=st.randoms(use_true_random=False))
def test_call_after_call_everything_goes_once_and_each_id_in_its_order(
    parts: list[Part], limit: int, concurrent: int, order: Random
) -> None:
    """Calls come back in any order; no two that are out differ in an SKU."""
    queue, out, sent = deque(parts), list[tuple[list[Part], dict[str, str]]](), list[Part]()
    while queue or out:
        in_flight = {id_: sku for _, products in out for id_, sku in products.items()}
        taken, products = cut_batch(queue, limit, in_flight) if len(out) < concurrent else ([], {})
        if taken:
            sent += taken
            out.append((taken, products))
        else:
            assert out, "everything waits for nothing"
            out.pop(order.randrange(len(out)))

    assert [part.name for part in parts] == sorted(part.name for part in sent)
    for id_ in "abcdefgh":
        pushed = [part.products[id_] for part in sent if id_ in part.products]
        asked = [part.products[id_] for part in parts if id_ in part.products]
        assert without_repeats(asked) == without_repeats(pushed)


def without_repeats(skus: list[str]) -> list[str]:
    """Where the SKU changes; the same one in a row may change places."""
    return [sku for index, sku in enumerate(skus) if index == 0 or skus[index - 1] != sku]


def test_repeats_take_no_room() -> None:
    queue = deque(Part(name, {"a": "1", "b": "2"}) for name in range(5))
    taken, products = cut_batch(queue, 2, {})

    assert 5 == len(taken)
    assert {"a": "1", "b": "2"} == products


def test_the_first_that_does_not_fit_ends_the_batch_so_that_nobody_small_overtakes_for_ever() -> None:
    queue = deque([Part(0, {"a": "1"}), Part(1, {"b": "1", "c": "1"}), Part(2, {"d": "1"})])
    taken, _ = cut_batch(queue, 2, {})

    assert [0] == [part.name for part in taken]
    assert [1, 2] == [part.name for part in queue]


def test_what_has_to_wait_for_a_conflict_lets_others_pass_but_nobody_with_one_of_its_ids() -> None:
    queue = deque([Part(0, {"x": "2", "y": "1"}), Part(1, {"y": "1"}), Part(2, {"z": "1"}), Part(3, {"x": "1"})])
    taken, _ = cut_batch(queue, 100, {"x": "1"})

    assert [2] == [part.name for part in taken]
    assert [0, 1, 3] == [part.name for part in queue]


def test_parts_that_nobody_waits_for_fall_away() -> None:
    queue = deque([Part(0, {"a": "1"}, sendable=False), Part(1, {"a": "2"}), Part(2, {"b": "1"}, sendable=False)])
    taken, products = cut_batch(queue, 100, {})

    assert [1] == [part.name for part in taken]
    assert {"a": "2"} == products
    assert not queue


def test_a_queue_full_of_conflicts_costs_a_bounded_look() -> None:
    queue = deque(Part(name, {"x": "2"}) for name in range(3 * LOOKAHEAD))
    queue.append(Part(-1, {"free": "1"}))
    taken, _ = cut_batch(queue, 100, {"x": "1"})

    assert [] == taken
    assert [*range(3 * LOOKAHEAD), -1] == [part.name for part in queue]


@pytest.mark.cost
def test_a_repeat_behind_a_full_batch_costs_no_look_at_all_of_it() -> None:
    full = Part(0, {f"id-{number}": "1" for number in range(10_000)})
    queue = deque([full, *(Part(number, {"id-1": "1"}) for number in range(2_000))])
    began = process_time()
    taken, products = cut_batch(queue, 10_000, {})

    assert process_time() - began < 0.2
    assert (2_001, 10_000) == (len(taken), len(products))
