"""The compiled form: commands use it, and it does exactly what its sources do."""

import subprocess
import sys
from pathlib import Path

import pytest

from consumer import compiled
from tests.simulation.runs import recorded

ROOT = Path(__file__).parents[2]
SEEDS = range(60)

WHAT_A_COMMAND_IMPORTS = """
import sys
from consumer import compiled
from consumer.__main__ import _load
_load()
import consumer.service
made = compiled.folder()
for file in made.rglob("*.so"):
    name = ".".join(file.relative_to(made).parts).partition(".cpython")[0]
    assert name not in sys.modules or sys.modules[name].__file__ == str(file), name
print(sys.modules["consumer.engine.core"].__file__)
"""

REPLAY = """
import sys
from pathlib import Path
from consumer import compiled
compiled.use()
from consumer.engine import core
from tests.simulation.replay import replay
print(Path(core.__file__).suffix, sum(len(list(replay(Path(name).open()))) for name in sys.argv[1:]))
"""


UNIT_TESTS = """
import sys
import pytest
from consumer import compiled
compiled.use()
sys.exit(pytest.main(sys.argv[1:]))
"""

pytestmark = pytest.mark.usefixtures("compiled_engine")


def run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unit", ["adapters/kafka", "adapters/mirakl", "domain", "engine"])
def test_it_passes_the_unit_tests(unit: str) -> None:
    kinds = "not cost and not interpreted"
    tested = run(UNIT_TESTS, "-q", "-p", "no:cacheprovider", "-m", kinds, f"tests/unit/{unit}")
    assert 0 == tested.returncode, tested.stdout[-10_000:]


def test_in_hostile_schedules_the_same_commands_follow_from_the_same_events(tmp_path: Path) -> None:
    turns = 0
    traces = []
    for seed in SEEDS:
        for process, lines in recorded(seed).items():
            turns += len(lines) - 1
            traces.append(tmp_path / f"{seed}-{process}")
            traces[-1].write_text("".join(lines))
    replayed = run(REPLAY, *map(str, traces))
    assert turns > 10_000
    assert (0, f".so {turns}\n") == (replayed.returncode, replayed.stdout), replayed.stderr


def test_a_command_imports_everything_that_is_compiled_in_that_form() -> None:
    imported = run(WHAT_A_COMMAND_IMPORTS)
    assert 0 == imported.returncode, imported.stderr
    assert str(compiled.folder()) in imported.stdout
