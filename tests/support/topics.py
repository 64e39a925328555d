"""The three topics of one deployment, under names of their own."""

import uuid
from dataclasses import dataclass

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as re-exported
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from schemas.contract import HEADROOM_BYTES

REQUEST_BYTES = 1024 * 1024 + 12  # the broker's own default for max.message.bytes


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of existing topics; ``group`` is a consumer group that nobody else uses."""

    requests: str
    results: str
    dead_letters: str
    group: str

    @property
    def environment(self) -> dict[str, str]:
        """The settings that make the service and the tools use them."""
        return {
            "RESYNC_TOPICS__REQUESTS": self.requests,
            "RESYNC_TOPICS__RESULTS": self.results,
            "RESYNC_TOPICS__DEAD_LETTERS": self.dead_letters,
            "RESYNC_KAFKA__GROUP_ID": self.group,
        }


def unused_topics() -> Topics:
    """Names that nobody uses, of topics that do not exist."""
    unique = uuid.uuid4().hex[:12]
    requests = f"test.{unique}.requests.v1"
    return Topics(requests, f"test.{unique}.results.v1", f"{requests}.dlq", f"test-{unique}")


def create_topics(bootstrap: str, *, partitions: int = 4) -> Topics:
    """Create the three topics, sized as ``topics ensure`` would."""
    topics = unused_topics()
    larger = {"max.message.bytes": str(REQUEST_BYTES + HEADROOM_BYTES)}
    wanted = [
        NewTopic(topics.requests, partitions, 1, config={"max.message.bytes": str(REQUEST_BYTES)}),
        NewTopic(topics.results, partitions, 1, config=larger),
        NewTopic(topics.dead_letters, partitions, 1, config=larger),
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})  # named: the answers end with it
    for created in admin.create_topics(wanted, operation_timeout=30).values():
        created.result(30)
    return topics


def delete_topics(bootstrap: str, topics: Topics) -> None:
    """Delete the three topics."""
    names = [topics.requests, topics.results, topics.dead_letters]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for deleted in admin.delete_topics(names, operation_timeout=30).values():
        deleted.result(30)


def alter_max_message_bytes(bootstrap: str, topic: str, most: int) -> None:
    """What the topic takes from now on; a broker refuses whole batches that are larger."""
    entry = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]
    for altered in admin.incremental_alter_configs(wanted).values():
        altered.result(30)
