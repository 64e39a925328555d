"""How a result looks: as JSON, and as a row of a table."""

from collections.abc import Sequence
from typing import Any

from producer_tools.cli.presentation import JsonObject, Table, iso, to_the_second
from producer_tools.subscriber import ReceivedResult
from schemas.events import ProductResyncRequested, ProductResyncResult


def answer_table() -> Table:
    """For ``answer_row``."""
    return Table("request", "status", "products", "answer")


def result_table() -> Table:
    """For ``result_row``."""
    return Table("request", "status", "completed", "answer")


def event_json(event: ProductResyncRequested | ProductResyncResult) -> dict[str, Any]:
    """The fields of an event by their names in the contract; times as RFC 3339."""
    fields = event.to_record()
    times = {"requestedAt": event.requested_at}
    if isinstance(event, ProductResyncResult):
        times["completedAt"] = event.completed_at
    return fields | {name: iso(time) for name, time in times.items()}


def result_json(result: ReceivedResult) -> JsonObject:
    """The event, and where it was read."""
    return {
        **event_json(result.value),
        "tenant": result.tenant,
        "partition": result.partition,
        "offset": result.offset,
    }


def answer_row(item: JsonObject) -> Sequence[str]:
    """What came of a request that was just sent; without a result ``status`` is null."""
    products = str(item.get("synchronizedProducts", ""))
    return item["requestId"], item["status"] or "no result", products, _answer(item)


def result_row(item: JsonObject) -> Sequence[str]:
    """A result among many; ``item`` as ``result_json`` makes it."""
    return item["requestId"], item["status"], to_the_second(item["completedAt"]), _answer(item)


def _answer(item: JsonObject) -> str:
    error = item.get("error")
    return f"{error['code']}: {error['message']}" if error else ", ".join(item.get("trackingIds", ()))
