"""The three topics: created and changed on request only, never by the running service."""

from dataclasses import dataclass
from typing import Final

from consumer.adapters.kafka.policy import ADMIN
from consumer.adapters.kafka.topic_admin import (
    BROKER_MAX_MESSAGE_BYTES,
    COMPRESSION,
    UNCOMPRESSED,
    TopicAdmin,
    TopicFacts,
    TopicLimits,
)
from schemas.contract import HEADROOM_BYTES
from schemas.settings import TopicSettings

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """Options of ``topics ensure``; ``None``: keep what exists, and use the default for a new topic."""

    partitions: int | None = None
    replication_factor: int | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class TopicReport:
    """Result of ``topics ensure`` for one topic: what was created or changed, and what has to be done by hand."""

    topic: str
    outcome: str
    """``created``, ``changed`` or ``unchanged``."""
    details: tuple[str, ...]
    """Lines for people: each change, and each difference that was kept."""


def ensure_topics(admin: TopicAdmin, topics: TopicSettings, plan: TopicPlan) -> list[TopicReport]:
    """Create the topics that do not exist; change others only where asked for, or where messages would not fit."""
    keep = plan.retention_days or ADMIN.requests_days
    requests = _ensure(admin, plan, _Wanted(topics.requests, keep))
    facts = admin.facts([topics.requests])[topics.requests]
    room = (facts.limits.max_message_bytes if facts.limits else BROKER_MAX_MESSAGE_BYTES) + HEADROOM_BYTES
    return [
        requests,
        _ensure(admin, plan, _Wanted(topics.results, max(keep, ADMIN.results_days), room)),
        _ensure(admin, plan, _Wanted(topics.dead_letters, max(keep, ADMIN.dead_letters_days), room)),
    ]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One topic as it should be; requests (without ``room``) keep exactly that long, the others at least."""

    name: str
    retention_days: int
    room: int | None = None

    @property
    def retention_ms(self) -> int:
        return self.retention_days * DAY_MS

    def config(self) -> dict[str, str]:
        config = {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        return config | ({COMPRESSION: UNCOMPRESSED} if self.room is None else {"max.message.bytes": str(self.room)})

    def amendments(self, limits: TopicLimits, *, retention_asked: bool) -> dict[str, str]:
        """Return the entries of an existing topic's configuration to be changed."""
        amendments = {}
        if self.room is not None and limits.max_message_bytes < self.room:
            amendments["max.message.bytes"] = str(self.room)
        if self.room is None and limits.compression != UNCOMPRESSED:
            amendments[COMPRESSION] = UNCOMPRESSED
        if retention_asked and self._keeps_otherwise(limits.retention_ms):
            amendments["retention.ms"] = str(self.retention_ms)
        return amendments

    def _keeps_otherwise(self, retention_ms: int) -> bool:
        if self.room is None:
            return retention_ms != self.retention_ms
        return 0 <= retention_ms < self.retention_ms


def _ensure(admin: TopicAdmin, plan: TopicPlan, wanted: _Wanted) -> TopicReport:
    found = admin.facts([wanted.name]).get(wanted.name)
    if found is None:
        admin.create(
            wanted.name, wanted.config(), partitions=plan.partitions, replication_factor=plan.replication_factor
        )
        return TopicReport(wanted.name, "created", (f"kept {wanted.retention_days} days",))
    done = _amend(admin, wanted, found, plan)
    if plan.partitions is not None and found.partitions < plan.partitions:
        admin.add_partitions(wanted.name, plan.partitions)
        done.append(f"partitions raised from {found.partitions} to {plan.partitions}")
    return TopicReport(wanted.name, "changed" if done else "unchanged", (*done, *_left_alone(found, plan)))


def _amend(admin: TopicAdmin, wanted: _Wanted, found: TopicFacts, plan: TopicPlan) -> list[str]:
    if found.limits is None:
        return []
    amendments = wanted.amendments(found.limits, retention_asked=plan.retention_days is not None)
    if amendments:
        admin.configure(wanted.name, amendments)
    before = found.limits.entries()
    return [f"{key} changed from {before[key]} to {value}" for key, value in amendments.items()]


def _left_alone(found: TopicFacts, plan: TopicPlan) -> list[str]:
    """Return differences that cannot be changed from here."""
    left = []
    if found.limits is not None and found.limits.compacted:
        left.append("is compacted: set its cleanup.policy to delete with the broker's own tools")
    if plan.partitions is not None and found.partitions > plan.partitions:
        left.append(f"has {found.partitions} partitions, and a topic cannot lose any")
    if plan.replication_factor is not None and found.replication_factor != plan.replication_factor:
        left.append(
            f"has replication factor {found.replication_factor}: reassign its replicas with the broker's own tools"
        )
    return left
