"""The body of the published operation: its fields, or a list of its mistakes."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, ConfigDict, ValidationError

from producer_tools.gateway.problems import validation_refusal
from schemas.contract import MAX_ERROR_ROWS
from schemas.events import Event, ProductReference

_OPTIONAL: Final = ("clientSpecificationId", "reason", "requestedBy")
_PRODUCT: Final = ("miraklProductId", "productSku")
_LENIENT: Final = ConfigDict(extra="ignore", strict=True)
"""Unknown fields are ignored, since callers of the published operation may send more; types are not guessed."""


def _is_unicode(text: str) -> bool:
    """Whether the text can be written: JSON can escape one half of a surrogate pair, which stands for nothing."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _checked(text: str) -> str:
    if not _is_unicode(text):
        raise ValueError("is not valid Unicode text")
    return text


_Text: TypeAlias = Annotated[str, AfterValidator(_checked)]


class _Product(ProductReference):
    model_config = _LENIENT

    mirakl_product_id: _Text
    product_sku: _Text


class Synchronization(Event):
    """Body of a call by the published operation. Only types are checked here; the service validates the values."""

    model_config = _LENIENT

    products: list[_Product]
    client_specification_id: _Text | None = None
    reason: _Text | None = None
    requested_by: _Text | None = None


def synchronization(value: object) -> Synchronization:
    """Return what a JSON value asks for. Raises ``ProblemError`` (400) with a row for each mistake."""
    try:
        return Synchronization.model_validate(value, by_name=False)
    except ValidationError:
        mistakes = _mistakes(value)
        rows = list(islice(mistakes, MAX_ERROR_ROWS))
        raise validation_refusal(rows, len(rows) + sum(1 for _ in mistakes)) from None


def _mistakes(value: object) -> Iterator[tuple[str, str]]:
    """Field and message of each mistake, in the order of the document; pydantic's own list has no bound."""
    if not isinstance(value, dict):
        yield "", "the body must be a JSON object"
        return
    products: Any = value.get("products")
    if "products" not in value:
        yield "products", "is missing"
    elif not isinstance(products, list):
        yield "products", "must be an array"
    else:
        for index, product in enumerate(products):
            yield from _product_mistakes(f"products[{index}]", product)
    for name in _OPTIONAL:
        if value.get(name) is not None:
            yield from _text_mistakes(name, value[name], " or null")


def _product_mistakes(where: str, product: object) -> Iterator[tuple[str, str]]:
    if not isinstance(product, dict):
        yield where, "must be an object"
        return
    for name in _PRODUCT:
        if name in product:
            yield from _text_mistakes(f"{where}.{name}", product[name], "")
        else:
            yield f"{where}.{name}", "is missing"


def _text_mistakes(where: str, text: object, otherwise: str) -> Iterator[tuple[str, str]]:
    if not isinstance(text, str):
        yield where, f"must be a string{otherwise}"
    elif not _is_unicode(text):
        yield where, "is not valid Unicode text"
