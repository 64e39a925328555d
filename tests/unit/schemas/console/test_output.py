"""Data for people and for scripts."""

import io
import json
import re

import pytest

from schemas.console.output import Output, Stream, Table, show, streaming
from schemas.console.text import printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(output: Output, *items: dict[str, str]) -> None:
    stream = Stream(output, Table("name"), lambda item: [item["requestId"]])
    with streaming(stream):
        for item in items:
            stream.add(item)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_array_however_many_there_are(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"requestId": f"é{n}"} for n in range(count)]

    written(Output.JSON, *items)

    assert items == json.loads(capsys.readouterr().out)


def test_json_is_whole_also_after_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with streaming(Stream(Output.JSON, Table(), lambda _: [])) as stream:
            stream.add({"n": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert [{"n": 1}] == json.loads(capsys.readouterr().out)


def test_jsonl_is_one_object_a_line_and_ids_one_id(capsys: pytest.CaptureFixture[str]) -> None:
    written(Output.JSONL, {"requestId": "a\nb"}, {"requestId": "\udc80"})
    assert ["a\nb", "\udc80"] == [json.loads(line)["requestId"] for line in capsys.readouterr().out.splitlines()]

    written(Output.IDS, {"requestId": "a"}, {"requestId": "b"})
    assert capsys.readouterr().out == "a\nb\n"


def test_in_a_pipe_every_row_is_one_line_and_nothing_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    Table("id", "message").write([("1", "x" * 300), ("22", "[red]y")])

    assert ["id  message", "1   " + "x" * 300, "22  [red]y"] == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [60, 100])
def test_on_a_terminal_a_table_fits_and_still_tells_all(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    message = " ".join(f"word{n}" for n in range(40))

    Table("request", "message", stream=terminal).write([("0b6ff0dd-6e62-4f9f-8c6b-0f2e5a4e9d11", message)])

    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith("0b6ff0dd-6e62-4f9f-8c6b-0f2e5a4e9d11") for line in lines)
    assert set(message.split()) <= set(" ".join(lines).split())


def test_on_a_narrow_terminal_a_long_answer_stands_below_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()

    Table("request", "answer", stream=terminal).write([("0b6ff0dd-6e62-4f9f-8c6b-0f2e5a4e9d11", "x" * 50)])

    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()]
    assert lines == ["request", "  answer", "0b6ff0dd-6e62-4f9f-8c6b-0f2e5a4e9d11", f"  {'x' * 50}"]


@pytest.mark.parametrize(
    ("text", "shown"), [("\x1b[2J", "\\x1b[2J"), ("a\nb", "a\\nb"), ("\u202eabc", "\\u202eabc"), ("é 中", "é 中")]
)
def test_other_peoples_text_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert shown == printable(text)


def test_a_table_without_rows_says_so_and_json_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    for form in (Output.TABLE, Output.JSON):
        show([], form, columns={"name": "name"}, empty="There is none.")

    assert ("[]\n", "There is none.\n") == capsys.readouterr()


def test_on_a_very_narrow_terminal_each_cell_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()

    Table("id", "name", "message", stream=terminal).write([("1", "a", "x" * 40), ("2", "b", None)])

    assert terminal.getvalue().splitlines() == [
        *("id       1", "name     a", f"message  {'x' * 40}", ""),
        *("id       2", "name     b", "message  -"),
    ]
