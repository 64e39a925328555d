"""The gateway's numbers, other than the settings."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class GatewayPolicy:
    """Limits and periods of a gateway besides the settings. Times in seconds; shares of memory in bytes."""

    arrival_seconds: float = 10.0
    """A head, and then a body, has this long to arrive; a slow sender occupies a connection no longer."""
    head_bytes: int = 32 * 1024
    """Largest head of an HTTP request: what the headers of a request on Kafka may hold."""
    max_nesting: int = 16
    """Levels of a JSON body."""
    inline_body_bytes: int = 32 * 1024
    """A larger body is parsed on a thread, one at a time: parsing 4 MiB would hold up all others by 100 ms."""
    buffered_body_bytes: int = 32 << 20
    """All bodies that are being received or parsed; bounds the memory that senders can occupy together."""
    invalid_key_seconds: float = 5.0
    """A key that the service called invalid is refused here for this time, in which a new key takes effect."""
    remembered_keys: int = 10_000
    """Keys known to be valid, and keys known to be invalid: digests, the least recently used ones are forgotten."""
    known_results: int = 20_000
    """Results that can be asked for; the oldest are forgotten."""
    known_result_bytes: int = 32 << 20
    """Size of these results; the oldest are forgotten."""
    read_back_seconds: float = 600.0
    """Age up to which results are read again at the start, so that a new gateway knows recent results."""
    pending_grace_seconds: float = 60.0
    """A request without a result is pending for the request deadline and this long: records wait to be read, too."""
    pending_requests: int = 20_000
    """Requests with an Idempotency-Key that nobody waits for any more; the oldest are forgotten."""
    retry_after_seconds: int = 5
    """``Retry-After`` of 429 and 503: brokers elect leaders, and calls end, within a few seconds."""
    poll_again_seconds: int = 2
    """``Retry-After`` of a pending request."""
    keep_alive_seconds: int = 65
    """An idle connection stays open a little longer than at the usual load balancer (60 s), which closes it first."""
    probe_seconds: float = 1.0
    """Between two questions to the brokers for the ends of both topics."""
    probe_timeout_seconds: float = 2.0
    """Timeout of a probe."""
    behind_seconds: float = 5.0
    """A reader that has not read what was there so long ago is behind: calls get 503. Two lost probes are not that."""
    look_seconds: float = 2.0
    """Between two looks for rights that are missing, and for added partitions of the results topic."""
    look_timeout_seconds: float = 0.5
    """Timeout of each question of a look, which delays a probe; without an answer, the former one counts."""
    poll_seconds: float = 0.1
    """Longest wait of the reader for a record, and so how soon it sees that it is to stop."""
    batch_records: int = 2_000
    """Most records that the reader takes at once."""
    fetch_queue_kilobytes: int = 8 * 1024
    """Records that librdkafka fetches ahead; its default of 64 MiB would be most of the gateway's memory."""
    producer_queue_kilobytes: int = 64 * 1024
    """Requests that wait in librdkafka for the brokers; beyond, a call is refused."""
    stop_margin_seconds: float = 2.0
    """Of ``RESYNC_SHUTDOWN_TIMEOUT``: for the responses to those that still wait, and the last acknowledgements."""
    stuck_seconds: float = 30.0
    """Without progress for this long, the event loop or the reader is stuck, and ``/livez`` says so."""
    pin_seconds: float = 10.0
    """For looking up the offsets of the results of the last minutes, at the start."""
    open_files: int = 65_536
    """That the process asks the operating system for: each connection is one."""
    heartbeat_seconds: float = 1.0
    """Between two signs of life of the event loop."""
    first_probes_seconds: float = 0.05
    """Between two questions until the reader is up to date for the first time: a start takes no longer than it
    must."""
    retry_seconds: float = 1.0
    """Before the reader goes on after an exception of the library."""
    linger_seconds: float = 2.0
    """After a response to something that is not HTTP: what still arrives is discarded for so long. Closing at once
    would reset the connection, and the response could be lost."""
    record_overhead_bytes: int = 400
    """Of one kept result beside its key and value: objects and table entries, measured on CPython 3.11."""
    requested_by_characters: int = 255
    """Of ``User-Agent``, where a call does not say who asks."""
    clock_skew_seconds: float = 60.0
    """By which another gateway's clock may be ahead: an id with a later time was not made by one."""
    decode_again_seconds: float = 1.0
    """Between two attempts to read a result whose schema the registry has not told yet."""
    path_characters: int = 100
    """Of a path in a line of the log."""


GATEWAY: Final = GatewayPolicy()
