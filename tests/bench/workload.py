"""The job: requests of some products each, for some client specifications, preloaded into one topic."""

import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message, Producer

from schemas.avro.codec import RequestEncoder
from schemas.signature import Content, Signing

ACKNOWLEDGED_SECONDS = 60
NAMESPACE = uuid.UUID("5f0c1d5e-2a53-4f0e-9d3c-0a4c5b1f7d10")
"""Makes the ids of the client specifications the same in every run."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked for. A request's number gives its id and its client specification, and is read off its id."""

    requests: int
    specifications: int
    keyed: bool
    """By client specification; else the requests of each are spread over all partitions."""
    products: int = 2
    """Of each request."""

    def name(self, specification: int) -> str:
        """Of a client specification, and of its instance of the simulated Mirakl."""
        return f"bench-{specification:03d}"

    def specification_id(self, specification: int) -> str:
        """Of the client specification of this number."""
        return str(uuid.uuid5(NAMESPACE, self.name(specification)))

    def specification_of(self, number: int) -> int:
        """Requests of all client specifications take turns."""
        return number % self.specifications

    def request_id(self, number: int) -> str:
        """36 characters, as those of our own tools."""
        return f"{number:08x}-0000-4000-8000-000000000000"

    def number(self, request_id: str) -> int:
        """The inverse. Raises :class:`ValueError` where it is no id of this workload."""
        number = int(request_id[:8], 16)
        if not 0 <= number < self.requests or request_id != self.request_id(number):
            raise ValueError(f"{request_id!r} was never asked for")
        return number

    def values(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Value and key of each record."""
        encoder = RequestEncoder()
        ids = [self.specification_id(each) for each in range(self.specifications)]
        now = int(time.time() * 1000)
        for number in range(self.requests):
            specification_id = ids[self.specification_of(number)]
            pairs = range(number * self.products, (number + 1) * self.products)
            request = {
                "requestId": self.request_id(number),
                "clientSpecificationId": specification_id,
                "products": [{"miraklProductId": f"MKL-{n:09d}", "productSku": f"SKU-WIDGET-{n:09d}"} for n in pairs],
                "requestedAt": now,
                "requestedBy": "bench",
                "reason": None,
            }
            yield encoder.encode(request), specification_id.encode() if self.keyed else None


@dataclass(frozen=True, slots=True)
class Form:
    """What the requests of one topic carry besides their value."""

    signed: bool = False
    """A signature in the place of the key."""
    sampled: int | None = None
    """Percent of them that are sampled: all have a ``traceparent`` then."""


WITH_KEY = Form()
BATCH_RECORDS = 250
"""Size of the batches in the log. What a fetch returns depends on it, and with that the pace of a program; batches that
end after some time would make it depend on how fast the log was written, and so on the interpreter."""


def preload(
    bootstrap: str, topic: str, partitions: int, workload: Workload, api_key: str, form: Form = WITH_KEY
) -> None:
    """Write the whole workload in this form.

    Raises :class:`RuntimeError` where a record was not acknowledged.
    """
    whole = {"linger.ms": 5000, "batch.num.messages": BATCH_RECORDS}
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 0, **whole})
    client, key_bytes, signing = ("dj-client", b"OPERATOR"), api_key.encode(), Signing(topic)
    headers: list[tuple[str, str | bytes | None]] = [client, ("dj-api-key", key_bytes)]
    spread, spread_samples = random.Random(1), random.Random(2)
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    for number, (value, key) in enumerate(workload.values()):
        # keys are dealt out: with so few of them a hash would be measured that puts three on one partition
        partition = spread.randrange(partitions) if key is None else workload.specification_of(number) % partitions
        if form.signed:
            headers = [client, ("dj-signature", signing.header(key_bytes, Content(None, client[1], value)))]
        if form.sampled is not None:
            flags = spread_samples.random() * 100 < form.sampled
            trace = b"00-%032x-%016x-%02x" % (number + 1, number + 1, flags)
            headers = [client, ("dj-api-key", key_bytes), ("traceparent", trace)]
        producer.produce(topic, value, key, partition=partition, headers=headers, on_delivery=delivered)
        producer.poll(0)
    if producer.flush(ACKNOWLEDGED_SECONDS) or failed:
        raise RuntimeError(f"the broker did not acknowledge all requests: {failed[:1]}")
