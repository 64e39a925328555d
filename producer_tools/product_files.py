"""Lists of products as people have them: CSV, JSON and JSONL, each mistake with the line it stands in.

- CSV: a header with ``miraklProductId`` and ``productSku``; other columns are ignored. Separated by comma,
  semicolon, tab or bar, whichever the header shows or a first line such as ``sep=;`` names. Line 1 is the header, or
  that line. Rows without any content, separators or not, are skipped.
- JSON: a list of objects with these two names, or the body of the published operation: an object with
  ``products`` and perhaps ``clientSpecificationId``. Other names are ignored; one beside ``products`` is noted.
- JSONL: one such object a line.

UTF-8, with or without a byte order mark. Blank lines are skipped. A line number is that of the line in which a row or
an object begins, also where a quoted field goes over several lines.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum

from producer_tools.errors import Mistake
from producer_tools.policy import TOOLS
from producer_tools.products import LocatedProduct, Product

MIRAKL_ID = "miraklProductId"
SKU = "productSku"
CLIENT_SPECIFICATION = "clientSpecificationId"

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r"""["']?sep=([,;|\t]|\\t)["']?[,;|\t]*""", re.IGNORECASE)
"""A line that spreadsheets write before the header; the rest of the line is filled with separators."""
_BLANK_CELLS = f' "\r{_SEPARATORS}'
_BLANKS = re.compile(r"[ \t\r\n]*")


class FileForm(StrEnum):
    """The format of a product list. From ``-`` it is recognized by the content."""

    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(slots=True)
class ProductFile:
    """The content of a file: products with their places, what else it says, and every mistake in it."""

    name: str
    products: list[LocatedProduct] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Notes about ignored content, for people."""
    client_specification_id: str | None = None

    def at(self, line: int) -> str:
        return f"{self.name} line {line}"

    def mistake(self, line: int, message: str) -> None:
        self.mistakes.append(Mistake(self.at(line), message))

    def take(self, line: int, mirakl_id: str, sku: str) -> None:
        self.products.append(LocatedProduct(self.at(line), Product(mirakl_id, sku)))


def read_product_file(name: str, data: bytes) -> ProductFile:
    """Read a product list; ``name`` is shown to people, and its ending says the form where it is a known one."""
    file = ProductFile(name)
    text = _decode(file, data)
    if text is None:
        return file
    if not text.strip():
        file.mistakes.append(Mistake(name, "is empty"))
        return file
    _READERS[_form(name, text)](file, text)
    if not file.products and not file.mistakes:
        file.mistakes.append(Mistake(name, "holds no product"))
    return file


def _decode(file: ProductFile, data: bytes) -> str | None:
    if data.startswith(_UTF16_MARKS):
        file.mistake(1, "this is UTF-16; save the file as UTF-8")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        for number, line in enumerate(data.split(b"\n"), 1):
            _name_wrong_byte(file, number, line)
        return None


def _name_wrong_byte(file: ProductFile, number: int, line: bytes) -> None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        file.mistake(number, f"byte {error.start + 1} is not UTF-8; save the file as UTF-8")


def _form(name: str, text: str) -> FileForm:
    ending = name.rpartition(".")[2].lower()
    if ending in _READERS:
        return FileForm(ending)
    if text.lstrip().startswith("["):
        return FileForm.JSON
    if text.lstrip().startswith("{"):
        return _one_or_many(text)
    return FileForm.CSV


def _one_or_many(text: str) -> FileForm:
    """One JSON document that is an object, or one object a line."""
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        first = json.loads(lines[0])
    except (ValueError, RecursionError):
        many = len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines)
        return FileForm.JSONL if many else FileForm.JSON
    return FileForm.JSON if len(lines) == 1 and "products" in first else FileForm.JSONL


# --- CSV -----------------------------------------------------------------------------------------------------------


def _read_csv(file: ProductFile, text: str) -> None:
    rows = _rows(file, text)
    header = next(rows, None)
    columns = header and _columns(file, *header)
    if not columns or not header:
        return
    width = len(header[1])
    for line, cells in rows:
        if len(cells) > width:
            file.mistake(line, f"has {len(cells)} cells, the header {width}; quote a cell that holds the separator")
        elif len(cells) <= max(columns):
            missing = MIRAKL_ID if len(cells) <= columns[0] else SKU
            file.mistake(line, f"has {len(cells)} of {width} cells: {missing} is missing")
        else:
            file.take(line, cells[columns[0]], cells[columns[1]])


def _rows(file: ProductFile, text: str) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank with the line it begins in; a row that is not CSV is a mistake."""
    separator, skipped = _separator(text)
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        lines.readline()
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            file.mistake(line, f"is not CSV ({error}); is a quote missing?")
            continue
        if any(cell.strip() for cell in cells):
            yield line, cells


def _separator(text: str) -> tuple[str, int]:
    """Return what separates cells, and how many lines stand before the header.

    Spreadsheets choose the separator by country, and may name it in a line of its own, such as ``sep=;``.
    """
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip(_BLANK_CELLS)), 0)
    named = _SEPARATOR_LINE.fullmatch(lines[first].strip())
    if named:
        return named.group(1).replace("\\t", "\t"), first + 1
    cells = {each: [cell.strip(' "\r') for cell in lines[first].split(each)] for each in _SEPARATORS}
    both = (each for each in _SEPARATORS if MIRAKL_ID in cells[each] and SKU in cells[each])
    return next(both, next((each for each in _SEPARATORS if each in lines[first]), ",")), first


