"""Whatever holds a secret, its ``repr`` does not show it: what is logged, raised or dumped by accident is that."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import consumer
import producer_tools
import schemas

SECRET = "s3cret-of-somebody"  # noqa: S105 - what the tests look for
SENSITIVE = {"headers", "credential", "password", "secret", "signing_secret"}
"""Names of fields that hold, or may hold, a secret; and ``api_key``, ``key`` and ``value`` where they are bytes."""


def modules() -> Iterator[Any]:
    for package in (consumer, producer_tools, schemas):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith(("__main__", ".env")) and ".versions" not in found.name:
                yield importlib.import_module(found.name)


def holders() -> list[type]:
    """Every dataclass and named tuple with such a field."""
    found = {
        each
        for module in modules()
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__ and any(map(sensitive, fields(each).items()))
    }
    return sorted(found, key=lambda each: f"{each.__module__}.{each.__qualname__}")


def fields(kind: type) -> dict[str, str]:
    """Field -> annotation."""
    if dataclasses.is_dataclass(kind):
        return {each.name: str(each.type) for each in dataclasses.fields(kind)}
    return {name: str(kind.__annotations__.get(name, "")) for name in getattr(kind, "_fields", ())}


def sensitive(field: tuple[str, str]) -> bool:
    name, annotation = field
    return name in SENSITIVE or (name in {"api_key", "key", "value"} and "bytes" in annotation)


def filled(kind: type) -> object:
    """One with the secret in all such fields."""
    values = {name: _filling(name, annotation) for name, annotation in fields(kind).items()}
    if not dataclasses.is_dataclass(kind):
        return kind(**values)
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _filling(name: str, annotation: str) -> object:
    if name == "headers":
        return (("dj-api-key", SECRET.encode()),)
    if name == "url":
        return f"https://user:{SECRET}@host.example/path"
    secret = SECRET if sensitive((name, annotation)) else ""
    return secret if "str" in annotation else secret.encode()


def test_the_places_that_hold_secrets_are_found() -> None:
    assert {"ClientSpecification", "Record", "RequestHeaders", "DeadLetter", "OutgoingRecord", "RegistryAddress"} <= {
        each.__name__ for each in holders()
    }


@pytest.mark.parametrize("kind", holders(), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_no_repr_shows_a_secret(kind: type) -> None:
    holder = filled(kind)
    assert SECRET not in f"{holder!r} {holder} {ValueError(holder)!r} {[holder]}"
