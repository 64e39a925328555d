"""Product pairs in the text of an annotation."""

from dataclasses import dataclass

from producer_tools.errors import Mistake
from producer_tools.product_files import read_product_file
from producer_tools.products import LocatedProduct, Product


@dataclass(frozen=True, slots=True)
class ReadProducts:
    """Products read from an alert's annotation or label, and the mistakes in it."""

    located: list[LocatedProduct]
    mistakes: list[Mistake]
    client_specification_id: str | None = None
    """As the body of the published operation names it."""


def read_products(name: str, text: str) -> ReadProducts:
    """Read ``MKL-001:SKU-42, MKL-002:SKU-43``, or JSON: a list of objects or the body of the published operation.

    Commas and line ends separate pairs; the first colon of a pair separates its ids. White space around a pair is
    not part of it. Ids that contain a comma can only be written as JSON.
    """
    if text.lstrip().startswith(("[", "{")):
        file = read_product_file(f'annotations["{name}"]', text.encode())
        return ReadProducts(file.products, file.mistakes, file.client_specification_id)
    located: list[LocatedProduct] = []
    mistakes: list[Mistake] = []
    for number, item in enumerate(filter(None, map(str.strip, text.replace("\n", ",").split(","))), 1):
        where = f'annotations["{name}"] item {number}'
        mirakl_id, colon, sku = item.partition(":")
        if colon:
            located.append(LocatedProduct(where, Product(mirakl_id, sku)))
        else:
            mistakes.append(Mistake(where, f"{item[:100]!r} is not MIRAKL_ID:SKU"))
    return ReadProducts(located, mistakes)
