"""How commands of both programs end."""

import errno

import click
import pytest

from consumer.adapters.kafka.broker_errors import (
    BrokerRefusedError,
    BrokerUnreachableError,
    KafkaTroubleError,
    NotLetInError,
)
from consumer.adapters.kafka.refusals import Refusal
from consumer.adapters.stores import AdministrationError, EncryptionKeysError, StoreError
from producer_tools import InvalidRequestError, MisconfiguredError, Mistake, NotAcknowledgedError, UnreachableError
from schemas.console.program import run
from schemas.process.health import AdminAddressError
from schemas.registry.errors import RegistryError, SchemaNotRegisteredError
from schemas.settings import SettingsError

TEXTS = "It is broken.", "Mend it."


def ended(error: BaseException) -> int:
    @click.group()
    def program() -> None:
        """Do nothing."""

    @program.command()
    def fail() -> None:
        raise error

    return run(program, "program", ["fail"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequestError([Mistake("p.csv line 3", "x")]), 2),
        (MisconfiguredError(*TEXTS), 2),
        (UnreachableError(*TEXTS), 6),
        (NotAcknowledgedError(*TEXTS), 6),
        (SettingsError(["RESYNC_X is wrong."]), 2),
        (StoreError(*TEXTS, missing_or_old=True), 1),
        (AdministrationError(*TEXTS), 2),
        (EncryptionKeysError(*TEXTS), 2),
        (KafkaTroubleError(*TEXTS), 1),
        (BrokerUnreachableError(*TEXTS), 6),
        (BrokerRefusedError(*TEXTS), 2),
        (NotLetInError(Refusal(*TEXTS)), 2),
        (RegistryError(*TEXTS), 6),
        (RegistryError(*TEXTS, 503), 6),
        (RegistryError(*TEXTS, 401), 2),
        (SchemaNotRegisteredError("s"), 1),
        (AdminAddressError(*TEXTS), 1),
        (click.UsageError("x"), 2),
        (click.ClickException("x"), 2),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_expected_failure_becomes_one_message_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code == ended(error)
    told = capsys.readouterr()
    assert (told.out, bool(told.err), "Traceback" in told.err) == ("", True, False)


def test_problem_and_remedy_are_shown_as_two_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    ended(MisconfiguredError("It is broken", "Mend it"))

    assert "error: It is broken. Mend it.\n" == capsys.readouterr().err


def test_what_strangers_wrote_into_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    ended(MisconfiguredError("\x1b[2J\u202e.", "Mend it."))

    assert "error: \\x1b[2J\\u202e. Mend it.\n" == capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_output_that_cannot_be_written_is_said_in_one_line(
    number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.console.program.give_up", lambda _: None)

    assert 1 == ended(OSError(number, "no room"))
    assert "error: the output could not be written: no room\n" == capsys.readouterr().err


def test_a_reader_that_left_the_pipe_is_no_occasion_for_a_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.console.program.give_up", lambda _: None)

    assert 1 == ended(BrokenPipeError())
    assert "" == capsys.readouterr().err


@pytest.mark.parametrize("defect", [ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "no file")])
def test_a_defect_is_seen_with_its_traceback(defect: Exception) -> None:
    with pytest.raises(type(defect)):
        ended(defect)
