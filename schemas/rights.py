"""Rights on a topic that Kafka refuses to a user, in the words of both programs; docs/operate/rights.md lists them."""

from enum import StrEnum

from schemas.explanation import Explanation


class Right(StrEnum):
    """Right on a topic, by the name of Kafka's operation. Each implies DESCRIBE."""

    READ = "READ"
    WRITE = "WRITE"


def missing_right(right: Right, topic: str) -> Explanation:
    """Return problem and remedy where Kafka refuses ``topic`` to this user; several names are joined by "and"."""
    refused = "read" if right is Right.READ else "write to"
    return Explanation(f"Kafka does not let us {refused} {topic}.", f"Grant this user {right} on the topic.")
