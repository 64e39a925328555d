"""Events as JSON and as rows of tables, and warnings of what is read."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from producer_tools.subscriber import ReceivedResult, UndecodableResult
from schemas.console.output import Cell, JsonObject, Table, say
from schemas.events import ProductResyncRequested, ProductResyncResult


def iso(moment: datetime) -> str:
    """Return a time in RFC 3339, UTC, with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_the_second(moment: str) -> str:
    return moment.partition(".")[0].replace("T", " ") + "Z"


def answer_table() -> Table:
    return Table("request", "status", "products", "answer")


def result_table() -> Table:
    return Table("request", "status", "completed", "answer")


def event_json(event: ProductResyncRequested | ProductResyncResult) -> dict[str, Any]:
    """Return the fields of an event by their names in the contract; times in RFC 3339."""
    fields = event.to_record()
    times = {"requestedAt": event.requested_at}
    if isinstance(event, ProductResyncResult):
        times["completedAt"] = event.completed_at
    return fields | {name: iso(time) for name, time in times.items()}


def result_json(result: ReceivedResult) -> JsonObject:
    """Return the event by the contract's names, with tenant, place and time of its record."""
    return {
        **event_json(result.value),
        "tenant": result.tenant,
        "partition": result.partition,
        "offset": result.offset,
    }


def answer_row(item: JsonObject) -> Sequence[Cell]:
    """Return the row of a request that was just sent; ``status`` is null if it has no result."""
    products = str(item.get("synchronizedProducts", ""))
    return item["requestId"], item["status"] or "no result", products, _answer(item)


def result_row(item: JsonObject) -> Sequence[Cell]:
    """Return the row of a result among many; ``item`` as `result_json` returns it."""
    return item["requestId"], item["status"], to_the_second(item["completedAt"]), _answer(item)


def _answer(item: JsonObject) -> str:
    error = item.get("error")
    return f"{error['code']}: {error['message']}" if error else ", ".join(item.get("trackingIds", ()))


def warn_undecodable(undecodable: UndecodableResult) -> None:
    say(f"warning: {undecodable}")


class _ToPeople(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"warning: {record.getMessage()}")


def show_warnings() -> None:
    """Write the topic reader's warnings to stderr; librdkafka's lines stay hidden."""
    log = logging.getLogger("producer_tools.topic_reader")
    if not log.handlers:
        log.addHandler(_ToPeople())
