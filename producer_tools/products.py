"""Product pairs, and what makes one unfit to be asked for.

The rules are those of ``VALIDATION_FAILED`` in the contract: what the service would refuse is refused before it is
sent, with the line it stands in. Ids are checked, never altered.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from producer_tools.errors import Mistake

MAX_ID_CHARACTERS = 255

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_FORBIDDEN = {
    "Cc": "holds a control character",
    "Cf": "holds a format character, such as a zero-width space",
    "Cs": "is not valid Unicode text",
}


class Product(NamedTuple):
    """A pair to resynchronize; wherever one is taken, a plain ``(id, sku)`` tuple will do."""

    mirakl_product_id: str
    product_sku: str


@dataclass(frozen=True, slots=True)
class LocatedProduct:
    """A pair and where it was read."""

    where: str
    product: Product


def canonical_uuid(text: str) -> str | None:
    """Give a UUID in its 36-character form in lower case; ``None`` for anything else."""
    return text.lower() if _UUID.fullmatch(text) else None


def id_fault(text: str) -> str | None:
    """Say what is wrong with a ``miraklProductId`` or a ``productSku``; ``None``: nothing."""
    if not text.strip():
        return "is blank"
    if len(text) > MAX_ID_CHARACTERS:
        return f"has {len(text)} characters; at most {MAX_ID_CHARACTERS} are allowed"
    if text != text.strip():
        return f"begins or ends with white space: {text!r}"
    if text.isprintable():
        return None
    return next((f"{fault}: {text!r}" for each in text if (fault := _FORBIDDEN.get(unicodedata.category(each)))), None)


def distinct_products(located: Iterable[LocatedProduct]) -> tuple[list[Product], list[Mistake]]:
    """Merge exact repeats, in order, and name every pair that may not be sent."""
    first: dict[str, LocatedProduct] = {}
    mistakes: list[Mistake] = []
    for each in located:
        mirakl_id, sku = each.product
        mistakes += [
            Mistake(each.where, f"{name} {fault}")
            for name, text in (("miraklProductId", mirakl_id), ("productSku", sku))
            if (fault := id_fault(text))
        ]
        known = first.setdefault(mirakl_id, each)
        if known.product.product_sku != sku and mirakl_id:
            message = f"miraklProductId {mirakl_id!r} has SKU {sku!r} here, but {known.product.product_sku!r}"
            mistakes.append(Mistake(each.where, f"{message} in {known.where}; keep one of the two"))
    return [each.product for each in first.values()], mistakes
