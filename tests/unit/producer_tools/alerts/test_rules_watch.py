"""Rules are read again when a file changes; a file with mistakes changes nothing."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from producer_tools.alerts.rules import DefaultKey, ProductList
from producer_tools.alerts.rules_watch import RulesWatch
from producer_tools.errors import InvalidRequestError

RULES = "rules:\n  - {{name: {name}, match: {{alertname: A}}, products: {{file: products.csv}}, api_key_file: key}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("miraklProductId,productSku\nM1,S1\n")
    (tmp_path / "key").write_text("first")
    (tmp_path / "rules.yaml").write_text(RULES.format(name="before"))
    return tmp_path


@pytest.fixture
def watch(folder: Path) -> RulesWatch:
    return RulesWatch(folder / "rules.yaml", DefaultKey(None))


def names(watch: RulesWatch) -> list[str]:
    return [rule.name for rule in watch.rules.rules]


def replace(file: Path, text: str) -> None:
    """As editors and orchestrators do: at once, under the same name."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)  # noqa: PTH105 - the system call that is meant


def looked_twice(watch: RulesWatch) -> RulesWatch:
    watch.check()
    watch.check()
    return watch


def test_a_changed_file_is_in_force_once_it_is_at_rest(folder: Path, watch: RulesWatch) -> None:
    replace(folder / "rules.yaml", RULES.format(name="after"))
    watch.check()
    assert ["before"] == names(watch)
    watch.check()
    assert ["after"] == names(watch)


def test_a_file_that_is_being_written_is_not_read(folder: Path, watch: RulesWatch) -> None:
    for length in range(10, 60, 10):
        (folder / "rules.yaml").write_text(RULES.format(name="after")[:length])
        watch.check()
    assert () == watch.mistakes
    (folder / "rules.yaml").write_text(RULES.format(name="after"))
    assert ["after"] == names(looked_twice(watch))


def test_a_file_with_mistakes_changes_nothing_and_each_is_logged(folder: Path, watch: RulesWatch) -> None:
    replace(folder / "rules.yaml", RULES.format(name="after") + "  - {name: b, api_key_file: key}\n")
    with capture_logs() as lines:
        looked_twice(watch)
    assert ["before"] == names(watch)
    assert (
        [
            "rules.yaml line 3: the rule has no 'match'. Add it.",
            "rules.yaml line 3: the rule has no 'products'. Add it.",
        ]
        == [str(mistake) for mistake in watch.mistakes]
        == [line["mistake"] for line in lines]
    )

    replace(folder / "rules.yaml", RULES.format(name="after"))
    assert (["after"], ()) == (names(looked_twice(watch)), watch.mistakes)


def test_mistakes_are_logged_once_and_not_at_every_look(folder: Path, watch: RulesWatch) -> None:
    replace(folder / "rules.yaml", "rules: []\n")
    looked_twice(watch)
    with capture_logs() as lines:
        looked_twice(watch)
    assert [] == lines


@pytest.mark.parametrize("name", ["rules.yaml", "products.csv", "key"])
def test_a_file_that_vanishes_changes_nothing_until_it_is_back(name: str, folder: Path, watch: RulesWatch) -> None:
    content = (folder / name).read_text()
    (folder / name).unlink()
    looked_twice(watch)
    assert 1 == len(watch.mistakes)
    assert ["before"] == names(watch)

    (folder / name).write_text(content)
    assert () == looked_twice(watch).mistakes


def test_files_that_the_rules_name_are_watched_as_well(folder: Path, watch: RulesWatch) -> None:
    replace(folder / "products.csv", "miraklProductId,productSku\nM2,S2\n")
    replace(folder / "key", "second")
    (rule,) = looked_twice(watch).rules.rules
    assert ("second", ProductList((("M2", "S2"),))) == (rule.api_key, rule.products)  # type: ignore[arg-type]  # a pair


def test_a_gateway_does_not_start_with_rules_that_have_mistakes(folder: Path) -> None:
    (folder / "rules.yaml").write_text("rules: []\n")
    with pytest.raises(InvalidRequestError, match="rules is an empty list"):
        RulesWatch(folder / "rules.yaml", DefaultKey(None))
