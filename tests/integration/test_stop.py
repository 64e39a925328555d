"""SIGTERM ends the service within its time, whatever hangs."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.process.watchdog import EXIT_STUCK
from tests.integration.contract.deployment import Deployment, deployed, record
from tests.integration.contract.wire import pairs, request
from tests.support.parts import wait_until
from tests.support.service import Service
from tests.support.topics import Topics
from tests.support.unending import STANDS_STILL

pytestmark = pytest.mark.slow

SHUTDOWN_SECONDS = 4
LATE_SECONDS = 1.0
"""On a machine that does other things as well."""
WATCHDOG_SECONDS = 2.0


@pytest.fixture
def own(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment for this test alone, with one client specification."""
    with deployed(kafka_bootstrap, topics, tmp_path, RESYNC_SHUTDOWN_TIMEOUT=f"{SHUTDOWN_SECONDS}s") as deployment:
        deployment.key()
        deployment.specification("shop")
        yield deployment


def unending(deployment: Deployment, what: str) -> Service:
    return Service(deployment.environment, deployment.folder, program=("tests.support.unending", what))


def stopped(service: Service) -> tuple[int, float]:
    """Tell it to stop: exit code, and after how many seconds."""
    began = time.monotonic()
    code = service.terminate()
    return code, time.monotonic() - began


def stands_still(service: Service) -> None:
    wait_until(lambda: STANDS_STILL in service.output(), timeout=30, what=STANDS_STILL)


def test_a_start_that_hangs_ends_at_once(own: Deployment) -> None:
    service = unending(own, "start")
    service.start()
    try:
        stands_still(service)
        code, seconds = stopped(service)
    finally:
        service.kill()
    assert 0 == code
    assert seconds < LATE_SECONDS


def test_a_signal_amid_the_garbage_of_the_start_is_heard(own: Deployment) -> None:
    """There is a destructor at work, in which whatever a handler raises is lost."""
    service = unending(own, "start, told to stop")
    service.start()
    try:
        assert 0 == service.wait_end(20)
    finally:
        service.kill()


def test_what_does_not_hang_is_not_waited_for(own: Deployment) -> None:
    with unending(own, "nothing") as service:
        own.result(own.send(record(own.keys[0], request(pairs(1))))[0])
        code, seconds = stopped(service)
    assert 0 == code
    assert seconds < LATE_SECONDS


@pytest.mark.parametrize("what", ["thread of a call", "commit"])
def test_what_is_out_for_ever_gets_its_time_and_no_more(own: Deployment, what: str) -> None:
    with unending(own, what) as service:
        own.send(record(own.keys[0], request(pairs(1))))
        stands_still(service)
        code, seconds = stopped(service)
    assert 0 == code
    assert SHUTDOWN_SECONDS - 3 < seconds < SHUTDOWN_SECONDS + LATE_SECONDS


def test_a_consumer_that_cannot_leave_is_left(own: Deployment) -> None:
    with unending(own, "leaving") as service:
        code, seconds = stopped(service)
        assert STANDS_STILL in service.output()
    assert 0 == code
    assert seconds < SHUTDOWN_SECONDS + LATE_SECONDS


def test_a_database_that_does_not_answer_is_not_waited_for(own: Deployment) -> None:
    with unending(own, "database") as service:
        stands_still(service)
        code, seconds = stopped(service)
    assert 0 == code
    assert seconds < LATE_SECONDS


@pytest.mark.parametrize("what", ["loop", "cancelled call"])
def test_where_the_loop_is_stuck_the_process_leaves_with_the_stacks_of_all(own: Deployment, what: str) -> None:
    with unending(own, what) as service:
        own.send(record(own.keys[0], request(pairs(1))))
        if what != "loop":
            stands_still(service)
        code, seconds = stopped(service)
    assert EXIT_STUCK == code
    assert seconds < SHUTDOWN_SECONDS + WATCHDOG_SECONDS + LATE_SECONDS
    assert "watchdog: stop: no progress for" in service.output()
    assert "Thread MainThread (" in service.output()


def test_a_second_signal_is_heard_where_the_loop_is_stuck(own: Deployment) -> None:
    with unending(own, "loop") as service:
        service.signal(signal.SIGTERM)
        stands_still(service)
        code, seconds = stopped(service)
    assert 128 + signal.SIGTERM == code
    assert seconds < LATE_SECONDS


def test_a_session_timeout_that_the_brokers_refuse_ends_the_start_with_the_remedy(own: Deployment) -> None:
    environment = own.environment | {"RESYNC_KAFKA__PROPERTIES": '{"session.timeout.ms": "3000"}'}
    service = Service(environment, own.folder)
    service.start()
    try:
        assert 1 == service.wait_end(30)
        assert "group.min.session.timeout.ms" in service.output()
    finally:
        service.kill()
