"""Composition root of the gateway: settings become parts, and the parts a process that ends when it is told to."""

import asyncio
import logging
import math
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Final, NoReturn

import confluent_kafka
import uvicorn
import uvloop
from confluent_kafka import KafkaException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from producer_tools.alerts.gateway_alerts import GatewayAlerts
from producer_tools.connection import Connection
from producer_tools.errors import MissingRightError, MissingTopicError, ResyncToolError, UnreachableError
from producer_tools.gateway.app import AnsweredCall, create_app
from producer_tools.gateway.bodies import Bodies
from producer_tools.gateway.broker_watch import BrokerWatch, Ends, TopicEnds
from producer_tools.gateway.call_log import CallLog
from producer_tools.gateway.calls import Calls
from producer_tools.gateway.http_protocol import GatewayProtocol
from producer_tools.gateway.metrics import GatewayMetrics, GatewayStatus
from producer_tools.gateway.policy import GATEWAY, GatewayPolicy
from producer_tools.gateway.problems import Problem, without_rights
from producer_tools.gateway.request_writer import RequestWriter
from producer_tools.gateway.results_reader import ResultsReader
from producer_tools.registry_access import ResultReader, request_encoder
from producer_tools.sender import RecordSender
from schemas.contract import Credential, GatewayCode
from schemas.process.health import AdminAddressError, AdminServer, liveness
from schemas.process.logs import LIBRDKAFKA_LOGGER, Logs
from schemas.process.memory import collect_only_new_objects, keep_imports, share_one_heap
from schemas.process.signals import StopSignals
from schemas.process.watchdog import Heartbeat
from schemas.rights import missing_right
from schemas.settings import Settings

EXIT_STOPPED, EXIT_BROKEN = 0, 1
_BEHIND: Final = "The results topic has not been read to its end."

_log = logging.getLogger(__name__)


def run(settings: Settings, signals: StopSignals) -> NoReturn:
    """Serve until told to stop, then end the process.

    Raises ``ResyncToolError`` where the gateway cannot start: the text says what an operator has to do.
    """
    share_one_heap()
    keep_imports()
    logs = Logs(settings.log)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        with _start_troubles():
            gateway = Gateway(settings, logs)
        code = gateway.serve(signals)
    finally:
        logs.close()
    # the interpreter's own end would wait for threads that hang in librdkafka or in a name look-up
    os._exit(code)


@contextmanager
def _start_troubles() -> Iterator[None]:
    """A missing topic or right, or an address in use, is no wrong setting: exit code 1, as for the service."""
    try:
        yield
    except (MissingTopicError, MissingRightError, AdminAddressError) as error:
        raise ResyncToolError(error.problem, error.remedy) from error


@dataclass(frozen=True, slots=True)
class KafkaParts:
    """Clients of the brokers: writer, results reader and watch. The positions of ``reader`` are fixed already."""

    sender: RecordSender
    reader: ResultsReader
    watch: BrokerWatch


def kafka_parts(settings: Settings, policy: GatewayPolicy) -> KafkaParts:
    """Reach the brokers and fix the positions from which results are read.

    A result that comes afterwards cannot be missed. Raises ``UnreachableError`` or ``MisconfiguredError``.
    """
    connection = Connection(settings.kafka, log=logging.getLogger(LIBRDKAFKA_LOGGER))
    topics = TopicEnds(connection, settings.topics.requests, settings.topics.results)
    reader = ResultsReader(
        connection, settings.topics.results, _positions(connection, topics, settings.topics.results, policy), policy
    )
    sender = RecordSender(
        connection,
        settings.topics.requests,
        settings.max_request_bytes,
        # a call waits for its own request only, so that none is held back to form a batch
        {"linger.ms": 0, "queue.buffering.max.kbytes": policy.producer_queue_kilobytes},
        auth=settings.request_auth,
    )
    return KafkaParts(sender, reader, BrokerWatch(connection, topics, reader, policy))


def _positions(connection: Connection, topics: TopicEnds, topic: str, policy: GatewayPolicy) -> Ends:
    try:
        return topics.since(policy.read_back_seconds, policy.pin_seconds)
    except KafkaException as exception:
        raise connection.explain(exception.args[0], topic) from exception
    except TimeoutError:
        raise UnreachableError("Kafka does not say where the results begin.", "Check the brokers.") from None


