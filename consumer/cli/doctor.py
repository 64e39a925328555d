# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``doctor``: everything that a run needs, looked at from here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from consumer.cli.access import read_all_settings, schema_registry
from consumer.cli.failure import ExitCode, Failure
from consumer.cli.options import examples
from consumer.cli.output import output_option, show

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from consumer.adapters.finding import Finding
    from consumer.domain.model import Directory
    from schemas.settings import Settings

_SETTINGS = "settings"
_COLUMNS = {"level": "", "subject": "subject", "message": "found", "remedy": "remedy"}


@click.command(
    epilog=examples(
        "mirakl-resync-consumer doctor",
        "mirakl-resync-consumer doctor --output json | jq '.[] | select(.level != \"OK\")'",
    )
)
@output_option
def doctor(output: str) -> int:
    """Check everything that a run needs.

    Settings, database, keys, brokers (the addresses of all, rights, a transaction that writes nothing, their bounds),
    topics, what travels in plain text and, where set, the schema registry.

    Exit code 0: nothing fails (a WARN is a risk); 2: the settings are wrong; 6: only the brokers or the registry
    do not answer; else 1.
    """
    findings = list(_examine(read_all_settings()))
    rows = [asdict(finding) for finding in findings]
    show(rows, output, columns=_COLUMNS)
    return _exit_code(findings)


def _exit_code(findings: list[Finding]) -> int:
    failed = [finding for finding in findings if finding.level == "FAIL"]
    if not failed:
        return 0
    if any(finding.subject == _SETTINGS for finding in failed):
        return ExitCode.USAGE
    return ExitCode.UNREACHABLE if all(finding.unreachable for finding in failed) else ExitCode.FAILED


def _examine(settings: Settings) -> Iterator[Finding]:
    yield from _examine_settings(settings)
    yield from _examine_database(settings)
    yield from _examine_brokers(settings)
    yield from _examine_registry(settings)


def _examine_settings(settings: Settings) -> Iterator[Finding]:
    from consumer.preflight import check_settings

    yield from check_settings(settings)


def _examine_database(settings: Settings) -> Iterator[Finding]:
    from consumer.adapters.finding import Finding, Level
    from consumer.adapters.stores import StoreTrouble, create_engine, redacted

    url = settings.database_url.get_secret_value()
    try:
        engine = create_engine(url)
        try:
            findings = [*_examine_file(engine), *_examine_stores(engine, settings)]
        finally:
            engine.dispose()
    except StoreTrouble as trouble:
        yield Finding(Level.FAIL, "database", *_problem_and_remedy(str(trouble), "; "))
        return
    yield Finding(Level.OK, "database", f"{redacted(url)} is of this release.")
    yield from findings


def _examine_file(engine: Engine) -> Iterator[Finding]:
    from consumer.adapters.finding import Finding, Level
    from consumer.adapters.stores import open_to_others

    path = open_to_others(engine)
    if path is not None:
        yield Finding(
            Level.WARN, "database", f"Every account of this machine can use {path}.", f"Run `chmod o= {path}*`."
        )


def _examine_stores(engine: Engine, settings: Settings) -> Iterator[Finding]:
    from consumer.adapters.finding import Finding, Level
    from consumer.adapters.stores import DirectoryReader, Encryption
    from consumer.adapters.transports import check_base_urls

    encryption = Encryption([key.get_secret_value() for key in settings.encryption_keys])
    reader = DirectoryReader(engine, encryption, settings.insecure_hosts)
    try:
        directory = reader.read(None)
    finally:
        reader.close()
    if directory is not None:
        yield _api_keys(directory)
        yield _client_specifications(directory)
        yield from check_base_urls(each.base_url for each in directory.specifications.values())
    for warning in reader.warnings:
        yield Finding(Level.FAIL, "stored row", warning, "Correct it, or remove or revoke it.")


def _api_keys(directory: Directory) -> Finding:
    from consumer.adapters.finding import Finding, Level
    from consumer.domain.model import Role

    remedy = "Make one: `mirakl-resync-consumer api-keys issue --name N`."
    if not directory.api_keys:
        return Finding(Level.FAIL, "API keys", "There is none, so every request has to wait.", remedy)
    now = time.time()
    valid = sum(
        key.role is Role.OPERATOR and not key.revoked and (key.expires_at is None or key.expires_at > now)
        for key in directory.api_keys.values()
    )
    if not valid:
        return Finding(Level.WARN, "API keys", "None may resynchronize: expired, revoked or no operator's.", remedy)
    return Finding(Level.OK, "API keys", f"{valid} of {len(directory.api_keys)} may resynchronize.")


def _client_specifications(directory: Directory) -> Finding:
    from consumer.adapters.finding import Finding, Level

    subject = "client specifications"
    if not directory.specifications:
        remedy = "Add one: `mirakl-resync-consumer clients add --help`."
        return Finding(Level.WARN, subject, "There is none, so no request can succeed.", remedy)
    active = sum(map(len, directory.active.values()))
    return Finding(Level.OK, subject, f"{active} of {len(directory.specifications)} active.")


def _examine_brokers(settings: Settings) -> Iterator[Finding]:
    from consumer.adapters.finding import Finding, Level
    from consumer.adapters.kafka.topics import BrokerUnreachableError, NotLetInError
    from consumer.preflight import check_brokers
    from schemas.settings import SettingsError

    try:
        checked = check_brokers(settings, thorough=True)
    except BrokerUnreachableError as error:
        yield Finding(Level.FAIL, "brokers", error.problem, error.remedy, unreachable=True)
    except NotLetInError as error:
        yield Finding(Level.FAIL, "brokers", error.problem, error.remedy)
    except SettingsError as error:
        yield Finding(Level.FAIL, "brokers", str(error), "Correct the setting.")
    else:
        yield Finding(Level.OK, "brokers", f"{settings.kafka.bootstrap_servers} answers.")
        yield from checked.findings


def _examine_registry(settings: Settings) -> Iterator[Finding]:
    from consumer.adapters.finding import Finding, Level
    from schemas.registry.registration import check, subjects

    subject = "schema registry"
    if settings.schema_registry.url is None:
        yield Finding(Level.OK, subject, "None is set: the bundled schemas are used.")
        return
    wanted = subjects(settings.topics.requests, settings.topics.results)
    try:
        with schema_registry(settings.schema_registry) as registry:
            problems = [problem for report in check(registry, wanted) for problem in report.problems]
    except Failure as failure:
        unreachable = failure.exit_code == ExitCode.UNREACHABLE
        yield Finding(Level.FAIL, subject, *_problem_and_remedy(str(failure), ": "), unreachable=unreachable)
        return
    yield Finding(Level.OK, subject, f"{settings.schema_registry.url} answers.")
    for problem in problems:
        yield Finding(Level.FAIL, subject, *_problem_and_remedy(f"{problem}.", "; "))


def _problem_and_remedy(text: str, separator: str) -> tuple[str, str]:
    """Two sentences of one that has the remedy at its end."""
    problem, _, remedy = text.rpartition(separator)
    return (f"{problem}.", remedy[:1].upper() + remedy[1:]) if problem else (text, "")
