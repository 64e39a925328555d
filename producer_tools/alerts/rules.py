"""Rules: which alerts become requests, and which requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from producer_tools.products import Product

DAY_SECONDS: Final = 86_400.0
READ_BACK_SECONDS: Final = 7 * DAY_SECONDS
"""Age in seconds up to which results matter to a rule that never asks again: longer than results are usually kept."""


DEFAULT_MAX_PRODUCTS: Final = 500
"""Products in one request, unless a rule says otherwise."""
DEFAULT_MAX_REQUESTS_PER_HOUR: Final = 60
"""Requests of one rule at one gateway, unless the rule says otherwise."""


@dataclass(frozen=True, slots=True)
class Label:
    """A value that is taken from the alert's label of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """A value that is taken from the alert's annotation of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class PairOfLabels:
    """One product pair, from two labels of the alert: for rules with an alert per product."""

    mirakl_product_id: str
    product_sku: str


@dataclass(frozen=True, slots=True)
class ProductList:
    """Product pairs from the rules or from a file, read and checked when the rules were."""

    products: tuple[Product, ...]
    client_specification_id: str | None = None
    """The one that a product file in the form of the published body names."""


ProductSource: TypeAlias = Annotation | PairOfLabels | ProductList


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: which alerts it matches, and what is asked for when one does. Every value is checked."""

    name: str
    match: Mapping[str, frozenset[str]]
    """Label -> accepted values; all labels must match."""
    products: ProductSource
    client_specification: str | Label | None = None
    """A UUID in lower case, or where it is found; ``None``: the only active one."""
    reason: str | Annotation | None = None
    """``None``: the alert's name."""
    api_key: str = field(default="", repr=False)
    """Empty: not needed, since nothing is sent (``alerts check``, or a dry run)."""
    again_after: float | None = None
    """Seconds between two requests for an alert that keeps firing; ``None``: never again."""
    max_products: int = DEFAULT_MAX_PRODUCTS
    max_requests_per_hour: int = DEFAULT_MAX_REQUESTS_PER_HOUR
    own: bool = False
    """Whether it also applies to alerts about this service."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a file, in their order: the first that matches an alert applies."""

    rules: tuple[Rule, ...]

    def first_match(self, labels: Mapping[str, str]) -> Rule | None:
        """Return the first rule, in the order of the file, that matches an alert with these labels."""
        for rule in self.rules:
            if all(labels.get(name) in values for name, values in rule.match.items()):
                return rule
        return None

    @property
    def read_back_seconds(self) -> float:
        """Longest ``again_after`` in seconds: a result of this age still prevents another request."""
        return max(
            (READ_BACK_SECONDS if rule.again_after is None else rule.again_after for rule in self.rules), default=0.0
        )


@dataclass(frozen=True, slots=True)
class DefaultKey:
    """The API key of rules that name no file: ``RESYNC_API_KEY``."""

    value: str | None = field(default=None, repr=False)
