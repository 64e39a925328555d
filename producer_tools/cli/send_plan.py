"""From the options of ``send`` to requests: everything is checked, every mistake is named, nothing is sent."""

import getpass
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from producer_tools.errors import InvalidRequestError, Mistake
from producer_tools.product_files import ProductFile, read_product_file
from producer_tools.products import LocatedProduct, Product, distinct_products
from producer_tools.publisher import new_request, text_mistakes
from schemas.contract import canonical_uuid
from schemas.events import ProductResyncRequested


@dataclass(frozen=True, slots=True)
class SendOptions:
    """The options of ``send`` that decide which requests are made, as click has read them."""

    products: tuple[str, ...]
    """``MIRAKL_ID:SKU`` each."""
    file: str | None
    client_specification: str | None
    reason: str | None
    requested_by: str | None
    batch_size: int | None


@dataclass(frozen=True, slots=True)
class SendPlan:
    """Requests without mistakes, ready to be sent, and notes for the person who sends them."""

    requests: list[ProductResyncRequested]
    notes: list[str]

    @property
    def product_count(self) -> int:
        return sum(len(request.products) for request in self.requests)


def plan_requests(options: SendOptions, max_products: int) -> SendPlan:
    """Read all input and check it, before anything is sent.

    Raises ``InvalidRequestError`` with every mistake and its line.
    """
    file = _read_file(options.file)
    flags, mistakes = _from_flags(options.products)
    mistakes += file.mistakes
    located = flags + file.products
    products, product_mistakes = distinct_products(located)
    mistakes += product_mistakes
    if not located and not mistakes:
        mistakes.append(Mistake("", "no products: give --product MIRAKL_ID:SKU or --file FILE"))
    specification = _specification(options.client_specification, file, mistakes)
    mistakes += _text_mistakes(options, specification)
    if mistakes:
        raise InvalidRequestError(mistakes)
    notes = list(file.notes)
    if repeats := len(located) - len(products):
        notes.append(f"{repeats} exact repeat{'s' if repeats > 1 else ''} of a product will be sent once")
    size = min(options.batch_size or max_products, max_products)
    requested_by = options.requested_by or default_requester()
    return SendPlan(
        [
            new_request(
                products[first : first + size],
                requested_by=requested_by,
                client_specification_id=specification,
                reason=options.reason,
                max_products=max_products,
            )
            for first in range(0, len(products), size)
        ],
        notes,
    )


def default_requester() -> str:
    """Return ``user@host``, for ``requestedBy`` of requests without one."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this user id, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _read_file(name: str | None) -> ProductFile:
    if name is None:
        return ProductFile("")
    shown = "standard input" if name == "-" else name
    try:
        return read_product_file(shown, sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
    except OSError as error:
        raise InvalidRequestError([Mistake(shown, f"cannot be read ({error.strerror})")]) from None


def _from_flags(given: tuple[str, ...]) -> tuple[list[LocatedProduct], list[Mistake]]:
    located: list[LocatedProduct] = []
    mistakes: list[Mistake] = []
    for number, text in enumerate(given, 1):
        where = f"--product {number}"
        mirakl_id, colon, sku = text.partition(":")
        if colon:
            located.append(LocatedProduct(where, Product(mirakl_id, sku)))
        else:
            mistakes.append(Mistake(where, f"{text!r} is not MIRAKL_ID:SKU"))
    return located, mistakes


def _specification(flag: str | None, file: ProductFile, mistakes: list[Mistake]) -> str | None:
    """Return the client specification of the flag or of the file; different ones are a mistake."""
    if flag is not None and file.client_specification_id is not None:
        given = (canonical_uuid(flag) or flag, canonical_uuid(file.client_specification_id))
        if given[0] != given[1]:
            message = (
                f"asks for client specification {file.client_specification_id!r}, --client-specification for {flag!r}"
            )
            mistakes.append(Mistake(file.name, message))
    return flag if flag is not None else file.client_specification_id


def _text_mistakes(options: SendOptions, specification: str | None) -> list[Mistake]:
    texts = {"--requested-by": options.requested_by or "", "--reason": options.reason or ""}
    where = "--client-specification" if options.client_specification is not None else f"{options.file}"
    return [
        Mistake(where, mistake.message) if mistake.where == "clientSpecificationId" else mistake
        for mistake in text_mistakes(specification, texts)
    ]
