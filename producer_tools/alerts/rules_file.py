"""Reads a rules file: every mistake at once, each with its line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import yaml

from producer_tools.alerts.policy import ALERTS
from producer_tools.alerts.rules import (
    DEFAULT_MAX_PRODUCTS,
    DEFAULT_MAX_REQUESTS_PER_HOUR,
    Annotation,
    DefaultKey,
    Label,
    PairOfLabels,
    ProductList,
    ProductSource,
    Rule,
    Rules,
)
from producer_tools.alerts.yaml_document import YamlDocument, shown
from producer_tools.errors import Mistake, in_order
from producer_tools.product_files import read_product_file
from producer_tools.products import LocatedProduct, Product, distinct_products
from schemas.contract import canonical_uuid
from schemas.settings.secret_files import read_value

Value = TypeVar("Value")

Stamp: TypeAlias = tuple[int, int, int] | None
"""Modification time in ns, size and inode of a file; ``None``: it is not there."""

_RULE_NAMES: Final = (
    "name",
    "match",
    "products",
    "client_specification",
    "reason",
    "api_key_file",
    "again_after",
    "max_products",
    "max_requests_per_hour",
    "own",
    "dry_run",
)
_SOURCE_NAMES: Final = ("annotation", "labels", "file", "fixed")


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """Rules read from a file, and its mistakes: with any, the rules before stay in force."""

    rules: Rules | None
    """``None`` exactly if there are mistakes."""
    mistakes: tuple[Mistake, ...]
    files: Mapping[Path, Stamp]
    """The rules file and all files that it names, with their stamps just before they were read."""


def load_rules(path: Path, default_key: DefaultKey | None) -> LoadedRules:
    """Read a rules file and the files that it names; their paths are relative to its folder.

    ``default_key`` of ``None``: API keys are neither read nor missed, as where rules are only checked.
    """
    reader = RulesReader(YamlDocument(path.name), path.parent, default_key)
    data = reader.read_file(path, ALERTS.rules_bytes, lambda message: reader.add(Mistake(path.name, message)))
    return parse_rules(data, reader)


def parse_rules(data: bytes | None, reader: "RulesReader") -> LoadedRules:
    """Turn the content of a rules file into rules; ``None``: it could not be read."""
    text = None if data is None else _decoded(data, reader)
    root = None if text is None else reader.document.root(text)
    rules = [] if root is None else reader.rules(root)
    mistakes = tuple(in_order(reader.document.mistakes))
    return LoadedRules(None if mistakes else Rules(tuple(rules)), mistakes, reader.files)


def stamp(path: Path) -> Stamp:
    """Return what changes when a file is written or replaced; ``None``: it is not there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _decoded(data: bytes, reader: "RulesReader") -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reader.add(Mistake(f"{reader.document.name} line {line}", "is not UTF-8. Save the file as UTF-8."))
        return None


