"""Calls of the simulated Mirakl without a network."""

import json
from collections.abc import Mapping

from producer_tools.sandbox.mirakl import MiraklSimulator, Rules
from producer_tools.sandbox.mirakl.wire import Delivery, Request

CM21 = "/api/mcm/products/synchronization"
JSON = {"authorization": "Bearer s3cret", "content-type": "application/json"}


def silent(_: str) -> None: ...


def simulator(rules: Rules | None = None, seed: int | None = 1) -> MiraklSimulator:
    return MiraklSimulator(seed=seed, rules=rules, shout=silent)


def entries(products: Mapping[str, str]) -> bytes:
    return json.dumps([{"mirakl_product_id": each, "product_sku": sku} for each, sku in products.items()]).encode()


def post(
    mirakl: MiraklSimulator, body: bytes = entries({"MKL": "SKU"}), path: str = CM21, headers: Mapping[str, str] = JSON
) -> Delivery:
    return mirakl.answer(Request("POST", path, headers, body))


def get(mirakl: MiraklSimulator, path: str, headers: Mapping[str, str] = JSON) -> tuple[int, dict[str, object]]:
    return answered(mirakl.answer(Request("GET", path, headers, b"")))


def answered(delivery: Delivery) -> tuple[int, dict[str, object]]:
    """Read an answer, and end its exchange."""
    if delivery.ended is not None:
        delivery.ended()
    head, _, body = delivery.data.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


def status(delivery: Delivery) -> int:
    return answered(delivery)[0]


def taken_in(mirakl: MiraklSimulator, products: Mapping[str, str], path: str = CM21) -> str:
    code, answer = answered(post(mirakl, entries(products), path))
    assert code == 200
    return str(answer["tracking_id"])


def statuses(mirakl: MiraklSimulator, calls: int, path: str = CM21) -> list[int]:
    return [status(post(mirakl, path=path)) for _ in range(calls)]
