"""``mirakl-resync dlq``: records that could not be read as a request."""

import base64
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

import click

from producer_tools.cli.delivery import Delivery, deliver
from producer_tools.cli.options import (
    NO_TERMINAL,
    api_key_from,
    api_key_option,
    confirm,
    coordinates,
    limit_option,
    since_option,
    yes_option,
)
from producer_tools.cli.result_rows import iso, to_the_second
from producer_tools.connection import Connection
from producer_tools.dead_letters import DeadLetter, DeadLetters, Redrive, plan_redrive, redriven
from producer_tools.environment import READING, SENDING, tool_settings
from producer_tools.errors import InvalidRequestError, Mistake
from producer_tools.policy import TOOLS
from producer_tools.publisher import operator_headers
from producer_tools.sender import RecordSender
from schemas.console.output import (
    Cell,
    JsonObject,
    Output,
    Stream,
    Table,
    output_option,
    progress,
    say,
    streaming,
    write_json,
)
from schemas.console.program import examples
from schemas.console.text import printable
from schemas.contract import API_KEY_HEADER
from schemas.exit_codes import ExitCode, foremost, of_failures
from schemas.settings import Edge, Settings

KEY_UNKNOWN = "key unknown"
"""Shown instead of the tenant if the service did not know the requester's key."""

PLANNING: Final[tuple[Edge, ...]] = (*READING, "request_auth", "signature_max_age")
"""Settings that decide what can be redriven; a dry run needs no key."""


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """The options of ``dlq redrive`` as click has read them; no ``coordinates``: all dead letters."""

    coordinates: tuple[tuple[int, int], ...]
    reason: str | None
    again: bool
    unverified: bool
    dry_run: bool
    yes: bool
    api_key_file: str | None


reason_option = click.option("--reason", metavar="R", help="Only this dlq.reason: UNREADABLE or UNKNOWN_SCHEMA.")


@click.group()
def dlq() -> None:
    """Show dead letters, and send them again.

    A dead letter is a record that the service could not read as a request.
    """


@dlq.command(
    "list",
    epilog=examples(
        "mirakl-resync dlq list --since 1d",
        "mirakl-resync dlq list --reason UNKNOWN_SCHEMA --output json",
    ),
)
@since_option
@reason_option
@limit_option
@output_option(Output.TABLE, Output.JSON)
def list_(*, since: datetime | None, reason: str | None, limit: int | None, output: str) -> int:
    """List dead letters, oldest first within each partition."""
    form = Output(output)
    letters = DeadLetters(tool_settings(READING), since or "beginning")
    found = 0
    with (
        streaming(
            Stream(form, Table("at", "reason", "dead-lettered", "came from", "tenant", "message"), _list_row)
        ) as stream,
        progress("reading dead letters", enabled=form is Output.TABLE) as advance,
    ):
        for found, letter in enumerate(islice(_of_reason(letters, reason), limit), 1):
            stream.add(_list_json(letter))
            advance(found)
    if not found:
        say("no dead letters")
    return ExitCode.DONE


@dlq.command(epilog=examples("mirakl-resync dlq show 0:17"))
@click.argument("at", metavar="PARTITION:OFFSET")
@output_option(Output.TABLE, Output.JSON)
def show(*, at: str, output: str) -> int:
    """Show all of one dead letter."""
    place = coordinates(at)
    ((_, letter),) = DeadLetters(tool_settings(READING)).find([place])
    if letter is None:
        raise InvalidRequestError([_not_there(place)])
    if Output(output) is Output.JSON:
        write_json(_show_json(letter))
    else:
        _show(letter)
    return ExitCode.DONE


