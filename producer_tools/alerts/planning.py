"""Decides what an alert becomes: a request with an id that repetitions share, or nothing, with the reason.

Pure: rules, alert and time are values. What was asked before and how much was asked is not known here.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from producer_tools.alerts.notification import Alert, InvalidAlert
from producer_tools.alerts.policy import ALERTS
from producer_tools.alerts.product_texts import read_products
from producer_tools.alerts.rules import Annotation, Label, PairOfLabels, ProductList, Rule, Rules
from producer_tools.errors import Mistake
from producer_tools.products import LocatedProduct, Product, distinct_products
from schemas.contract import MAX_ERROR_TEXT_CHARACTERS, canonical_uuid
from schemas.events import ProductReference, ProductResyncRequested

OWN_LABEL: Final = ("service", "mirakl-resync")
"""Marks an alert about this service, as the alerting rules in docs/operate/metrics.md do."""
NAME_LABEL: Final = "alertname"


class SkipReason(StrEnum):
    """Reason why an alert does not become a request; in the contract's response, in metrics and logs."""

    RESOLVED = "RESOLVED"
    NO_RULE = "NO_RULE"
    OWN_ALERT = "OWN_ALERT"
    NO_PRODUCTS = "NO_PRODUCTS"
    PRODUCTS_UNREADABLE = "PRODUCTS_UNREADABLE"
    TOO_MANY_PRODUCTS = "TOO_MANY_PRODUCTS"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    DRY_RUN = "DRY_RUN"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An alert that does not become a request: rule, reason for programs and message for people."""

    fingerprint: str | None
    rule: str | None
    reason: SkipReason
    message: str
    """For people: names the field or the item."""


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request that an alert becomes, if it has not been made before and no limit is reached."""

    request_id: str
    rule: Rule
    fingerprint: str
    products: tuple[Product, ...]
    client_specification_id: str | None
    reason: str

    def event(self, now: datetime) -> ProductResyncRequested:
        """Return the request as it is published; ``now``: its ``requestedAt``."""
        return ProductResyncRequested(
            request_id=self.request_id,
            client_specification_id=self.client_specification_id,
            products=tuple(
                ProductReference(mirakl_product_id=mirakl_id, product_sku=sku) for mirakl_id, sku in self.products
            ),
            requested_at=now,
            requested_by=f"alert:{self.rule.name}",
            reason=self.reason,
        )