@dataclass(slots=True)
class RulesReader:
    """Turns nodes into rules; a value of ``None`` stands for a mistake that has been noted."""

    document: YamlDocument
    folder: Path
    default_key: DefaultKey | None
    files: dict[Path, Stamp] = field(default_factory=dict)

    def add(self, mistake: Mistake) -> None:
        self.document.mistakes.append(mistake)

    def rules(self, root: yaml.Node) -> list[Rule]:
        members = self.document.members(root, "the file", ("rules",), ("rules",))
        read: list[Rule] = []
        lines: dict[str, int] = {}
        for node in self.document.items(members["rules"], "rules") if "rules" in members else []:
            rule = self._rule(node)
            if rule.name in lines:
                first = f"first in line {lines[rule.name]}"
                self.document.mistake(node, f"the name {shown(rule.name)} is used twice, {first}. Rename one.")
            elif rule.name:
                lines[rule.name] = node.start_mark.line + 1
            read.append(rule)
        return read

    def _rule(self, node: yaml.Node) -> Rule:
        """Read a rule; where it has mistakes, what could be read of it."""
        document = self.document
        members = document.members(node, "the rule", _RULE_NAMES, ("name", "match", "products"))
        dry_run = self._given(members, "dry_run", document.flag) or False
        rule = Rule(
            name=self._given(members, "name", self._name) or "",
            match=self._given(members, "match", self._match) or {},
            products=self._given(members, "products", self._source) or ProductList(()),
            client_specification=self._client_specification(members.get("client_specification")),
            reason=self._reason(members.get("reason")),
            api_key=self._given(members, "api_key_file", self._key_file) or self._default_key(node, members, dry_run),
            again_after=self._given(
                members,
                "again_after",
                partial(document.duration, least=ALERTS.least_again_seconds, most=ALERTS.most_again_seconds),
            ),
            max_products=self._given(members, "max_products", self._max_products) or DEFAULT_MAX_PRODUCTS,
            max_requests_per_hour=self._given(
                members, "max_requests_per_hour", partial(document.whole, most=ALERTS.most_requests_per_hour)
            )
            or DEFAULT_MAX_REQUESTS_PER_HOUR,
            own=self._given(members, "own", document.flag) or False,
            dry_run=dry_run,
        )
        if isinstance(rule.products, ProductList) and len(rule.products.products) > rule.max_products:
            many = f"{len(rule.products.products)} products, more than max_products ({rule.max_products})"
            document.mistake(members["products"], f"products has {many}. Name fewer, or allow more.")
        return rule

    @staticmethod
    def _given(
        members: Mapping[str, yaml.Node], name: str, read: Callable[[yaml.Node, str], Value | None]
    ) -> Value | None:
        return read(members[name], name) if name in members else None

    def _name(self, node: yaml.Node, what: str) -> str | None:
        name = self.document.text(node, what)
        if name is None or (len(name) <= ALERTS.rule_name_characters and name.isprintable() and name == name.strip()):
            return name
        most = ALERTS.rule_name_characters
        message = f"{what} must have at most {most} printable characters, without white space around it."
        self.document.mistake(node, message)
        return None

    def _match(self, node: yaml.Node, what: str) -> Mapping[str, frozenset[str]] | None:
        members = self.document.members(node, what)
        if isinstance(node, yaml.MappingNode) and not node.value:
            self.document.mistake(node, f"{what} is empty and would match every alert. Name at least one label.")
        return {label: self._accepted(value, f"{what}.{label}") for label, value in members.items()}

    def _accepted(self, node: yaml.Node, what: str) -> frozenset[str]:
        nodes = self.document.items(node, what) if isinstance(node, yaml.SequenceNode) else [node]
        return frozenset(text for each in nodes if (text := self.document.text(each, what)) is not None)

    def _source(self, node: yaml.Node, what: str) -> ProductSource | None:
        members = self.document.members(node, what, _SOURCE_NAMES)
        if len(members) != 1:
            if isinstance(node, yaml.MappingNode) and len(node.value) != 1:
                self.document.mistake(node, f"{what} must have exactly one of {', '.join(_SOURCE_NAMES)}.")
            return None
        ((name, value),) = members.items()
        where = f"{what}.{name}"
        match name:
            case "annotation":
                annotation = self.document.text(value, where)
                return Annotation(annotation) if annotation else None
            case "labels":
                return self._pair_of_labels(value, where)
            case "file":
                return self._product_file(value, where)
            case _:
                return self._fixed(value, where)

    def _pair_of_labels(self, node: yaml.Node, what: str) -> PairOfLabels | None:
        names = [self.document.text(each, what) for each in self.document.items(node, what)]
        if len(names) not in (0, 2):
            self.document.mistake(node, f"{what} must name two labels: that of the Mirakl id and that of the SKU.")
        elif len(names) == 2 and names[0] and names[1]:  # noqa: PLR2004 - a pair
            return PairOfLabels(names[0], names[1])
        return None

    def _product_file(self, node: yaml.Node, what: str) -> ProductList | None:
        name = self.document.text(node, what)
        if name is None:
            return None
        data = self.read_file(self.folder / name, ALERTS.products_bytes, lambda told: self.document.mistake(node, told))
        if data is None:
            return None
        file = read_product_file(name, data)
        products = self._distinct(file.products, file.mistakes)
        if (given := file.client_specification_id) is not None and canonical_uuid(given) is None:
            self.document.mistake(node, f"{name}: clientSpecificationId {shown(given)} is not a UUID. Correct it.")
        return ProductList(products, given and canonical_uuid(given))

    def _fixed(self, node: yaml.Node, what: str) -> ProductList:
        located: list[LocatedProduct] = []
        for each in self.document.items(node, what):
            text = self.document.text(each, what)
            mirakl_id, colon, sku = (text or "").partition(":")
            if colon:
                line = f"{self.document.name} line {each.start_mark.line + 1}"
                located.append(LocatedProduct(line, Product(mirakl_id, sku)))
            elif text is not None:
                self.document.mistake(each, f"{shown(text)} is not a product. Write MIRAKL_ID:SKU.")
        return ProductList(self._distinct(located, []))

    def _distinct(self, located: list[LocatedProduct], mistakes: list[Mistake]) -> tuple[Product, ...]:
        products, more = distinct_products(located)
        self.document.mistakes += [*mistakes, *more]
        return tuple(products)

    def _client_specification(self, node: yaml.Node | None) -> str | Label | None:
        what = "client_specification"
        if node is None:
            return None
        if isinstance(node, yaml.MappingNode):
            name = self._only_member(node, what, "label")
            return Label(name) if name else None
        text = self.document.text(node, what)
        if text is None or (canonical := canonical_uuid(text)):
            return text and canonical
        self.document.mistake(node, f"{what} {shown(text)} is not a UUID in its 36-character form. Correct it.")
        return None

    def _reason(self, node: yaml.Node | None) -> str | Annotation | None:
        what = "reason"
        if node is None:
            return None
        if isinstance(node, yaml.MappingNode):
            name = self._only_member(node, what, "annotation")
            return Annotation(name) if name else None
        return self.document.text(node, what)

    def _only_member(self, node: yaml.Node, what: str, name: str) -> str | None:
        members = self.document.members(node, what, (name,), (name,))
        return self.document.text(members[name], f"{what}.{name}") if name in members else None

    def _max_products(self, node: yaml.Node, what: str) -> int | None:
        return self.document.whole(node, what, most=ALERTS.most_products)

    def _key_file(self, node: yaml.Node, what: str) -> str | None:
        name = self.document.text(node, what)
        if name is None or self.default_key is None:
            return None
        data = self.read_file(self.folder / name, ALERTS.key_bytes, lambda told: self.document.mistake(node, told))
        if data is None:
            return None
        try:
            key = read_value(data)
        except UnicodeDecodeError:
            key = ""
        if not key.strip() or any(character in key for character in "\r\n\0"):
            self.document.mistake(node, f"{what} {shown(name)} does not hold an API key. Write only the key into it.")
            return None
        return key

    def _default_key(self, node: yaml.Node, members: Mapping[str, yaml.Node], dry_run: bool) -> str:  # noqa: FBT001 - a field of the rule
        if self.default_key is None or "api_key_file" in members or dry_run:
            return ""
        if not self.default_key.value:
            self.document.mistake(node, "the rule has no API key. Add api_key_file, or set RESYNC_API_KEY.")
        return self.default_key.value or ""

    def read_file(self, path: Path, most: int, report: Callable[[str], None]) -> bytes | None:
        """Return the content of a file of at most ``most`` bytes; otherwise report why not."""
        self.files[path] = stamp(path)
        try:
            with path.open("rb") as raw:
                data = raw.read(most + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            report(f"the file {path} cannot be read ({reason}). Check its path and permissions.")
            return None
        if len(data) > most:
            report(f"the file {path} is larger than {most} bytes. Make it smaller.")
            return None
        return data
