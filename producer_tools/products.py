"""Product pairs, and the rules for them.

The rules are those of ``VALIDATION_FAILED`` in the contract: what the service would refuse is refused before it is
sent, with the line it stands in. Ids are checked, never altered.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from producer_tools.errors import Mistake
from schemas.contract import MAX_ID_CHARACTERS, id_fault


class Product(NamedTuple):
    """A pair to resynchronize; a plain ``(id, sku)`` tuple is accepted wherever one is expected."""

    mirakl_product_id: str
    product_sku: str


@dataclass(frozen=True, slots=True)
class LocatedProduct:
    """A product pair and the place where it was read, such as ``products.csv line 7``."""

    where: str
    product: Product


def distinct_products(located: Iterable[LocatedProduct]) -> tuple[list[Product], list[Mistake]]:
    """Merge exact duplicates, keeping the order, and find every mistake.

    Return the distinct pairs and the mistakes: invalid ids, and one Mirakl id with two SKUs.
    """
    first: dict[str, LocatedProduct] = {}
    mistakes: list[Mistake] = []
    for each in located:
        mirakl_id, sku = each.product
        mistakes += [
            Mistake(each.where, f"{name} {fault}{_quoted(text)}")
            for name, text in (("miraklProductId", mirakl_id), ("productSku", sku))
            if (fault := id_fault(text))
        ]
        known = first.setdefault(mirakl_id, each)
        if known.product.product_sku != sku and mirakl_id:
            message = f"miraklProductId {mirakl_id!r} has SKU {sku!r} here, but {known.product.product_sku!r}"
            mistakes.append(Mistake(each.where, f"{message} in {known.where}; keep one of the two"))
    return [each.product for each in first.values()], mistakes


def _quoted(text: str) -> str:
    return f": {text!r}" if text.strip() and len(text) <= MAX_ID_CHARACTERS else ""
