"""The composition root: settings to adapters to engine. The one file that knows every name."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import confluent_kafka

from consumer import __version__
from consumer.adapters.bundled_schemas import BundledSchemas
from consumer.adapters.event_trace import open_trace
from consumer.adapters.kafka.at_least_once import AtLeastOnceSink
from consumer.adapters.kafka.properties import (
    TopicSizes,
    consumer_properties,
    drain_seconds,
    producer_properties,
    transactional_id,
)
from consumer.adapters.kafka.publications import Publications, Topics
from consumer.adapters.kafka.remedies import Named
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.kafka.topic_watch import TopicWatch
from consumer.adapters.kafka.transactions import TransactionalSink
from consumer.adapters.mirakl.address import host_rules
from consumer.adapters.mirakl.client import Cm21
from consumer.adapters.observability.metrics import Metrics
from consumer.adapters.observability.observers import Observers
from consumer.adapters.observability.otlp import OtlpExporter
from consumer.adapters.observability.otlp_settings import OtlpSettings
from consumer.adapters.observability.outcome_log import OutcomeLog
from consumer.adapters.observability.request_log import request_log
from consumer.adapters.observability.span_queue import SpanQueue
from consumer.adapters.observability.traces import Traces
from consumer.adapters.request_reader import RequestReader, string_encodings
from consumer.adapters.stores import DirectoryReader, Encryption, StoredDirectory
from consumer.domain.authorization import CredentialPolicy
from consumer.domain.share import Share
from consumer.engine.core import Core
from consumer.engine.credentials import Credentials
from consumer.engine.driver import Driver, EventRecorder
from consumer.engine.policy import Policy
from consumer.engine.precedence import Precedence
from consumer.engine.trace import EventTrace
from consumer.preflight import Preflight, require_brokers
from schemas.process.logs import Logs
from schemas.settings import Delivery, Settings
from schemas.signature import Signing

if TYPE_CHECKING:
    from consumer.adapters.schema_registry import RegistrySchemas

DEAD_LETTER_OWN_BYTES: Final = 8 * 1024
"""Room for the headers that we add to a dead letter."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one service, wired and not started: what ``Service`` runs."""

    driver: Driver
    source: KafkaSource
    sink: TransactionalSink | AtLeastOnceSink
    topic_watch: TopicWatch
    metrics: Metrics
    spans: SpanQueue | None
    """``None``: spans are not exported."""


def wire(settings: Settings, logs: Logs, checks: Preflight, share: Callable[[], Share]) -> Parts:
    """Finish the checks of what a service needs, and make its parts. ``share`` returns its current one of the quotas.

    Nothing is created or migrated. Raises ``SettingsError``, ``KafkaTroubleError``, ``RegistryError`` or
    ``SchemaNotRegisteredError`` where only an operator can help.
    """
    encryption = Encryption([key.get_secret_value() for key in settings.encryption_keys])
    directory = StoredDirectory(DirectoryReader(checks.engine, encryption, host_rules(settings)), share)
    sizes = require_brokers(checks.brokers.result(), settings.topics)
    reader = RequestReader(registry=bool(settings.schema_registry.url), max_bytes=settings.max_request_bytes)
    schemas = _schemas(settings, reader)
    publications = Publications(
        Topics(settings.topics.requests, settings.topics.results, settings.topics.dead_letters),
        settings.kafka.group_id,
        schemas.result_encoder(settings.topics.results),
        sizes.dead_letters - DEAD_LETTER_OWN_BYTES,
    )
    core, record = _core(settings, reader)
    metrics = Metrics(lambda: driver.status, librdkafka=confluent_kafka.libversion()[0])
    traces, spans = _traces(checks.otlp, settings, metrics) if checks.otlp is not None else (None, None)
    observers = Observers(metrics, OutcomeLog(request_log(logs, settings.log), settings.topics.requests), traces)
    cm21 = Cm21(settings.call_timeout, way_out=checks.way_out.result())
    driver = Driver(core, cm21, directory, schemas, observers.call_finished, record)
    source = KafkaSource(
        consumer_properties(settings, sizes),
        settings.topics.requests,
        driver.post,
        lambda: driver.fetch_budget,
        drain_seconds(settings),
        topic_id=None,
    )
    sink = _sink(settings, sizes, publications, driver, source, observers)
    driver.connect(source, sink)
    topic_watch = TopicWatch(settings.kafka.admin_properties(), settings.topics.requests, source.topic_is)
    return Parts(driver, source, sink, topic_watch, metrics, spans)


def _core(settings: Settings, reader: RequestReader) -> tuple[Core, EventRecorder | None]:
    """Make the core, and what records its events if they are to be traced."""
    policy = Policy(request_deadline=settings.request_deadline, max_products=settings.max_products_per_request)
    accepted = tuple(sorted(settings.accept_credentials))
    credentials = Credentials(CredentialPolicy(accepted, settings.signature_max_age), Signing(settings.topics.requests))
    salt = uuid.uuid4().hex
    if settings.event_trace_file is None:
        precedence = partial(Precedence, string_encodings, policy)
        return Core(reader, policy, salt, precedence=precedence, credentials=credentials), None
    file = open_trace(settings.event_trace_file)
    trace = EventTrace(file.write, reader, string_encodings, policy, salt, credentials=credentials)
    return Core(trace, policy, salt, precedence=trace.precedence, credentials=trace.credentials), trace.record


def _schemas(settings: Settings, reader: RequestReader) -> "RegistrySchemas | BundledSchemas":
    if settings.schema_registry.url is None:
        return BundledSchemas()
    from consumer.adapters.schema_registry import RegistrySchemas  # noqa: PLC0415 - with its HTTP client, a while to load

    return RegistrySchemas(settings.schema_registry, reader)


def _traces(otlp: OtlpSettings, settings: Settings, metrics: Metrics) -> tuple[Traces, SpanQueue]:
    instance = settings.kafka.group_instance_id or str(uuid.uuid4())
    spans = SpanQueue(OtlpExporter(otlp.endpoint, __version__, instance), otlp.queue)
    metrics.add_tracing(spans.counts)
    return Traces(spans.offer, settings.topics.requests, settings.kafka.group_id, otlp.max_links), spans


def _sink(
    settings: Settings,
    sizes: TopicSizes,
    publications: Publications,
    driver: Driver,
    source: KafkaSource,
    observers: Observers,
) -> TransactionalSink | AtLeastOnceSink:
    exactly_once = settings.kafka.delivery is Delivery.EXACTLY_ONCE
    names = Named(settings.topics.requests, settings.kafka.group_id, transactional_id(settings) if exactly_once else "")
    common = (
        producer_properties(settings, sizes),
        names,
        publications,
        driver.post,
        observers.transaction_finished,
    )
    if exactly_once:
        return TransactionalSink(*common, owner=source, inherits=settings.kafka.group_instance_id is not None)
    return AtLeastOnceSink(*common, owner=source, commit_offsets=source.commit)
