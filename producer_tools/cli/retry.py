"""``mirakl-resync retry``: sends the requests of results again that may have another chance."""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Final

import click

from producer_tools.cli.delivery import counted
from producer_tools.cli.dispatch import Dispatch, dispatch
from producer_tools.cli.options import (
    NO_TERMINAL,
    api_key_from,
    api_key_option,
    confirm,
    since_option,
    timeout_option,
    wait_option,
    yes_option,
)
from producer_tools.cli.result_rows import show_warnings, warn_undecodable
from producer_tools.cli.send_plan import default_requester
from producer_tools.environment import SENDING, tool_settings
from producer_tools.errors import InvalidRequestError, Mistake, ResyncToolError
from producer_tools.policy import TOOLS
from producer_tools.publisher import ResyncPublisher
from producer_tools.retries.plan import OBSTACLES, Fate, Retry, RetryPlan, RetryPlanner
from producer_tools.retries.selection import Group, Selection
from producer_tools.sender import OutgoingRecord
from producer_tools.subscriber import ReceivedResult
from schemas.console.options import moment
from schemas.console.output import Cell, JsonObject, Output, Stream, Table, output_option, progress, say, streaming
from schemas.console.program import examples
from schemas.contract import ErrorCode, canonical_uuid
from schemas.events import ResyncStatus
from schemas.exit_codes import ExitCode, foremost, of_failures
from schemas.settings import Settings

_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)/s")

_REMEDIES: Final = {
    Fate.LATER: "one run has its bounds. Run the command again for the rest.",
    Fate.SYNCHRONIZED: "nothing is missing. Use --again to repeat them nevertheless.",
    Fate.RETRIED: "each is retried once. Use --again to repeat them.",
    Fate.EXPIRED: "the requests, or their results, are no longer on their topics. Ask for their products with `send`.",
    Fate.ELSEWHERE: "the results name no place on {topic}. If they came from another one, set RESYNC_TOPICS__REQUESTS.",
    Fate.ANOTHER: "the topic was created anew, or the service did not write the results. Ask for the products with "
    "`send`.",
    Fate.UNREADABLE: "the results name records that are not requests. Ask for the products with `send`.",
    Fate.INVALID: "the requests would be refused again. Correct them, and use `send`.",
}


_CUT: Final = (
    f"warning: more than {TOOLS.retries:,} earlier retries or later successes were found. The others are not "
    "considered, so some of these requests may already have been retried or synchronized; repeating them is safe. "
    "Narrow the choice with --since, --until or --client-specification."
)


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """The options of ``retry`` besides the selection: how to plan, to confirm, to send and to show."""

    again: bool
    dry_run: bool
    yes: bool
    timeout: float | None
    """Seconds to wait for the results; ``None``: do not wait."""
    rate: float | None
    """Requests per second at most."""
    output: Output
    api_key_file: str | None


