"""Steady load: so many requests a second, spread over partitions and client specifications, until told to stop."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from tests.chaos.workload import Client, Requests

INTERVAL_SECONDS = 0.01
FLUSH_SECONDS = 180.0


class Load:
    """A thread that sends. The broker may be away meanwhile: requests then wait in the producer."""

    def __init__(self, bootstrap: str, topic: str, requests: Requests, streams: "Sequence[Stream]") -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.timeout.ms": int(FLUSH_SECONDS * 1000),
                "reconnect.backoff.max.ms": 500,
                "log_level": 2,
            }
        )
        self._topic = topic
        self._requests = requests
        self._streams = streams
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.ends: dict[int, int] = {}
        """Of each partition: the offset after the last record that was acknowledged."""
        self.sent_at: dict[tuple[int, int], float] = {}
        """By coordinates, where a stream asks for it: monotonic seconds at which the record was handed over."""
        self.acknowledged = 0
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; wait until the broker has acknowledged all."""
        self._stop.set()
        self._thread.join()
        if self._producer.flush(FLUSH_SECONDS):
            self.failed.append("the broker did not acknowledge all requests")

    def _run(self) -> None:
        started = time.monotonic()
        sent = [0] * len(self._streams)
        while not self._stop.is_set():
            elapsed = time.monotonic() - started
            for index, stream in enumerate(self._streams):
                while sent[index] < elapsed * stream.per_second and not self._stop.is_set():
                    self._send(stream, sent[index])
                    sent[index] += 1
            self._producer.poll(0)
            self._stop.wait(INTERVAL_SECONDS)

    def _send(self, stream: "Stream", turn: int) -> None:
        partition = stream.partitions[turn % len(stream.partitions)]
        record = self._requests.record(self._number, stream.client, partition)
        self._number += 1
        self._producer.produce(
            self._topic,
            record.value,
            record.key,
            partition,
            headers=list(record.headers),
            on_delivery=self._acknowledgement(time.monotonic() if stream.timed else None),
        )

    def _acknowledgement(self, sent_at: float | None) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.failed.append(error.str())
                return
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self.acknowledged += 1
            self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)
            if sent_at is not None:
                self.sent_at[partition, offset] = sent_at

        return note


class Stream:
    """The requests of one client specification."""

    def __init__(self, client: Client, per_second: float, partitions: Sequence[int], *, timed: bool = False) -> None:
        self.client = client
        self.per_second = per_second
        self.partitions = partitions
        self.timed = timed
