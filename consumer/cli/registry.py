"""``schemas``: our schemas in a schema registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from consumer.cli.access import read_settings
from consumer.cli.options import output_option
from consumer.cli.registry_access import schema_registry
from schemas.console.output import Output, say, show
from schemas.console.program import examples
from schemas.errors import ExplainedError
from schemas.explanation import Explanation
from schemas.registry.client import SchemaRegistry
from schemas.registry.registration import Subject, subjects
from schemas.registry.registration import check as check_all
from schemas.registry.registration import register as register_all

_COLUMNS = {"subject": "subject", "version": "version", "id": "id"}
_EMPTY = "None of our schemas is registered. Register them with `schemas register`."


@click.group()
def schemas() -> None:
    """Our Avro schemas in the schema registry."""


@contextmanager
def _registry_and_subjects() -> Iterator[tuple[SchemaRegistry, tuple[Subject, ...]]]:
    settings = read_settings("schema_registry", "topics", needs=["RESYNC_SCHEMA_REGISTRY__URL"])
    with schema_registry(settings.schema_registry) as registry:
        yield registry, subjects(settings.topics.requests, settings.topics.results)


@schemas.command(
    epilog=examples(
        "mirakl-resync-consumer schemas register",
        "RESYNC_SCHEMA_REGISTRY__URL=https://registry.example.com mirakl-resync-consumer schemas register",
    )
)
@output_option
def register(output: str) -> None:
    """Register all released schemas, and set the subjects' compatibility levels. Safe to repeat."""
    done = []
    with _registry_and_subjects() as (registry, wanted):
        try:
            for registered in register_all(registry, wanted):
                done.append(asdict(registered))  # noqa: PERF401  what was done before a failure is shown too
        finally:
            show(done, Output(output), columns=_COLUMNS, empty="Nothing was registered.")


@schemas.command(
    epilog=examples(
        "mirakl-resync-consumer schemas check",
        "mirakl-resync-consumer schemas check --output json",
    )
)
@output_option
def check(output: str) -> None:
    """Show what the registry has of our schemas, and fail if something is missing or wrong. Changes nothing."""
    with _registry_and_subjects() as (registry, wanted):
        reports = list(check_all(registry, wanted))
    rows = [asdict(registered) for report in reports for registered in report.registered]
    show(rows, Output(output), columns=_COLUMNS, empty=_EMPTY)
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        lines = (f"  {Explanation(each.problem, each.remedy)}" for each in problems)
        raise ExplainedError("\n".join(("The registry needs corrections:", *lines)))
    say("Everything is in order.")
