"""The program in this process, with an environment and a working directory of its own."""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography.fernet import Fernet

from consumer.cli import main


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Ran]
"""``run("clients", "list", stdin=b"")``."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name in [name for name in os.environ if name.startswith("RESYNC_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def stores(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The program with a migrated database and an encryption key."""
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    assert run("db", "upgrade").code == 0
    return run
