"""The content of a request: ids are checked, never altered."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypedDict

from consumer.domain.model import Products
from consumer.domain.outcome import FieldError, ResyncError, error
from schemas.contract import MAX_ERROR_ROWS, MAX_ID_CHARACTERS, ErrorCode, canonical_uuid, id_fault


class ProductReference(TypedDict):
    """One product pair as the request event holds it, decoded and not checked."""

    miraklProductId: str
    productSku: str


def validate(
    references: Sequence[ProductReference], client_specification_id: str | None, max_products: int
) -> Products | ResyncError:
    """Return the products as a mapping, exact repeats merged, or the error with a row for each mistake."""
    products = _distinct(references)
    if (
        products is not None
        and 0 < len(products) <= max_products
        and (client_specification_id is None or canonical_uuid(client_specification_id))
        and _all_plain(products)
    ):
        return products
    found = _mistakes(references, client_specification_id, max_products)
    rows = [FieldError(_field(index, name), fault) for index, name, fault in islice(found, MAX_ERROR_ROWS)]
    total = len(rows) + sum(1 for _ in found)  # a million mistakes make no million rows
    first = f"{rows[0].field} {rows[0].message}"
    if total == 1:
        return error(ErrorCode.VALIDATION_FAILED, mistakes=first, what="it", field_errors=rows)
    mistakes = f"it has {total} mistakes, the first: {first}"
    return error(ErrorCode.VALIDATION_FAILED, mistakes=mistakes, what="all that fieldErrors lists", field_errors=rows)


def _distinct(references: Sequence[ProductReference]) -> dict[str, str] | None:
    """Merge exact repeats; ``None`` if one id has two SKUs."""
    products = {each["miraklProductId"]: each["productSku"] for each in references}
    if len(products) == len(references):
        return products
    same = all(products[each["miraklProductId"]] == each["productSku"] for each in references)
    return products if same else None


def _all_plain(products: Products) -> bool:
    """The quick yes, for all at once: the only white space that is printable is the blank.

    With one between them and around them, two in a row tell of an id that is empty, or begins or ends with one.
    """
    texts = (*products, *products.values())
    line = f" {' '.join(texts)} "
    if line.isprintable() and "  " not in line and max(map(len, texts)) <= MAX_ID_CHARACTERS:
        return True
    return all(id_fault(each) is None for each in texts)


def _mistakes(
    references: Sequence[ProductReference], client_specification_id: str | None, max_products: int
) -> Iterator[tuple[int | None, str, str]]:
    """Yield each mistake: the product's index or ``None``, the field, what is wrong."""
    if client_specification_id is not None and not canonical_uuid(client_specification_id):
        yield None, "clientSpecificationId", "must be a UUID in its 36-character form, or null"
    if not references:
        yield None, "products", "must contain at least one product"
    count = len(references) if len(references) <= max_products else _count(references)
    if count > max_products:
        yield None, "products", f"has {count} products; at most {max_products} are allowed"
    first_sku: dict[str, tuple[int, str]] = {}
    for index, reference in enumerate(references):
        mirakl_id, sku = reference["miraklProductId"], reference["productSku"]
        if fault := id_fault(mirakl_id):
            yield index, "miraklProductId", fault
        if fault := id_fault(sku):
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
