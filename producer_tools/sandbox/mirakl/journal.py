"""Journal of a simulated Mirakl: its calls and accepted products, against which tests check results."""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

DEFAULT_BYTES: Final = 64 * 1024 * 1024
"""Bodies kept; 64 MiB hold about a million entries."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One CM21 call that was taken in. Its body is kept as it came and read only when asked for."""

    time: float
    """Seconds since the epoch."""
    instance: str
    tracking_id: str
    body: bytes = field(repr=False)

    @property
    def products(self) -> dict[str, str]:
        """Return the products of the call: Mirakl product id -> SKU."""
        return {entry["mirakl_product_id"]: entry["product_sku"] for entry in json.loads(self.body)}

    def as_json(self) -> dict[str, object]:
        return {
            "time": self.time,
            "instance": self.instance,
            "tracking_id": self.tracking_id,
            "entries": json.loads(self.body),
        }


class Journal:
    """The submissions in the order of taking in; the oldest are forgotten beyond ``max_bytes`` of bodies.

    ``file`` receives every submission as a line of JSON, and forgets none.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES, file: IO[str] | None = None) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._submissions: deque[Submission] = deque()
        self._by_tracking_id: dict[str, Submission] = {}
        self._file = file
        self.forgotten = 0
        """Submissions that are no longer in memory: where it is not 0, absence proves nothing."""

    def __len__(self) -> int:
        return len(self._submissions)

    def __iter__(self) -> Iterator[Submission]:
        return iter(self._submissions)

    def record(self, submission: Submission) -> None:
        self._submissions.append(submission)
        self._by_tracking_id[submission.tracking_id] = submission
        self._bytes += len(submission.body)
        while self._bytes > self._max_bytes and len(self._submissions) > 1:
            oldest = self._submissions.popleft()
            del self._by_tracking_id[oldest.tracking_id]
            self._bytes -= len(oldest.body)
            self.forgotten += 1
        if self._file is not None:
            print(json.dumps(submission.as_json()), file=self._file, flush=True)

    def find(self, tracking_id: str) -> Submission | None:
        return self._by_tracking_id.get(tracking_id)

    def search(
        self, instance: str | None = None, mirakl_product_id: str | None = None, after: float = 0.0
    ) -> Iterator[Submission]:
        """Yield what was taken in by an instance, with a product, after a time; each condition is optional."""
        for submission in self._submissions:
            if (
                instance in (None, submission.instance)
                and submission.time > after
                and (mirakl_product_id is None or mirakl_product_id in submission.products)
            ):
                yield submission

    def missing(self, tracking_ids: Iterable[str], products: Mapping[str, str]) -> dict[str, str]:
        """Find the pairs that were not taken in under any of these tracking ids; empty: all were."""
        taken_in: dict[str, str] = {}
        for tracking_id in tracking_ids:
            submission = self.find(tracking_id)
            taken_in |= submission.products if submission is not None else {}
        return {each: sku for each, sku in products.items() if taken_in.get(each) != sku}

    def clear(self) -> None:
        self._submissions.clear()
        self._by_tracking_id.clear()
        self._bytes = self.forgotten = 0


@dataclass(slots=True)
class Counters:
    """Numbers of CM21 calls of one instance, of their entries and of their answers."""

    calls: int = 0
    entries: int = 0
    taken_in_calls: int = 0
    taken_in_entries: int = 0
    concurrent_calls: int = 0
    """Now."""
    most_concurrent_calls: int = 0
    largest_call: int = 0
    """Entries."""
    answers: Counter[str] = field(default_factory=Counter)
    """HTTP status, or the effect that left none -> calls."""

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}
