"""What a PromQL expression asks for: names of metrics, labels, and the values that it expects of them."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.deploy.scrapes import all_series

FROM_PROMETHEUS: Final = frozenset({"job", "instance", "namespace"})
"""Labels that a scrape adds; the rest must come from the metric."""
_KEYWORDS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless"})
_SELECTOR: Final = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE: Final = re.compile(r"\[[^\]]*\]")


class Selector(NamedTuple):
    """One metric of an expression, with its label matchers as (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Yield each use of a metric: an identifier that is neither a function, a keyword nor a label of a grouping."""
    text = _RANGE.sub("", _GROUPING.sub(" ", expression))
    for found in _SELECTOR.finditer(text):
        name, matchers = found.groups()
        called = text[found.end() :].lstrip().startswith("(") and matchers is None
        in_word = text[: found.start()][-1:].isdigit()
        in_braces = text.count("{", 0, found.start()) > text.count("}", 0, found.start())
        if not (called or in_word or in_braces or name in _KEYWORDS):
            yield Selector(name, tuple(_MATCHER.findall(matchers or "")))


def groupings(expression: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    return {label.strip() for found in _GROUPING.findall(expression) for label in found.split(",") if label.strip()}


def mistakes(expression: str) -> list[str]:
    """Return what an expression asks of metrics that do not exist, or that lack that label or that value."""
    series = list(all_series())
    found: list[str] = []
    labels = set(FROM_PROMETHEUS)
    for selector in selectors(expression):
        own = [each.labels for each in series if each.name == selector.metric]
        if not own:
            found.append(f"no metric {selector.metric}")
            continue
        labels.update(*own)
        for label, operator, value in selector.matchers:
            values = {each[label] for each in own if label in each}
            if label in FROM_PROMETHEUS:
                continue
            if not values:
                found.append(f"{selector.metric} has no label {label}")
            wanted = value.split("|") if operator in {"=~", "!~"} else [value]
            found += [f"{selector.metric}: {label} is never {each}" for each in wanted if not _met(each, values)]
    return found + [f"no label {label} to group by" for label in groupings(expression) - labels]


def _met(pattern: str, values: set[str]) -> bool:
    return any(re.fullmatch(pattern, value) for value in values)
