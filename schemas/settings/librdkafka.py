"""The properties of librdkafka: which exist, which clients use them, and which are reserved for the service.

The names are those of librdkafka 2.16 (CONFIGURATION.md; a test asks the library itself). Settings refuse what
would break a guarantee; everything else is the operator's.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

SHARED = frozenset(
    """
    allow.auto.create.topics api.version.fallback.ms api.version.request api.version.request.timeout.ms
    background_event_cb bootstrap.servers broker.address.family broker.address.ttl broker.version.fallback
    builtin.features client.dns.lookup client.id client.rack closesocket_cb connect_cb connections.max.idle.ms
    debug default_topic_conf enable.metrics.push enable.random.seed enable.sasl.oauthbearer.unsecure.jwt
    enable.ssl.certificate.verification enabled_events error_cb https.ca.location https.ca.pem interceptors
    internal.termination.signal log.connection.close log.queue log.thread.name log_cb log_level max.in.flight
    max.in.flight.requests.per.connection message.copy.max.bytes message.max.bytes metadata.broker.list
    metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy
    oauthbearer_token_refresh_cb opaque open_cb plugin.library.paths receive.message.max.bytes
    reconnect.backoff.jitter.ms reconnect.backoff.max.ms reconnect.backoff.ms resolve_cb retry.backoff.max.ms
    retry.backoff.ms sasl.kerberos.keytab sasl.kerberos.kinit.cmd sasl.kerberos.min.time.before.relogin
    sasl.kerberos.principal sasl.kerberos.service.name sasl.mechanism sasl.mechanisms
    sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
    sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem
    sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret
    sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.config
    sasl.oauthbearer.extensions sasl.oauthbearer.grant.type sasl.oauthbearer.metadata.authentication.type
    sasl.oauthbearer.method sasl.oauthbearer.scope sasl.oauthbearer.sub.claim.name
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username security.protocol socket.blocking.max.ms
    socket.connection.setup.timeout.ms socket.keepalive.enable socket.max.fails socket.nagle.disable
    socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms socket_cb ssl.ca.certificate.stores
    ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.certificate.verify_cb
    ssl.cipher.suites ssl.crl.location ssl.curves.list ssl.endpoint.identification.algorithm ssl.engine.id
    ssl.engine.location ssl.key.location ssl.key.password ssl.key.pem ssl.keystore.location
    ssl.keystore.password ssl.providers ssl.sigalgs.list ssl_ca ssl_certificate ssl_engine_callback_data ssl_key
    statistics.interval.ms stats_cb throttle_cb topic.blacklist topic.metadata.propagation.max.ms
    topic.metadata.refresh.fast.cnt topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms
    topic.metadata.refresh.sparse
    """.split()  # noqa: SIM905  one name a line would hide the list
)
"""Concern every connection to Kafka (``*`` in CONFIGURATION.md)."""

CONSUMER_ONLY = frozenset(
    """
    auto.commit.enable auto.commit.interval.ms auto.offset.reset check.crcs consume.callback.max.messages
    consume_cb coordinator.query.interval.ms enable.auto.commit enable.auto.offset.store enable.partition.eof
    fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms
    fetch.wait.max.ms group.id group.instance.id group.protocol group.protocol.type group.remote.assignor
    heartbeat.interval.ms isolation.level max.partition.fetch.bytes max.poll.interval.ms max.poll.records
    offset.store.method offset.store.path offset.store.sync.interval.ms offset_commit_cb
    partition.assignment.strategy queued.max.messages.kbytes queued.min.messages rebalance_cb session.timeout.ms
    share.acknowledgement.mode
    """.split()  # noqa: SIM905  one name a line would hide the list
)
"""Properties of consumers only (``C``)."""

PRODUCER_ONLY = frozenset(
    """
    acks batch.num.messages batch.size compression.codec compression.level compression.type
    delivery.report.only.error delivery.timeout.ms dr_cb dr_msg_cb enable.gapless.guarantee enable.idempotence
    linger.ms message.send.max.retries message.timeout.ms msg_order_cmp partitioner partitioner_cb
    produce.offset.report queue.buffering.backpressure.threshold queue.buffering.max.kbytes
    queue.buffering.max.messages queue.buffering.max.ms queuing.strategy request.required.acks
    request.timeout.ms retries sticky.partitioning.linger.ms transaction.timeout.ms transactional.id
    """.split()  # noqa: SIM905  one name a line would hide the list
)
"""Properties of producers only (``P``)."""


FILES = frozenset(
    """
    ssl.key.location ssl.certificate.location ssl.crl.location ssl.keystore.location sasl.kerberos.keytab
    sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.jwt.template.file
    sasl.oauthbearer.assertion.private.key.file
    """.split()  # noqa: SIM905  one name a line would hide the list
)
"""Name a file that has to be there; ``ssl.ca.location`` and ``https.ca.location`` may name a folder or ``probe``."""


_RESERVED = {
    "set RESYNC_KAFKA__BOOTSTRAP_SERVERS instead": "bootstrap.servers metadata.broker.list",
    "set RESYNC_KAFKA__GROUP_ID instead": "group.id",
    "set RESYNC_KAFKA__GROUP_INSTANCE_ID instead": "group.instance.id",
    "set RESYNC_KAFKA__GROUP_PROTOCOL instead": "group.protocol",
    "offsets are committed together with the results, only by the service": """
        enable.auto.commit auto.commit.enable auto.commit.interval.ms enable.auto.offset.store
        offset.store.method offset.store.path offset.store.sync.interval.ms""",
    "the service decides where a partition begins and never jumps over records": "auto.offset.reset",
    "only a read_committed consumer waits for offsets that are still pending": "isolation.level",
    "the service hands partitions over in its own way": """
        partition.assignment.strategy group.protocol.type enable.partition.eof""",
    "the transactional id is made from the group id (and RESYNC_KAFKA__GROUP_INSTANCE_ID)": "transactional.id",
    "every result is written once, in order, on all in-sync replicas": """
        enable.idempotence enable.gapless.guarantee acks request.required.acks retries message.send.max.retries
        max.in.flight max.in.flight.requests.per.connection queuing.strategy""",
    "the service needs the report of every delivery": "delivery.report.only.error produce.offset.report",
    "the size of messages follows the limits of the topics": "message.max.bytes",
    "topics are created only by `mirakl-resync-consumer topics ensure`": "allow.auto.create.topics",
    "headers and transactions need the protocol versions that the broker itself names": """
        api.version.request api.version.fallback.ms broker.version.fallback""",
    "it would load foreign code into the service": "plugin.library.paths interceptors",
    "only a program can give it a value": """
        opaque default_topic_conf msg_order_cmp ssl_engine_callback_data ssl_key ssl_certificate ssl_ca
        enabled_events log.queue""",
}
_REASON = {name: reason for reason, names in _RESERVED.items() for name in names.split()}

_CLASSIC_ONLY = frozenset({"session.timeout.ms", "heartbeat.interval.ms"})

_SECRET = re.compile(r"password|passphrase|secret|pem|jaas|token$|\bkey\b|oauthbearer\.config")
_PATH = re.compile(r"\.(location|file)$")


def refusals(names: Iterable[str], *, classic: bool) -> list[str]:
    """Return why each refused property may not be set; ``classic``: the group uses the classic protocol."""
    return [refusal for name in names if (refusal := _refusal(name, classic=classic))]


def _refusal(name: str, *, classic: bool) -> str | None:
    if reason := _reason(name, classic=classic):
        return f"remove {name!r}: {reason}"
    if name not in SHARED | CONSUMER_ONLY | PRODUCER_ONLY:
        return f"unknown property {name!r}. Did you mean {_nearest(name)!r}?"
    return None


def _reason(name: str, *, classic: bool) -> str | None:
    if name.endswith("_cb"):
        return "only a program can give it a value"
    if name.startswith("test.mock."):
        return "a mock broker keeps no promise"
    if name in _CLASSIC_ONLY and not classic:
        return "with RESYNC_KAFKA__GROUP_PROTOCOL=consumer the broker decides it"
    return _REASON.get(name)


def _nearest(name: str) -> str:
    return get_close_matches(name, sorted(SHARED | CONSUMER_ONLY | PRODUCER_ONLY), n=1, cutoff=0.0)[0]


def redacted(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the operator's properties fit to be shown: paths stay readable, passwords and keys become ``***``."""
    return {
        name: "***" if _SECRET.search(name) and not _PATH.search(name) else value for name, value in properties.items()
    }
