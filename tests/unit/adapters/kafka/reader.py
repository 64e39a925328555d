"""A reader: the owner thread on a log and a clock of ours."""

from collections.abc import Sequence

import pytest
from confluent_kafka import TopicPartition

from consumer.adapters.kafka import broken_batches, broker_watch, fetching, membership, positions, resets
from consumer.adapters.kafka import source as kafka_in
from consumer.adapters.kafka.source import KafkaSource
from consumer.engine.events import Event, MembershipChanged
from tests.unit.adapters.kafka.fake_consumer import PARTITION, FakeClock, Log
from tests.unit.engine.world import World


class Reader:
    """The owner thread, turned by the test, with a real core behind it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, offsets: Sequence[int] = (), topic_id: bytes | None = b""
    ) -> None:
        self.clock = FakeClock()
        self.log = Log(self.clock, offsets)
        self.world = World(start=False)
        self.events: list[Event] = []
        monkeypatch.setattr(kafka_in, "Consumer", lambda _properties: self.log)
        for module in (kafka_in, broken_batches, broker_watch, fetching, membership, positions, resets):
            monkeypatch.setattr(module, "time", self.clock)
        self.source = KafkaSource(
            {}, "requests", self.events.append, lambda: self.world.core.fetch_budget, 1.0, topic_id
        )
        self.world.do(MembershipChanged(member=True))

    def assign(self, *partitions: int) -> None:
        places = [TopicPartition("requests", each) for each in partitions or (PARTITION,)]
        self.source._group.on_assign(self.log, places)  # type: ignore[arg-type]  # a fake

    def revoke(self, *partitions: int) -> None:
        places = [TopicPartition("requests", each) for each in partitions]
        self.source._group.on_revoke(self.log, places)  # type: ignore[arg-type]  # a fake

    def turn(self, times: int = 1) -> None:
        """Let the owner thread turn and the core react; Mirakl takes everything in at once, transactions commit."""
        for _ in range(times):
            self.read(1)
            self.answer()

    def read(self, times: int) -> None:
        """Let the owner thread turn; nothing is answered."""
        for _ in range(times):
            self.source._turn()
            self.react()

    def react(self) -> None:
        """Pass events and commands on, as the driver would."""
        world = self.world
        events, self.events[:] = list(self.events), []
        for event in events:
            world.do(event)
        world.epochs = dict(self.source._group.epochs)
        for reread in world.rereads:
            self.source.reread(reread)
        if world.drained:
            self.source.drained(world.drained)
        if world.paused:
            self.source.pause(sorted(world.paused))
        self.source.resume(world.resumed)
        world.rereads, world.drained, world.resumed = [], [], []

    def answer(self) -> None:
        world = self.world
        while world.calls:
            world.answer()
        world.wait(0.1)
        if world.transaction is not None:
            world.commit()
        self.react()

    @property
    def answered(self) -> list[int]:
        return [request.record.offset for request in self.world.committed]