@dlq.command(
    epilog=examples(
        "mirakl-resync dlq redrive 0:17 2:3",
        "mirakl-resync dlq redrive --all --reason UNKNOWN_SCHEMA --dry-run",
        "mirakl-resync dlq redrive --all --reason UNKNOWN_SCHEMA --yes",
    )
)
@click.argument("at", nargs=-1, metavar="[PARTITION:OFFSET]...")
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@reason_option
@click.option("--again", is_flag=True, help="Also those that were redriven before.")
@click.option(
    "--unverified", is_flag=True, help="Also those whose API key was unknown; they are sent with your authority."
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent; send nothing.")
@yes_option
@api_key_option
def redrive(
    *,
    at: tuple[str, ...],
    everything: bool,
    reason: str | None,
    again: bool,
    unverified: bool,
    dry_run: bool,
    yes: bool,
    api_key_file: str | None,
) -> int:
    """Send dead letters again.

    They go to the requests topic with your own API key, or signed with it (RESYNC_REQUEST_AUTH). Those whose key the
    service did not know are left out unless --unverified is given: anybody who can write to the requests topic could
    have written them.

    Each is sent at most once, unless --again is given. The requests topic shows what was redriven, as far back as it
    is kept; older ones are sent only with --again. A value too large for the dead-letter topic cannot be sent, and with
    RESYNC_REQUEST_AUTH=signature none that is older than RESYNC_SIGNATURE_MAX_AGE.

    Exit code 3: some could not be sent, 4: none could. Those redriven before do not count.
    """
    if bool(at) == everything:
        raise click.UsageError("Name dead letters as PARTITION:OFFSET, or say --all.")
    chosen = tuple(map(coordinates, at))
    return _redrive(
        RedriveOptions(
            chosen,
            reason=reason,
            again=again,
            unverified=unverified,
            dry_run=dry_run,
            yes=yes,
            api_key_file=api_key_file,
        )
    )


def _redrive(options: RedriveOptions) -> int:
    settings = tool_settings(PLANNING if options.dry_run else (*SENDING, *PLANNING))
    api_key = None
    if not options.dry_run:
        (_, key) = operator_headers(settings, api_key_from(options.api_key_file))[1]
        api_key = key.decode()
    with progress("reading dead letters"):
        plan = plan_redrive(settings, _chosen(settings, options), again=options.again, unverified=options.unverified)
    sendable = [redrive for redrive in plan if redrive.obstacle is None]
    _show_plan(plan, to_stdout=options.dry_run)
    say(f"{len(sendable)} of {len(plan)} dead letters can be sent to {settings.topics.requests}")
    codes = _obstacle_codes(plan)
    if api_key is not None and sendable:
        _confirm(options, strangers=sum(redrive.letter.tenant is None for redrive in sendable))
        codes |= _send(settings, [redrive.letter for redrive in sendable], api_key)
    return foremost(codes)


def _chosen(settings: Settings, options: RedriveOptions) -> list[DeadLetter]:
    letters = DeadLetters(settings)
    if not options.coordinates:
        return list(_of_reason(letters, options.reason))
    found = dict(letters.find(dict.fromkeys(options.coordinates)))
    missing = [_not_there(coordinates) for coordinates, letter in found.items() if letter is None]
    if missing:
        raise InvalidRequestError(missing)
    return list(_of_reason((letter for letter in found.values() if letter), options.reason))


def _of_reason(letters: Iterable[DeadLetter], reason: str | None) -> Iterator[DeadLetter]:
    return (letter for letter in letters if reason is None or letter.reason == reason)


def _not_there(coordinates: tuple[int, int]) -> Mistake:
    partition, offset = coordinates
    return Mistake(f"{partition}:{offset}", "there is no dead letter, or no longer; `dlq list` shows all")


def _show_plan(plan: list[Redrive], *, to_stdout: bool) -> None:
    stream = sys.stdout if to_stdout else sys.stderr
    table = Table("at", "reason", "tenant", "redriven so far", "what happens", stream=stream)
    table.write(
        (
            redrive.letter.coordinates,
            redrive.letter.reason or "-",
            redrive.letter.tenant or KEY_UNKNOWN,
            str(redrive.letter.redrive_count),
            f"stays: {redrive.obstacle}"
            if redrive.obstacle
            else f"goes to partition {redrive.letter.request_partition}",
        )
        for redrive in plan
    )


def _obstacle_codes(plan: list[Redrive]) -> set[ExitCode]:
    """Return the codes of those that cannot be sent; those redriven before are not failures."""
    return of_failures(sum(redrive.obstacle is not None and not redrive.done for redrive in plan), len(plan))


def _confirm(options: RedriveOptions, *, strangers: int) -> None:
    if options.yes:
        return
    warning = f"The key of {strangers} was unknown: they get your authority. " if strangers else ""
    confirm(f"{warning}Send them?", otherwise=NO_TERMINAL)


def _send(settings: Settings, letters: Sequence[DeadLetter], api_key: str) -> set[ExitCode]:
    largest = max(len(letter.value or b"") for letter in letters)
    table = Table("dead letter", "partition", "offset")
    sender = RecordSender(
        Connection(settings.kafka),
        settings.topics.requests,
        max(largest, settings.max_request_bytes),
        auth=settings.request_auth,
    )
    deliveries = [Delivery(name=letter.coordinates) for letter in letters]
    records = (redriven(letter, api_key) for letter in letters)
    codes = deliver(sender, sender.send, deliveries, records, "dead letter")
    table.write((each.name, str(at.partition), str(at.offset)) for each in deliveries if (at := each.acknowledgement))
    return codes


def _list_json(letter: DeadLetter) -> JsonObject:
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "message": letter.message,
        "topic": letter.topic,
        "request_partition": letter.request_partition,
        "request_offset": letter.request_offset,
        "tenant": letter.tenant,
        "redrive_count": letter.redrive_count,
        "dead_lettered_at": iso(letter.dead_lettered_at),
    }


