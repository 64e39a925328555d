"""The programs in docs/integrate/signing.md, run as they stand there: what they print is what the service accepts."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.signature import Content, Signature, Signing, signing_secret
from tests.deploy.programs import program

PAGE = (Path(__file__).parents[2] / "docs/integrate/signing.md").read_text()
KEY = "mrk_Uc1Yb0-example_of-43-characters-of-base64url"
TOPIC = "mirakl.product-resync.requests.v1"
VALUE = b"\xc3\x01\x00 first line\nsecond\r\n\xff\x00" * 50
"""With all that a careless program would change: line ends, a NUL, bytes that are not UTF-8."""


def snippet(language: str) -> str:
    """Return the one program of the page in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def python(folder: Path) -> list[str]:
    (folder / "sign.py").write_text(snippet("python"))
    return [sys.executable, "sign.py"]


def java(folder: Path) -> list[str]:
    """As a single file, which a JDK compiles on its own; by the language rules of Java 11."""
    (folder / "Sign.java").write_text(snippet("java"))
    return [program("java", "default-jdk-headless"), "-XX:TieredStopAtLevel=1", "--source", "11", "Sign.java"]


def shell(folder: Path) -> list[str]:
    program("openssl", "openssl")
    (folder / "sign.sh").write_text(snippet("sh"))
    return ["/bin/sh", "sign.sh"]


@pytest.mark.parametrize(
    ("language", "schema_id"),
    [(python, ""), (python, "0000000a0b"), (java, "0000000a0b"), (shell, ""), (shell, "00ff")],
)
def test_each_program_of_the_document_signs(
    tmp_path: Path, language: Callable[[Path], list[str]], schema_id: str
) -> None:
    (tmp_path / "value.bin").write_bytes(VALUE)
    ran = subprocess.run(
        [*language(tmp_path), "value.bin"],
        cwd=tmp_path,
        env={**os.environ, "KEY": KEY, "TOPIC": TOPIC, "SCHEMA_ID": schema_id},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr.decode()

    content = Content(bytes.fromhex(schema_id) or None, b"OPERATOR", VALUE)
    signature = Signature.read(ran.stdout.removesuffix(b"\n"))
    assert signature is not None
    assert Signing(TOPIC).matches(signing_secret(KEY.encode()), signature, content)
    assert Signing(TOPIC).header(KEY.encode(), content) == ran.stdout.removesuffix(b"\n")
