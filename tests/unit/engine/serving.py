"""A Mirakl that answers a world's calls by what they carry."""

from consumer.domain.calls import Refusal
from tests.unit.engine.world import World, body


def one_each(world: World, count: int) -> None:
    """A list of ``count`` requests of one product each."""
    world.fetch([world.record(body(f"r{n}", {f"p{n}": "sku"})) for n in range(count)])


def serve(world: World, poisoned: frozenset[str] = frozenset(), status: int = 422) -> None:
    """Mirakl refuses every call that carries a poisoned product, takes in all others; until nothing is out."""
    for _ in range(10_000):
        if world.transaction is not None:
            world.commit()
        if world.calls:
            call = next(iter(world.calls.values()))
            world.answer(call, Refusal(status, "bad entry") if poisoned & set(call.products) else None)
        else:
            world.wait(0.1)
            if not world.calls and world.transaction is None:
                return
    raise AssertionError("calls without end")
