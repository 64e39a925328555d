"""One replica of several processes: one admin address, one life."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from producer_tools.sandbox.mirakl import Latency, Rules
from tests.integration.contract.deployment import Coordinates, Deployment, deployed, record
from tests.integration.contract.wire import pairs, request
from tests.support.parts import wait_until
from tests.support.service import Service
from tests.support.topics import Topics


@pytest.fixture
def own(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment for this test alone, with one client specification."""
    settings = {"RESYNC_PROCESSES": "2", "RESYNC_KAFKA__GROUP_INSTANCE_ID": "pod", "RESYNC_SHUTDOWN_TIMEOUT": "4s"}
    with deployed(kafka_bootstrap, topics, tmp_path, **settings) as deployment:
        deployment.key()
        deployment.specification("shop")
        yield deployment


def processes_of(service: Service) -> list[int]:
    children = Path(f"/proc/{service.pid}/task").glob("*/children")
    return [int(pid) for file in children for pid in file.read_text().split()]


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def busy_processes(service: Service) -> set[str]:
    """Those whose own metrics say that they have published results."""
    families = text_string_to_metric_families(service.get("/metrics").text)
    samples = (each for family in families for each in family.samples)
    return {each.labels["process"] for each in samples if each.name == "resync_results_total" and each.value}


def ask_every_partition(deployment: Deployment) -> None:
    sent = deployment.send(*(record(deployment.keys[0], request(pairs(1)), partition=number) for number in range(4)))
    for each in sent:
        assert deployment.result(each)["status"] == "SYNCHRONIZED"


def both_have_worked(deployment: Deployment, service: Service) -> bool:
    ask_every_partition(deployment)
    return busy_processes(service) == {"0", "1"}


def test_two_processes_share_the_partitions_and_one_that_is_killed_comes_back(own: Deployment) -> None:
    with own.service() as service:
        wait_until(lambda: both_have_worked(own, service), timeout=30, what="results of both processes")

        killed, other = processes_of(service)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: service.status("/readyz") == 503, timeout=10, what="one process is missing")
        assert "is being started" in service.get("/readyz").text
        service.wait_ready()
        ask_every_partition(own)

        assert other in processes_of(service)
        assert service.terminate() == 0
        assert not runs(other)


def test_concurrent_calls_go_to_the_process_that_has_the_work(own: Deployment) -> None:
    """A process without work keeps one of four calls; none is ever given twice."""
    own.administer("clients", "set", "shop", "--concurrent-calls", "4", "--products-per-call", "1")
    own.mirakl.rules("shop", Rules(latency=Latency(seconds=0.3)))
    counters = own.mirakl.simulator.counters("shop")

    def send(count: int, partition: int) -> list[Coordinates]:
        products = [pairs(1, f"P{partition}-{number}") for number in range(count)]
        return own.send(*(record(own.keys[0], request(each), partition=partition) for each in products))

    with own.service():
        sent = send(60, partition=0)
        wait_until(lambda: counters.most_concurrent_calls == 3, timeout=10, what="three calls at once")
        for partition in range(1, 4):
            sent += send(10, partition)
        wait_until(lambda: counters.most_concurrent_calls == 4, timeout=15, what="both processes call")
        for each in sent:
            assert own.result(each, timeout=60)["status"] == "SYNCHRONIZED"

    assert 4 == counters.most_concurrent_calls


def test_a_parent_that_is_killed_takes_its_processes_along(own: Deployment) -> None:
    with own.service() as service:
        processes = processes_of(service)
        service.kill()
        wait_until(lambda: not any(map(runs, processes)), timeout=10, what="the processes have stopped")


def test_processes_that_cannot_start_end_the_replica_with_their_exit_code(own: Deployment) -> None:
    service = own.service(RESYNC_TOPICS__RESULTS="missing.v1")
    service.start()
    try:
        assert service.wait_end(30) == 1
        assert "missing.v1" in service.output()
    finally:
        service.kill()
