"""Records that are read again where they stand: results for their products, requests for everything."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing

from confluent_kafka import Message

from producer_tools.connection import Connection
from producer_tools.retries.selection import Candidate, Place
from producer_tools.topic_reader import TopicReader
from schemas.settings import KafkaSettings


def records_at(kafka: KafkaSettings, topic: str, places: Collection[Place]) -> Iterator[tuple[Place, Message]]:
    """Iterate over the records at these places of a topic; those that it has no more are left out.

    Each partition is read once, from the first place to the last.
    """
    by_partition: dict[int, set[int]] = {}
    for partition, offset in places:
        by_partition.setdefault(partition, set()).add(offset)
    if not by_partition:
        return
    reader = TopicReader(Connection(kafka), topic, "end", partitions=by_partition)
    with closing(reader):
        for partition in by_partition.keys() & reader.bounds.keys():
            wanted = by_partition[partition]
            reader.seek(partition, min(wanted))
            for message in reader.to_end():
                offset = message.offset() or 0
                if offset in wanted:
                    wanted.remove(offset)
                    yield (partition, offset), message
                if not wanted:
                    break


def batches(candidates: Iterable[Candidate], most: int) -> Iterator[list[Candidate]]:
    """Cut candidates into lists that have ``most`` missing products together, or one candidate with more."""
    batch: list[Candidate] = []
    room = most
    for candidate in candidates:
        count = candidate.missing.products if candidate.missing else 0
        if batch and count > room:
            yield batch
            batch, room = [], most
        batch.append(candidate)
        room -= count
    if batch:
        yield batch
