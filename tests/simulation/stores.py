"""The simulated database and schema registry, and the decoder that is taught by it."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from consumer.domain.authorization import key_digest
from consumer.domain.model import ClientSpecification, Directory, build_directory
from consumer.engine.ports import NotARequest, SchemaNeeded
from schemas.contract import DeadLetterReason
from tests.simulation.scenario import UNKNOWN_SCHEMA, SentRecord, api_keys, issued


class Database:
    """The tables, with their history for the oracle."""

    def __init__(self, specifications: list[ClientSpecification]) -> None:
        self._rows = {each.id: each for each in specifications}
        self._removed: dict[str, ClientSpecification] = {}
        self._keys = api_keys()
        self._version = 0
        self.down_until = 0.0
        self.history: list[tuple[float, Directory]] = []
        self._changed(float("-inf"))

    @property
    def directory(self) -> Directory:
        """The tables at this moment."""
        return self.history[-1][1]

    def between(self, start: float, end: float) -> list[Directory]:
        """All states that could be seen in a time."""
        found = []
        for index, (time, directory) in enumerate(self.history):
            until = self.history[index + 1][0] if index + 1 < len(self.history) else float("inf")
            if time <= end and until >= start:
                found.append(directory)
        return found

    def change(self, now: float, id_: str, **fields: Any) -> None:  # noqa: ANN401 - of ClientSpecification
        """Update a row."""
        table = self._rows if id_ in self._rows else self._removed
        table[id_] = replace(table[id_], changed_at=str(now), **fields)
        self._changed(now)

    def remove(self, now: float, id_: str, *, gone: bool) -> None:
        """Delete a row, or bring it back."""
        source, target = (self._rows, self._removed) if gone else (self._removed, self._rows)
        if id_ in source:
            target[id_] = source.pop(id_)
            self._changed(now)

    def revoke(self, now: float, key: bytes, *, revoked: bool) -> None:
        """Revoke a key, or take that back."""
        digest = key_digest(key)
        self._keys[digest] = replace(self._keys[digest], revoked=revoked)
        self._changed(now)

    def issue(self, now: float, key: bytes) -> None:
        """Issue a key."""
        self._keys[key_digest(key)] = issued(key)
        self._changed(now)

    def _changed(self, now: float) -> None:
        self._version += 1
        self.history.append((now, build_directory(self._version, list(self._rows.values()), self._keys)))


class TaughtDecoder:
    """Reads the records of a plan; one for each process."""

    def __init__(self, records: Mapping[int, SentRecord]) -> None:
        self._records = records
        self._learned: set[Hashable] = set()

    def learn(self, reference: Hashable) -> bool:
        """Ask the registry."""
        if isinstance(reference, int) and reference < UNKNOWN_SCHEMA:
            self._learned.add(reference)
            return True
        return False

    def decode(self, value: bytes | None, schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:  # noqa: ARG002 - the port's
        """As ``ports.Decoder``."""
        record = self._records[int((value or b"").split(b"|")[0])]
        if not record.readable:
            return NotARequest(DeadLetterReason.UNREADABLE, "truncated")
        if record.schema is not None and record.schema not in self._learned:
            return SchemaNeeded(record.schema)
        return record.body()
