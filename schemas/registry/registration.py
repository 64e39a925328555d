"""Our schemas in a registry: registered, checked, or looked up. Subjects are named ``<topic>-value``.

Schemas are registered here only, by ``mirakl-resync-consumer schemas register``; the service and the tools look up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.avro import released
from schemas.avro.released import ReleasedSchema
from schemas.contract import value_subject
from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.registry.errors import SchemaNotRegisteredError
from schemas.registry.questions import (
    Compatibility,
    Missing,
    compatibility,
    level,
    new_level,
    registered_id,
    registration,
)

REQUESTS_LEVEL: Final = "BACKWARD_TRANSITIVE"
"""Every request ever written stays readable."""
RESULTS_LEVEL: Final = "FULL_TRANSITIVE"
"""Subscribers are upgraded in their own time, before or after the service."""

_REGISTER: Final = "Run mirakl-resync-consumer schemas register."


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject of the registry, the compatibility level and the released versions that it should have."""

    name: str
    level: str
    versions: tuple[ReleasedSchema, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    """One released version of a schema, and the id by which records name it."""

    subject: str
    version: int
    """Version of the file ``v<version>.avsc``; the registry's own count may differ."""
    id: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a subject that has to be corrected before records can be written or read."""

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """The state of one subject in the registry, as ``schemas check`` and ``doctor`` show it."""

    subject: Subject
    level: str | None
    """``None``: the registry does not know the subject."""
    registered: tuple[Registered, ...]
    compatibility: Compatibility
    """Whether the newest version is compatible with the registered ones."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems that have to be corrected: missing versions, a level that is too weak, foreign schemas.

        Empty: none.
        """
        return tuple(self._problems())

    def _problems(self) -> Iterator[Problem]:
        name, wanted = self.subject.name, self.subject.level
        if not self.compatibility.compatible:
            words = ", ".join(self.compatibility.messages) or "the registry gives no reason"
            yield Problem(
                f"{name}: a registered version is incompatible with ours ({words}).",
                "Find out who registered it; use another topic, or remove that version from the registry.",
            )
        known = {registered.version for registered in self.registered}
        for version in self.subject.versions:
            if version.version not in known:
                yield Problem(f"{name}: v{version.version} is not registered.", _REGISTER)
        if self.level is not None and self.level != wanted:
            yield Problem(f"{name}: its level is {self.level}, not {wanted}.", _REGISTER)


def subjects(requests_topic: str, results_topic: str) -> tuple[Subject, Subject]:
    """Return the subjects of requests and results, named after the topics by Confluent's ``TopicNameStrategy``."""
    return (
        Subject(value_subject(requests_topic), REQUESTS_LEVEL, released.requests()),
        Subject(value_subject(results_topic), RESULTS_LEVEL, released.results()),
    )


def newest_id(address: RegistryAddress, topic: str, versions: Sequence[ReleasedSchema]) -> int:
    """Look up the id of the newest version under the topic's subject.

    Blocks while it asks. Raises `RegistryError`, or `SchemaNotRegisteredError`.
    """
    subject = value_subject(topic)
    with SchemaRegistry(address) as registry:
        schema_id = registry.ask(registered_id(subject, versions[-1].text))
    if isinstance(schema_id, Missing):
        raise SchemaNotRegisteredError(subject)
    return schema_id


def register(registry: SchemaRegistry, wanted: Sequence[Subject]) -> Iterator[Registered]:
    """Set the levels and register all released versions, oldest first; what is registered already stays as it is.

    Raises `RegistryError`; what was yielded before that is registered.
    """
    for subject in wanted:
        registry.ask(new_level(subject.name, subject.level))
        for version in subject.versions:
            schema_id = registry.ask(registration(subject.name, version.text))
            yield Registered(subject.name, version.version, schema_id)


def check(registry: SchemaRegistry, wanted: Sequence[Subject]) -> Iterator[SubjectReport]:
    """Compare the registry with what it should have, and change nothing.

    Raises `RegistryError` at the first failure.
    """
    for subject in wanted:
        found = registry.ask(level(subject.name))
        yield SubjectReport(
            subject=subject,
            level=None if isinstance(found, Missing) else found,
            registered=tuple(_registered(registry, subject)),
            compatibility=registry.ask(compatibility(subject.name, subject.versions[-1].text)),
        )


def _registered(registry: SchemaRegistry, subject: Subject) -> Iterator[Registered]:
    for version in subject.versions:
        schema_id = registry.ask(registered_id(subject.name, version.text))
        if not isinstance(schema_id, Missing):
            yield Registered(subject.name, version.version, schema_id)
