"""Masks a secret in somebody else's text, however that text writes it.

A server that refuses a credential may repeat it: in JSON escapes, percent-encoded, as HTML entities, in base64 or
hexadecimal, cut off, or in groups with separators between them (``abcd-efgh ijkl``). So the text is decoded step by
step, each character with its place in the original, and looked at once more without everything that is neither a
letter nor a digit. Every piece of eight or more characters of the secret that is found in any of these is masked.

What cannot be found: fewer than eight characters in a row (``begins with abcd and ends with wxyz``), since as many
occur by chance; groups in another order, or with words between them; and encodings or ciphers not named above.
"""

import base64
import html
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from consumer.adapters.mirakl.policy import MIRAKL

MASK: Final = "[credential]"
_ENCODED: Final = re.compile(
    r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.|%[0-9a-fA-F]{2}|&#?[0-9A-Za-z]{1,31};", re.DOTALL
)
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
"""ASCII only, so that a text keeps its length."""
_BETWEEN: Final = "\uffff"
"""Between forms of a secret: no character of Unicode, so no piece of a text is part of two of them."""


def redacted(text: str, secret: str) -> str:
    """Replace each piece of the secret (ASCII) by ``MASK``, also where it is encoded or cut off."""
    if not secret:
        return text
    hidden = [False] * len(text)
    for characters, spans in _layers(text):
        for begin, end in (*_pieces(characters, secret), *_grouped(characters, secret)):
            first, last = spans[begin][0], spans[end - 1][1]
            hidden[first:last] = [True] * (last - first)
    shown, at = [], 0
    while at < len(text):
        begin, state = at, hidden[at]
        while at < len(text) and hidden[at] is state:
            at += 1
        shown.append(MASK if state else text[begin:at])
    return "".join(shown)


def _layers(text: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yield the text, and what it becomes decoded once, twice ...; with each character's place in the original."""
    spans = [(at, at + 1) for at in range(len(text))]
    yield text.translate(_LOWER), spans
    for _ in range(MIRAKL.encoding_layers):
        characters: list[str] = []
        places: list[tuple[int, int]] = []
        at = 0
        for found in _ENCODED.finditer(text):
            characters += text[at : found.start()]
            places += spans[at : found.start()]
            decoded = _decoded(found.group())
            characters += decoded
            places += [(spans[found.start()][0], spans[found.end() - 1][1])] * len(decoded)
            at = found.end()
        if at == 0:
            return
        text, spans = "".join([*characters, text[at:]]), places + spans[at:]
        yield text.translate(_LOWER), spans


def _decoded(encoded: str) -> str:
    if encoded[0] == "&":
        return html.unescape(encoded)
    if encoded[0] == "%":
        return chr(int(encoded[1:], 16))
    digits = encoded[2:]
    return chr(int(digits, 16)) if digits else encoded[1]


def _pieces(text: str, secret: str) -> Iterator[tuple[int, int]]:
    wanted, length, beginning = _parts(secret)
    for at in range(len(text) - length + 1):
        if text[at : at + length] in wanted:
            yield at, at + length
    for known in range(min(length, len(text)), MIRAKL.secret_beginning - 1, -1):
        if text.endswith(beginning[:known]) and len(beginning) >= known:
            yield len(text) - known, len(text)
            return


def _grouped(text: str, secret: str) -> Iterator[tuple[int, int]]:
    """Yield the pieces that show once separators are left out, in the text as in the secret."""
    wanted = _grouped_parts(secret)
    places = [at for at, character in enumerate(text) if character.isalnum()]
    if not wanted or len(places) == len(text):
        return
    compact = "".join([text[at] for at in places])
    for at in range(len(compact) - MIRAKL.secret_piece + 1):
        if compact[at : at + MIRAKL.secret_piece] in wanted:
            yield places[at], places[at + MIRAKL.secret_piece - 1] + 1


@lru_cache(maxsize=4096)
def _grouped_parts(secret: str) -> str:
    """Return the secret without its separators, in all forms and lower case: each piece of them is looked for."""
    forms = ("".join(filter(str.isalnum, form)) for form in (secret, secret.encode().hex(), *_base64_forms(secret)))
    return _joined([form for form in forms if len(form) >= MIRAKL.secret_piece])


@lru_cache(maxsize=4096)  # half a kilobyte each; a set of all pieces would take 20, and half a millisecond to make
def _parts(secret: str) -> tuple[str, int, str]:
    """Return all forms, the length of their pieces to look for, and how the secret begins; in lower case."""
    length = min(MIRAKL.secret_piece, len(secret))
    forms = [secret, secret.replace(" ", "+"), secret.encode().hex(), *_base64_forms(secret)]
    return _joined([form for form in forms if len(form) >= length]), length, secret[:length].translate(_LOWER)


def _joined(forms: Sequence[str]) -> str:
    return _BETWEEN.join(dict.fromkeys(forms)).translate(_LOWER)


def _base64_forms(secret: str) -> Iterator[str]:
    """Yield what the secret's bytes become in base64, alone and behind others: all characters that only it decides."""
    if len(secret) < MIRAKL.secret_piece:
        return
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret.encode()).decode().rstrip("=")
        own = text[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        yield own
        yield own.translate({ord("+"): "-", ord("/"): "_"})
