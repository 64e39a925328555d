"""JSON as RFC 8259 defines it, and no more: what two parsers could read differently is refused.

Python's parser takes ``NaN``, lets the last of two equal names win, and recurses as deep as the text is nested.
"""

import json
import re
from itertools import accumulate
from typing import Final, NoReturn

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = tuple({0x5B: 1, 0x7B: 1, 0x5D: -1, 0x7D: -1}.get(byte, 0) for byte in range(256))
_BRACKETS_AT_ONCE: Final = 16 * 1024
"""Counted in one go; between two, other threads have their turn."""
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
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotStrictJsonError(f"it is not UTF-8 at byte {error.start}") from None
    _check_nesting(body, max_nesting)
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_names,
            parse_constant=_refuse_constant,
            parse_int=_whole,
            parse_float=_zero,
        )
    except json.JSONDecodeError as error:
        raise NotStrictJsonError(f"it is not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:  # brackets in a text that is not JSON anyway
        raise NotStrictJsonError(f"it is nested deeper than {max_nesting} levels") from None


def _check_nesting(body: bytes, max_nesting: int) -> None:
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    depth = 0
    for begin in range(0, len(brackets), _BRACKETS_AT_ONCE):
        depths = list(accumulate(map(_STEPS.__getitem__, brackets[begin : begin + _BRACKETS_AT_ONCE]), initial=depth))
        if max(depths) > max_nesting:
            raise NotStrictJsonError(f"it is nested deeper than {max_nesting} levels")
        depth = depths[-1]


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


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else 0


def _zero(_digits: str) -> int:
    return 0


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_names, parse_constant=_refuse_constant, parse_int=_zero, parse_float=_zero
)
"""Made once: making one costs as much as reading a small body."""
