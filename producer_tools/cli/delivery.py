"""Sends records and accounts for each of them, also where sending is interrupted."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from queue import SimpleQueue

from producer_tools.errors import UnreachableError
from producer_tools.policy import TOOLS
from producer_tools.sender import Acknowledgement, OutgoingRecord
from schemas.console.output import progress, say
from schemas.errors import exit_code_of
from schemas.exit_codes import ExitCode


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One record that is being sent, by the name that people know it by, and how that ended."""

    name: str
    """A request id, or the coordinates of a dead letter."""
    acknowledgement: Acknowledgement | None = None
    failure: BaseException | None = None
    """Reason why it is not acknowledged; ``None`` also while that is unknown."""
    withdrawn: bool = False
    """Whether it was not to be sent any more when it was its turn."""

    def finish(self, acknowledged: Future[Acknowledgement]) -> None:
        self.failure = acknowledged.exception()
        self.acknowledgement = None if self.failure else acknowledged.result()


def deliver(
    sender: AbstractContextManager[object],
    send: Callable[[OutgoingRecord], Future[Acknowledgement]],
    deliveries: Sequence[Delivery],
    records: Iterable[OutgoingRecord | None],
    noun: str,
) -> set[ExitCode]:
    """Send the record of each delivery, wait for all acknowledgements, and return the exit codes that apply.

    A record of ``None`` withdraws its delivery.

    Raises ``ResyncToolError`` only while nothing has been sent yet. An interruption drops what is not sent.
    """
    codes: set[ExitCode] = set()
    finished = SimpleQueue[Future[Acknowledgement]]()
    try:
        with sender, progress("sending", len(deliveries)) as advance:
            for delivery, record in zip(deliveries, records, strict=True):
                if record is None:
                    delivery.withdrawn = True
                    continue
                acknowledged = send(record)
                acknowledged.add_done_callback(delivery.finish)
                acknowledged.add_done_callback(finished.put)
                advance(finished.qsize())
            for done in range(1, sum(not each.withdrawn for each in deliveries) + 1):
                finished.get()
                advance(done)
    except KeyboardInterrupt:
        codes.add(ExitCode.INTERRUPTED)
    return codes | _codes(deliveries, noun)


def named(names: Sequence[str]) -> str:
    """Return the names for a message, the first of them if there are many."""
    more = len(names) - TOOLS.names_shown
    return ", ".join(names[: TOOLS.names_shown]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _codes(deliveries: Sequence[Delivery], noun: str) -> set[ExitCode]:
    missing = [delivery for delivery in deliveries if delivery.acknowledgement is None and not delivery.withdrawn]
    failures = [delivery.failure for delivery in missing if delivery.failure]
    if missing:
        why = f": {failures[0]}" if failures else ", the rest was not sent"
        say(f"error: {len(missing)} of {counted(len(deliveries), noun)} not acknowledged{why}")
        say(f"not acknowledged: {named([delivery.name for delivery in missing])}")
    if any(isinstance(failure, UnreachableError) for failure in failures):
        return {ExitCode.UNREACHABLE}
    if failures and len(missing) == len(deliveries):
        return {exit_code_of(failures[0])}
    return {ExitCode.FAILED} if failures else set()
