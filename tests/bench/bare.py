"""The bound: a loop that consumes, decodes, encodes and produces in transactions, and does nothing else.

It is the loop of the architecture's sizing, with the libraries of the service: no authorization, no validation, no
HTTP, one thread. ``--headers`` adds to each result the headers that the contract wants.
"""

import time
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import click
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from fastavro import schemaless_reader, schemaless_writer

from schemas.avro import released
from schemas.avro.framing import SINGLE_OBJECT_BYTES

MOST = 2_000
"""Records in one transaction."""
CONSUMER = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 20,
    "queued.min.messages": 10_000,
}
PRODUCER = {
    "linger.ms": 5,
    "batch.num.messages": 10_000,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 200_000,
    "retry.backoff.ms": 5,
}
TIMEOUT_SECONDS = 30


class BareLoop:
    """One consumer, one producer, some of the partitions: they never move, since this is a bound."""

    def __init__(
        self, bootstrap: str, group: str, requests: str, results: str, share: tuple[int, int], *, headers: bool
    ) -> None:
        self._requests, self._results = requests.encode(), results
        self._source = b"urn:mirakl-resync:" + group.encode()
        self._headers = headers
        self._read, _ = released.plain_schema(released.requests()[-1].text)
        self._written, _ = released.plain_schema(released.results()[-1].text)
        self._framing = released.results()[-1].ref.wire
        self._consumer = Consumer({**CONSUMER, "bootstrap.servers": bootstrap, "group.id": group})
        number, of = share
        transactional_id = f"{group}-{number}"
        self._producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap, "transactional.id": transactional_id})
        self._producer.init_transactions(TIMEOUT_SECONDS)
        partitions = self._consumer.list_topics(requests, TIMEOUT_SECONDS).topics[requests].partitions
        self._consumer.assign(
            [TopicPartition(requests, each, OFFSET_BEGINNING) for each in partitions if each % of == number]
        )

    def turn(self) -> None:
        """One transaction, if there is something to do."""
        messages = self._consumer.consume(MOST, 0.05)
        if not messages:
            return
        self._producer.begin_transaction()
        now = int(time.time() * 1000)
        clock = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds").encode()
        ends: dict[int, int] = {}
        for message in messages:
            partition, offset = _coordinates(message)
            ends[partition] = offset + 1
            self._answer(message, partition, offset, now, clock)
        offsets = [TopicPartition(self._requests.decode(), partition, end) for partition, end in ends.items()]
        self._producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata(), TIMEOUT_SECONDS)
        self._producer.commit_transaction(TIMEOUT_SECONDS)

    def _answer(self, message: Message, partition: int, offset: int, now: int, clock: bytes) -> None:
        body = BytesIO(message.value() or b"")
        body.seek(SINGLE_OBJECT_BYTES)
        request: Any = schemaless_reader(body, self._read, None)
        value = BytesIO()
        value.write(self._framing)
        schemaless_writer(
            value,
            self._written,
            {
                "requestId": request["requestId"],
                "status": "SYNCHRONIZED",
                "synchronizedProducts": len(request["products"]),
                "clientSpecificationId": request["clientSpecificationId"],
                "trackingIds": ["01234567-89ab-cdef-0123-456789abcdef"],
                "unsynchronizedProducts": [],
                "error": None,
                "requestedAt": request["requestedAt"],
                "completedAt": now,
            },
        )
        key = request["requestId"].encode()
        if self._headers:
            headers = self._contract_headers(key, partition, offset, message.timestamp()[1], clock)
            self._producer.produce(self._results, value.getvalue(), key, headers=headers)
        else:
            self._producer.produce(self._results, value.getvalue(), key)

    def _contract_headers(
        self, key: bytes, partition: int, offset: int, timestamp: int, clock: bytes
    ) -> list[tuple[str, str | bytes | None]]:
        place = b"%d" % partition
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"%b/%d/%d/%d" % (self._requests, partition, offset, timestamp)),
            ("ce_type", b"mirakl.resync.v1.ProductResyncResult"),
            ("ce_source", self._source),
            ("ce_subject", key),
            ("ce_time", clock),
            ("content-type", b"application/avro"),
            ("resync-request-topic", self._requests),
            ("resync-request-partition", place),
            ("resync-request-offset", b"%d" % offset),
            ("resync-tenant", b"default"),
        ]


def _coordinates(message: Message) -> tuple[int, int]:
    error, partition, offset = message.error(), message.partition(), message.offset()
    if error is not None or partition is None or offset is None:
        raise RuntimeError(f"the bare loop cannot go on: {error}")
    return partition, offset


@click.command(name="python -m tests.bench.bare")
@click.option("--bootstrap", required=True)
@click.option("--group", required=True)
@click.option("--requests", required=True, help="The topic to read.")
@click.option("--results", required=True, help="The topic to write.")
@click.option("--share", type=(int, int), default=(0, 1), help="Number of this loop, and how many there are.")
@click.option("--headers/--no-headers", default=False, help="Give each result the contract's headers.")
def main(bootstrap: str, group: str, requests: str, results: str, share: tuple[int, int], *, headers: bool) -> None:
    """Answer every request with a result that nobody asked Mirakl for, until killed."""
    loop = BareLoop(bootstrap, group, requests, results, share, headers=headers)
    while True:
        loop.turn()


if __name__ == "__main__":
    main()
