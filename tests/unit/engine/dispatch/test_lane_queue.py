"""The queue of a lane: its count of products is that of its parts, whatever happens to them."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.progress import Progress
from consumer.engine.dispatch.lane_queue import LaneQueue
from consumer.engine.policy import Policy
from consumer.engine.request_headers import read_headers
from consumer.engine.requests import Assignment, AssignmentPhase, Part, Request
from tests.support.builders import fetched_record

LIMIT = 10

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 1), st.integers(1, 25)),
        st.tuples(st.sampled_from(["cut", "put back", "refused", "accepted", "end", "drop", "drop head", "take all"])),
    ),
    max_size=60,
)


class World:
    """A queue, its calls in flight, and the assignments of its requests: two at a time."""

    def __init__(self) -> None:
        self.queue = LaneQueue(Policy())
        self.assignments = [Assignment(number, 1, Progress(0)) for number in range(2)]
        self.calls: dict[int, list[Part]] = {}
        self.number = 0

    def append(self, partition: int, products: int) -> None:
        self.number += 1
        record = fetched_record(partition, self.number, 0, None, b"", [])
        request = Request(record, self.assignments[partition], read_headers([]), 0.0, 300.0)
        request.products = {f"{self.number}-{place}": "sku" for place in range(products)}
        self.queue.append(request.route("lane"))

    def cut(self) -> None:
        self.number += 1
        carried = {id_: sku for parts in self.calls.values() for part in parts for id_, sku in part.products.items()}
        if (cut := self.queue.cut(self.number, LIMIT, carried)) is not None:
            self.calls[self.number] = cut[0]

    def put_back(self) -> None:
        for call_id, parts in self.calls.items():
            self.queue.put_back(call_id, [part for part in parts if part.sendable])
        self.calls.clear()

    def refused(self) -> None:
        for call_id, parts in self.calls.items():
            self.queue.refused(call_id, parts, sum(len(part.products) for part in parts), too_large=False)
        self.calls.clear()

    def accepted(self) -> None:
        for call_id, parts in self.calls.items():
            self.queue.accepted(call_id, len(parts), sum(len(part.products) for part in parts), LIMIT)
        self.calls.clear()

    def end(self) -> None:
        """An assignment ends: its parts stay where they are until they are dropped."""
        self.assignments[0].phase = AssignmentPhase.ENDED
        self.assignments[0] = Assignment(0, 2, Progress(0))

    def drop(self) -> None:
        self.queue.drop_unsendable()

    def drop_head(self) -> None:
        self.queue.drop_unsendable_head()

    def take_all(self) -> None:
        self.queue.take_all()


@given(STEPS)
def test_products_are_those_of_the_parts_that_wait(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    for name, *arguments in steps:
        getattr(world, name.replace(" ", "_"))(*arguments)
        assert sum(len(part.products) for part in world.queue.parts()) == world.queue.products
