"""What holds for every command."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from consumer.cli import commands
from producer_tools.cli import cli as tools
from schemas.console.program import LazyGroup
from tests.support.service import environment
from tests.unit.cli.conftest import Run

HEAVY = ("pydantic", "sqlalchemy", "confluent_kafka", "httpx", "rich", "cryptography", "fastavro")


def paths(group: click.Group = commands, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from paths(command, (*path, name))


def leaves() -> list[tuple[str, ...]]:
    everything = list(paths())
    return [path for path in everything if not any(other[: len(path)] == path != other for other in everything)]


def test_the_commands_are_those_of_the_contract() -> None:
    assert {
        *("run", "doctor", "db upgrade", "topics ensure", "schemas register", "schemas check", "config show"),
        *("encryption-key rotate", "api-keys issue", "api-keys list", "api-keys revoke"),
        *("clients add", "clients set", "clients list", "clients activate", "clients deactivate"),
        *("clients suspend", "clients resume", "clients remove", "clients check"),
    } == {" ".join(path) for path in leaves()}


@pytest.mark.parametrize("path", leaves(), ids=" ".join)
def test_every_command_shows_how_it_is_used(run: Run, path: tuple[str, ...]) -> None:
    ran = run(*path, "--help")
    assert 0 == ran.code
    assert f"mirakl-resync-consumer {' '.join(path)}" in ran.out.split("Examples:")[1]


@pytest.mark.parametrize("path", leaves(), ids=" ".join)
def test_a_setting_that_does_not_exist_ends_every_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    monkeypatch.setenv("RESYNC_KAFKA_GROUP_ID", "x")
    arguments = {
        "clients add": ("--name", "n", "--url", "https://u", "--credential-file", "-"),
        "clients set": ("row", "--name", "n"),
        "api-keys issue": ("--name", "n"),
    }.get(" ".join(path), ("row",) if path[-1] in TAKE_A_ROW else ())
    ran = run(*path, *arguments)
    assert (2, "") == (ran.code, ran.out)
    assert "Unknown setting RESYNC_KAFKA_GROUP_ID. Did you mean RESYNC_KAFKA__GROUP_ID?" in ran.err


TAKE_A_ROW = {"activate", "deactivate", "suspend", "resume", "remove", "revoke"}


@pytest.mark.parametrize("program", ["consumer", "producer_tools"])
def test_help_answers_at_once_since_no_command_is_imported(program: str) -> None:
    code = (
        f"import sys, {program}.cli as cli; cli.main(['--help']); "
        f"print(set({HEAVY}) & {{*sys.modules}}, [name for name in sys.modules if name.startswith('{program}.cli.')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment({}), capture_output=True, text=True, check=True
    )
    assert ended.stdout.endswith("\nset() []\n")


@pytest.mark.parametrize("group", [commands, tools], ids=["consumer", "tools"])
def test_the_list_of_commands_says_what_each_command_says(group: LazyGroup) -> None:
    """It is written beside the command, so that showing it imports nothing."""
    context = click.Context(group)
    told = {}
    for name, where in group.lazy.items():
        command = group.get_command(context, name)
        assert command is not None
        told[name] = (command.name, command.get_short_help_str(200))
        assert (name, where.short_help) == told[name]


@pytest.mark.parametrize(
    ("words", "offered"), [("mirakl-resync s", ["plain,send"]), ("mirakl-resync comp", ["plain,completion"])]
)
def test_completion_of_names_imports_no_command(words: str, offered: list[str]) -> None:
    code = (
        "import atexit, sys; from producer_tools.cli import main; "
        "atexit.register(lambda: print('producer_tools.cli.send' in sys.modules)); main([])"
    )
    variables = {"_MIRAKL_RESYNC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(variables), capture_output=True, text=True, check=False
    )
    assert [*offered, "False"] == ended.stdout.split()


def test_wrong_usage_ends_with_2_and_says_what_there_is(run: Run) -> None:
    ran = run("clients", "lst")
    assert (2, "") == (ran.code, ran.out)
    assert "No such command 'lst'" in ran.err


def test_completion_offers_the_commands() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import sys; from consumer.cli import main; sys.exit(main([]))"],
        env=environment(
            {
                "_MIRAKL_RESYNC_CONSUMER_COMPLETE": "bash_complete",
                "COMP_WORDS": "mirakl-resync-consumer clients s",
                "COMP_CWORD": "2",
            }
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ["plain,set", "plain,suspend"] == ended.stdout.split()


def test_a_closed_pipe_is_no_occasion_for_a_message() -> None:
    listing = subprocess.Popen(
        [sys.executable, "-m", "consumer", "config", "show"],
        env=environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    listing.stdout.close()
    with listing.stderr:
        assert b"" == listing.stderr.read()
    assert 1 == listing.wait()


@pytest.mark.parametrize("command", [["consumer", "config", "show"], ["producer_tools", "--help"]])
def test_output_that_finds_no_room_is_said_in_one_line(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", *command],
            check=False,
            env=environment({}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (1, "error: the output could not be written: No space left on device\n") == (ran.returncode, ran.stderr)


def test_an_interrupted_command_ends_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("consumer.cli.encryption_key.read_settings", interrupt)
    ran = run("encryption-key")
    assert (130, "") == (ran.code, ran.out)
