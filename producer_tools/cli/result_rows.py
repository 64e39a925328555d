"""How a result looks: as JSON, and as a row of a table."""

from collections.abc import Sequence
from typing import Any

from producer_tools.cli.presentation import JsonObject, Table, iso
from producer_tools.subscriber import ReceivedResult
from schemas.events import ProductResyncRequested, ProductResyncResult


def result_table() -> Table:
    return Table("request", "status", "products", "completed", "answer")


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


def result_row(item: JsonObject) -> Sequence[str]:
    """Tell in one line what came of a request; ``item`` as ``result_json`` makes it, or without a result."""
    error = item.get("error")
    answer = f"{error['code']}: {error['message']}" if error else ", ".join(item.get("trackingIds", ()))
    return (
        item["requestId"],
        item["status"] or "no result",
        str(item.get("synchronizedProducts", "")),
        str(item.get("completedAt", "")),
        answer,
    )
