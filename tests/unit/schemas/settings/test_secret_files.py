"""Files with one value, as editors and shells of all kinds leave them."""

import codecs
from pathlib import Path

import pytest

from consumer.adapters.stores import read_credential
from producer_tools.cli.options import api_key_from
from producer_tools.errors import MisconfiguredError
from schemas.settings import SettingsError, load
from schemas.settings.secret_files import LARGEST_BYTES, read_limited, read_value

WRITTEN = {
    "as it is": b"k\xc3\xa9y",
    "with a line end": b"k\xc3\xa9y\n",
    "with DOS line ends": b"k\xc3\xa9y\r\n\r\n",
    "with a byte order mark": codecs.BOM_UTF8 + b"k\xc3\xa9y\r\n",
    "between empty lines": b"\n \r\n\nk\xc3\xa9y\n\t\n\n",
    "by PowerShell": "k\u00e9y\r\n".encode("utf-16"),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_a_value_is_read_as_meant_everywhere_alike(way: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(WRITTEN[way])
    api_key = load({"RESYNC_API_KEY_FILE": str(file)}).api_key
    assert api_key is not None
    assert {"k\u00e9y"} == {
        read_value(WRITTEN[way]),
        read_credential(WRITTEN[way]),
        api_key.get_secret_value(),
        api_key_from(str(file)),
    }


def test_what_is_meant_is_kept() -> None:
    assert " a key " == read_value(b" a key \n")
    assert '{\n"a": 1\n}' == read_value(b'{\r\n"a": 1\r\n}\r\n')
    assert "" == read_value(b"\xef\xbb\xbf\r\n")


def test_a_file_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    large = tmp_path / "key"
    large.write_bytes(bytes(LARGEST_BYTES))
    with large.open("rb") as file:
        assert LARGEST_BYTES == len(read_limited(file))
    for endless in ("/dev/zero", str(tmp_path / "larger")):
        (tmp_path / "larger").write_bytes(bytes(LARGEST_BYTES + 1))
        with pytest.raises(SettingsError, match=f"is larger than {LARGEST_BYTES} bytes"):
            load({"RESYNC_API_KEY_FILE": endless})
        with pytest.raises(MisconfiguredError, match=f"is larger than {LARGEST_BYTES} bytes. Put the key"):
            api_key_from(endless)


@pytest.mark.parametrize("content", [b"\xff\xffkey", b"caf\xe9", b"\xff\xfek"])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        read_value(content)
