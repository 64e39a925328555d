"""Who may import whom: the contracts of ``pyproject.toml`` hold, and the pure rooms know no library of the world."""

import sys
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[2]
OURS = ("consumer", "schemas", "producer_tools")
LIBRARIES_OF = {
    "consumer.console": set[str](),
    "consumer.domain": {"pydantic"},
    "consumer.engine": set[str](),
    "consumer.settings": {"pydantic", "pydantic_core"},
    "schemas": {"fastavro", "httpx", "pydantic"},
}
"""The only third-party libraries that each pure room may import."""


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*OURS, include_external_packages=True, cache_dir=None)


def test_dependencies_point_downwards_and_no_module_stands_outside() -> None:
    assert EXIT_STATUS_SUCCESS == lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)


@pytest.mark.parametrize(("room", "libraries"), LIBRARIES_OF.items())
def test_a_pure_room_imports_no_library_of_the_world(
    imports: grimp.ImportGraph, room: str, libraries: set[str]
) -> None:
    modules = {room} | imports.find_descendants(room)
    imported = {
        name.partition(".")[0] for module in modules for name in imports.find_modules_directly_imported_by(module)
    }

    assert len(modules) > 1
    assert libraries >= imported - sys.stdlib_module_names - set(OURS)
