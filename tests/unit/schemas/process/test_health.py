import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.adapters.observability.metrics import Metrics
from consumer.engine.status import EngineStatus
from consumer.service import unready_reasons
from schemas.process import health
from schemas.process.health import AdminAddressError, AdminServer, Liveness, check, liveness
from schemas.process.policy import PROCESS
from schemas.process.watchdog import Heartbeat
from schemas.settings.model import AdminSettings
from tests.support.policies import adjust
from tests.support.statuses import IDLE


class Service:
    """What the server asks, and the server over real sockets."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.status = IDLE
        self.liveness = Liveness()
        self.broken = False
        self.server = AdminServer(
            host, 0, lambda: self.liveness, lambda: unready_reasons(self._status()), Metrics(self._status).render
        )

    def _status(self) -> EngineStatus:
        if self.broken:
            raise ZeroDivisionError
        return self.status

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=5)


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    service.server.start()
    try:
        yield service
    finally:
        service.server.stop()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as started:
        yield started


def test_a_service_that_goes_on_is_live(service: Service) -> None:
    status, body = service.ask("/livez")

    assert status == 200
    assert json.loads(body) == {"live": True, "reasons": []}


def test_a_service_that_stands_still_is_not_live_and_says_what_does(service: Service) -> None:
    service.liveness = Liveness(("owner loop: no progress for 61 s (limit 60 s)",))
    status, body = service.ask("/livez")

    assert status == 503
    assert json.loads(body) == {"live": False, "reasons": ["owner loop: no progress for 61 s (limit 60 s)"]}


def test_troubles_of_the_world_around_do_not_touch_liveness(service: Service) -> None:
    service.status = replace(IDLE, joined=False, troubles=("The broker does not answer.",))

    assert service.ask("/livez")[0] == 200


def test_a_member_that_takes_requests_in_is_ready(service: Service) -> None:
    status, body = service.ask("/readyz")

    assert status == 200
    assert json.loads(body) == {"ready": True, "reasons": []}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (replace(IDLE, joined=False), "The service has not joined its consumer group."),
        (replace(IDLE, stopping=True), "The service is stopping."),
        (replace(IDLE, troubles=("The database is locked.",)), "The database is locked."),
    ],
)
def test_who_takes_no_requests_in_is_not_ready_and_says_why(
    service: Service, status: EngineStatus, reason: str
) -> None:
    service.status = status
    code, body = service.ask("/readyz")

    assert code == 503
    assert json.loads(body) == {"ready": False, "reasons": [reason]}


def test_a_stuck_service_is_not_ready_whatever_its_last_status_says(service: Service) -> None:
    service.liveness = Liveness(("core: no progress for 61 s (limit 60 s)",))

    assert service.ask("/readyz")[0] == 503


def test_metrics_can_be_scraped(service: Service) -> None:
    status, body = service.ask("/metrics")

    assert status == 200
    assert "resync_build_info" in {family.name for family in text_string_to_metric_families(body)}


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_broken_status_is_an_error_and_no_hang(service: Service, path: str, caplog: pytest.LogCaptureFixture) -> None:
    service.broken = True

    assert service.ask(path)[0] == 500
    assert "ZeroDivisionError" in caplog.text
    assert service.ask("/livez")[0] == 200


def test_an_unknown_path_is_told_what_there_is(service: Service) -> None:
    status, body = service.ask("/health")

    assert status == 404
    assert "/livez, /readyz, /metrics" in body


def test_a_query_does_not_change_the_path(service: Service) -> None:
    assert service.ask("/livez?verbose")[0] == 200


def test_head_gives_the_status_without_a_body(service: Service) -> None:
    assert service.ask("/livez", "HEAD") == (200, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_any_other_method_is_refused(service: Service, method: str) -> None:
    assert service.ask("/livez", method) == (405, "Use GET or HEAD.\n")


def test_garbage_is_refused(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(b"\x16\x03\x01 \xff\xfe\r\n\r\n")

        assert b"400" in connection.recv(100)


def test_slow_clients_however_many_keep_no_probe_out(service: Service) -> None:
    slow = [service.connect() for _ in range(PROCESS.connections * 2)]
    for connection in slow:
        connection.sendall(b"GET /livez HT")
    try:
        assert service.ask("/livez")[0] == 200
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_dribbles_is_hung_up_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, health, "PROCESS", request_seconds=0.3)
    with service.connect() as connection:
        connection.sendall(b"GET")

        assert connection.recv(10) == b""


def test_a_client_that_does_not_read_blocks_nobody(service: Service) -> None:
    with service.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")

        assert [service.ask("/livez")[0] for _ in range(3)] == [200, 200, 200]


def test_a_port_in_use_is_an_error_that_says_what_to_do(service: Service) -> None:
    second = AdminServer("127.0.0.1", service.server.port, Liveness, lambda: (), Metrics(lambda: IDLE).render)
    with pytest.raises(AdminAddressError, match=r"Address already in use.*RESYNC_ADMIN__PORT"):
        second.start()
    second.stop()


def test_a_host_that_is_not_ours_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(AdminAddressError, match="RESYNC_ADMIN__HOST"):
        Service(host="host.invalid").server.start()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")
def test_ipv6_is_served_where_asked_for() -> None:
    with serving(Service(host="::1")) as service:
        assert check({"RESYNC_ADMIN__HOST": "::", "RESYNC_ADMIN__PORT": str(service.server.port)}) is None


def test_the_port_is_free_after_the_stop(service: Service) -> None:
    service.server.stop()
    with pytest.raises(ConnectionRefusedError):
        service.connect()


def test_a_heartbeat_is_live_up_to_its_limit() -> None:
    beats = [
        Heartbeat("owner loop", lambda: 100.0, 60.0),
        Heartbeat("core", lambda: 130.0, 30.0),
        Heartbeat("producer call", lambda: None, 1.0),
    ]

    assert liveness(beats, now=160.0) == Liveness()
    assert liveness(beats, now=161.0) == Liveness(
        ("owner loop: no progress for 61 s (limit 60 s)", "core: no progress for 31 s (limit 30 s)")
    )


def environment(service: Service, host: str = "0.0.0.0") -> dict[str, str]:  # noqa: S104 - the default, to be mapped
    return {"RESYNC_ADMIN__HOST": host, "RESYNC_ADMIN__PORT": str(service.server.port)}


def test_the_health_check_is_content_with_a_live_service(service: Service) -> None:
    assert check(environment(service)) is None


def test_the_health_check_fails_where_the_service_is_stuck(service: Service) -> None:
    service.liveness = Liveness(("core: no progress for 31 s (limit 30 s)",))

    assert "answers 503" in (check(environment(service)) or "")


def test_the_health_check_fails_where_nobody_answers(service: Service) -> None:
    service.server.stop()

    assert "Connection refused" in (check(environment(service)) or "")


def test_the_health_check_reads_the_port_from_a_file(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "port"
    file.write_text(f"{service.server.port}\n")

    assert check({"RESYNC_ADMIN__PORT_FILE": str(file)}) is None


@pytest.mark.parametrize("port", ["http", "99999999"])
def test_the_health_check_fails_on_a_port_that_is_none(port: str) -> None:
    assert check({"RESYNC_ADMIN__PORT": port}) is not None


def test_the_health_check_gives_a_dribbling_server_no_more_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, health, "PROCESS", check_seconds=0.4)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=dribble, args=(server,), daemon=True).start()
        started = time.monotonic()
        trouble = check({"RESYNC_ADMIN__PORT": str(server.getsockname()[1])})

    assert trouble is not None
    assert time.monotonic() - started < 2


def dribble(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        for byte in b"HTTP/1.0 200 OK\r\nX: " + b"x" * 100:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return
            time.sleep(0.1)


def test_the_health_check_knows_the_defaults_of_the_settings() -> None:
    assert AdminSettings() == AdminSettings(host=health.DEFAULT_HOST, port=health.DEFAULT_PORT)


def test_the_container_runs_the_health_check_as_a_program(service: Service) -> None:
    command = [sys.executable, "-m", "schemas.process.health"]
    variables = {**os.environ, **environment(service)}
    live = subprocess.run(command, env=variables, timeout=10, check=False)
    service.server.stop()
    dead = subprocess.run(command, env=variables, timeout=10, check=False, capture_output=True, text=True)

    assert live.returncode == 0
    assert dead.returncode == 1
    assert dead.stderr == "/livez does not answer: [Errno 111] Connection refused\n"


def test_the_health_check_loads_nothing_but_the_standard_library() -> None:
    program = "import sys, schemas.process.health; print(*{n.partition('.')[0] for n in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=10, check=True)

    assert not {"pydantic", "structlog", "prometheus_client", "sqlalchemy"} & set(loaded.stdout.split())
