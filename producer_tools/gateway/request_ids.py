"""Ids of requests made over HTTP: unique and with their time in them, or derived from an idempotency key."""

import re
import secrets
import time
from hashlib import sha256
from typing import Final

_UUID7: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_IDEMPOTENT_DIGITS: Final = 32


def new_request_id() -> str:
    """Return a version 7 UUID of now: milliseconds since the epoch, then randomness (RFC 9562, section 5.7)."""
    number = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 7 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def time_of(request_id: str) -> float | None:
    """Return the time in a version 7 UUID, in seconds since the epoch; ``None``: the id is anything else."""
    found = _UUID7.fullmatch(request_id)
    return int(found[1] + found[2], 16) / 1000 if found else None


def idempotent_request_id(api_key: bytes, idempotency_key: bytes) -> str:
    """Return the id that the same API key and idempotency key always have, at every gateway."""
    digest = sha256(api_key + b"\0" + idempotency_key).hexdigest()
    return f"idem-{digest[:_IDEMPOTENT_DIGITS]}"
