"""Our schemas in a registry: put there, or looked at. Subjects are named after topics: ``<topic>-value``.

Only here is anything ever registered; neither the service nor the tools do it on their way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.avro import released
from schemas.avro.released import ReleasedSchema
from schemas.contract import value_subject
from schemas.registry.client import (
    Compatibility,
    Missing,
    SchemaRegistry,
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


@dataclass(frozen=True, slots=True)
class Subject:
    """What we want of one subject."""

    name: str
    level: str
    versions: tuple[ReleasedSchema, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    """One released version and its id in the registry."""

    subject: str
    version: int
    """Of the file ``v<version>.avsc``; the registry's own count may differ."""
    id: int


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """What the registry has of one subject."""

    subject: Subject
    level: str | None
    """``None``: the registry does not know the subject."""
    registered: tuple[Registered, ...]
    compatibility: Compatibility
    """Whether the newest version may stand beside the registered ones."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it must be, one sentence each; nothing: all is well."""
        return tuple(self._problems())

    def _problems(self) -> Iterator[str]:
        name, wanted = self.subject.name, self.subject.level
        if not self.compatibility.compatible:
            words = "; ".join(self.compatibility.messages) or "it gives no reason"
            yield f"{name}: a version is registered that ours is incompatible with ({words})"
        known = {registered.version for registered in self.registered}
        for version in self.subject.versions:
            if version.version not in known:
                yield f"{name}: v{version.version} is not registered; run mirakl-resync-consumer schemas register"
        if self.level is not None and self.level != wanted:
            yield f"{name}: its level is {self.level}, not {wanted}; run mirakl-resync-consumer schemas register"


def subjects(requests_topic: str, results_topic: str) -> tuple[Subject, Subject]:
    """Our two subjects."""
    return (
        Subject(value_subject(requests_topic), REQUESTS_LEVEL, released.requests()),
        Subject(value_subject(results_topic), RESULTS_LEVEL, released.results()),
    )


def register(registry: SchemaRegistry, wanted: Sequence[Subject]) -> Iterator[Registered]:
    """Set the levels and register all released versions, oldest first; what is there already stays as it is.

    Raises `RegistryTroubleError`; what was given out before that is registered.
    """
    for subject in wanted:
        registry.ask(new_level(subject.name, subject.level))
        for version in subject.versions:
            schema_id = registry.ask(registration(subject.name, version.text))
            yield Registered(subject.name, version.version, schema_id)


def check(registry: SchemaRegistry, wanted: Sequence[Subject]) -> Iterator[SubjectReport]:
    """Look, and change nothing. Raises `RegistryTroubleError`."""
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