class Gateway:
    """One gateway, wired: HTTP server, Kafka clients, alerts, health and metrics.

    Making one reaches the brokers and binds its addresses; ``serve`` runs it until a signal, once.
    """

    def __init__(self, settings: Settings, logs: Logs, policy: GatewayPolicy | None = None) -> None:
        self._policy = policy or GatewayPolicy()
        self._shutdown_timeout = settings.shutdown_timeout
        encoder = request_encoder(settings.schema_registry, settings.topics.requests)
        self._kafka = kafka_parts(settings, self._policy)
        self._writer = RequestWriter(self._kafka.sender, encoder, settings.max_request_bytes, self.problem)
        self._bodies = Bodies(self._policy, settings.gateway.max_body_bytes)
        self.calls = Calls(
            settings.gateway,
            self._policy,
            request_deadline=settings.request_deadline,
            signs=settings.request_auth is Credential.SIGNATURE,
            bodies=self._bodies,
            writer=self._writer,
            decoder=ResultReader(settings.schema_registry),
        )
        self._kafka.reader.subscribe(self.calls.take_results)
        self._alerts = self._make_alerts(settings)
        self._metrics = GatewayMetrics(
            self._status, version=version("mirakl-resync"), librdkafka=confluent_kafka.libversion()[0]
        )
        self._call_log = CallLog(logs, settings.log)
        routes: Sequence[BaseRoute] = [self._alerts.route] if self._alerts else []
        self._server = _Server(settings, self._policy, create_app(self.calls, self._policy, self._answered, routes))
        self._turned_at = time.monotonic()
        self._broken = False
        self._admin = self._make_admin(settings)
        self._admin.start()

    def problem(self) -> Problem | None:
        """Return why nothing can be written now; ``None``: nothing is known to be wrong."""
        if self.calls.room.stopping:
            return Problem.of_gateway(GatewayCode.GATEWAY_BUSY, problem="This gateway is stopping")
        watch = self._kafka.watch
        if watch.missing_rights:
            return without_rights(watch.missing_rights.values())
        if self._kafka.sender.failure is not None or not (watch.brokers_answer and watch.reader_is_up_to_date):
            return Problem.of_gateway(GatewayCode.KAFKA_UNAVAILABLE)
        return None

    def serve(self, signals: StopSignals) -> int:
        """Serve until told to stop; return the exit code. The loop is not closed: that would wait for its threads."""
        try:
            asyncio.Runner(loop_factory=uvloop.new_event_loop).run(self._live(signals))
        except BaseException:  # noqa: BLE001 - the process's exit: nothing is decided any more
            _log.critical("a defect ends the gateway", exc_info=True)
            return EXIT_BROKEN
        return EXIT_BROKEN if self._broken else EXIT_STOPPED

    async def _live(self, signals: StopSignals) -> None:
        loop = asyncio.get_running_loop()
        signals.on_first(partial(self._on_stop_signal, loop))
        collect_only_new_objects()
        self._kafka.reader.start(loop)
        self._kafka.watch.start()
        background = [loop.create_task(self._beat())]
        if self._alerts is not None:
            background.append(loop.create_task(self._alerts.run()))
        for task in background:
            task.add_done_callback(self._on_background_ended)
        _log.info("serving on port %d, health and metrics on port %d", self._server.port, self._admin.port)
        await self._server.serve()
        for task in background:
            task.cancel()
        await self._let_go()

    def _on_background_ended(self, task: asyncio.Task[None]) -> None:
        """End the process where what should run as long as it has met a defect."""
        if not task.cancelled() and (defect := task.exception()) is not None:
            _log.critical("a defect ends the gateway", exc_info=defect)
            self._broken = True
            self._begin_stop()

    async def _beat(self) -> None:
        while True:
            self._turned_at = time.monotonic()
            await asyncio.sleep(GATEWAY.heartbeat_seconds)

    def _on_stop_signal(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._begin_stop)

    def _begin_stop(self) -> None:
        _log.info("stopping: no more calls are taken in")
        self.calls.room.stopping = True
        self._server.should_exit = True
        grace = max(0.0, self._shutdown_timeout - self._policy.stop_margin_seconds)
        asyncio.get_running_loop().call_later(grace, self.calls.room.end_all)

    async def _let_go(self) -> None:
        """Wait for the last acknowledgements, for a bounded time."""
        self._kafka.reader.stop()
        self._kafka.watch.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._policy.stop_margin_seconds):
                await asyncio.to_thread(self._kafka.sender.close)

    def _make_alerts(self, settings: Settings) -> GatewayAlerts | None:
        rules_file = settings.gateway.alert_rules_file
        if rules_file is None or not settings.gateway.alert_tokens:
            if rules_file is not None or settings.gateway.alert_tokens:
                _log.warning(
                    "alerts are not accepted: "
                    "set both RESYNC_GATEWAY__ALERT_RULES_FILE and RESYNC_GATEWAY__ALERT_TOKENS"
                )
            return None
        alerts = GatewayAlerts(settings, rules_file, self._writer, self._bodies, self.problem)
        self._kafka.reader.subscribe(alerts.take_results)
        return alerts

    def _make_admin(self, settings: Settings) -> AdminServer:
        heartbeats = (
            Heartbeat("event loop", lambda: self._turned_at, self._policy.stuck_seconds),
            Heartbeat("results reader", lambda: self._kafka.reader.turned_at, self._policy.stuck_seconds),
        )
        return AdminServer(
            settings.admin.host,
            settings.admin.port,
            lambda: liveness(heartbeats, time.monotonic()),
            self._unready_reasons,
            self._metrics.table.render,
            self._notes,
        )

    def _unready_reasons(self) -> tuple[str, ...]:
        watch, failure = self._kafka.watch, self._kafka.sender.failure
        return (
            *(["The gateway is stopping."] if self.calls.room.stopping else []),
            *(str(missing_right(right, topic)) for topic, right in watch.missing_rights.items()),
            *([str(failure)] if failure is not None else []),
            *([] if watch.brokers_answer else ["The brokers do not answer."]),
            *([] if watch.reader_is_up_to_date or watch.missing_rights else [_BEHIND]),
        )

    def _notes(self) -> tuple[str, ...]:
        """Mistakes in the alert rules: the previous ones stay in force, and all else works."""
        return tuple(str(mistake) for mistake in self._alerts.watch.mistakes) if self._alerts else ()

    def _answered(self, call: AnsweredCall) -> None:
        self._metrics.answered(call)
        self._call_log.write(call)

    def _status(self, calls: Counter[tuple[str, str]]) -> GatewayStatus:
        reader, watch = self._kafka.reader, self._kafka.watch
        return GatewayStatus(
            waiting_calls=self.calls.room.waiting,
            pending_requests=len(self.calls.room),
            known_results=len(self.calls.known),
            known_result_bytes=self.calls.known.size,
            buffered_body_bytes=self._bodies.buffered_bytes,
            brokers_answer=watch.brokers_answer and not watch.missing_rights and self._kafka.sender.failure is None,
            reader_is_up_to_date=watch.reader_is_up_to_date,
            lag_records=watch.lag_records,
            read_records=reader.read_records,
            kept_records=reader.kept_records,
            written=dict(self._writer.counts),
            calls=calls,
            alerts=self._alerts.intake.counts() if self._alerts else {},
            truncated_alerts=self._alerts.intake.truncated if self._alerts else 0,
            clock_ahead_seconds=self.calls.clock.ahead,
            alert_rule_errors=len(self._alerts.watch.mistakes) if self._alerts else 0,
        )


