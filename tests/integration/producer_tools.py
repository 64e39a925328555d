"""``mirakl-resync`` as a process, and a responder that stands for the service."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.avro.codec import RequestDecoder, ResultEncoder
from tests.support.records import RawRecord
from tests.support.service import environment
from tests.support.topics import Topics

API_KEY = "a-key-that-must-never-be-shown"

ENCODER = ResultEncoder()

Answer = dict[str, Any]


def synchronized(request: Answer) -> Answer:
    return {
        "requestId": request["requestId"],
        "status": "SYNCHRONIZED",
        "synchronizedProducts": len(request["products"]),
        "clientSpecificationId": request["clientSpecificationId"],
        "trackingIds": ["tracking-1"],
        "unsynchronizedProducts": [],
        "error": None,
        "requestedAt": request["requestedAt"],
        "completedAt": request["requestedAt"] + 5,
    }


def failed(request: Answer) -> Answer:
    error = {
        "httpStatus": 404,
        "code": "CLIENT_SPECIFICATION_NOT_FOUND",
        "message": "There is none: name another.",
        "retryable": False,
        "availableClientSpecificationIds": [],
        "fieldErrors": [],
    }
    return synchronized(request) | {
        "status": "FAILED",
        "synchronizedProducts": 0,
        "trackingIds": [],
        "error": error,
    }


def by_first_product(request: Answer) -> Answer | None:
    """Fails what begins with F, never answers what begins with N."""
    first = request["products"][0]["miraklProductId"]
    return None if first.startswith("N") else failed(request) if first.startswith("F") else synchronized(request)


class Responder:
    """Answers requests in transactions of their own, as the service does, until the end of the ``with`` block."""

    def __init__(self, bootstrap: str, topics: Topics, answer: Callable[[Answer], Answer | None]) -> None:
        self._topics = topics
        self._answer = answer
        self._stop = threading.Event()
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topics.group})
        self._producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topics.group})
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._producer.init_transactions(30)
        partitions = (
            self._consumer.list_topics(self._topics.requests, timeout=10).topics[self._topics.requests].partitions
        )
        self._consumer.assign([TopicPartition(self._topics.requests, partition, 0) for partition in partitions])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        decoder = RequestDecoder(registry=False, max_bytes=1 << 20)
        while not self._stop.is_set():
            message = self._consumer.poll(0.05)
            if message is None or message.error():
                continue
            request = decoder.decode(message.value())
            answer = self._answer(request) if isinstance(request, dict) else None
            if answer:
                self._producer.begin_transaction()
                self._producer.produce(
                    self._topics.results,
                    ENCODER.encode(answer),
                    answer["requestId"].encode(),
                    headers=[("resync-tenant", b"acme")],
                )
                self._producer.commit_transaction(30)


def result_record(request_id: str, status: str = "SYNCHRONIZED") -> RawRecord:
    request: Answer = {
        "requestId": request_id,
        "products": [{}],
        "clientSpecificationId": None,
        "requestedAt": 1_700_000_000_000,
    }
    return RawRecord(ENCODER.encode(synchronized(request) | {"status": status}), request_id.encode())


def tool(settings: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """The program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "producer_tools", *arguments],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
