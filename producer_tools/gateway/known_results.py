"""Results that can still be requested: the newest ones of requests made over HTTP, undecoded."""

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from producer_tools.gateway.policy import GATEWAY, GatewayPolicy

_FORMS: Final = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|(?:idem|alert)-[0-9a-f]{32}"
)
made_over_http = _FORMS.fullmatch
"""Whether a record key is a request id as gateways make them: UUID version 7, ``idem-…`` or ``alert-…``."""


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """One record of the results topic, not decoded: most results are never asked for."""

    request_id: str
    value: bytes | None = field(repr=False)
    schema_header: bytes | None = field(repr=False)
    """Value of ``__value_schema_id``."""
    timestamp_millis: int
    """Time of the record, since the epoch."""

    @property
    def size(self) -> int:
        """Memory that keeping the record takes, in bytes, objects around it included."""
        return len(self.request_id) + len(self.value or b"") + GATEWAY.record_overhead_bytes


class KnownResults:
    """The newest result of each request id, bounded in number and bytes; the oldest are forgotten."""

    def __init__(self, policy: GatewayPolicy) -> None:
        self._policy = policy
        self._records: OrderedDict[str, ResultRecord] = OrderedDict()
        self.size = 0
        """Bytes that they take together."""

    def __len__(self) -> int:
        return len(self._records)

    def get(self, request_id: str) -> ResultRecord | None:
        return self._records.get(request_id)

    def add(self, record: ResultRecord) -> None:
        """Keep a result that has just been read; the oldest ones are forgotten for it."""
        former = self._records.pop(record.request_id, None)
        if former is not None:
            self.size -= former.size
        self._records[record.request_id] = record
        self.size += record.size
        while len(self._records) > self._policy.known_results or self.size > self._policy.known_result_bytes:
            _, oldest = self._records.popitem(last=False)
            self.size -= oldest.size
