"""The text of a file that holds one value: a key, a password, a credential.

Editors, PowerShell and key managers add a byte order mark, line ends and empty lines. None of them is meant.
"""

import codecs

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_value(content: bytes) -> str:
    """Return the text without byte order mark, carriage returns at line ends, and empty lines around it.

    White space within a line is kept: a password may end with a blank. Raises ``UnicodeDecodeError``.
    """
    text = content.decode("utf-16" if content.startswith(_UTF16_MARKS) else "utf-8-sig")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    meant = [number for number, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[meant[0] : meant[-1] + 1]) if meant else ""
