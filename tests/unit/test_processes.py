"""The parent of a replica's processes: what they get from it, and how their metrics become one answer."""

import json
import signal
import sys
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from queue import SimpleQueue
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from consumer.domain.quota_plan import Division, QuotaReport
from consumer.processes import Member, Processes, Quotas, member_environ, merge_metrics
from schemas.settings import SettingsError, load
from tests.support.parts import wait_until


def scrape(requests: int) -> str:
    registry = CollectorRegistry()
    Counter("resync_requests", "Requests.", ["code"], registry=registry).labels("OK").inc(requests)
    Gauge("resync_partitions", "Partitions.", registry=registry).set(3)
    Histogram("resync_call_seconds", "Calls.", buckets=(1,), registry=registry).observe(0.5)
    return generate_latest(registry).decode()


def test_the_metrics_of_all_processes_are_one_answer_with_a_label_for_each() -> None:
    merged = merge_metrics({0: scrape(5), 1: scrape(7)})

    samples = {(each.name, *sorted(each.labels.items())): each.value for metric in merged for each in metric.samples}
    assert samples["resync_requests_total", ("code", "OK"), ("process", "0")] == 5
    assert samples["resync_requests_total", ("code", "OK"), ("process", "1")] == 7
    assert samples["resync_call_seconds_count", ("process", "1")] == 1
    assert len(merged) == len({metric.name for metric in merged})


def test_each_process_has_a_name_of_its_own_and_its_admin_port_is_not_reachable_from_outside() -> None:
    environ = {
        "PATH": "/bin",
        "RESYNC_KAFKA__GROUP_INSTANCE_ID": "pod-7",
        "RESYNC_ADMIN__PORT": "9000",
        "RESYNC_PROCESSES": "auto",
        "RESYNC_EVENT_TRACE_FILE": "events.trace",
    }
    member = member_environ(load(environ), environ, 1)

    settings = load(member)
    assert settings.kafka.group_instance_id == "pod-7-1"
    assert (settings.admin.host, settings.admin.port) == ("127.0.0.1", 0)
    assert settings.processes == 1
    assert str(settings.event_trace_file) == "events.trace.1"
    assert member["PATH"] == "/bin"


def test_a_setting_from_a_file_does_not_contradict_what_differs_by_process(tmp_path: pytest.TempPathFactory) -> None:
    file = f"{tmp_path}/id"
    with open(file, "w", encoding="utf-8") as written:  # noqa: PTH123 - a plain file
        written.write("pod-7\n")
    environ = {"RESYNC_KAFKA__GROUP_INSTANCE_ID_FILE": file}

    assert load(member_environ(load(environ), environ, 0)).kafka.group_instance_id == "pod-7-0"


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5"])
def test_a_number_of_processes_that_is_none_is_a_mistake(given: str) -> None:
    with pytest.raises(SettingsError, match="RESYNC_PROCESSES"):
        load({"RESYNC_PROCESSES": given})


def test_a_probe_of_the_parent_is_one_question_to_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not answer costs two seconds each time, and a probe does not wait for long."""
    asked: list[tuple[int, str]] = []

    def stuck(member: Member, path: str) -> tuple[int, bytes]:
        asked.append((member.number, path))
        return 503, b'{"reasons": ["core: no progress for 61 s (limit 60 s)"]}'

    monkeypatch.setattr(Member, "get", stuck)
    environ = {"RESYNC_ADMIN__HOST": "127.0.0.1", "RESYNC_ADMIN__PORT": "0"}
    parent = Processes(load(environ), 2, ["never started"], environ)
    parent._admin.start()
    try:
        status, body = _ask(parent._admin.port, "/readyz")
    finally:
        parent._admin.stop()

    assert [(0, "/readyz"), (1, "/readyz")] == sorted(asked)
    assert status == 503
    assert [f"process {number}: core: no progress for 61 s (limit 60 s)" for number in range(2)] == body["reasons"]


def _ask(port: int, path: str) -> tuple[int, dict[str, Any]]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


MEMBER = """
import socket, sys
parent = socket.socket(fileno=int(sys.argv[-1]))
plans = parent.makefile("rb")

def report(id_):
    parent.sendall(b'[1,["%s"],[],true]\\n' % id_.encode())

plans.readline()
parent.sendall(b"9001\\n")
"""
"""A member that reads its first plan and reports its port."""


def member(number: int, quotas: Quotas, then: str) -> Member:
    return Member(number, [sys.executable, "-c", MEMBER + then], {}, quotas)


def test_the_reports_of_a_process_are_answered_with_plans_and_its_end_counts() -> None:
    quotas, ended = Quotas(2), SimpleQueue[int]()
    quotas.started(1)
    quotas.reported(1, QuotaReport(1, frozenset(), frozenset(), settled=True))
    one = member(0, quotas, "report('shop'); sys.exit(int(plans.readline()[1:2]))")
    one.start(lambda _, code: ended.put(code))

    assert 2 == ended.get(timeout=10)
    assert 9001 == one.admin_port
    working = QuotaReport(2, frozenset({"shop"}), frozenset(), settled=True)
    begun = quotas.reported(1, working)
    newest = quotas.reported(1, replace(working, plan=begun.number))
    assert {"shop": Division((1,))} == newest.divisions


def test_a_report_that_is_cut_off_by_the_end_of_a_process_hides_the_end_from_nobody() -> None:
    quotas, ended = Quotas(2), SimpleQueue[int]()
    member(0, quotas, "parent.sendall(b'[1,[')").start(lambda _, code: ended.put(code))

    assert 0 == ended.get(timeout=10)


def test_a_defect_of_the_division_costs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("shop")

    quotas, ended = Quotas(2), SimpleQueue[int]()
    for name in ("reported", "ended"):
        monkeypatch.setattr(quotas, name, broken)
    member(0, quotas, "report('shop'); sys.exit(7)").start(lambda _, code: ended.put(code))

    assert 7 == ended.get(timeout=10)


def test_a_process_that_reads_no_plans_holds_up_no_other() -> None:
    """It is sent more than a socket holds."""
    quotas, ended = Quotas(2), SimpleQueue[int]()
    deaf = member(0, quotas, "for number in range(99): report(f'{number}' + 99_999 * 'x')")
    deaf.start(lambda _, code: ended.put(code))
    wait_until(lambda: deaf.admin_port is not None, timeout=10, what="its port")
    other = member(1, quotas, "report('shop'); plans.readline(); sys.exit(7)")
    other.start(lambda _, code: ended.put(code))

    assert 7 == ended.get(timeout=10)
    deaf.send(signal.SIGKILL)
    assert -signal.SIGKILL == ended.get(timeout=10)
