"""The two programs, from their very first moment on."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import wait_until
from tests.support.service import environment

INTERRUPTED = 130
INTERRUPTS = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize("program", ["consumer", "producer_tools"])
def test_ctrl_c_while_a_program_is_still_being_loaded_ends_it_without_a_word(program: str, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(INTERRUPTS)
    main = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from {program}.__main__ import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", main], capture_output=True, text=True, check=False)
    assert (INTERRUPTED, "", "") == (ended.returncode, ended.stdout, ended.stderr)


def started(arguments: str, redirections: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
    """The program as a shell starts it, with streams closed or redirected."""
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m {arguments} {redirections}"],
        env=environment({"RESYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "RESYNC_API_KEY": "key"}) | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, str]:
    settings = {
        "RESYNC_DATABASE_URL": f"sqlite:///{tmp_path}/stores.db",
        "RESYNC_ENCRYPTION_KEYS": "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    }
    assert started("consumer db upgrade", **settings).returncode == 0
    return settings


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("consumer clients add --name n --url https://m.example --credential-file -", "--credential-file"),
        ("producer_tools send --dry-run --file -", "standard input"),
        (f"producer_tools send {' '.join(f'--product M{n}:S' for n in range(501))}", "--yes"),
    ],
)
def test_closed_standard_input_is_a_mistake_of_the_caller(arguments: str, told: str, stores: dict[str, str]) -> None:
    ran = started(arguments, "<&-", **stores)
    assert (2, "") == (ran.returncode, ran.stdout)
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("program", ["consumer config show", "producer_tools --help", "consumer --help"])
@pytest.mark.parametrize("destination", ["&-", "/dev/full"])
def test_output_that_cannot_be_written_is_no_success(program: str, destination: str) -> None:
    ran = started(program, f">{destination}")
    assert 1 == ran.returncode
    assert ran.stderr.startswith("error: the output could not be written: ")
    assert 1 == len(ran.stderr.splitlines())


@pytest.mark.parametrize("destination", ["&-", "/dev/full"])
def test_no_key_is_issued_that_nobody_has_seen(destination: str, stores: dict[str, str]) -> None:
    assert 1 == started("consumer api-keys issue --name lost", f">{destination}", **stores).returncode
    assert "[]" == started("consumer api-keys list --output json", **stores).stdout.strip()


@pytest.mark.parametrize("destination", ["&-", "/dev/full"])
def test_messages_that_cannot_be_written_stop_no_work(destination: str, stores: dict[str, str]) -> None:
    ran = started("consumer api-keys issue --name seen", f"2>{destination}", **stores)
    assert (0, "mrk_") == (ran.returncode, ran.stdout[:4])


@pytest.mark.parametrize("program", ["consumer", "producer_tools"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_or_socket_gets_the_number_of_a_closed_stream(program: str, closed: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = (
        f"import socket, sys; from {program}.__main__ import main; sys.argv[1:] = ['--version']; main(); "
        f"open({str(told)!r}, 'w').write(str(socket.socket().fileno()))"
    )
    subprocess.run(["/bin/sh", "-c", f'exec {sys.executable} -c "$0" {closed}', code], check=True, capture_output=True)
    assert int(told.read_text()) > 2


def test_what_an_encoding_lacks_is_shown_as_an_escape(stores: dict[str, str]) -> None:
    stores["PYTHONIOENCODING"] = "iso-8859-1"
    assert 0 == started("consumer api-keys issue --name 東", **stores).returncode
    assert "\\u6771" in started("consumer api-keys list", **stores).stdout
    assert "東" == json.loads(started("consumer api-keys list --output json", **stores).stdout)[0]["name"]
    dry_run = started("producer_tools send --product 東:S --dry-run --output json", **stores)
    assert "東" == json.loads(dry_run.stdout)[0]["products"][0]["miraklProductId"]


def test_json_stays_json_where_an_encoding_lacks_a_character_below_256(stores: dict[str, str]) -> None:
    stores["PYTHONIOENCODING"] = "koi8-r"
    assert 0 == started("consumer api-keys issue --name Zoë", **stores).returncode
    assert "Zoë" == json.loads(started("consumer api-keys list --output json", **stores).stdout)[0]["name"]


def test_a_table_on_a_terminal_that_knows_ascii_only_shows_escapes() -> None:
    settings = {"RESYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "PYTHONIOENCODING": "ascii", "COLUMNS": "150"}
    ours, theirs = pty.openpty()
    ran = subprocess.run(
        [sys.executable, "-m", "producer_tools", "send", "--product", "Zoë:S", "--dry-run"],
        env=environment(settings),
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)
    assert (0, b"Zo\\xeb:S") == (ran.returncode, os.read(ours, 4096).split()[-3])
    os.close(ours)


def test_sigterm_ends_a_command_also_where_it_is_the_first_process_of_a_container() -> None:
    """A signal whose action is the default one is not delivered to such a process; a handler's exit code shows it."""
    command = [sys.executable, "-m", "producer_tools", "send", "--dry-run", "--file", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment({})) as waiting:
        wait_until(lambda: handles_sigterm(waiting.pid), timeout=20, what="the handler is there")
        waiting.send_signal(signal.SIGTERM)
        assert 143 == waiting.wait(10)


def handles_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
