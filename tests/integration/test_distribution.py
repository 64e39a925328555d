"""The wheel, installed into an application that has ``consumer``, ``schemas`` and ``producer_tools`` of its own."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("consumer", "schemas", "producer_tools")
COMMANDS = {
    "mirakl-resync": "mirakl_resync.producer_tools.__main__",
    "mirakl-resync-consumer": "mirakl_resync.consumer.__main__",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", str(folder), str(sources)], check=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def application(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with foreign packages of our folders' names, and the wheel unpacked below ``site``."""
    folder = tmp_path_factory.mktemp("application")
    for name in FOLDERS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("FOREIGN = True\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder


def run(application: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run Python in the application's folder; its own packages come first, ours from the wheel alone.

    ``-S`` leaves out the editable install of this checkout, which would lend the wheel what it lacks.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESYNC_")}
    path = os.pathsep.join([str(application), str(application / "site"), sysconfig.get_path("purelib")])
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=application,
        env=environment | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
    )


def test_the_wheel_installs_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        places = {name.partition("/")[0] for name in archive.namelist()}

    assert {"mirakl_resync"} == {place for place in places if not place.endswith(".dist-info")}


def test_no_module_of_the_wheel_imports_a_short_name(wheel: Path) -> None:
    short = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(FOLDERS)})\b.*", re.MULTILINE)
    with zipfile.ZipFile(wheel) as archive:
        found = [
            (name, line)
            for name in archive.namelist()
            if name.endswith(".py")
            for line in short.findall(archive.read(name).decode())
        ]

    assert found == []


def test_publisher_and_subscriber_can_be_imported_beside_foreign_packages(application: Path) -> None:
    done = run(
        application,
        "-c",
        "import consumer, producer_tools, schemas\n"
        "assert consumer.FOREIGN and producer_tools.FOREIGN and schemas.FOREIGN\n"
        "from mirakl_resync.producer_tools import ResyncPublisher, ResyncResults\n"
        "print(ResyncPublisher.__module__, ResyncResults.__module__)",
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert done.stdout.split() == ["mirakl_resync.producer_tools.publisher", "mirakl_resync.producer_tools.subscriber"]


@pytest.mark.parametrize("module", COMMANDS.values(), ids=COMMANDS.keys())
def test_the_commands_run_beside_foreign_packages(application: Path, module: str) -> None:
    done = run(application, "-m", module, "--help")

    assert ("", 0) == (done.stderr, done.returncode)


def test_the_tables_are_created_from_the_wheel(application: Path) -> None:
    """Migrations are found by the name that their package has in the wheel."""
    done = run(application, "-m", COMMANDS["mirakl-resync-consumer"], "db", "upgrade")

    assert 0 == done.returncode, done.stderr
    assert (application / "mirakl-resync.db").exists()


def test_the_demo_passes_from_the_wheel(application: Path) -> None:
    """Service, tools, schemas and sandbox find one another under their long names."""
    done = run(application, "-m", COMMANDS["mirakl-resync"], "demo", timeout=180)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_without_the_sandbox_the_demo_says_where_it_is(application: Path) -> None:
    """The image of the service leaves the sandbox out; everything else runs without it."""
    sandbox = application / "site" / "mirakl_resync" / "producer_tools" / "sandbox"
    sandbox.rename(aside := application / "sandbox")
    try:
        done = run(application, "-m", COMMANDS["mirakl-resync"], "demo")
        helped = run(application, "-m", COMMANDS["mirakl-resync"], "send", "--help")
    finally:
        aside.rename(sandbox)

    assert 2 == done.returncode
    assert "does not contain the demo" in done.stderr
    assert "Traceback" not in done.stderr
    assert 0 == helped.returncode
