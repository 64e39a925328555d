"""Who may import whom: the contracts of ``pyproject.toml`` hold, and the pure rooms know no library of the world."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
OURS = ("consumer", "schemas", "producer_tools")
LIBRARIES_OF = {
    "consumer.domain": {"pydantic"},
    "consumer.engine": set[str](),
    "schemas.avro": {"fastavro"},
    "schemas.console": {"click", "rich"},
    "schemas.events": {"pydantic"},
    "schemas.process": {"prometheus_client", "structlog"},
    "schemas.registry": {"httpcore", "httpx"},
    "schemas.settings": {"httpx", "psycopg", "pydantic", "pydantic_core", "sqlalchemy"},
}
"""The only third-party libraries that each pure room may import."""


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*OURS, include_external_packages=True, cache_dir=None)


def test_dependencies_point_downwards_and_no_module_stands_outside() -> None:
    """As a process of its own: the linter's set-up of logging silences loggers that exist already."""
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(lint, capture_output=True, text=True, check=False, cwd=ROOT)

    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize(("room", "libraries"), LIBRARIES_OF.items())
def test_a_pure_room_imports_no_library_of_the_world(
    imports: grimp.ImportGraph, room: str, libraries: set[str]
) -> None:
    modules = {room} | imports.find_descendants(room)
    imported = {
        name.partition(".")[0] for module in modules for name in imports.find_modules_directly_imported_by(module)
    }

    assert modules
    assert libraries >= imported - sys.stdlib_module_names - set(OURS)
