"""Reading a CM21 body as strictly as CM21.md describes it."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_KEYS: Final = {"mirakl_product_id", "product_sku"}
_MAX_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True)
class Malformed:
    """Reason why a body violates the format of a targeted resynchronization."""

    problems: tuple[str, ...]


def read_entries(body: bytes) -> dict[str, str] | Malformed:
    """Read Mirakl product id -> SKU; everything that could mean more than confirming pairs is malformed."""
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        return Malformed(("the body is not JSON",))
    if not isinstance(entries, list) or not entries:
        return Malformed(("the body is not a JSON array with at least one entry",))
    # the path of every good call, without a loop of our own
    try:
        products = {each["mirakl_product_id"]: each["product_sku"] for each in entries if len(each) == len(_KEYS)}
        if len(products) == len(entries) and all(map(str.strip, products)) and all(map(str.strip, products.values())):
            return products
    except (TypeError, KeyError):
        pass
    return Malformed(tuple(_problems(entries))[:_MAX_PROBLEMS])


def _problems(entries: list[object]) -> Iterator[str]:
    pairs: Counter[tuple[str, str]] = Counter()
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            yield f"[{position}] is not an object"
        elif entry.keys() != _KEYS:
            yield f"[{position}] has other keys than the two: {sorted(entry.keys() ^ _KEYS)}"
        elif blank := [name for name, value in entry.items() if not isinstance(value, str) or not value.strip()]:
            yield f"[{position}] has a blank {' and '.join(blank)}: a product would be created"
        else:
            pairs[entry["mirakl_product_id"], entry["product_sku"]] += 1
    ids = Counter(mirakl_product_id for mirakl_product_id, _ in pairs)
    yield from (f"{each!r} stands there with {count} SKUs" for each, count in ids.items() if count > 1)
    yield from (f"{pair!r} stands there {count} times" for pair, count in pairs.items() if count > 1)