def _rate(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = _RATE.fullmatch(value.strip())
    rate = float(found[1]) if found else 0.0
    if rate <= 0:
        raise click.BadParameter(f"{value!r} is not a rate: write it like 10/s or 0.5/s.")
    return rate


def _uuids(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> frozenset[str]:
    for value in values:
        if canonical_uuid(value) is None:
            raise click.BadParameter(f"{value!r} is not a UUID in its 36-character form.")
    return frozenset(value.lower() for value in values)


@click.command(
    epilog=examples(
        "mirakl-resync retry --since 2h --dry-run",
        "mirakl-resync retry --since 2h --rate 20/s --wait",
        "mirakl-resync retry --code CM21_UNAUTHORIZED --since 1d --yes",
        "mirakl-resync retry --request-id 0f6f… --again",
    )
)
@since_option
@click.option(
    "--until", callback=moment, metavar="T", help="Only what is older: a time or an age, written as for --since."
)
@click.option(
    "--code", "codes", multiple=True, metavar="C", help="Results with this error code, instead of the retryable ones."
)
@click.option(
    "--client-specification",
    "client_specifications",
    multiple=True,
    callback=_uuids,
    metavar="UUID",
    help="Only results of this Mirakl client configuration; may be repeated.",
)
@click.option(
    "--request-id", "request_ids", multiple=True, metavar="ID", help="Only results of this request; may be repeated."
)
@click.option("--rate", callback=_rate, metavar="N/s", help="Send at most this many requests a second.")
@click.option("--again", is_flag=True, help="Also those that were retried before, or synchronized since.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent; send nothing.")
@yes_option
@wait_option
@timeout_option
@api_key_option
@output_option(Output.TABLE, Output.JSON, Output.JSONL, Output.IDS)
def retry(  # noqa: PLR0913  one argument per option
    *,
    since: datetime | None,
    until: datetime | None,
    codes: tuple[str, ...],
    client_specifications: frozenset[str],
    request_ids: tuple[str, ...],
    rate: float | None,
    again: bool,
    dry_run: bool,
    yes: bool,
    wait: bool,
    timeout: float,
    api_key_file: str | None,
    output: str,
) -> int:
    """Send the requests of results again that may have another chance.

    Without --code these are the retryable ones. Their requests are read where they stand on the requests topic, and
    sent with your own API key, a new id and a reason that begins with `retry of <id>`. Of a partial result only the
    missing products are sent. Shows its plan first, and asks.

    Each request is retried at most once, unless --again is given; a retry that failed counts as a request of its own.
    Two people who send at the same moment do not see each other: the requests are then made twice, which is safe.

    Exit code 3: some cannot be retried, or were not synchronized; 4: none. Those retried before do not count.
    """
    _say_unknown(codes)
    return _retry(
        Selection(since, until, frozenset(codes), client_specifications, frozenset(request_ids)),
        RetryOptions(again, dry_run, yes, timeout if wait else None, rate, Output(output), api_key_file),
    )


def _retry(selection: Selection, options: RetryOptions) -> int:
    settings = tool_settings(SENDING)
    api_key = api_key_from(options.api_key_file) or (settings.api_key.get_secret_value() if settings.api_key else None)
    publisher = None if options.dry_run else ResyncPublisher(settings, api_key=api_key)
    planner = RetryPlanner(settings, again=options.again, requested_by=default_requester(), api_key=api_key)
    show_warnings()
    with progress("reading results and their requests"):
        plan = planner.plan(selection, warn_undecodable)
    _check_ids(plan)
    _show(plan, settings, options)
    codes = _obstacle_codes(plan)
    if plan.retries and publisher is not None:
        if not options.yes:
            confirm(f"Send {_amount(plan)} to {settings.topics.requests}?", otherwise=NO_TERMINAL)
        left_out = planner.retried_since(plan, plan.retries)
        _say_left_out(len(left_out))
        retries = [each for each in plan.retries if each.request_id not in left_out]
        codes |= _send(publisher, planner, plan, retries, options)
    return foremost(codes)


def _send(
    publisher: ResyncPublisher, planner: RetryPlanner, plan: RetryPlan, retries: Sequence[Retry], options: RetryOptions
) -> set[ExitCode]:
    dispatches = [
        Dispatch(
            name=each.request_id,
            client_specification_id=each.client_specification_id,
            products=each.products,
            retry_of=each.of.request_id,
        )
        for each in retries
    ]
    records = _records(publisher, planner, plan, retries, options.rate)
    codes = dispatch(publisher, dispatches, records, options.output, timeout=options.timeout)
    _say_left_out(sum(each.withdrawn for each in dispatches))
    return codes


def _records(
    publisher: ResyncPublisher, planner: RetryPlanner, plan: RetryPlan, retries: Sequence[Retry], rate: float | None
) -> Iterator[OutgoingRecord | None]:
    """Make each record when it is its turn, since it has the time at which it is requested.

    ``None`` for one that somebody else has retried meanwhile: with a low rate, sending takes hours.
    """
    publisher.open()
    due = looked_at = time.monotonic()
    left_out: set[str] = set()
    for number, each in enumerate(retries):
        if rate is not None:
            time.sleep(max(0.0, due - time.monotonic()))
        if time.monotonic() - looked_at >= TOOLS.look_seconds:
            with suppress(ResyncToolError):  # sending goes on as long as it can, and reports its own trouble
                left_out |= planner.retried_since(plan, retries[number:])
            looked_at = time.monotonic()
        if each.request_id in left_out:
            yield None
            continue
        record = publisher.prepare(planner.request(each))
        if rate is not None:
            due = max(due, time.monotonic()) + 1 / rate  # what a stall has cost is not made up for by a burst
        partition = each.of.place[0] if each.of.place else None
        yield replace(record, partition=partition, headers=record.headers + each.correlation)


def _say_left_out(number: int) -> None:
    if number:
        say(f"{counted(number, 'request')} left out: somebody else has retried them meanwhile")


def _say_unknown(codes: Sequence[str]) -> None:
    known = [code.value for code in ErrorCode]
    for code in codes:
        if code not in known:
            near = get_close_matches(code.upper(), known, 1)
            say(f"note: {code} is not a code of this release{f'; did you mean {near[0]}?' if near else ''}")


def _check_ids(plan: RetryPlan) -> None:
    """Raise ``InvalidRequestError`` for each chosen id that has no result, or none that may be retried."""
    mistakes = []
    for request_id, result in plan.unmatched.items():
        if result is not None and result.value.status is ResyncStatus.SYNCHRONIZED:
            say(f"{request_id} is synchronized")
        else:
            mistakes.append(Mistake(f"--request-id {request_id}", _why_unmatched(result)))
    if mistakes:
        raise InvalidRequestError(mistakes)


def _why_unmatched(result: ReceivedResult | None) -> str:
    if result is None:
        return "there is no result of that time, or no longer; `results` shows all"
    code = result.value.error.code if result.value.error else result.value.status.value
    return f"its result is {code}, which was not asked for; add --code {code} if a repetition can help"


def _show(plan: RetryPlan, settings: Settings, options: RetryOptions) -> None:
    rows = sorted(plan.fates.items(), key=lambda each: -each[1].total())[: TOOLS.shown_groups]
    if not (options.dry_run and options.output is not Output.TABLE):
        stream = sys.stdout if options.dry_run else sys.stderr
        columns = ("code", "client specification", "tenant", "results", "to send", "done since", "cannot be sent")
        Table(*columns, stream=stream).write(_row(group, fates) for group, fates in rows)
    elif options.output is not Output.IDS:
        with streaming(Stream(options.output, Table(), lambda _item: ())) as data:
            for each in plan.retries:
                data.add(_planned_json(each))
    for fate, remedy in _REMEDIES.items():
        if number := plan.totals[fate]:
            say(f"{number:,} {fate.value}: {remedy.format(topic=settings.topics.requests)}")
    if plan.cut:
        say(_CUT)
    if not plan.totals:
        say("no results to retry")
    else:
        say(f"{'dry run: would send' if options.dry_run else 'to send:'} {_amount(plan)}")


def _row(group: Group, fates: Counter[Fate]) -> Sequence[Cell]:
    return (
        group.code,
        group.client_specification_id,
        group.tenant,
        f"{fates.total():,}",
        f"{fates[Fate.SENT]:,}",
        f"{fates[Fate.SYNCHRONIZED] + fates[Fate.RETRIED]:,}",
        f"{sum(fates[each] for each in OBSTACLES):,}",
    )


def _amount(plan: RetryPlan) -> str:
    return f"{counted(plan.products, 'product')} in {counted(len(plan.retries), 'request')}"


def _planned_json(retry: Retry) -> JsonObject:
    partition, offset = retry.of.place or (None, None)
    return {
        "retryOf": retry.of.request_id,
        "code": retry.of.group.code,
        "clientSpecificationId": retry.of.client_specification_id,
        "tenant": retry.of.group.tenant,
        "products": retry.products,
        "partition": partition,
        "offset": offset,
    }


def _obstacle_codes(plan: RetryPlan) -> set[ExitCode]:
    """Return the codes of what cannot be sent; what was retried or synchronized before is not a failure."""
    return of_failures(sum(plan.totals[fate] for fate in OBSTACLES), plan.totals.total())
