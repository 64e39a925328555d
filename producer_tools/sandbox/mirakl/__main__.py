"""``python -m producer_tools.sandbox.mirakl``: the simulated Mirakl as a program."""

import asyncio
import re
import signal
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypedDict, Unpack

import click
from pydantic import ValidationError

from producer_tools.sandbox.mirakl.control import FAULTS
from producer_tools.sandbox.mirakl.faults import Effect, Fault
from producer_tools.sandbox.mirakl.rules import Latency, Rules
from producer_tools.sandbox.mirakl.simulator import MiraklSimulator

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration; write it as 50ms, 2s or 1.5m.")
    return float(match[1]) * _UNITS[match[2]]


def _tail(text: str) -> tuple[float, float]:
    share, _, seconds = text.partition(":")
    if re.fullmatch(r"0?\.\d+|0|1|1\.0+|0\.\d+", share) is None:
        raise click.BadParameter(f"{text!r} is not SHARE:DURATION; write it as 0.03:2s.")
    return float(share), _duration(seconds)


def _credential(text: str) -> tuple[str, str]:
    name, _, authorization = text.partition(":")
    if not name or not authorization.strip():
        raise click.BadParameter("Write it as NAME:AUTHORIZATION, for example 'acme:Bearer s3cret'.")
    return name, authorization.strip()


def _faults(text: str) -> list[Fault]:
    try:
        faults = FAULTS.validate_json(Path(text).read_bytes())
    except (OSError, ValidationError) as error:
        raise click.BadParameter(str(error)) from error
    return faults if isinstance(faults, list) else [faults]


class _Options(TypedDict):
    host: str
    port: int
    latency: float
    jitter: float
    tail: tuple[float, float]
    calls_per_hour: int | None
    burst: int | None
    concurrent_calls: int | None
    max_entries: int | None
    max_body_bytes: int | None
    credentials: tuple[tuple[str, str], ...]
    dead: tuple[str, ...]
    faults: list[Fault]
    journal: Path | None
    seed: int | None
    certificate: Path | None
    key: Path | None


_POSITIVE: Final = click.IntRange(min=1)
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    name="python -m producer_tools.sandbox.mirakl",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="While it runs, JSON below /_control steers it: GET state and journal, POST and DELETE faults, PUT rules, "
    "POST forget; faults and rules take ?instance=NAME.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--latency", default="0ms", type=_duration, metavar="DURATION", help="Until a call is answered.")
@click.option("--jitter", default="0ms", type=_duration, metavar="DURATION", help="At most this much more.")
@click.option("--tail", default="0:0s", type=_tail, metavar="SHARE:DURATION", help="That share is this much slower.")
@click.option("--calls-per-hour", type=_POSITIVE, metavar="N", help="Beyond it 429, for each instance.")
@click.option("--burst", type=_POSITIVE, metavar="N", help="Of the calls per hour, at once.  [default: all]")
@click.option("--concurrent-calls", type=_POSITIVE, metavar="N", help="Beyond it 429, for each instance.")
@click.option("--max-entries", type=_POSITIVE, metavar="N", help="In one call; beyond it 413.")
@click.option("--max-body-bytes", type=_POSITIVE, metavar="N", help="In one call; beyond it 413.")
@click.option(
    "--credential",
    "credentials",
    type=_credential,
    multiple=True,
    metavar="NAME:AUTHORIZATION",
    help="An instance and the Authorization it accepts, such as 'acme:Bearer s3cret'. Several are possible.",
)
@click.option("--dead", multiple=True, metavar="NAME", help="An instance that never answers. Several are possible.")
@click.option(
    "--faults", type=_faults, default=None, metavar="FILE", help="JSON: a fault or a list, for all instances."
)
@click.option(
    "--journal", type=click.Path(dir_okay=False, path_type=Path), help="Gets what is taken in, as JSON lines."
)
@click.option("--seed", type=int, metavar="N", help="Makes chance repeat.")
@click.option("--certificate", type=_FILE, help="PEM; serves https, together with --key.")
@click.option("--key", type=_FILE, help="PEM.")
def main(**options: Unpack[_Options]) -> None:
    """Simulate Mirakl's CM21, CM22 and CM23 over HTTP.

    Prints its base URL once it serves. Every instance has its own below it: http://HOST:PORT/c/NAME. Calls that a
    resynchronization must never make are refused and reported on stderr.

    \b
    Examples:
      python -m producer_tools.sandbox.mirakl --port 8080 --latency 50ms --tail 0.03:2s
      python -m producer_tools.sandbox.mirakl --credential 'acme:Bearer s3cret' --calls-per-hour 3600
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    if (options["certificate"] is None) is not (options["key"] is None):
        raise click.UsageError("--certificate and --key belong together.")
    try:
        import uvloop  # noqa: PLC0415 - less CPU where it exists
    except ImportError:
        asyncio.run(_serve(options))
    else:
        uvloop.run(_serve(options))


async def _serve(options: _Options) -> None:
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    with ExitStack() as stack:
        journal = options["journal"]
        file = None if journal is None else stack.enter_context(journal.open("a", encoding="utf-8"))
        simulator = MiraklSimulator(seed=options["seed"], rules=_rules(options), journal_file=file)
        _script(simulator, options)
        try:
            async with simulator.serving(options["host"], options["port"], _tls(options)):
                click.echo(simulator.base_url)
                await stopped.wait()
        except OSError as error:
            raise click.ClickException(f"Cannot listen on {options['host']}:{options['port']}: {error}") from error


def _rules(options: _Options) -> Rules:
    share, seconds = options["tail"]
    return Rules(
        latency=Latency(seconds=options["latency"], jitter=options["jitter"], tail_share=share, tail_seconds=seconds),
        calls_per_hour=options["calls_per_hour"],
        burst=options["burst"],
        concurrent_calls=options["concurrent_calls"],
        max_entries=options["max_entries"],
        max_body_bytes=options["max_body_bytes"],
    )


def _script(simulator: MiraklSimulator, options: _Options) -> None:
    accepted: dict[str, tuple[str, ...]] = {}
    for name, authorization in options["credentials"]:
        accepted[name] = (*accepted.get(name, ()), authorization)
    for name, authorizations in accepted.items():
        simulator.set_rules(simulator.rules.model_copy(update={"authorization": authorizations}), name)
    for name in options["dead"]:
        simulator.add_fault(Fault(effect=Effect.HANG), name)
    for fault in options["faults"] or []:
        simulator.add_fault(fault)


def _tls(options: _Options) -> ssl.SSLContext | None:
    if options["certificate"] is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options["certificate"], options["key"])
    return context


if __name__ == "__main__":
    main()
