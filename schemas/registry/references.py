"""Assembles schemas that are registered in several parts.

A registry can store a type separately from the schemas that use it, which name it and list its place. A reader
needs one text, with each type's definition where its name occurs first.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any


def self_contained(text: str, definitions: Mapping[str, str]) -> str:
    """Return the schema with the definitions of these types, by full name, where each name occurs first.

    A text that is not JSON is returned as it is: its reader finds out whether it is a schema.
    """
    if not definitions:
        return text
    try:
        parsed = {name: json.loads(definition) for name, definition in definitions.items()}
        return json.dumps(_Assembly(parsed).whole(json.loads(text), ""))
    except (ValueError, RecursionError):
        return text


class _Assembly:
    """Visits the types of a schema in the order of its text."""

    def __init__(self, definitions: dict[str, Json]) -> None:
        self._unused = definitions

    def whole(self, node: Json, namespace: str) -> Json:
        if isinstance(node, str):
            return self._named(node, namespace)
        if isinstance(node, list):
            return [self.whole(branch, namespace) for branch in node]
        if not isinstance(node, dict):
            return node
        namespace = _namespace(node, namespace)
        inner = {key: self.whole(node[key], namespace) for key in ("type", "items", "values") if key in node}
        if inner.get("type") != node.get("type") and isinstance(node["type"], str):
            return inner["type"]
        if isinstance(node.get("fields"), list):
            inner["fields"] = [self._field(field, namespace) for field in node["fields"]]
        return node | inner

    def _field(self, field: Json, namespace: str) -> Json:
        return (
            field | {"type": self.whole(field["type"], namespace)}
            if isinstance(field, dict) and "type" in field
            else field
        )

    def _named(self, name: str, namespace: str) -> Json:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        found = full if full in self._unused else name
        if found not in self._unused:
            return name
        definition = self._unused.pop(found)
        if isinstance(definition, dict):
            definition = {"namespace": "", **definition}
        return self.whole(definition, "")


def _namespace(node: Mapping[str, Json], enclosing: str) -> str:
    name = node.get("name")
    if isinstance(name, str) and "." in name:
        return name.rpartition(".")[0]
    own = node.get("namespace", enclosing)
    return own if isinstance(own, str) else enclosing
