"""The simulated Mirakl from outside: its remote control, HTTP as bytes, and the program."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from producer_tools.sandbox.mirakl import Effect, Fault, Latency, MiraklSimulator, Rules
from producer_tools.sandbox.mirakl.wire import Request
from tests.unit.producer_tools.sandbox.mirakl_calls import (
    CM21,
    answered,
    entries,
    post,
    simulator,
    status,
    statuses,
    taken_in,
)

# The remote control


def control(mirakl: MiraklSimulator, command: str, body: object = None) -> tuple[int, object]:
    method, path = command.split(" ")
    content = b"" if body is None else json.dumps(body).encode()
    return answered(mirakl.answer(Request(method, f"/_control/{path}", {}, content)))


def test_faults_are_scripted_listed_and_cleared_from_afar() -> None:
    mirakl = simulator()
    fault = {"effect": "status", "status": 503, "count": 2}
    assert (200, [{"instance": "acme", "left": 2, "fault": fault}]) == control(
        mirakl, "POST faults?instance=acme", fault
    )
    assert [503] == statuses(mirakl, 1, f"/c/acme{CM21}")
    assert (200, []) == control(mirakl, "DELETE faults")
    assert control(mirakl, "POST faults", [fault, {"effect": "hang"}])[0] == 200
    assert len(mirakl.scripted_faults) == 2


def test_rules_are_set_from_afar_and_shown_without_credentials() -> None:
    mirakl = simulator()
    rules = {"authorization": ["Bearer t0ken"], "max_entries": 5}
    assert (200, {"max_entries": 5}) == control(mirakl, "PUT rules?instance=acme", rules)
    assert status(post(mirakl, path=f"/c/acme{CM21}")) == 401
    assert "t0ken" not in json.dumps(control(mirakl, "GET state"))


@pytest.mark.parametrize(
    ("command", "body", "code"),
    [
        ("POST faults", {"effect": "magic"}, 400),
        ("POST faults", [{"effect": "hang"}, {"effect": "magic"}], 400),
        ("PUT rules", {"max_entry": 5}, 400),
        ("GET journal?limit=many", None, 400),
        ("GET nothing", None, 404),
        ("PUT faults", None, 404),
    ],
)
def test_a_command_that_cannot_be_read_changes_nothing(command: str, body: object, code: int) -> None:
    mirakl = simulator()
    assert control(mirakl, command, body)[0] == code
    assert mirakl.scripted_faults == []
    assert mirakl.rules == Rules()


def test_the_journal_is_read_from_afar() -> None:
    mirakl = simulator()
    tracking_ids = [taken_in(mirakl, {letter: "x"}) for letter in "ABC"]

    def listed(query: str) -> list[str]:
        code, answer = control(mirakl, f"GET journal{query}")
        assert code == 200
        assert isinstance(answer, dict)
        assert answer["forgotten"] == 0
        return [submission["tracking_id"] for submission in answer["submissions"]]

    assert tracking_ids == listed("")
    assert tracking_ids[:2] == listed("?limit=2")
    assert [tracking_ids[1]] == listed(f"?tracking_id={tracking_ids[1]}")
    assert [tracking_ids[2]] == listed("?mirakl_product_id=C&instance=default")
    assert [] == listed("?tracking_id=unknown")


def test_forgetting_leaves_the_rules_alone() -> None:
    mirakl = simulator(Rules(max_entries=7))
    mirakl.add_fault(Fault(effect=Effect.HANG, count=1))
    post(mirakl)
    post(mirakl, b"{}")
    assert (200, {}) == control(mirakl, "POST forget")
    assert (0, 0, [], 0) == (
        len(mirakl.journal),
        mirakl.violation_count,
        mirakl.scripted_faults,
        mirakl.counters().calls,
    )
    assert mirakl.rules.max_entries == 7


# HTTP


def conversation(*sent: bytes, rules: Rules | None = None) -> bytes:
    """Send pieces to a served simulator and read until it closes, or is silent for a while."""

    async def story() -> bytes:
        async with simulator(rules).serving() as mirakl:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(mirakl.base_url.rpartition(":")[2]))
            for piece in sent:
                writer.write(piece)
                await asyncio.sleep(0.02)
            received = b""
            try:
                async with asyncio.timeout(0.3):
                    while piece := await reader.read(65536):
                        received += piece
            except TimeoutError:
                received += b"(still open)"
            writer.close()
            return received

    return asyncio.run(story())


HTTP_CALL = (
    b"POST /api/mcm/products/synchronization HTTP/1.1\r\nHost: x\r\nAUTHORIZATION: Bearer x\r\n"
    b"Content-Type: application/json\r\nContent-Length: 47\r\n\r\n"
    b'[{"mirakl_product_id":"MKL","product_sku":"S"}]'
)


def test_a_request_may_come_in_pieces_and_two_may_come_at_once() -> None:
    pieces = [HTTP_CALL[:30], HTTP_CALL[30:150], HTTP_CALL[150:-5], HTTP_CALL[-5:] + HTTP_CALL]
    answer = conversation(*pieces)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"(still open)")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(sent: bytes, code: bytes) -> None:
    answer = conversation(sent)
    assert answer.startswith(b"HTTP/1.1 " + code)
    assert not answer.endswith(b"(still open)")


def test_a_caller_that_waits_for_a_go_ahead_gets_it() -> None:
    head, body = HTTP_CALL.split(b"\r\n\r\n")
    answer = conversation(head + b"\r\nExpect: 100-continue\r\n\r\n", body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_a_connection_that_is_lost_ends_its_call() -> None:
    async def story() -> None:
        async with simulator(Rules(latency=Latency(seconds=60))).serving() as mirakl:
            _, writer = await asyncio.open_connection("127.0.0.1", int(mirakl.base_url.rpartition(":")[2]))
            writer.write(HTTP_CALL)
            await asyncio.sleep(0.05)
            assert mirakl.counters().concurrent_calls == 1
            writer.close()
            await asyncio.sleep(0.05)
            assert mirakl.counters().concurrent_calls == 0

    asyncio.run(story())


# The program


def test_the_program_prints_its_url_serves_and_stops_when_told(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    command = [sys.executable, "-m", "producer_tools.sandbox.mirakl", "--journal", str(journal), "--latency", "10ms"]
    command += ["--credential", "acme:Bearer x", "--dead", "gone", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        base_url = program.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base_url)
        request = urllib.request.Request(  # noqa: S310 - our own URL
            base_url + CM21, entries({"A": "a"}), {"Authorization": "Bearer x", "Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own URL
            tracking_id = json.load(answer)["tracking_id"]
        with urllib.request.urlopen(f"{base_url}/_control/state", timeout=5) as answer:  # noqa: S310 - our own URL
            assert json.load(answer)["faults"] == [{"instance": "gone", "left": None, "fault": {"effect": "hang"}}]
        program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0
    (line,) = journal.read_text().splitlines()
    assert ("acme", tracking_id) == (json.loads(line)["instance"], json.loads(line)["tracking_id"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--latency", "50"], "50ms"),
        (["--tail", "often:2s"], "0.03:2s"),
        (["--credential", "acme"], "NAME:AUTHORIZATION"),
        (["--faults", "/nowhere.json"], "No such file"),
        (["--key", __file__], "--certificate and --key belong together"),
        (["--host", "192.0.2.1"], "Cannot listen on 192.0.2.1:0"),
    ],
)
def test_the_program_says_what_is_wrong_with_its_options(options: list[str], message: str) -> None:
    command = [sys.executable, "-m", "producer_tools.sandbox.mirakl", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
