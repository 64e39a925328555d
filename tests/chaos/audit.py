"""The account at the end: what was asked against what a ``read_committed`` subscriber sees and Mirakl took in."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from schemas.avro.codec import ResultDecoder
from tests.chaos.outcomes import Coordinates, request_coordinates
from tests.chaos.workload import EXPECTED_CODES, LARGE_PRODUCTS, Kind, product_id
from tests.support.records import ReadRecord, scan_topic
from tests.support.topics import Topics

SHOWN = 20
EXPLAINED = frozenset({"CM21_UNAVAILABLE", "CM21_OUTCOME_UNKNOWN"})
"""Only where Mirakl was in trouble meanwhile."""
TROUBLE_SLACK_SECONDS = 15.0
"""A call that was sent in Mirakl's trouble may come back, and be counted, so much later."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it stands in the topic."""

    kind: Kind
    number: int
    client: str
    timestamp: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome as it stands in the topic."""

    place: str
    code: str
    """Of the error, or the reason of the dead letter; empty: synchronized."""
    tracking_ids: tuple[str, ...]
    timestamp: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """A time in which Mirakl, or a client's instance of it, was in trouble: seconds since the epoch."""

    client: str | None
    begin: float
    end: float

    def explains(self, asked: Asked, answer: Answer) -> bool:
        """Whether this request met it."""
        return (
            self.client in (None, asked.client)
            and self.begin < answer.timestamp
            and asked.timestamp < self.end + TROUBLE_SLACK_SECONDS
        )


@dataclass(slots=True)
class Account:
    """What was found."""

    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Error code, dead letter reason or ``SYNCHRONIZED`` -> requests."""
    calls: int = 0
    """CM21 calls that Mirakl took in."""
    entries: int = 0
    repeated_entries: int = 0
    """Product pairs taken in more than once, counted by repetition."""
    violations: list[str] = field(default_factory=list)
    offending: list[Coordinates] = field(default_factory=list)

    def object(self, coordinates: Coordinates, text: str) -> None:
        """A law is broken."""
        self.violations.append(f"request {coordinates[0]}:{coordinates[1]}: {text}")
        self.offending.append(coordinates)


def take_account(bootstrap: str, topics: Topics, journal: Path, troubles: Sequence[Trouble]) -> Account:
    """Read everything again, from the beginning."""
    asked = {(each.partition, each.offset): _asked(each) for each in scan_topic(bootstrap, topics.requests)}
    answers: dict[Coordinates, list[Answer]] = {}
    for coordinates, answer in _answers(bootstrap, topics):
        answers.setdefault(coordinates, []).append(answer)
    taken_in = _Journal(journal)
    account = Account(len(asked), calls=taken_in.calls, entries=taken_in.entries)
    account.repeated_entries = taken_in.entries - taken_in.distinct
    for coordinates, request in sorted(asked.items()):
        found = answers.pop(coordinates, [])
        if len(found) == 1:
            account.outcomes[found[0].code or "SYNCHRONIZED"] += 1
            _judge(account, coordinates, request, found[0], taken_in, troubles)
        else:
            where = ", ".join(each.place for each in found)
            account.object(coordinates, f"{len(found)} outcomes: {where}" if found else "lost: it has no outcome")
    for coordinates in answers:
        account.object(coordinates, "an outcome of a request that nobody sent")
    return account


def _judge(
    account: Account,
    coordinates: Coordinates,
    request: Asked,
    answer: Answer,
    taken_in: "_Journal",
    troubles: Sequence[Trouble],
) -> None:
    expected = EXPECTED_CODES.get(request.kind, "")
    if answer.code != expected:
        if answer.code in EXPLAINED and not expected and any(each.explains(request, answer) for each in troubles):
            return
        account.object(coordinates, f"a {request.kind} request was answered {answer.code or 'SYNCHRONIZED'}")
    elif not expected and (missing := taken_in.missing(request, answer.tracking_ids)):
        account.object(coordinates, f"SYNCHRONIZED, but Mirakl never took {missing[:3]} in under its tracking ids")


def _asked(record: ReadRecord) -> Asked:
    kind, number, client = (record.key or b"").decode().split(":")
    return Asked(Kind(kind), int(number), client, record.timestamp / 1000)


def _answers(bootstrap: str, topics: Topics) -> Iterator[tuple[Coordinates, Answer]]:
    decoder = ResultDecoder(registry=False)
    for record in scan_topic(bootstrap, topics.results):
        result = decoder.decode(record.value)
        if not isinstance(result, dict):
            raise TypeError(f"{result} at result {record.partition}:{record.offset}")
        code = result["error"]["code"] if result["error"] else ""
        place = f"result {record.partition}:{record.offset} {code or 'SYNCHRONIZED'}"
        yield request_coordinates(record), Answer(place, code, tuple(result["trackingIds"]), record.timestamp / 1000)
    for record in scan_topic(bootstrap, topics.dead_letters):
        reason = record.header("dlq.reason") or "no reason"
        place = f"dead letter {record.partition}:{record.offset} {reason}"
        yield request_coordinates(record), Answer(place, reason, (), record.timestamp / 1000)


class _Journal:
    """What Mirakl took in."""

    def __init__(self, path: Path) -> None:
        self._products: dict[str, frozenset[str]] = {}
        self.entries = 0
        for entries, tracking_id in _submissions(path):
            self._products[tracking_id] = frozenset(entries)
            self.entries += len(entries)
        self.calls = len(self._products)
        self.distinct = len(frozenset().union(*self._products.values()))

    def missing(self, request: Asked, tracking_ids: Iterable[str]) -> list[str]:
        """The request's products that stand under none of these."""
        count = LARGE_PRODUCTS if request.kind is Kind.LARGE else 1 + request.number % 3
        found = frozenset().union(*(self._products.get(each, frozenset()) for each in tracking_ids))
        return [each for place in range(count) if (each := product_id(request.number, place)) not in found]


def _submissions(path: Path) -> Iterator[tuple[list[str], str]]:
    with path.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                return  # the simulator was killed while it wrote: it has answered nobody
            try:
                submission: Mapping[str, list[dict[str, str]]] = json.loads(line)
            except json.JSONDecodeError:
                continue  # such a piece, and what its successor appended to it
            yield [entry["mirakl_product_id"] for entry in submission["entries"]], str(submission["tracking_id"])


def who_answered(folder: Path, offending: Sequence[Coordinates]) -> list[str]:
    """Lines of the replicas' logs that name these requests."""
    wanted = set(offending[:SHOWN])
    found = []
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if not line.startswith("{"):
                continue
            entry = json.loads(line)
            if (entry.get("partition"), entry.get("offset")) in wanted:
                found.append(f"{log.name}: {line[:300]}")
    return found
