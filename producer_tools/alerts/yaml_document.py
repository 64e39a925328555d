"""YAML with the line of every value.

PyYAML's nodes carry their position, which constructed values do not. They also show names that a mapping gives twice,
of which construction keeps the last one without a word.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import yaml

from producer_tools.alerts.policy import ALERTS
from producer_tools.errors import Mistake
from schemas.console.text import printable
from schemas.settings.durations import format_duration, parse_duration

_KINDS: Final = {
    yaml.MappingNode: "a mapping",
    yaml.SequenceNode: "a list",
    "tag:yaml.org,2002:null": "empty",
    "tag:yaml.org,2002:bool": "a boolean",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:str": "a text",
}
_QUOTABLE: Final = ("a boolean", "a number", "a date")


class _Loader(yaml.SafeLoader):
    """Refuses what a small file can become large with: aliases and deep nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=self._mark())
        if self.depth >= ALERTS.yaml_depth:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {ALERTS.yaml_depth} levels", problem_mark=self._mark()
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _mark(self) -> Any:  # noqa: ANN401 - the stubs do not agree on the type of a mark
        return self.peek_event().start_mark  # type: ignore[no-untyped-call]  # untyped in the stubs


@dataclass(slots=True)
class YamlDocument:
    """Reads the nodes of one document and collects everything that is wrong with it."""

    name: str
    """Shown to people."""
    mistakes: list[Mistake] = field(default_factory=list)

    def root(self, text: str) -> yaml.Node | None:
        """Return the document's root; ``None`` with a mistake where the text is not YAML, or is empty."""
        try:
            node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            self._name_syntax_error(text, error)
            return None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self._add(line, f"the character U+{int(error.character):04X} is not allowed in YAML. Remove it.")
            return None
        if node is None:
            self.mistakes.append(Mistake(self.name, "is empty. Write at least one rule."))
        return node

    def mistake(self, node: yaml.Node, message: str) -> None:
        """Add a mistake at the node's line; reading goes on, so that all are found at once."""
        self._add(node.start_mark.line + 1, message)

    def members(
        self, node: yaml.Node, what: str, known: Collection[str] = (), required: Collection[str] = ()
    ) -> dict[str, yaml.Node]:
        """Return the values of a mapping by name; ``known`` empty: any name will do."""
        found: dict[str, yaml.Node] = {}
        lines: dict[str, int] = {}
        if not isinstance(node, yaml.MappingNode):
            self.mistake(node, f"{what} must be a mapping, not {kind(node)}.")
            return found
        for key, value in node.value:
            name = self.text(key, f"a name in {what}")
            if name is None:
                continue
            if name in found:
                self.mistake(key, f"{shown(name)} is given twice, first in line {lines[name]}. Keep one of the two.")
            elif known and name not in known:
                nearest = get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
                self.mistake(key, f"{what} has an unknown name {shown(name)}. Did you mean {nearest!r}?")
            else:
                found[name] = value
                lines[name] = key.start_mark.line + 1
        for name in required:
            if name not in found and name not in self._names(node):
                self.mistake(node, f"{what} has no {name!r}. Add it.")
        return found

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the items of a list that is not empty."""
        if not isinstance(node, yaml.SequenceNode):
            self.mistake(node, f"{what} must be a list, not {kind(node)}.")
            return []
        if not node.value:
            self.mistake(node, f"{what} is an empty list. Write at least one item.")
        return list(node.value)

    def text(self, node: yaml.Node, what: str) -> str | None:
        """Return a text that is not blank; ``None`` after noting a mistake."""
        if kind(node) != "a text":
            quoted = f" Put it in quotes: {node.value!r}." if kind(node) in _QUOTABLE else ""
            self.mistake(node, f"{what} must be a text, not {kind(node)}.{quoted}")
            return None
        text = str(node.value)
        if not text.strip():
            self.mistake(node, f"{what} is blank. Write a text.")
            return None
        return text

    def whole(self, node: yaml.Node, what: str, *, most: int) -> int | None:
        """Return a whole number from 1 to ``most``; ``None`` after noting a mistake."""
        text = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
            return int(text)
        self.mistake(node, f"{what} must be a whole number from 1 to {most}.")
        return None

    def flag(self, node: yaml.Node, what: str) -> bool | None:
        """Return ``true`` or ``false``, and no other spelling of YAML 1.1; ``None`` after noting a mistake."""
        if kind(node) == "a boolean" and node.value.lower() in ("true", "false"):
            return bool(node.value.lower() == "true")
        self.mistake(node, f"{what} must be true or false.")
        return None

    def duration(self, node: yaml.Node, what: str, *, least: float, most: float) -> float | None:
        """Return a duration such as ``4h`` in seconds; ``None`` after noting a mistake."""
        try:
            seconds = parse_duration(str(node.value)) if isinstance(node, yaml.ScalarNode) else 0.0
        except ValueError:
            self.mistake(node, f"{what} must be a duration such as 30m, 4h or 1d.")
            return None
        if least <= seconds <= most:
            return seconds
        self.mistake(node, f"{what} must be a duration from {format_duration(least)} to {format_duration(most)}.")
        return None

    @staticmethod
    def _names(node: yaml.MappingNode) -> Mapping[str, object]:
        return {str(key.value): None for key, _ in node.value if isinstance(key, yaml.ScalarNode)}

    def _name_syntax_error(self, text: str, error: yaml.MarkedYAMLError) -> None:
        indents = (line[: len(line) - len(line.lstrip())] for line in text.split("\n"))
        tabbed = [number for number, indent in enumerate(indents, 1) if "\t" in indent]
        for line in tabbed:
            self._add(line, "is indented with a tab. Use spaces.")
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        if line not in tabbed:
            said = printable(" ".join(str(error.problem or error.context).split()))
            self._add(line, f"is not YAML ({said}). Correct the syntax.")

    def _add(self, line: int, message: str) -> None:
        self.mistakes.append(Mistake(f"{self.name} line {line}", message))


def kind(node: yaml.Node) -> str:
    """Return what people call a node of this type."""
    return _KINDS.get(type(node)) or _KINDS.get(node.tag) or f"of the type {shown(node.tag)}"


def shown(text: str) -> str:
    """Quote a text from a file, cut to what a message can carry."""
    return repr(text if len(text) <= 100 else text[:99] + "…")  # noqa: PLR2004 - characters that fit a line