def _list_row(item: JsonObject) -> Sequence[Cell]:
    return (
        f"{item['partition']}:{item['offset']}",
        item["reason"] or "-",
        to_the_second(item["dead_lettered_at"]),
        f"{item['request_partition']}:{item['request_offset']}" if item["topic"] else "-",
        item["tenant"] or (KEY_UNKNOWN if item["reason"] else "-"),
        item["message"] or "",
    )


def _show_json(letter: DeadLetter) -> JsonObject:
    return {
        **_list_json(letter),
        "key_base64": _base64(letter.key),
        "value_base64": _base64(letter.value),
        "value_bytes": None if letter.value is None else len(letter.value),
        "headers": [[name, _header_text(name, value)] for name, value in letter.headers],
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _header_text(name: str, value: bytes | None) -> str | None:
    """Return a header's value for people, never a key."""
    if name.lower() == API_KEY_HEADER:
        return "***"
    return None if value is None else value.decode(errors="backslashreplace")


def _show(letter: DeadLetter) -> None:
    click.echo(f"dead letter {letter.coordinates}, {iso(letter.dead_lettered_at)}")
    click.echo(printable(f"{letter.reason}: {letter.message or ''}"))
    if letter.topic is not None:
        origin = f"{letter.topic}, partition {letter.request_partition}, offset {letter.request_offset}"
        click.echo(f"read from {printable(origin)}; redriven {letter.redrive_count} times before")
    click.echo(f"tenant: {printable(letter.tenant or KEY_UNKNOWN)}")
    click.echo("\nheaders")
    for name, value in letter.headers:
        click.echo(f"  {printable(name)}: {printable(_header_text(name, value) or '')}")
    click.echo(f"\nkey: {_described(letter.key)}")
    _dump(letter.key or b"")
    omitted = " (omitted: it did not fit the dead-letter topic)" if letter.value_omitted else ""
    click.echo(f"value: {_described(letter.value)}{omitted}")
    _dump(letter.value or b"")


def _described(value: bytes | None) -> str:
    return "null" if value is None else f"{len(value):,} bytes"


def _dump(value: bytes) -> None:
    """Write offset, 16 bytes in hexadecimal, and their printable characters."""
    for at in range(0, min(len(value), TOOLS.shown_bytes), 16):
        row = value[at : at + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)  # noqa: PLR2004  printable ASCII
        click.echo(f"  {at:06x}  {row.hex(' '):<47}  {text}")
    if len(value) > TOOLS.shown_bytes:
        click.echo(f"  ... {len(value) - TOOLS.shown_bytes:,} more; --output json has all")
