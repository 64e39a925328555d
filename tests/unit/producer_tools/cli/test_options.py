"""Wrong usage is told before anything is loaded or sent."""

import pytest

from producer_tools.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["send", "--timeout", "soon"], "write it like 250ms, 30s, 5m, 12h or 90d"),
        (["results", "--since", "yesterday"], "write it like 2026-01-31T08:00:00Z or 2h"),
        (["results", "--output", "ids"], "'ids' is not one of"),
        (["dlq", "show", "17"], "'17' is not PARTITION:OFFSET"),
        (["dlq", "redrive"], "say --all"),
        (["dlq", "redrive", "0:1", "--all"], "say --all"),
        (["send", "--file", "there/is/none.csv"], "does not exist"),
        (["retry", "--client-specification", "acme"], "'acme' is not a UUID in its 36-character form"),
        (["retry", "--until", "yesterday"], "write it like 2026-01-31T08:00:00Z or 2h"),
        (["sned"], "No such command 'sned'"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_to_write(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["send"], ["results"], ["dlq", "list"], ["dlq", "redrive"], ["retry"]])
def test_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "mirakl-resync " + " ".join(command or ["send"]) in capsys.readouterr().out.split("Example", 1)[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_MIRAKL_RESYNC_COMPLETE" in capsys.readouterr().out


def test_completion_knows_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_MIRAKL_RESYNC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "mirakl-resync send --batch")
    monkeypatch.setenv("COMP_CWORD", "2")

    with pytest.raises(SystemExit):
        main([])

    assert capsys.readouterr().out.split() == ["plain,--batch-size"]
