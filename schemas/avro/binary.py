"""Avro's binary encoding, read and skipped strictly: from bytes and a position to a value and a position.

Work is bounded by the length of the body. Positions only grow; strings and skipped values do not check them. One that
has passed the end is caught by the next byte read, or by the caller, who must compare the last one with the length.

Source: Avro specification 1.12, "Binary encoding".
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, Final, TypeAlias

Read: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
"""(body, position) -> (value, position behind it); raises one of `MALFORMED`."""
Skip: TypeAlias = int | Callable[[bytes, int], int]
"""A fixed number of bytes, or (body, position) -> position behind. A function reads at least one byte."""

_BEYOND_ANY_BODY: Final = 2**40
"""Maximum bytes that fixed sizes add up to, so that positions stay numbers of a few digits."""
_SHIFTS: Final = tuple(range(7, 70, 7))
"""Shifts of the groups that follow the first: ten groups of seven bits contain 64 bits."""
_INTS: Final = range(-(2**31), 2**31)


class MalformedError(ValueError):
    """Bytes that are not a value of the writer's schema: truncated, a negative length, an unknown branch or symbol."""


MALFORMED: Final = (IndexError, MalformedError, UnicodeDecodeError, RecursionError)
"""All that a `Read` raises: the end of the body (IndexError), not Avro, not UTF-8, values nested too deep."""


def read_long(body: bytes, at: int) -> tuple[int, int]:
    """Read a zig-zag number of at most 64 bits: groups of seven bits, lowest first, all but the last marked."""
    number = body[at]
    at += 1
    if number & 0x80:
        for shift in _SHIFTS:
            byte = body[at]
            at += 1
            number += (byte - 1) << shift  # less one: the mark of the group before
            if not byte & 0x80:
                break
        else:
            raise MalformedError("a number of more than ten bytes")
        if number >> 64:
            raise MalformedError("a number of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _read_int(body: bytes, at: int) -> tuple[int, int]:
    number, at = read_long(body, at)
    if number not in _INTS:
        raise MalformedError("an int of more than 32 bits")
    return number, at


def _read_size(body: bytes, at: int) -> tuple[int, int]:
    size, at = read_long(body, at)
    if size < 0:
        raise MalformedError("a negative length")
    return size, at


def _read_count(body: bytes, at: int) -> tuple[int, int]:
    """Read the count of items in a block; if it is negative, the block's size in bytes follows."""
    count = body[at]
    if not count & 0x81:
        return count >> 1, at + 1
    count, at = read_long(body, at)
    return (count, at) if count >= 0 else (-count, _read_size(body, at)[1])


def _read_string(body: bytes, at: int) -> tuple[str, int]:
    size = body[at]
    if size & 0x81:  # more than 63 bytes, or negative
        size, at = _read_size(body, at)
    else:
        size >>= 1
        at += 1
    end = at + size
    return body[at:end].decode(), end


def _read_boolean(body: bytes, at: int) -> tuple[bool, int]:
    if body[at] > 1:
        raise MalformedError("a boolean that is neither 0 nor 1")
    return body[at] == 1, at + 1


def _read_null(_: bytes, at: int) -> tuple[None, int]:
    return None, at


READERS: Final[Mapping[str, Read]] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": _read_int,
    "long": read_long,
    "string": _read_string,
}


def record_reader(steps: Sequence[tuple[str, Read] | Skip]) -> Read:
    """Written out as Python, field by field, which takes half of the time of calls of one reader for each field.

    The names in it are those of our own schema, never the writer's. What takes no bytes costs no step.
    """
    source = _Source()
    source.record(steps, "value", " ")
    lines = ["def read_record(body, at):", *source.lines, " return value, at"]
    exec(_compiled("\n".join(lines)), source.names)  # noqa: S102 - of this module's own words, as dataclasses are made
    read: Read = source.names["read_record"]
    vars(read)["steps"] = steps
    return read


@lru_cache(maxsize=256)
def _compiled(source: str) -> CodeType:
    """Records of ours come in few shapes, and a writer's union may repeat one a hundred thousand times."""
    return compile(source, "<read_record>", "exec")


class _Source:
    """The lines of a record's reader, and the functions that they call.

    What nearly all values look like is written out: strings of up to 63 bytes, unions of null and such a string, arrays
    of records in one block. Everything else is a call.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}

    def record(self, steps: Sequence[tuple[str, Read] | Skip], target: str, indent: str) -> None:
        """Assign a record to ``target``."""
        values = []
        for step in steps:
            if step == 0:
                continue
            if isinstance(step, int):
                self.lines.append(f"{indent}at += {self._name(step)}")
            elif not isinstance(step, tuple):
                self.lines.append(f"{indent}at = {self._name(step)}(body, at)")
            else:
                name, read = step
                value = f"value_{len(self.names)}"
                values.append(f"{name!r}: {value}")
                self._field(read, value, indent)
        self.lines.append(f"{indent}{target} = {{{', '.join(values)}}}")

    def _field(self, read: Read, value: str, indent: str) -> None:
        call = self._name(read)
        if read is _read_string:
            self._add(_SHORT_STRING, indent, value=value, call=call)
        elif vars(read).get("branches") == [_read_null, _read_string]:
            self._add(_NULL_OR_SHORT_STRING, indent, value=value, call=call)
        elif "items" in vars(read) and "steps" in vars(vars(read)["items"]):
            self._add(_ONE_BLOCK, indent, value=value, call=call)
            self.record(vars(vars(read)["items"])["steps"], f"item_{value}", f"{indent}   ")
            self._add(_END_OF_BLOCK, indent, value=value, call=call)
        else:
            self.lines.append(f"{indent}{value}, at = {call}(body, at)")

    def _add(self, template: str, indent: str, **names: str) -> None:
        self.lines += [indent + line for line in template.format(**names).splitlines()]

    def _name(self, step: object) -> str:
        name = f"step_{len(self.names)}"
        self.names[name] = step
        return name


_SHORT_STRING: Final = """\
size = body[at]
if size & 0x81:
 {value}, at = {call}(body, at)