def _columns(file: ProductFile, line: int, cells: list[str]) -> tuple[int, int] | None:
    names = [cell.strip() for cell in cells]
    for wanted in (MIRAKL_ID, SKU):
        if wanted not in names:
            file.mistake(line, f"the header has no column {wanted}{_nearest(wanted, names)}")
        elif names.count(wanted) > 1:
            file.mistake(line, f"the header has the column {wanted} {names.count(wanted)} times; keep one")
    return None if file.mistakes else (names.index(MIRAKL_ID), names.index(SKU))


def _nearest(wanted: str, names: list[str]) -> str:
    names = names[: TOOLS.names_compared]
    found = get_close_matches(wanted.lower(), [name.lower() for name in names], n=1)
    original = next((name for name in names if found and name.lower() == found[0]), None)
    return f"; the nearest is {original!r}" if original else f"; it has {', '.join(map(repr, names))}"


# --- JSON ----------------------------------------------------------------------------------------------------------


class _Repeated:
    """Stands for the value of a name that an object gives more than once."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    times = Counter(name for name, _ in pairs)
    return {name: _Repeated() if times[name] > 1 else value for name, value in pairs}


class _Scanner:
    """Reads a JSON document value by value and knows the line it is at, which ``json.loads`` does not tell."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_object)

    def line(self) -> int:
        """Return the line of the next value."""
        self._skip()
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def value(self) -> object:
        self._skip()
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        return value

    def take(self, token: str) -> bool:
        self._skip()
        found = self._text.startswith(token, self._at)
        self._at += len(token) * found
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise json.JSONDecodeError(f"{token!r} expected", self._text, self._at)

    def end(self) -> None:
        self._skip()
        if self._at < len(self._text):
            raise json.JSONDecodeError("Something follows the end of the document", self._text, self._at)

    def items(self) -> Iterator[tuple[int, object]]:
        """Iterate over the values of an array, each with its line."""
        self.expect("[")
        if self.take("]"):
            return
        while True:
            yield self.line(), self.value()
            if self.take("]"):
                return
            self.expect(",")

    def members(self) -> Iterator[tuple[int, str]]:
        """Iterate over the names of an object, each with its line; the caller reads the value."""
        self.expect("{")
        if self.take("}"):
            return
        while True:
            line, name = self.line(), self.value()
            self.expect(":")
            yield line, str(name)
            if self.take("}"):
                return
            self.expect(",")

    def at_array(self) -> bool:
        self._skip()
        return self._text.startswith("[", self._at)

    def at_object(self) -> bool:
        self._skip()
        return self._text.startswith("{", self._at)

    def _skip(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at


def _read_json(file: ProductFile, text: str) -> None:
    scanner = _Scanner(text)
    try:
        if scanner.at_array():
            _read_items(file, scanner)
        elif scanner.at_object():
            _read_body(file, scanner)
        else:
            file.mistake(scanner.line(), f"a list of objects, or an object with a list {'products'!r}, is expected")
            return
        scanner.end()
    except (ValueError, RecursionError) as error:
        _name_json_error(file, 1 if isinstance(error, json.JSONDecodeError) else scanner.line(), error)


def _read_items(file: ProductFile, scanner: _Scanner) -> None:
    for line, item in scanner.items():
        _take_object(file, line, item)


def _read_body(file: ProductFile, scanner: _Scanner) -> None:
    seen: set[str] = set()
    for line, name in scanner.members():
        if name in seen:
            file.mistake(line, f"{name!r} stands here a second time; keep one")
        seen.add(name)
        if name == "products" and scanner.at_array():
            _read_items(file, scanner)
            continue
        value = scanner.value()
        if name == "products":
            file.mistake(line, f"'products' must be a list of objects, not {_kind(value)}")
        elif name == CLIENT_SPECIFICATION:
            _take_client_specification(file, line, value)
        else:
            file.notes.append(f"{file.at(line)}: {name!r} is ignored")
    if "products" not in seen:
        file.mistake(1, "the object has no list 'products'")


def _take_client_specification(file: ProductFile, line: int, value: object) -> None:
    if isinstance(value, str):
        file.client_specification_id = value
    elif value is not None:
        file.mistake(line, f"{CLIENT_SPECIFICATION} must be a string or null, not {_kind(value)}")


def _read_jsonl(file: ProductFile, text: str) -> None:
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            _name_json_error(file, number, error)
            continue
        _take_object(file, number, item)


def _name_json_error(file: ProductFile, line: int, error: ValueError | RecursionError) -> None:
    """Name what the decoder found; ``line`` is the one in which the text that it decoded begins."""
    if isinstance(error, json.JSONDecodeError):
        file.mistake(line + error.lineno - 1, f"is not JSON ({error.msg}, column {error.colno})")
    elif isinstance(error, RecursionError):
        file.mistake(line, "is nested too deeply")
    else:
        file.mistake(line, f"is not JSON ({error})")


def _take_object(file: ProductFile, line: int, item: object) -> None:
    if not isinstance(item, dict):
        file.mistake(line, f"an object with {MIRAKL_ID} and {SKU} is expected, not {_kind(item)}")
        return
    faults = [fault for name in (MIRAKL_ID, SKU) if (fault := _member_fault(item, name))]
    for fault in faults:
        file.mistake(line, fault)
    if not faults:
        file.take(line, item[MIRAKL_ID], item[SKU])


def _member_fault(item: dict[str, object], name: str) -> str | None:
    if name not in item:
        return f"{name} is missing{_nearest(name, list(item)) if item else ''}"
    value = item[name]
    if isinstance(value, _Repeated):
        return f"{name} stands twice in one object; keep one"
    return None if isinstance(value, str) else f"{name} must be a string in quotes, not {_kind(value)}"


def _kind(value: object) -> str:
    """Return the name of a value's type in JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), "this")


_READERS = {FileForm.CSV: _read_csv, FileForm.JSON: _read_json, FileForm.JSONL: _read_jsonl}
