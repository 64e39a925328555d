"""The package as other teams import it."""

import subprocess
import sys

import producer_tools
from tests.support.service import environment

HEAVY = {"confluent_kafka", "fastavro", "pydantic", "httpx", "rich"}


def imported_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment({}), capture_output=True, text=True, check=True
    )
    return set(told.stdout.split())


def test_every_public_name_can_be_had() -> None:
    assert [] == [name for name in producer_tools.__all__ if getattr(producer_tools, name, None) is None]
    assert set(producer_tools.__all__) == set(dir(producer_tools))


def test_importing_it_and_asking_for_help_loads_nothing_heavy() -> None:
    help_of = "from producer_tools.cli import main; main(['--help'])"

    assert not HEAVY & imported_by("import producer_tools")
    assert not HEAVY & imported_by(help_of)
