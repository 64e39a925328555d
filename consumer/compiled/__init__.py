"""The hot modules in compiled form: extensions that mypyc makes of the same sources (``python -m consumer.compiled``).

The commands use them where they exist, and were made of exactly these sources for this interpreter; otherwise, they use
the sources. Whoever imports the modules without a command, as most tests do, gets the sources.
"""

import hashlib
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

CONSUMER: Final = Path(__file__).parents[1]
SOURCES: Final = (CONSUMER, CONSUMER.with_name("schemas"))
"""Packages with all that the hot modules import, and that we write."""
MADE: Final = Path(__file__).with_name("made")
"""Folder with the compiled forms; each has its own folder in it."""


def use() -> None:
    """Import the hot modules in compiled form from now on, if it is there.

    To be called before any of them is imported: a compiled module relies on the layout of the others.
    """
    if MADE.is_dir() and (made := folder()).is_dir():  # not ``available``: each start would hash the sources twice
        sys.meta_path.insert(0, _Finder(made))


def used() -> bool:
    """Return whether this process imports the compiled form."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def available() -> bool:
    """Return whether the compiled form of these sources is there."""
    return MADE.is_dir() and folder().is_dir()


def folder() -> Path:
    """Return where the compiled form of these sources is, or would be.

    Its name contains a digest of all sources: mypyc relies on the types of what the hot modules import.
    """
    digest = hashlib.sha256(__name__.encode())  # which the compiled modules' own names begin with
    for source in sources():
        digest.update(source.read_bytes())
    return MADE / f"{sysconfig.get_config_var('SOABI')}-{digest.hexdigest()[:16]}"


def sources() -> list[Path]:
    """Return our modules which the hot ones may import, themselves included."""
    return [source for package in SOURCES for source in sorted(package.rglob("*.py"))]


class _Finder:
    """Finds those modules that are in a folder, by their full names."""

    def __init__(self, made: Path) -> None:
        self._made = made

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        file = self._made / f"{name.replace('.', '/')}{EXTENSION_SUFFIXES[0]}"
        return spec_from_file_location(name, file) if file.exists() else None
