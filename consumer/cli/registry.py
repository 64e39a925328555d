# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``schemas``: our schemas in a schema registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from consumer.cli.access import read_settings, schema_registry
from consumer.cli.failure import ExitCode, Failure
from consumer.cli.options import examples
from consumer.cli.output import message, output_option, show

if TYPE_CHECKING:
    from schemas.registry.client import SchemaRegistry
    from schemas.registry.registration import Subject

_COLUMNS = {"subject": "subject", "version": "version", "id": "id"}
_EMPTY = "None of our schemas is registered. Register them: `schemas register`."


@click.group()
def schemas() -> None:
    """Our Avro schemas in the schema registry."""


@contextmanager
def _registry_and_subjects() -> Iterator[tuple[SchemaRegistry, tuple[Subject, ...]]]:
    from schemas.registry.registration import subjects

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
    """Register all released schemas, and set the subjects' compatibility levels. Once more does no harm."""
    from schemas.registry.registration import register as register_all

    done = []
    with _registry_and_subjects() as (registry, subjects):
        try:
            for registered in register_all(registry, subjects):
                done.append(asdict(registered))  # noqa: PERF401  what was done before a failure is shown too
        finally:
            show(done, output, columns=_COLUMNS, empty="Nothing was registered.")


@schemas.command(
    epilog=examples(
        "mirakl-resync-consumer schemas check",
        "mirakl-resync-consumer schemas check --output json",
    )
)
@output_option
def check(output: str) -> None:
    """Show what the registry has of our schemas, and fail where that is not what it must be. Changes nothing."""
    from schemas.registry.registration import check as check_all

    with _registry_and_subjects() as (registry, subjects):
        reports = list(check_all(registry, subjects))
    rows = [asdict(registered) for report in reports for registered in report.registered]
    show(rows, output, columns=_COLUMNS, empty=_EMPTY)
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        raise Failure(
            "\n".join(("The registry is not as it must be:", *(f"  {each}." for each in problems))), ExitCode.FAILED
        )
    message("All is as it must be.")
