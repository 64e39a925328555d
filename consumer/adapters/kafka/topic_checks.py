"""Checks whether the three topics suit the service, for ``run`` and ``doctor``."""

from collections.abc import Mapping
from typing import Final

from consumer.adapters.finding import Finding, Level
from consumer.adapters.kafka.topic_admin import COMPRESSION, UNCOMPRESSED, TopicFacts, TopicLimits, names_of
from consumer.adapters.kafka.topics import DAY_MS
from schemas.contract import HEADROOM_BYTES
from schemas.settings import TopicSettings

OFFSETS_RETENTION_DAYS: Final = 7
"""``offsets.retention.minutes`` of a broker that nobody configured: then a group without members loses its offsets."""


def check_topics(facts: Mapping[str, TopicFacts], topics: TopicSettings) -> list[Finding]:
    """Return the findings about the three topics, as ``TopicAdmin.facts`` described them; a missing one fails."""
    findings = [
        finding
        for name in names_of(topics)
        for finding in _check_topic(
            name,
            facts.get(name),
            "READ" if name == topics.requests else "WRITE",
            dead_letters=name == topics.dead_letters,
        )
    ]
    requests = facts.get(topics.requests)
    if requests is not None and requests.limits is not None:
        findings += _check_requests(requests.name, requests.limits)
        room = requests.limits.max_message_bytes + HEADROOM_BYTES
        followers = [facts[name] for name in (topics.results, topics.dead_letters) if name in facts]
        findings += [finding for follower in followers for finding in _check_room(follower, room)]
    return findings


def _check_topic(name: str, facts: TopicFacts | None, right: str, *, dead_letters: bool) -> list[Finding]:
    subject = f"topic {name}"
    if facts is None:
        remedy = (
            "Create it with `mirakl-resync-consumer topics ensure`, correct RESYNC_TOPICS__*, or grant "
            f"{right} on the topic to this user."
        )
        return [Finding(Level.FAIL, subject, "It does not exist, or we may not see it.", remedy)]
    findings = [Finding(Level.OK, subject, f"{facts.partitions} partitions, {facts.replication_factor} replicas.")]
    if facts.limits is None:
        problem = "Its configuration cannot be read, so its retention and its largest message are not checked."
        remedy = "Allow this user to describe the topic's configuration (an embedded broker, as in the demo, has none)."
        findings.append(Finding(Level.WARN, subject, problem, remedy))
    elif facts.limits.compacted and dead_letters:
        problem = "It is compacted, so it refuses dead letters without a key: they, and their partitions, would wait."
        findings.append(Finding(Level.FAIL, subject, problem, "Set its cleanup.policy to delete."))
    elif facts.limits.compacted:
        remedy = "Set its cleanup.policy to delete."
        findings.append(Finding(Level.WARN, subject, "It is compacted: records with the same key get lost.", remedy))
    return findings


def _check_requests(name: str, limits: TopicLimits) -> list[Finding]:
    findings = []
    if limits.compression != UNCOMPRESSED:
        problem = f"Its {COMPRESSION} is {limits.compression}: a few kilobytes may unpack to gigabytes in our memory."
        remedy = f"Set it to {UNCOMPRESSED} with `mirakl-resync-consumer topics ensure`."
        findings.append(Finding(Level.WARN, f"topic {name}", problem, remedy))
    if 0 <= limits.retention_ms <= OFFSETS_RETENTION_DAYS * DAY_MS:
        return findings
    return [
        *findings,
        Finding(
            Level.WARN,
            f"topic {name}",
            f"It keeps requests longer than {OFFSETS_RETENTION_DAYS} days, after which a group without members "
            "forgets its offsets: requests would be answered again.",
            "Shorten it with `mirakl-resync-consumer topics ensure --retention-days 3`, "
            "or raise the broker's offsets.retention.minutes beyond it.",
        ),
    ]


def _check_room(follower: TopicFacts, room: int) -> list[Finding]:
    if follower.limits is None or follower.limits.max_message_bytes >= room:
        return []
    return [
        Finding(
            Level.WARN,
            f"topic {follower.name}",
            f"Its max.message.bytes is {follower.limits.max_message_bytes}: too small for the answer "
            "to the largest request.",
            f"Raise it to {room} with `mirakl-resync-consumer topics ensure`.",
        )
    ]
