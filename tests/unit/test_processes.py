"""The parent of a replica's processes: what they get from it, and how their metrics become one answer."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from consumer.processes import member_environ, merge_metrics
from schemas.settings import SettingsError, load


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