else:
 at += 1
 end = at + (size >> 1)
 {value} = body[at:end].decode()
 at = end"""
_NULL_OR_SHORT_STRING: Final = """\
if body[at] == 0:
 {value} = None
 at += 1
elif body[at] != 2 or (size := body[at + 1]) & 0x81:
 {value}, at = {call}(body, at)
else:
 at += 2
 end = at + (size >> 1)
 {value} = body[at:end].decode()
 at = end"""
_ONE_BLOCK: Final = """\
begin_{value}, count = at, body[at]
if count & 0x81:
 {value}, at = {call}(body, at)
else:
 at += 1
 {value} = []
 if count:
  for _ in range(count >> 1):"""
_END_OF_BLOCK: Final = """\
   {value}.append(item_{value})
  if body[at]:
   {value}, at = {call}(body, begin_{value})
  else:
   at += 1"""


def array_reader(read_item: Read) -> Read:
    """Items are never empty: a record of ours has a field without default, so something is written for it."""

    def read_array(body: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, at = _read_count(body, at)
        while count:
            for _ in range(count):
                item, at = read_item(body, at)
                items.append(item)
            count, at = _read_count(body, at)
        return items, at

    vars(read_array)["items"] = read_item
    return read_array


def union_reader(branches: Sequence[Read]) -> Read:
    def read_union(body: bytes, at: int) -> tuple[Any, int]:
        index = body[at]
        if index & 0x81:  # more than 63 branches, or negative
            index, at = _read_size(body, at)
            return branches[index](body, at)
        return branches[index >> 1](body, at + 1)

    vars(read_union)["branches"] = list(branches)
    return read_union


def enum_reader(symbols: Sequence[str | None]) -> Read:
    def read_enum(body: bytes, at: int) -> tuple[str, int]:
        index, at = _read_size(body, at)
        symbol = symbols[index]
        if symbol is None:
            raise MalformedError("a symbol that ours does not have")
        return symbol, at

    return read_enum


def failing_reader(message: str) -> Read:
    def fail(_: bytes, __: int) -> tuple[None, int]:
        raise MalformedError(message)

    return fail


def skip_value(skip: Skip, body: bytes, at: int) -> int:
    return at + skip if isinstance(skip, int) else skip(body, at)


def _skip_long(body: bytes, at: int) -> int:
    return read_long(body, at)[1]


def skip_bytes(body: bytes, at: int) -> int:
    size, at = _read_size(body, at)
    return at + size


SKIPS: Final[Mapping[str, Skip]] = {
    "null": 0,
    "boolean": 1,
    "float": 4,
    "double": 8,
    "int": _skip_long,
    "long": _skip_long,
    "bytes": skip_bytes,
    "string": skip_bytes,
}


def enum_skipper(symbols: int) -> Skip:
    def skip_enum(body: bytes, at: int) -> int:
        index, at = _read_size(body, at)
        if index >= symbols:
            raise MalformedError("a symbol that the writer's schema does not have")
        return at

    return skip_enum


def union_skipper(branches: Sequence[Skip]) -> Skip:
    def skip_union(body: bytes, at: int) -> int:
        index, at = _read_size(body, at)
        return skip_value(branches[index], body, at)

    return skip_union


def sequence_skipper(skips: Sequence[Skip]) -> Skip:
    """One value after the other. What takes no bytes costs no step."""
    skips = [skip for skip in skips if skip != 0]
    if all(isinstance(skip, int) for skip in skips):
        return min(sum(skip for skip in skips if isinstance(skip, int)), _BEYOND_ANY_BODY)
    if len(skips) == 1:
        return skips[0]

    def skip_all(body: bytes, at: int) -> int:
        for skip in skips:
            at = skip_value(skip, body, at)
        return at

    return skip_all


def blocks_skipper(skip_item: Skip) -> Skip:
    """Skip an array or a map: blocks of a count and that many items, or of a negative count and their size in bytes."""

    def skip_blocks(body: bytes, at: int) -> int:
        count, at = read_long(body, at)
        while count:
            if count < 0:
                size, at = _read_size(body, at)
                at += size
            elif isinstance(skip_item, int):
                at += count * skip_item
            else:
                for _ in range(count):
                    at = skip_item(body, at)
            count, at = read_long(body, at)
        return at

    return skip_blocks
