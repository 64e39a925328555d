"""``python -m consumer.compiled``: compile the hot modules for this interpreter, with mypyc and a C compiler."""

import contextlib
import io
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from mypyc.build import mypycify
from setuptools import setup

from consumer.compiled import CONSUMER, MADE, folder, sources

_HOT: Final = (
    "domain/**/*.py",
    "engine/**/*.py",
    "adapters/kafka/fetching.py",
    "adapters/kafka/outgoing.py",
    "adapters/kafka/publications.py",
    "adapters/kafka/records.py",
    "adapters/mirakl/redaction.py",
    "adapters/mirakl/response.py",
    "adapters/mirakl/response_reader.py",
)
"""Patterns of the modules that run for each request or call, below ``consumer``."""
_INTERPRETED: Final = (
    "__init__.py",
    "engine/driver.py",  # async: an exception that left a coroutine of mypyc's stays the one being handled
    "engine/events.py",  # mypyc does not find BaseException, the type of a field
    "engine/policy.py",  # mypyc would make all its numbers floats, as the default of the function that declares them is
    "engine/precedence.py",  # mypyc makes no generic dataclass with slots
    "engine/trace.py",  # derives from a class in precedence
)
_NAME: Final = "resync_engine"
"""Name of the library with all compiled code, to which mypyc appends a suffix."""


def main() -> None:
    """Compile, unless that was done, and delete what was made of other sources."""
    target = folder()
    if target.is_dir():
        return
    if lacking := _lacking():
        print(f"{lacking}. So the engine is not compiled, and has about 0.85 of its speed.", file=sys.stderr)
        return
    print("Compiling the engine, which takes about a minute", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        build = Path(name)
        root = build.joinpath(*__package__.split(".")[:-2])  # the wheel has one more package around ours
        for source in sources():
            copy = root / source.relative_to(CONSUMER.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        hot = {str(file.relative_to(build)) for pattern in _HOT for file in (root / CONSUMER.name).glob(pattern)}
        os.chdir(build)  # a module's name is its path from here
        try:
            _compile(sorted(file for file in hot if not file.endswith(_INTERPRETED)))
        except SystemExit as failure:
            print(f"The engine is not compiled, so its sources will run: {failure}", file=sys.stderr)
            return
        MADE.mkdir(exist_ok=True)
        half = Path(tempfile.mkdtemp(dir=MADE, prefix="half-"))
        shutil.copytree("made", half, dirs_exist_ok=True)
    half.chmod(0o755)  # a temporary folder is its owner's alone
    os.sync()  # a library that a power cut has cut short would end each command
    with contextlib.suppress(OSError):  # somebody else was faster
        half.rename(target)  # at once: nobody may find half of the modules compiled
    for other in MADE.glob(f"{sysconfig.get_config_var('SOABI')}-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def _lacking() -> str | None:
    """Return what a compilation lacks here."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"There is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's C headers are not installed"
    if not os.access(MADE.parent, os.W_OK):
        return f"{MADE.parent} cannot be written"
    return None


def _compile(files: list[str]) -> None:
    options = ["--explicit-package-bases", "--ignore-missing-imports", "--python-executable", sys.executable]
    told = io.StringIO()  # among it, that some generators become lists, which is as well
    try:
        with contextlib.redirect_stdout(told):
            extensions = mypycify([*options, *files], opt_level="3", debug_level="0", group_name=_NAME)
    except SystemExit:
        print(told.getvalue(), file=sys.stderr)
        raise
    setup(name=_NAME, packages=[], ext_modules=extensions, script_args=["-q", "build_ext", "--build-lib", "made"])


if __name__ == "__main__":
    main()
