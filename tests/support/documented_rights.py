"""The rights on brokers that docs/operate/rights.md lists, as a test grants them."""

import re
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]  # public, yet not marked

from schemas.contract import DEAD_LETTERS_TOPIC, REQUESTS_TOPIC, RESULTS_TOPIC
from tests.support.secured_kafka import SecuredKafka
from tests.support.topics import Topics

_PAGE = Path(__file__).parents[2] / "docs" / "operate" / "rights.md"
_RESOURCE = re.compile(r"(?:also )?(topic|group|transactional id) `([^`]+)`( \(prefix\))?|the three topics.*")
_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
_TOPICS = (REQUESTS_TOPIC, RESULTS_TOPIC, DEAD_LETTERS_TOPIC)
_GROUP = "mirakl-resync"


class Right(NamedTuple):
    """One line of the table, for one resource, by its default name."""

    resource: ResourceType
    name: str
    operations: tuple[AclOperation, ...]
    prefixed: bool

    def name_among(self, topics: Topics) -> str:
        """Return the name of the resource with the topics and the group of a test."""
        own = dict(zip(_TOPICS, (topics.requests, topics.results, topics.dead_letters), strict=True))
        return own.get(self.name) or self.name.replace(_GROUP, topics.group)


def documented_rights(program: str) -> list[Right]:
    """Return the rights that the page lists for a program; those of a line "also ..." are its own ones only."""
    section = _PAGE.read_text().split("## On brokers with ACLs")[1].split("\n## ")[0]
    rights: list[Right] = []
    programs: list[str] = []
    for row in re.findall(r"^\| (.*?)\| (.+?) \| ([A-Z_, ]+) \|$", section, re.MULTILINE):
        programs = re.findall(r"`([^`]+)`", row[0]) or programs
        resource = _RESOURCE.fullmatch(row[1])
        if program in programs and resource:
            kind, name, prefix = resource.groups()
            operations = tuple(AclOperation[each.strip()] for each in row[2].split(","))
            rights += [Right(_KINDS[kind or "topic"], each, operations, bool(prefix)) for each in _names(name)]
    return rights


def _names(name: str | None) -> tuple[str, ...]:
    return (name,) if name else _TOPICS


def grant(broker: SecuredKafka, topics: Topics, user: str, *programs: str) -> None:
    """Grant a user the rights that the page lists for these programs."""
    for right in (right for program in programs for right in documented_rights(program)):
        broker.allow(right.resource, right.name_among(topics), *right.operations, prefixed=right.prefixed, user=user)
