"""Which client specification a request uses."""

from dataclasses import replace

from consumer.domain.model import ClientSpecification, Directory, build_directory
from consumer.domain.outcome import ResyncError
from consumer.domain.resolution import resolve, unfit
from schemas.contract import MAX_ERROR_TEXT_CHARACTERS, ErrorCode
from schemas.explanation import Explanation
from tests.support.builders import client_specification

SHOP = client_specification(id="1", tenant="t", name="shop", credential="hush-hush")


def directory(*specifications: ClientSpecification) -> Directory:
    return build_directory(1, list(specifications), {})


def code(answer: ClientSpecification | ResyncError | None) -> str:
    assert isinstance(answer, ResyncError)
    return answer.code.value


def test_the_only_active_one_is_used_automatically() -> None:
    others = (replace(SHOP, id="2", active=False), replace(SHOP, id="3", tenant="other"))

    assert SHOP is resolve(directory(SHOP, *others), "t", None)


def test_a_given_one_is_used_active_or_not() -> None:
    idle = replace(SHOP, id="2", active=False)

    assert idle is resolve(directory(SHOP, idle), "t", "2")


def test_one_of_another_tenant_does_not_exist_for_us() -> None:
    found = directory(SHOP)

    assert ErrorCode.CLIENT_SPECIFICATION_NOT_FOUND == code(resolve(found, "other", "1"))
    assert ErrorCode.CLIENT_SPECIFICATION_NOT_FOUND == code(resolve(found, "t", "9"))
    assert ErrorCode.NO_ACTIVE_CLIENT_SPECIFICATION == code(resolve(found, "other", None))


def test_several_active_ones_are_listed_sorted() -> None:
    answer = resolve(directory(*(replace(SHOP, id=id_) for id_ in "312")), "t", None)

    assert ErrorCode.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS == code(answer)
    assert isinstance(answer, ResyncError)
    assert ("1", "2", "3") == answer.available_client_specification_ids


def test_of_very_many_the_first_hundred_are_listed_and_all_are_counted() -> None:
    answer = resolve(directory(*(replace(SHOP, id=f"{n:04}") for n in range(250))), "t", None)

    assert isinstance(answer, ResyncError)
    assert tuple(f"{n:04}" for n in range(100)) == answer.available_client_specification_ids
    assert "250" in answer.message


def test_a_suspended_one_that_cannot_be_used_either_is_unusable_first() -> None:
    """In the order of the contract's table."""
    assert ErrorCode.CLIENT_SPECIFICATION_UNUSABLE == code(
        unfit(replace(SHOP, suspended=True, unusable=Explanation("No key fits.")))
    )
    assert ErrorCode.CLIENT_SPECIFICATION_SUSPENDED == code(unfit(replace(SHOP, suspended=True)))
    assert unfit(SHOP) is None


def test_a_long_reason_leaves_room_for_what_to_do() -> None:
    answer = unfit(replace(SHOP, unusable=Explanation("why " * 300)))

    assert isinstance(answer, ResyncError)
    assert MAX_ERROR_TEXT_CHARACTERS >= len(answer.message)
    assert "administrator" in answer.message


def test_a_credential_shows_nowhere() -> None:
    assert "hush-hush" not in repr(directory(SHOP))
    assert "hush-hush" not in repr(unfit(replace(SHOP, suspended=True)))
