"""The W3C trace context of a request, and that of its result: the same trace, with a span of our own."""

from typing import Final

_SPAN_MULTIPLIER: Final = 0x9E3779B97F4A7C15
"""Odd, so that different offsets of a partition give different span ids."""
_SPAN_MASK: Final = (1 << 64) - 1
_TRACE_ID, _PARENT_ID, _FLAGS = slice(3, 35), slice(36, 52), slice(53, 55)
_LAST_FLAG: Final = 54
_ODD_DIGITS: Final = frozenset(b"13579bdf")
"""Of hex numbers whose lowest bit is set, which is the flag *sampled*."""


def continued(traceparent: bytes, partition: int, offset: int) -> bytes:
    """Return the traceparent of the result of a request whose valid ``traceparent`` is given."""
    return b"00-%b-%016x-%b" % (traceparent[_TRACE_ID], span_id(partition, offset), traceparent[_FLAGS])


def span_id(partition: int, offset: int) -> int:
    """Return the id of the span of a request, made of its coordinates: a repetition gets the same."""
    return (((offset + 1) * _SPAN_MULTIPLIER ^ (partition + 1) << 48) & _SPAN_MASK) or 1


def is_sampled(traceparent: bytes | None) -> bool:
    """Return whether a valid traceparent has the flag *sampled* (W3C Trace Context, section 3.2.2.5)."""
    return traceparent is not None and traceparent[_LAST_FLAG] in _ODD_DIGITS


def trace_id(traceparent: bytes) -> int:
    """Return the trace's id."""
    return int(traceparent[_TRACE_ID], 16)


def parent_id(traceparent: bytes) -> int:
    """Return the id of the span that sent the request."""
    return int(traceparent[_PARENT_ID], 16)


def flags(traceparent: bytes) -> int:
    """Return the trace flags, 8 bits."""
    return int(traceparent[_FLAGS], 16)
