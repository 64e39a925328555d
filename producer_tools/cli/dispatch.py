"""Sends requests and waits for their results, for the commands that do."""

import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from producer_tools.cli.delivery import Delivery, counted, deliver, named
from producer_tools.cli.result_rows import answer_row, answer_table, result_json, warn_undecodable
from producer_tools.errors import ResyncToolError
from producer_tools.policy import TOOLS
from producer_tools.publisher import ResyncPublisher
from producer_tools.sender import Acknowledgement, OutgoingRecord
from producer_tools.subscriber import ReceivedResult, ResyncResults
from schemas.console.output import Cell, JsonObject, Output, Stream, Table, progress, say, streaming
from schemas.events import ProductResyncRequested, ResyncStatus
from schemas.exit_codes import ExitCode
from schemas.settings import format_duration


@dataclass(slots=True, kw_only=True)
class Dispatch(Delivery):
    """One request that is being sent, and its result once it has come; its name is its id."""

    client_specification_id: str | None
    products: int
    retry_of: str | None = None
    """Id of the request that this one repeats."""
    result: ReceivedResult | None = None

    @classmethod
    def of(cls, request: ProductResyncRequested) -> "Dispatch":
        return cls(
            name=request.request_id,
            client_specification_id=request.client_specification_id,
            products=len(request.products),
        )

    @property
    def origin(self) -> JsonObject:
        """Text in the output for a request that repeats another one."""
        return {} if self.retry_of is None else {"retryOf": self.retry_of}


def dispatch(
    publisher: ResyncPublisher,
    dispatches: Sequence[Dispatch],
    records: Iterable[OutgoingRecord | None],
    output: Output,
    *,
    timeout: float | None,
) -> set[ExitCode]:
    """Send the record of each dispatch and show what came of it; return the exit codes that apply.

    ``timeout``: seconds to wait for the results, ``None``: do not wait. Raises ``ResyncToolError`` only
    while nothing has been sent yet.
    """
    if timeout is None:
        return _send(publisher, dispatches, records, output)
    ids = [each.name for each in dispatches]
    # Watching begins before sending, so that no result can be missed.
    with ResyncResults(
        publisher.settings, start="end", request_ids=ids, follow=True, on_undecodable=warn_undecodable
    ) as watch:
        return _send_and_wait(publisher, watch, dispatches, records, timeout, output)


def _send(
    publisher: ResyncPublisher, dispatches: Sequence[Dispatch], records: Iterable[OutgoingRecord | None], output: Output
) -> set[ExitCode]:
    codes = deliver(publisher, publisher.submit_record, dispatches, records, "request")
    with streaming(Stream(output, Table("request", "products", "partition", "offset"), _sent_row)) as stream:
        for each in dispatches:
            if each.acknowledgement:
                stream.add(_sent_json(each, each.acknowledgement))
    return codes


def _send_and_wait(
    publisher: ResyncPublisher,
    watch: ResyncResults,
    dispatches: Sequence[Dispatch],
    records: Iterable[OutgoingRecord | None],
    timeout: float,
    output: Output,
) -> set[ExitCode]:
    codes = deliver(publisher, publisher.submit_record, dispatches, records, "request")
    acknowledged = [each for each in dispatches if each.acknowledgement]
    with streaming(Stream(output, answer_table(), answer_row)) as stream:
        if output is Output.IDS:
            for each in acknowledged:
                stream.add({"requestId": each.name})
        if ExitCode.INTERRUPTED not in codes:
            codes |= _await_results(watch, acknowledged, timeout, stream if output is Output.JSONL else None)
        if output is not Output.IDS:
            for each in acknowledged:
                if not (each.result and output is Output.JSONL):
                    stream.add(_answer_json(each))
    codes |= _result_codes(acknowledged)
    _say_answers(acknowledged, timeout, interrupted=ExitCode.INTERRUPTED in codes)
    return codes


def _await_results(
    watch: ResyncResults, acknowledged: Sequence[Dispatch], timeout: float, stream: Stream | None
) -> set[ExitCode]:
    waiting = {each.name: each for each in acknowledged}
    deadline = time.monotonic() + timeout
    show = stream is None or not sys.stdout.isatty()
    try:
        with progress("waiting for results", len(waiting), enabled=show) as advance:
            while waiting and (left := deadline - time.monotonic()) > 0:
                result = watch.read(min(TOOLS.poll_seconds, left))
                found = waiting.pop(result.value.request_id, None) if result else None
                if found is None or result is None:
                    continue
                found.result = result
                advance(len(acknowledged) - len(waiting))
                if stream:
                    stream.add(_answer_json(found))
        if waiting:
            watch.check_reachable()
    except KeyboardInterrupt:
        return {ExitCode.INTERRUPTED}
    except ResyncToolError as error:
        say(f"error: {error}")
        return {error.exit_code}
    return set()


def _result_codes(acknowledged: Collection[Dispatch]) -> set[ExitCode]:
    statuses = [each.result.value.status for each in acknowledged if each.result]
    codes: set[ExitCode] = set()
    if len(statuses) < len(acknowledged):
        codes.add(ExitCode.NO_RESULT_IN_TIME)
    if statuses and all(status is ResyncStatus.FAILED for status in statuses):
        codes.add(ExitCode.ALL_FAILED)
    elif any(status is not ResyncStatus.SYNCHRONIZED for status in statuses):
        codes.add(ExitCode.SOME_FAILED)
    return codes


def _say_answers(acknowledged: Sequence[Dispatch], timeout: float, *, interrupted: bool) -> None:
    statuses = Counter(each.result.value.status.value for each in acknowledged if each.result)
    told = ", ".join(f"{count} {status.lower().replace('_', ' ')}" for status, count in statuses.items())
    say(f"{statuses.total()} of {counted(len(acknowledged), 'request')} answered{': ' + told if told else ''}")
    unanswered = [each for each in acknowledged if each.result is None]
    if unanswered:
        when = "yet" if interrupted else f"within {format_duration(timeout)}"
        say(f"no result {when}: {named([each.name for each in unanswered])}")
        say(f"look again with `mirakl-resync results --request-id {unanswered[0].name}`")


def _sent_json(sent: Dispatch, at: Acknowledgement) -> JsonObject:
    return {
        "requestId": sent.name,
        "clientSpecificationId": sent.client_specification_id,
        "products": sent.products,
        "topic": at.topic,
        "partition": at.partition,
        "offset": at.offset,
        **sent.origin,
    }


def _sent_row(item: JsonObject) -> Sequence[Cell]:
    return item["requestId"], str(item["products"]), str(item["partition"]), str(item["offset"])


def _answer_json(sent: Dispatch) -> JsonObject:
    """Return the result, or what is known without one; then ``status`` is null."""
    known = result_json(sent.result) if sent.result else {"requestId": sent.name, "status": None}
    return {**known, **sent.origin}