class _SkippedError(Exception):
    """Ends the planning of one alert."""

    def __init__(self, reason: SkipReason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


def plan(alert: Alert | InvalidAlert, rules: Rules, now: datetime, max_products: int) -> PlannedRequest | Skipped:
    """Decide about one alert; ``max_products`` is the most that the service accepts in one request."""
    if isinstance(alert, InvalidAlert):
        return Skipped(alert.fingerprint, None, SkipReason.INVALID, alert.message)
    if alert.status == "resolved":
        return Skipped(alert.fingerprint, None, SkipReason.RESOLVED, "The alert is resolved.")
    rule = rules.first_match(alert.labels)
    if rule is None:
        return Skipped(alert.fingerprint, None, SkipReason.NO_RULE, "No rule matches the labels.")
    try:
        return _planned(alert, rule, now, max_products)
    except _SkippedError as skipped:
        message = skipped.message[:MAX_ERROR_TEXT_CHARACTERS]
        return Skipped(alert.fingerprint, rule.name, skipped.reason, message)


def request_id(rule: str, alert: Alert, times_elapsed: int) -> str:
    """Return the id that all repetitions share, as the contract defines it.

    The JSON array is UTF-8 without white space: ``["stuck-products","2fd8…","2026-01-31T08:00:00Z",0]``.
    """
    parts = [rule, alert.fingerprint, alert.starts_at, times_elapsed]
    identity = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return "alert-" + hashlib.sha256(identity.encode()).hexdigest()[:32]


def times_elapsed(alert: Alert, again_after: float | None, now: datetime) -> int:
    """Return how often ``again_after`` seconds have passed since the alert's start; 0 without one. Part of the id."""
    if again_after is None:
        return 0
    return max(0, int((now - alert.started).total_seconds() // again_after))


def _planned(alert: Alert, rule: Rule, now: datetime, max_products: int) -> PlannedRequest:
    name, value = OWN_LABEL
    if alert.labels.get(name) == value and not rule.own:
        raise _SkippedError(
            SkipReason.OWN_ALERT, "The alert is about this service, and the rule does not say `own: true`."
        )
    products, named_with_products = _products(alert, rule)
    most = min(rule.max_products, max_products)
    if len(products) > most:
        raise _SkippedError(SkipReason.TOO_MANY_PRODUCTS, f"{len(products):,} products; at most {most:,} are allowed.")
    specification = _client_specification(alert, rule, named_with_products)
    if rule.dry_run:
        raise _SkippedError(SkipReason.DRY_RUN, f"Would ask for {len(products):,} products.")
    elapsed = times_elapsed(alert, rule.again_after, now)
    return PlannedRequest(
        request_id(rule.name, alert, elapsed),
        rule,
        alert.fingerprint,
        products,
        specification,
        _reason(alert, rule)[: ALERTS.reason_characters],
    )


def _products(alert: Alert, rule: Rule) -> tuple[tuple[Product, ...], str | None]:
    """Return the pairs, exact repeats merged, and the client specification that was named beside them."""
    match rule.products:
        case ProductList(products, specification):
            return products, specification
        case PairOfLabels(id_label, sku_label):
            pair = Product(_label(alert, id_label), _label(alert, sku_label))
            return _distinct([LocatedProduct(f'labels["{id_label}"], labels["{sku_label}"]', pair)]), None
        case Annotation(name):
            text = alert.annotations.get(name, "")
            if not text.strip():
                raise _SkippedError(SkipReason.NO_PRODUCTS, f'annotations["{name}"] is missing or blank.')
            read = read_products(name, text)
            if read.mistakes:
                raise _SkippedError(SkipReason.PRODUCTS_UNREADABLE, _first(read.mistakes))
            if not read.located:
                raise _SkippedError(SkipReason.NO_PRODUCTS, f'annotations["{name}"] names no product.')
            return _distinct(read.located), read.client_specification_id


def _label(alert: Alert, name: str) -> str:
    value = alert.labels.get(name, "")
    if not value.strip():
        raise _SkippedError(SkipReason.NO_PRODUCTS, f'labels["{name}"] is missing or blank.')
    return value


def _distinct(located: list[LocatedProduct]) -> tuple[Product, ...]:
    products, mistakes = distinct_products(located)
    if mistakes:
        raise _SkippedError(SkipReason.INVALID, _first(mistakes))
    return tuple(products)


def _first(mistakes: list[Mistake]) -> str:
    more = f" ({len(mistakes) - 1:,} more mistakes)" if len(mistakes) > 1 else ""
    return f"{str(mistakes[0])[: MAX_ERROR_TEXT_CHARACTERS - 40]}{more}"


def _client_specification(alert: Alert, rule: Rule, named_with_products: str | None) -> str | None:
    """Return the rule's, or that of the products where the rule has none; never a guess between two."""
    given = rule.client_specification
    where, text = "clientSpecificationId", named_with_products
    if isinstance(given, Label):
        where, text = f'labels["{given.name}"]', alert.labels.get(given.name, "")
    elif given is not None:
        text = given
    if text is None:
        return None
    canonical = canonical_uuid(text)
    if canonical is None:
        raise _SkippedError(SkipReason.INVALID, f"{where} is not the UUID of a client specification: {text[:100]!r}.")
    if named_with_products is not None and canonical_uuid(named_with_products) != canonical:
        raise _SkippedError(
            SkipReason.INVALID, f"The products name another client specification than the rule: {canonical}."
        )
    return canonical


def _reason(alert: Alert, rule: Rule) -> str:
    name = alert.labels.get(NAME_LABEL) or rule.name
    if isinstance(rule.reason, Annotation):
        return alert.annotations.get(rule.reason.name) or name
    return rule.reason or name
