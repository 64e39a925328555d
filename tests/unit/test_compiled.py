"""The compiled form of the hot modules is used where it was made of exactly the sources that are there."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

import pytest

from consumer import compiled


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "hot.py").write_text("FORM = 'source'")
    (package / "cold.py").write_text("")
    monkeypatch.setattr(compiled, "SOURCES", (package,))
    monkeypatch.setattr(compiled, "MADE", tmp_path / "made")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    return package


def origin(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def compile_(name: str) -> Path:
    made = compiled.folder() / f"{name.replace('.', '/')}{EXTENSION_SUFFIXES[0]}"
    made.parent.mkdir(parents=True)
    made.touch()
    return made


def test_without_a_compiled_form_the_sources_are_used(package: Path) -> None:
    compiled.use()
    assert not compiled.used()
    assert package / "hot.py" == origin("package.hot")


def test_what_is_compiled_is_found_before_its_source_and_what_is_not_as_ever(package: Path) -> None:
    made = compile_("package.hot")
    compiled.use()
    assert compiled.used()
    assert made == origin("package.hot")
    assert package / "cold.py" == origin("package.cold")


@pytest.mark.parametrize("changed", ["hot.py", "cold.py", "new.py"])
def test_a_compiled_form_of_other_sources_is_not_used(package: Path, changed: str) -> None:
    compile_("package.hot")
    assert compiled.available()
    (package / changed).write_text("FORM = 'newer'")
    assert not compiled.available()
    compiled.use()
    assert package / "hot.py" == origin("package.hot")
