"""Errors as the contract words them: their table, and their bounds."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.outcome import FieldError, error
from schemas.contract import ErrorCode

TABLE = """
401 API_KEY_MISSING no
401 API_KEY_INVALID no
403 OPERATOR_REQUIRED no
400 VALIDATION_FAILED no
404 CLIENT_SPECIFICATION_NOT_FOUND no
400 NO_ACTIVE_CLIENT_SPECIFICATION no
400 MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS no
500 CLIENT_SPECIFICATION_UNUSABLE yes
503 CLIENT_SPECIFICATION_SUSPENDED yes
502 CM21_REFUSED no
502 CM21_UNAUTHORIZED no
502 CM21_OUTCOME_UNKNOWN yes
503 CM21_UNAVAILABLE yes
"""
"""CONTRACT.md, "What every request gets"."""


def test_status_and_retryable_of_each_code_are_those_of_the_contract() -> None:
    rows = [f"{code.http_status} {code} {'yes' if code.retryable else 'no'}" for code in ErrorCode]

    assert TABLE.split("\n")[1:-1] == rows


@given(
    text=st.text(max_size=1200),
    ids=st.lists(st.text(max_size=36), max_size=150),
    rows=st.lists(st.builds(FieldError, st.just("f"), st.text(max_size=600)), max_size=120),
)
def test_every_error_is_bounded(text: str, ids: list[str], rows: list[FieldError]) -> None:
    message = ErrorCode.VALIDATION_FAILED.message(mistakes=text, what="it")

    made = error(ErrorCode.VALIDATION_FAILED, mistakes=text, what="it", available=ids, field_errors=rows)

    assert 500 >= len(made.message)
    assert message == made.message or (len(message) > 500 and message.startswith(made.message[:-1]))
    assert tuple(ids[:100]) == made.available_client_specification_ids
    assert [row.field for row in rows[:100]] == [row.field for row in made.field_errors]
    assert all(500 >= len(row.message) for row in made.field_errors)
