"""Trees of this repository as programs: the one at hand, and those of commits, each with its own sources."""

import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import PartMissing
from tests.support.service import ROOT, environment

CHANGELOG = ROOT / "CHANGELOG.md"
COMMAND_SECONDS = 90
_RELEASED = re.compile(r"^## \[(?P<version>\d+\.\d+\.\d+)\][^\n]*\n+(?P<text>(?:(?!^## ).*\n?)*)", re.MULTILINE)
_COMMIT = re.compile(r"\bcommit `([0-9a-f]{7,40})`")

_MODULES = """
import sys, consumer.__main__, consumer.bootstrap
for name, module in sys.modules.items():
    if name.partition(".")[0] in ("consumer", "producer_tools", "schemas") and module.__file__:
        print(module.__file__)
"""


def last_release(changelog: str) -> str:
    """Return the commit that the newest released section names, or the tag of its version where it names none.

    Raises ``ValueError`` if nothing has been released.
    """
    newest = _RELEASED.search(changelog)
    if newest is None:
        raise ValueError("the changelog has no released section")
    commit = _COMMIT.search(newest["text"])
    return f"v{newest['version']}" if commit is None else commit[1]


@dataclass(frozen=True, slots=True)
class Release:
    """One tree. Its third-party packages are those of this environment."""

    name: str
    sources: Path

    @property
    def settings(self) -> Mapping[str, str]:
        """Environment of a program of this tree."""
        return {"PYTHONPATH": str(self.sources)}

    def run(self, settings: Mapping[str, str], *arguments: str, given: str = "") -> str:
        """Run a command of ``mirakl-resync-consumer``; return its output. Raises ``RuntimeError`` if it fails."""
        ended = self._python(settings, ["-m", "consumer", *arguments], given)
        if ended.returncode:
            raise RuntimeError(f"{' '.join(arguments)} of {self.name} ended with {ended.returncode}: {ended.stderr}")
        return ended.stdout.strip()

    def verify(self) -> None:
        """Raise ``RuntimeError`` unless all modules of the service that would start are those in ``sources``.

        Whatever is installed in this environment could take the place of one that is not there.
        """
        found = self._python({}, ["-c", _MODULES], "")
        places = [Path(each) for each in found.stdout.splitlines()]
        if not places or not all(each.is_relative_to(self.sources) for each in places):
            raise RuntimeError(f"{self.name} would not run from {self.sources}: {found.stdout}{found.stderr}")

    def _python(
        self, settings: Mapping[str, str], arguments: Sequence[str], given: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment({**settings, **self.settings}),
            cwd=self.sources,
            input=given,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )


THIS = Release("this release", ROOT)


def checked_out(reference: str, folder: Path) -> Release:
    """Extract the tree of a commit or a tag. Raises :class:`PartMissing` where the repository does not have it."""
    ended = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=zip", reference],  # noqa: S607 - the git of the one who calls
        capture_output=True,
        check=False,
    )
    if ended.returncode:
        raise PartMissing(
            f"The tree of {reference} is not in this repository ({ended.stderr.decode(errors='replace').strip()}). "
            "Fetch its whole history, or name another commit with --from."
        )
    sources = folder / "former"
    zipfile.ZipFile(io.BytesIO(ended.stdout)).extractall(sources)
    release = Release(reference, sources)
    release.verify()
    return release
