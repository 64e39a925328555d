"""A schema registry in memory, behind httpx: as much of Confluent's API as is asked of one here.

That it answers as a real one does is what `test_registry` shows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

import httpx

Answer: TypeAlias = tuple[int, Mapping[str, Any]]

NO_ROUTE: Answer = (404, {})
NO_SUBJECT: Answer = (404, {"error_code": 40401, "message": "Subject not found."})
NO_VERSION: Answer = (404, {"error_code": 40402, "message": "Version not found."})
NO_SCHEMA: Answer = (404, {"error_code": 40403, "message": "Schema not found."})


@dataclass
class FakeRegistry:
    """Use it as the handler of an ``httpx.MockTransport``. It takes any schema to be compatible."""

    schemas: list[Mapping[str, Any]] = field(default_factory=list)
    """What was registered; the id is the position, from 1."""
    subjects: dict[str, list[int]] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        parts = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].strip("/").split("/")]
        body = json.loads(request.content) if request.content else {}
        status, answer = self._route(request.method, parts, body)
        return httpx.Response(status, stream=httpx.ByteStream(json.dumps(answer).encode()))

    def _route(self, method: str, parts: list[str], body: Mapping[str, Any]) -> Answer:
        match [method, *parts]:
            case ["GET", "schemas", "ids", number]:
                return (200, self.schemas[int(number) - 1]) if 0 < int(number) <= len(self.schemas) else NO_SCHEMA
            case ["PUT", "config", subject]:
                self.levels[subject] = body["compatibility"]
                return 200, body
            case ["POST", "subjects", subject, "versions"]:
                return self._register(subject, body)
            case ["GET" | "POST", "subjects" | "config" | "compatibility", *rest]:
                subject = rest[1] if rest[0] == "subjects" else rest[0]
                return self._of_subject([method, *parts], subject, body) if subject in self.subjects else NO_SUBJECT
            case _:
                return NO_ROUTE

    def _register(self, subject: str, body: Mapping[str, Any]) -> Answer:
        if body not in self.schemas:
            self.schemas.append(body)
        schema_id = self.schemas.index(body) + 1
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return 200, {"id": schema_id}

    def _of_subject(self, route: list[str], subject: str, body: Mapping[str, Any]) -> Answer:
        versions = self.subjects[subject]
        match route:
            case ["GET", "config", _]:
                return 200, {"compatibilityLevel": self.levels.get(subject, "BACKWARD")}
            case ["POST", "compatibility", *_]:
                return 200, {"is_compatible": True}
            case ["POST", "subjects", _]:
                known = [schema_id for schema_id in versions if self.schemas[schema_id - 1] == body]
                return (200, {"id": known[0]}) if known else NO_SCHEMA
            case ["GET", "subjects", _, "versions", "latest"]:
                return 200, self.schemas[versions[-1] - 1]
            case ["GET", "subjects", _, "versions", version]:
                number = int(version)
                return (200, self.schemas[versions[number - 1] - 1]) if number <= len(versions) else NO_VERSION
            case _:
                return NO_ROUTE
