"""Is this a request that may be acted upon? Ids are checked, never altered."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TypedDict

from consumer.domain.model import Products
from consumer.domain.outcome import MAX_ROWS, Code, FieldError, ResyncError, error

MAX_ID_CHARACTERS = 255
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_CHARACTERS = 36
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf"})


class ProductReference(TypedDict):
    """One pair as it stands in the request event."""

    miraklProductId: str
    productSku: str


def canonical_uuid(text: str) -> str | None:
    """Give a UUID in its 36-character form in lower case; ``None`` for anything else."""
    return _canonical(text) if len(text) == _UUID_CHARACTERS else None


@lru_cache(maxsize=4096)  # of one length: a memory of whatever somebody sends would have no bound in bytes
def _canonical(text: str) -> str | None:
    return text.lower() if _UUID.fullmatch(text) else None


def validate(
    references: Sequence[ProductReference], client_specification_id: str | None, max_products: int
) -> Products | ResyncError:
    """Give the products as a mapping, exact repeats merged, or the error with a row for each mistake."""
    products = _distinct(references)
    if (
        products is not None
        and 0 < len(products) <= max_products
        and (client_specification_id is None or canonical_uuid(client_specification_id))
        and _all_plain(products)
    ):
        return products
    mistakes = _mistakes(references, client_specification_id, max_products)
    rows = [FieldError(_field(index, name), fault) for index, name, fault in islice(mistakes, MAX_ROWS)]
    total = len(rows) + sum(1 for _ in mistakes)  # a million mistakes make no million rows
    return error(Code.VALIDATION_FAILED, _summary(rows[0], total), field_errors=rows)


def _distinct(references: Sequence[ProductReference]) -> dict[str, str] | None:
    """Merge exact repeats; ``None`` where one id stands with two SKUs."""
    products: dict[str, str] = {}
    for reference in references:
        sku = reference["productSku"]
        if products.setdefault(reference["miraklProductId"], sku) != sku:
            return None
    return products


def _all_plain(products: Products) -> bool:
    """The quick yes, for all at once: the only white space that is printable is the blank.

    With one between them and around them, two in a row tell of an id that is empty, or begins or ends with one.
    """
    texts = (*products, *products.values())
    line = f" {' '.join(texts)} "
    if line.isprintable() and "  " not in line and max(map(len, texts)) <= MAX_ID_CHARACTERS:
        return True
    return all(_fault(each) is None for each in texts)


def _fault(text: str) -> str | None:
    """Say what is wrong with an id."""
    if not text.strip():
        return "must not be blank"
    if len(text) > MAX_ID_CHARACTERS:
        return f"has {len(text)} characters; at most {MAX_ID_CHARACTERS} are allowed"
    if text.strip() != text:
        return "must not begin or end with white space"
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in text):
        return "must not hold control or format characters"
    return None


def _mistakes(
    references: Sequence[ProductReference], client_specification_id: str | None, max_products: int
) -> Iterator[tuple[int | None, str, str]]:
    """Give each mistake: the product's index or ``None``, the field, what is wrong."""
    if client_specification_id is not None and not canonical_uuid(client_specification_id):
        yield None, "clientSpecificationId", "must be a UUID in its 36-character form, or null"
    if not references:
        yield None, "products", "must hold at least one product"
    count = len(references) if len(references) <= max_products else _count(references)
    if count > max_products:
        yield None, "products", f"holds {count} products; at most {max_products} are allowed"
    first_sku: dict[str, tuple[int, str]] = {}
    for index, reference in enumerate(references):
        mirakl_id, sku = reference["miraklProductId"], reference["productSku"]
        if fault := _fault(mirakl_id):
            yield index, "miraklProductId", fault
        if fault := _fault(sku):
            yield index, "productSku", fault
        first, known = first_sku.setdefault(mirakl_id, (index, sku))
        if known != sku:
            repeats = f"repeats the miraklProductId of products[{first}] with another SKU; keep one of the two"
            yield index, "productSku", repeats


def _count(references: Sequence[ProductReference]) -> int:
    """Exact repeats count once."""
    return len({(reference["miraklProductId"], reference["productSku"]) for reference in references})


def _field(index: int | None, name: str) -> str:
    return name if index is None else f"products[{index}].{name}"


def _summary(first: FieldError, total: int) -> str:
    if total == 1:
        return f"The request is not valid: {first.field} {first.message}; correct it and send it again."
    return (
        f"The request has {total} mistakes, the first: {first.field} {first.message}; "
        "correct all that fieldErrors lists and send it again."
    )
