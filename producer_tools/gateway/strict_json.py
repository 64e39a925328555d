"""Strict JSON (RFC 8259): text that two parsers could read differently is refused.

Python's parser accepts ``NaN``, lets the last of two equal names win, and reads text nested up to its recursion limit;
beyond that it raises ``RecursionError``.
"""

import json
from typing import Final, NoReturn

_DIGITS: Final = 18
"""Of the longest number that is read; it fits 64 bits."""
_NAME_CHARACTERS: Final = 100
"""Of a name that a message quotes."""


class NotStrictJsonError(ValueError):
    """The text is not strict JSON; the message says what and where, without quoting values."""


def parse(body: bytes, max_nesting: int) -> object:
    """Return the value of a JSON text in UTF-8. Raises ``NotStrictJsonError``.

    Objects are dicts, arrays lists. Whole numbers of up to 18 digits are read, all others as
    ``0``: no field here holds one, and large ones cost time.
    """
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise NotStrictJsonError(f"it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise NotStrictJsonError(f"it is not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise NotStrictJsonError(f"it is nested deeper than {max_nesting} levels") from None
    _check_nesting(value, max_nesting)
    return value


def _check_nesting(value: object, max_nesting: int) -> None:
    """Descend level by level: counting brackets beforehand would have to know which ones are in strings."""
    level = [value]
    for _ in range(max_nesting + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return
        level = [child for each in containers for child in (each.values() if isinstance(each, dict) else each)]
    raise NotStrictJsonError(f"it is nested deeper than {max_nesting} levels")


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen = set[str]()
    for name, _ in pairs:
        if name in seen:
            raise NotStrictJsonError(f"the name {name[:_NAME_CHARACTERS]!r} stands twice in one object")
        seen.add(name)
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise NotStrictJsonError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_names,
    parse_constant=_refuse_constant,
    parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else 0,
    parse_float=lambda _digits: 0,
)
"""Made once: making one costs as much as reading a small body."""
