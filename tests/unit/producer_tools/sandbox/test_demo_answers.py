"""How results and dead letters are read before they are judged."""

from datetime import UTC, datetime

from producer_tools.dead_letters import DeadLetter
from producer_tools.sandbox.demo.cases import Answer
from producer_tools.sandbox.demo.performance import judged
from schemas.events import ProductReference, ProductResyncResult, ResyncError, ResyncStatus

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def result(status: ResyncStatus, products: int, error: ResyncError | None) -> ProductResyncResult:
    return ProductResyncResult(
        request_id="request",
        status=status,
        synchronized_products=products,
        client_specification_id="specification",
        tracking_ids=("tracking",),
        unsynchronized_products=(ProductReference(mirakl_product_id="M", product_sku="S"),),
        error=error,
        requested_at=NOW,
        completed_at=NOW,
    )


def error(code: str, *, retryable: bool = False, available: tuple[str, ...] = ()) -> ResyncError:
    return ResyncError(
        http_status=502,
        code=code,
        message="Ask again.",
        retryable=retryable,
        available_client_specification_ids=available,
    )


def test_a_result_without_an_error_is_named_by_its_status() -> None:
    assert Answer("SYNCHRONIZED", 2, "specification") == judged(result(ResyncStatus.SYNCHRONIZED, 2, None))


def test_a_failure_is_named_by_its_http_status_and_code() -> None:
    failed = result(ResyncStatus.FAILED, 0, error("CODE", retryable=True, available=("b", "a")))
    assert Answer("502 CODE", 0, "specification", frozenset({"a", "b"}), retryable=True) == judged(failed)


def test_a_partial_result_is_named_by_status_and_error() -> None:
    partial = result(ResyncStatus.PARTIALLY_SYNCHRONIZED, 1, error("CODE"))
    assert Answer("PARTIALLY_SYNCHRONIZED 502 CODE", 1, "specification") == judged(partial)


def test_a_dead_letter_is_named_by_its_reason() -> None:
    letter = DeadLetter(0, 0, NOW, None, b"", (("dlq.reason", b"UNREADABLE"),))
    assert Answer("dead letter UNREADABLE") == judged(letter)
