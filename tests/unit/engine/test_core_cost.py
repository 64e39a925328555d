"""What the core costs grows no faster than the work."""

import time

import pytest

from tests.unit.engine.world import World, body, specification

pytestmark = pytest.mark.cost


def test_first_answers_of_many_clients_cost_in_proportion_to_their_number() -> None:
    """A start with hundreds of clients, all of which are answered for the first time at once."""
    few, many = (min(_seconds_of_first_answers(clients) for _ in range(3)) for clients in (60, 600))

    assert 30 > many / few  # 10 is proportional, 125 was measured where each answer weighed all lanes


def _seconds_of_first_answers(clients: int) -> float:
    ids = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(clients)]
    world = World(*map(specification, ids))
    world.fetch([world.record(body(f"r{number}", given=id_)) for number, id_ in enumerate(ids)])
    started = time.process_time()
    while world.calls:
        world.answer()
    return time.process_time() - started
