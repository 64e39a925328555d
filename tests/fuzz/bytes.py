"""Bytes that were once right."""

from collections.abc import Sequence
from random import Random

NUMBERS = (
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x80" * 9 + b"\x01",
    b"\xff" * 10,
    b"\xfe\xff\xff\x0f",
)
TEXTS = (b"", b" ", b"\n", b"\xc3", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xe2\x80\x8b", b"\x00", b"a" * 300)


def mutated(rng: Random, right: bytes, tokens: Sequence[bytes] = (*NUMBERS, *TEXTS)) -> bytes:
    """``right`` with up to six pieces cut out, put in or replaced."""
    value = bytearray(right)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        at = rng.randint(0, len(value))
        end = at + rng.choice((0, 0, 1, 1, 2, 8, 40))
        value[at:end] = rng.choice(tokens) if rng.random() < 0.6 else rng.randbytes(rng.randint(0, 6))
    if rng.random() < 0.05:
        value *= rng.randint(0, 3)
    return bytes(value)


def text(rng: Random, longest: int = 12) -> str:
    """A text, at times with what people cannot see."""
    alphabet = "abcXYZ019-_./: \t\x00\u200b\u00e9\u20ac\U0001f600"
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(0, longest)))