class _Server(uvicorn.Server):
    """uvicorn on a socket that is bound here, so that an address in use is an error before anything else begins."""

    def __init__(self, settings: Settings, policy: GatewayPolicy, app: ASGIApp) -> None:
        self._socket = _bound(settings.gateway.host, settings.gateway.port)
        self.port: int = self._socket.getsockname()[1]
        _allow_many_files()
        super().__init__(
            uvicorn.Config(
                app,
                http=GatewayProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=policy.keep_alive_seconds,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout) or 1,
                h11_max_incomplete_event_size=policy.head_bytes,
                ssl_certfile=settings.gateway.tls_cert_file,
                ssl_keyfile=settings.gateway.tls_key_file,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve(sockets or [self._socket])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to ``StopSignals``: uvicorn would install handlers of its own."""
        yield


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=2_048)
    except OSError as error:
        raise ResyncToolError(
            f"Cannot serve HTTP at {host} port {port}: {error.strerror or error}.",
            "Free it, or set RESYNC_GATEWAY__HOST and RESYNC_GATEWAY__PORT.",
        ) from error


def _allow_many_files() -> None:
    """Raise the limit of open files as far as this process may: 1,000 callers exceed the usual one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = GATEWAY.open_files if hard == resource.RLIM_INFINITY else min(GATEWAY.open_files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
