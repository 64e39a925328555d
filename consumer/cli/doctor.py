"""``doctor``: checks everything that a run needs, from this machine."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import click
from sqlalchemy import Engine

from consumer.adapters.certificates import CertificateLook, check_certificates
from consumer.adapters.clocks import ClockReading, check_clocks, http_date, reading
from consumer.adapters.finding import Finding, Level
from consumer.adapters.kafka.broker_errors import BrokerUnreachableError, NotLetInError
from consumer.adapters.mirakl.address import host_rules
from consumer.adapters.mirakl.certificates import mirakl_certificates
from consumer.adapters.mirakl.way_out import WayOut
from consumer.adapters.observability.tracing_check import check_tracing
from consumer.adapters.stores import (
    OURS,
    DirectoryReader,
    StoreError,
    check_schema,
    create_engine,
    open_to_others,
    redacted,
)
from consumer.adapters.stores.clock import database_clock
from consumer.adapters.stores.rotation import KeyUses, count_key_uses
from consumer.adapters.transports import check_base_urls
from consumer.cli.access import encryption_of, read_all_settings
from consumer.cli.options import output_option
from consumer.cli.registry_access import schema_registry
from consumer.domain.model import Directory, Role
from consumer.preflight import SETTINGS, check_brokers, check_settings
from schemas.console.output import Output, show
from schemas.console.program import examples
from schemas.contract import Credential
from schemas.exit_codes import ExitCode
from schemas.registry.client import Greeting
from schemas.registry.errors import RegistryError
from schemas.registry.registration import check, subjects
from schemas.settings import Settings, SettingsError

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
    topics, connections that are not encrypted and, if set, the schema registry and the collector of spans.

    Certificates of brokers, registry and each Mirakl that end within 14 days; it takes a TLS handshake, and no call.
    Clocks that differ by more than a second from this machine's: of the database, of the registry, and of the brokers
    where a topic's records have their time.

    Exit code 0: nothing fails (a WARN is a risk); 2: the settings are wrong; 6: only brokers or registry are
    unreachable; otherwise 1.
    """
    findings = list(_examine(read_all_settings()))
    rows = [asdict(finding) for finding in findings]
    show(rows, Output(output), columns=_COLUMNS)
    return _exit_code(findings)


def _exit_code(findings: list[Finding]) -> int:
    failed = [finding for finding in findings if finding.level == "FAIL"]
    if not failed:
        return 0
    if any(finding.subject == SETTINGS for finding in failed):
        return ExitCode.USAGE
    return ExitCode.UNREACHABLE if all(finding.unreachable for finding in failed) else ExitCode.FAILED


@dataclass(slots=True)
class _Seen:
    """Observations of all edges, to be judged together."""

    base_urls: list[str] = field(default_factory=list)
    certificates: list[CertificateLook] = field(default_factory=list)
    clocks: list[ClockReading] = field(default_factory=list)


def _examine(settings: Settings) -> Iterator[Finding]:
    seen = _Seen()
    yield from check_settings(settings)
    yield from check_tracing(os.environ, SETTINGS)
    yield from _examine_database(settings, seen)
    yield from _examine_brokers(settings, seen)
    yield from _examine_registry(settings, seen)
    yield from _examine_miraklis(settings, seen)
    yield from check_certificates(seen.certificates, datetime.now(UTC))
    yield from check_clocks(seen.clocks)


def _examine_miraklis(settings: Settings, seen: _Seen) -> Iterator[Finding]:
    way_out = WayOut.of(settings.mirakl)
    if way_out.proxy is not None:
        yield Finding(Level.OK, "proxy", f"Mirakl is called through {way_out.proxy} ({way_out.proxy.setting}).")
    seen.certificates += asyncio.run(mirakl_certificates(seen.base_urls, way_out, settings.call_timeout))


def _examine_database(settings: Settings, seen: _Seen) -> Iterator[Finding]:
    url = settings.database_url.get_secret_value()
    try:
        engine = create_engine(url)
        try:
            newest = check_schema(engine)
            findings = [*_examine_file(engine), *_examine_stores(engine, settings, seen)]
            if (clock := database_clock(engine)) is not None:
                seen.clocks.append(clock)
        finally:
            engine.dispose()
    except StoreError as error:
        yield Finding(Level.FAIL, "database", error.problem, error.remedy)
        return
    newer = f"a newer release (schema {newest}), which supports this one (schema {OURS})"
    yield Finding(Level.OK, "database", f"{redacted(url)} is of {'this release' if newest == OURS else newer}.")
    yield from findings


def _examine_file(engine: Engine) -> Iterator[Finding]:
    path = open_to_others(engine)
    if path is not None:
        yield Finding(
            Level.WARN, "database", f"Every account of this machine can use {path}.", f"Run `chmod o= {path}*`."
        )


