"""Text from elsewhere, made safe to show: nothing in it controls a terminal, hides, or looks like another line."""

import json
import re
from datetime import UTC, datetime
from typing import Final

_LAST_MILLISECOND: Final = 253_402_300_799_999
"""Last millisecond of the year 9999 since the epoch, the latest that a ``datetime`` can represent."""
_MOST_DIGITS: Final = 19
"""Maximum digits of a 64-bit number; Python refuses to convert thousands of digits."""
_HIGHEST: Final = 2**63 - 1
_NOT_ASCII_OR_DELETE: Final = re.compile(r"[\x7f-\U0010ffff]")


def printable(text: str, keep: str = "") -> str:
    """Return the text with characters escaped that are not printable: control and format characters, separators.

    ``keep``: characters that pass nevertheless, such as line feeds.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode() for each in text
    )


def json_text(value: object, *, indent: int | None = None, encoding: str | None = None) -> str:
    """Return JSON in which every character that is not printable, or not in ``encoding``, is escaped.

    It means the same to a parser, and cannot control a terminal.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text
    text = _NOT_ASCII_OR_DELETE.sub(_json_escaped, text)
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def decimal(text: str | None, highest: int = _HIGHEST) -> int | None:
    """Return a number that somebody else wrote: digits only, up to ``highest``; ``None``: it is not one."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if number <= highest else None


def moment(milliseconds: int) -> datetime:
    """Return the time of a record's timestamp, which its producer chooses; out of range: the nearest possible time."""
    return datetime.fromtimestamp(min(max(milliseconds, 0), _LAST_MILLISECOND) / 1000, UTC)


def _json_escaped(found: re.Match[str]) -> str:
    character = found.group()
    return character if character.isprintable() else json.dumps(character)[1:-1]
