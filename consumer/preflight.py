"""Checks that ``run`` and ``doctor`` share: the settings, and what the service needs of database and Kafka.

``doctor`` shows every finding. ``run`` logs the risks, ends with the failures, and keeps the topics' sizes. It begins
its checks before most of the service is imported, since the brokers take as long to answer.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Engine

from consumer.adapters.certificates import CertificateLook
from consumer.adapters.clocks import ClockReading
from consumer.adapters.finding import Finding, Level
from consumer.adapters.kafka.broker_clock import brokers_clock
from consumer.adapters.kafka.broker_errors import BrokerUnreachableError, KafkaTroubleError
from consumer.adapters.kafka.certificates import broker_certificates
from consumer.adapters.kafka.properties import (
    DEFAULT_MESSAGE_BYTES,
    TopicSizes,
    broker_times,
    producer_properties,
    refused_properties,
)
from consumer.adapters.kafka.topic_admin import TopicAdmin, TopicFacts, is_embedded, names_of
from consumer.adapters.kafka.topic_checks import check_topics
from consumer.adapters.kafka.trial import (
    check_addresses,
    check_bounds,
    check_rights,
    check_transaction,
    try_addresses,
)
from consumer.adapters.mirakl.way_out import WayOut
from consumer.adapters.observability.otlp_settings import OtlpSettings, read_otlp_settings
from consumer.adapters.stores import check_schema, create_engine
from consumer.adapters.transports import check_settings as check_transports
from schemas.settings import Delivery, Settings, SettingsError, TopicSettings

SETTINGS = "settings"
"""Subject of the findings about settings."""

_log = logging.getLogger(__name__)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Check what only the libraries can tell of the settings, and which connections are not encrypted."""
    mistakes = refused_properties(settings)
    for mistake in mistakes:
        yield Finding(Level.FAIL, SETTINGS, mistake, "Correct it: librdkafka's CONFIGURATION.md lists the values.")
    if not mistakes:
        yield Finding(Level.OK, SETTINGS, "No mistake.")
    yield from check_transports(settings)


@dataclass(frozen=True, slots=True)
class BrokersChecked:
    """Findings about the brokers and the topics, and what else was seen on the way."""

    findings: tuple[Finding, ...]
    topics: Mapping[str, TopicFacts]
    """Topics that exist, by name; empty also where no advertised address can be reached."""
    certificates: tuple[CertificateLook, ...] = ()
    """Only with ``thorough``."""
    clock: ClockReading | None = None
    """Only with ``thorough``, and where the brokers show it."""

    @property
    def unreachable(self) -> bool:
        """Whether no broker can be reached where it says that it is, so that nothing else is worth telling."""
        return bool(self.findings) and all(finding.unreachable for finding in self.findings)


def check_brokers(settings: Settings, *, thorough: bool) -> BrokersChecked:
    """Check addresses, topics and rights.

    ``thorough``: also a transaction, and the limits, certificates and clock of the brokers.
    Raises what ``TopicAdmin.metadata`` raises where no broker answers, or none lets us in.
    """
    admin = TopicAdmin(settings.kafka)
    metadata = admin.metadata()
    tried = try_addresses(metadata)
    addresses = BrokersChecked(tuple(check_addresses(tried)), {})
    if addresses.unreachable:
        return addresses
    findings = list(addresses.findings)
    topics = admin.facts(names_of(settings.topics))
    findings += check_topics(topics, settings.topics)
    if not is_embedded(metadata):
        exactly_once = settings.kafka.delivery is Delivery.EXACTLY_ONCE
        findings += check_rights(admin.client, settings.topics, settings.kafka.group_id)
        if thorough and exactly_once:
            findings.append(check_transaction(settings, producer_properties(settings)))
        if thorough:
            times = broker_times(settings)
            findings += check_bounds(admin.client, metadata.brokers, times, exactly_once=exactly_once)
            looks = broker_certificates(settings.kafka.properties, tried)
            clock = brokers_clock(admin.client, topics.values(), time.time())
            return BrokersChecked(tuple(findings), topics, tuple(looks), clock)
    return BrokersChecked(tuple(findings), topics)


@dataclass(frozen=True, slots=True)
class Preflight:
    """Results of the first checks of ``run``, and those that are under way while it imports the service."""

    otlp: OtlpSettings | None
    """``None``: spans are not exported."""
    engine: Engine
    """The database, which this program may use."""
    way_out: "Future[WayOut]"
    """The certificates of public authorities are being read, for which OpenSSL needs no interpreter."""
    brokers: "Future[BrokersChecked]"
    """The brokers are being asked; raises what ``check_brokers`` raises."""


def begin(settings: Settings) -> Preflight:
    """Check settings and database, and then begin to ask the brokers on a thread: problems are best told in this order.

    Raises ``SettingsError``, where librdkafka objects to the operator's properties with all its objections, or
    ``StoreError``.
    """
    if mistakes := refused_properties(settings):
        raise SettingsError(mistakes)
    otlp = read_otlp_settings(os.environ)
    threads = ThreadPoolExecutor(2, "preflight")
    way_out = threads.submit(WayOut.of, settings.mirakl)
    engine = create_engine(settings.database_url.get_secret_value())
    check_schema(engine)
    brokers = threads.submit(check_brokers, settings, thorough=False)
    threads.shutdown(wait=False)
    return Preflight(otlp, engine, way_out, brokers)


def require_brokers(checked: BrokersChecked, topics: TopicSettings) -> TopicSizes:
    """Return the sizes of the topics; raise ``KafkaTroubleError`` where the service could not work.

    Risks are logged, and so are single brokers that cannot be reached.
    """
    if checked.unreachable:
        raise BrokerUnreachableError(checked.findings[0].message, checked.findings[0].remedy)
    failed = []
    for finding in checked.findings:
        if finding.level is Level.WARN or finding.unreachable:
            _log.warning("%s", finding)
        elif finding.level is Level.FAIL:
            failed.append(str(finding))
    if failed:
        raise KafkaTroubleError("\n".join(failed))
    limits = (checked.topics[name].limits for name in names_of(topics))
    requests, results, dead_letters = (
        each.max_message_bytes if each is not None else DEFAULT_MESSAGE_BYTES for each in limits
    )
    return TopicSizes(requests, results, dead_letters, checked.topics[topics.requests].partitions)