def _examine_stores(engine: Engine, settings: Settings, seen: _Seen) -> Iterator[Finding]:
    encryption = encryption_of(settings)
    reader = DirectoryReader(engine, encryption, host_rules(settings))
    try:
        directory = reader.read(None)
    finally:
        reader.close()
    if directory is not None:
        yield _api_keys(directory, keys_accepted=Credential.KEY in settings.accept_credentials)
        yield _client_specifications(directory)
        seen.base_urls += [each.base_url for each in directory.specifications.values()]
        yield from check_base_urls(seen.base_urls)
    yield from _encryption_keys(count_key_uses(engine, encryption))
    for warning in reader.warnings:
        yield Finding(Level.FAIL, "stored row", *warning)


def _api_keys(directory: Directory, *, keys_accepted: bool) -> Finding:
    remedy = f"Issue one with `mirakl-resync-consumer api-keys issue --name N{'' if keys_accepted else ' --signing'}`."
    if not directory.api_keys:
        return Finding(Level.FAIL, "API keys", "There is none, so every request has to wait.", remedy)
    now = time.time()
    valid = sum(
        key.role is Role.OPERATOR
        and not key.revoked
        and (key.expires_at is None or key.expires_at > now)
        and (keys_accepted or key.signing_secret is not None)
        for key in directory.api_keys.values()
    )
    if not valid:
        reason = "all are expired, revoked or without the OPERATOR role"
        if not keys_accepted:
            reason = "RESYNC_ACCEPT_CREDENTIALS excludes keys, and no valid operator's key can sign"
        return Finding(Level.WARN, "API keys", f"None may resynchronize: {reason}.", remedy)
    return Finding(Level.OK, "API keys", f"{valid} of {len(directory.api_keys)} may resynchronize.")


def _encryption_keys(uses: KeyUses) -> Iterator[Finding]:
    first, *others = uses.secrets
    yield Finding(
        Level.OK, "encryption keys", f"The first one ({first}) encrypts {uses.secrets[first]} stored secrets."
    )
    for each in others:
        if uses.secrets[each]:
            remedy = "Run `mirakl-resync-consumer encryption-key rotate` before you remove it."
            found = f"An older one ({each}) still encrypts {uses.secrets[each]} stored secrets."
            yield Finding(Level.WARN, "encryption keys", found, remedy)
        else:
            yield Finding(Level.OK, "encryption keys", f"An older one ({each}) is not in use: it can be removed.")


def _client_specifications(directory: Directory) -> Finding:
    subject = "client specifications"
    if not directory.specifications:
        remedy = "Add one: see `mirakl-resync-consumer clients add --help`."
        return Finding(Level.WARN, subject, "There is none, so no request can succeed.", remedy)
    active = sum(map(len, directory.active.values()))
    return Finding(Level.OK, subject, f"{active} of {len(directory.specifications)} active.")


def _examine_brokers(settings: Settings, seen: _Seen) -> Iterator[Finding]:
    try:
        checked = check_brokers(settings, thorough=True)
    except BrokerUnreachableError as error:
        yield Finding(Level.FAIL, "brokers", error.problem, error.remedy, unreachable=True)
    except NotLetInError as error:
        yield Finding(Level.FAIL, "brokers", error.problem, error.remedy)
    except SettingsError as error:
        yield Finding(Level.FAIL, "brokers", error.problem, error.remedy)
    else:
        yield Finding(Level.OK, "brokers", f"{settings.kafka.bootstrap_servers} answers.")
        yield from checked.findings
        seen.certificates += checked.certificates
        if checked.clock is not None:
            seen.clocks.append(checked.clock)


def _look_at(greeting: Greeting, seen: _Seen) -> None:
    if greeting.certificate is not None:
        seen.certificates.append(CertificateLook("schema registry", greeting.certificate))
    if (date := http_date(greeting.date)) is not None:
        seen.clocks.append(reading("the schema registry", date.timestamp(), greeting.before, greeting.after, 1.0))


def _examine_registry(settings: Settings, seen: _Seen) -> Iterator[Finding]:
    subject = "schema registry"
    if settings.schema_registry.url is None:
        yield Finding(Level.OK, subject, "None is configured: the bundled schemas are used.")
        return
    wanted = subjects(settings.topics.requests, settings.topics.results)
    try:
        with schema_registry(settings.schema_registry) as registry:
            problems = [problem for report in check(registry, wanted) for problem in report.problems]
            _look_at(registry.greet(), seen)
    except RegistryError as error:
        yield Finding(Level.FAIL, subject, error.problem, error.remedy, unreachable=error.unreachable)
        return
    yield Finding(Level.OK, subject, f"{settings.schema_registry.url} answers.")
    for problem in problems:
        yield Finding(Level.FAIL, subject, problem.problem, problem.remedy)
