"""Is this a request that may be acted upon? Ids are checked, never altered."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TypedDict

from consumer.domain.model import Products
from consumer.domain.outcome import Code, FieldError, ResyncError, error

MAX_ID_CHARACTERS = 255
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf"})


class ProductReference(TypedDict):
    """One pair as it stands in the request event."""

    miraklProductId: str
    productSku: str


@lru_cache(maxsize=4096)
def canonical_uuid(text: str) -> str | None:
    """Give a UUID in its 36-character form in lower case; ``None`` for anything else."""
    return text.lower() if _UUID.fullmatch(text) else None


def validate(
    references: Sequence[ProductReference], client_specification_id: str | None, max_products: int
) -> Products | ResyncError:
    """Give the products as a mapping, exact repeats merged, or the error with a row for each mistake."""
    products = _distinct(references)
    if (
        products is not None
        and 0 < len(references) <= max_products
        and (client_specification_id is None or canonical_uuid(client_specification_id))
        and _all_plain(products)
    ):
        return products
    rows = _mistakes(references, client_specification_id, max_products)
    return error(Code.VALIDATION_FAILED, _summary(rows), field_errors=rows)


def _distinct(references: Sequence[ProductReference]) -> dict[str, str] | None:
    """Merge exact repeats; ``None`` where one id stands with two SKUs."""
    products: dict[str, str] = {}
    for reference in references:
        sku = reference["productSku"]
        if products.setdefault(reference["miraklProductId"], sku) != sku:
            return None
    return products


def _all_plain(products: Products) -> bool:
    """The quick yes: printable text has no control or format characters."""
    for text in (*products, *products.values()):
        if not (0 < len(text) <= MAX_ID_CHARACTERS and text.isprintable() and text.strip() == text):
            return all(_fault(each) is None for each in (*products, *products.values()))
    return True


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
) -> list[FieldError]:
    rows = []
    if client_specification_id is not None and not canonical_uuid(client_specification_id):
        rows.append(FieldError("clientSpecificationId", "must be a UUID in its 36-character form, or null"))
    if not references:
        rows.append(FieldError("products", "must hold at least one product"))
    if len(references) > max_products:
        rows.append(FieldError("products", f"holds {len(references)} products; at most {max_products} are allowed"))
    first_sku: dict[str, tuple[int, str]] = {}
    for index, reference in enumerate(references):
        mirakl_id, sku = reference["miraklProductId"], reference["productSku"]
        rows += [
            FieldError(f"products[{index}].{name}", fault)
            for name, text in (("miraklProductId", mirakl_id), ("productSku", sku))
            if (fault := _fault(text))
        ]
        first, known = first_sku.setdefault(mirakl_id, (index, sku))
        if known != sku:
            message = f"repeats the miraklProductId of products[{first}] with another SKU; keep one of the two"
            rows.append(FieldError(f"products[{index}].productSku", message))
    return rows


def _summary(rows: Sequence[FieldError]) -> str:
    first = rows[0]
    if len(rows) == 1:
        return f"The request is not valid: {first.field} {first.message}; correct it and send it again."
    return (
        f"The request has {len(rows)} mistakes, the first: {first.field} {first.message}; "
        "correct all that fieldErrors lists and send it again."
    )
