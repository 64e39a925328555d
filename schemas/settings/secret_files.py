"""Files that hold one value: a key, a password, a credential.

Editors, PowerShell and key managers add a byte order mark, line ends and empty lines. None of them is meant. A file
can be a device or a pipe without end, so no more than ``LARGEST_BYTES`` of it are read.
"""

import codecs
from typing import BinaryIO, Final

LARGEST_BYTES: Final = 1 << 20
"""A thousand keys fit; whatever is larger is another file than the one that was meant."""
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class FileTooLargeError(Exception):
    """A file of a setting is larger than the bound, and so another one than was meant.

    The text repeats nothing of it.
    """

    def __init__(self) -> None:
        super().__init__(f"larger than {LARGEST_BYTES} bytes")


def read_limited(file: BinaryIO) -> bytes:
    """Return the content of a file that holds one value. Raises ``FileTooLargeError`` or ``OSError``."""
    content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise FileTooLargeError
    return content


def read_value(content: bytes) -> str:
    """Return the text without byte order mark, carriage returns at line ends, and empty lines around it.

    White space within a line is kept: a password may end with a blank. Raises ``UnicodeDecodeError``.
    """
    text = content.decode("utf-16" if content.startswith(_UTF16_MARKS) else "utf-8-sig")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    meant = [number for number, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[meant[0] : meant[-1] + 1]) if meant else ""
