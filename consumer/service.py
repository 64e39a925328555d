"""The life of the process: start everything, turn the loop, let go of Kafka, exit."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

import uvloop

from consumer import compiled
from consumer.adapters.kafka.consumer_errors import OwnerThreadError
from consumer.bootstrap import Parts, wire
from consumer.domain.share import Share
from consumer.engine.events import StopRequested
from consumer.engine.status import EngineStatus
from consumer.preflight import Preflight
from schemas.process.health import AdminServer, liveness
from schemas.process.logs import Logs
from schemas.process.memory import collect_only_new_objects, keep_imports
from schemas.process.signals import StopSignals
from schemas.process.watchdog import Heartbeat, Watchdog
from schemas.settings import Settings

EXIT_STOPPED, EXIT_BROKEN = 0, 1


@dataclass(frozen=True, slots=True)
class LifePolicy:
    """Times of the process's life, in seconds: shutdown, and the watchdog's limits."""

    closing: float = 3.0
    """Share of the shutdown time that is kept for what follows the last turn of the loop."""
    leaving: float = 2.0
    """Share of ``closing``: for leaving the group, and for the end of the transaction in flight."""
    exporting: float = 0.5
    """Share of ``closing``: for the last spans, once the partitions are let go."""
    owner_limit: float = 60.0
    """The watchdog ends the process after the owner thread has not turned for this long ..."""
    core_limit: float = 30.0
    """... or the core has not ..."""
    producer_limit: float = 120.0
    """... or one producer call has lasted this long: an outage of the brokers must not cause restarts."""


POLICY: Final = LifePolicy()

_log = logging.getLogger(__name__)


def run(
    settings: Settings,
    signals: StopSignals,
    checks: Preflight,
    share: Callable[[], Share],
    on_start: Callable[[int, Callable[[], EngineStatus], Callable[[], None]], None],
) -> NoReturn:
    """Serve until told to stop, then end the process.

    ``share`` returns the current share of the quotas. ``on_start`` is told the port of health and metrics, what returns
    the engine's status, and what has the engine take over a share that has changed; both on any thread.

    Raises what ``bootstrap.wire`` raises, or ``AdminAddressError``: the texts say what an operator has to do.
    """
    keep_imports()
    logs = Logs(settings.log)
    try:
        _log.info("the engine runs %s", "compiled" if compiled.used() else "interpreted")
        parts = wire(settings, logs, checks, share)
        service = Service(parts, settings, signals)
        on_start(service.start_admin(), lambda: parts.driver.status, parts.driver.renew_directory)
        code = service.serve()
    finally:
        logs.close()
    # the interpreter's own end, and that of the C library, wait for threads that hang in librdkafka, in the database's
    # driver or in a name look-up, and stop the watchdog, which would not
    os._exit(code)


class Service:
    """One running service: the threads, the loop, health and metrics. ``serve`` runs it once."""

    def __init__(self, parts: Parts, settings: Settings, signals: StopSignals) -> None:
        self._driver = parts.driver
        self._source = parts.source
        self._sink = parts.sink
        self._topic_watch = parts.topic_watch
        self._spans = parts.spans
        self._shutdown_timeout = settings.shutdown_timeout
        self._signals = signals
        self._told_to_stop_at: float | None = None
        self._heartbeats = self._make_heartbeats()
        self._admin = AdminServer(
            settings.admin.host,
            settings.admin.port,
            lambda: liveness(self._heartbeats[:2], time.monotonic()),
            lambda: unready_reasons(self._driver.status),
            parts.metrics.render,
        )

    def _make_heartbeats(self) -> Sequence[Heartbeat]:
        return (
            Heartbeat("kafka owner thread", lambda: self._source.progress_at, POLICY.owner_limit),
            Heartbeat("engine core", lambda: self._driver.progress_at, POLICY.core_limit),
            Heartbeat("producer call", lambda: self._sink.busy_since, POLICY.producer_limit),
            Heartbeat("stop", lambda: self._told_to_stop_at, max(self._shutdown_timeout, POLICY.closing)),
        )

    def start_admin(self) -> int:
        """Serve health and metrics from now on; return their port. Raises ``AdminAddressError``."""
        self._admin.start()
        _log.info("health and metrics on port %d", self._admin.port)
        return self._admin.port

    def serve(self) -> int:
        """Start everything, turn the loop until told to stop, and let go of Kafka.

        Return the exit code: 0 if everything ended as it should, otherwise 1.
        """
        collect_only_new_objects()
        Watchdog(self._heartbeats).start()
        if self._spans is not None:
            self._spans.start()
        self._sink.start()
        sound = self._turn()
        self._let_go()
        return EXIT_STOPPED if self._threads_ended_well() and sound else EXIT_BROKEN

    def _turn(self) -> bool:
        """Turn the loop until the end; ``False`` if it broke.

        The loop is not closed: that would wait for a name look-up that hangs.
        """
        try:
            asyncio.Runner(loop_factory=uvloop.new_event_loop).run(self._live())
        except OwnerThreadError:
            return False  # logged with the other failures of the threads, without a traceback
        except BaseException:  # noqa: BLE001 - the process's exit: nothing is decided any more
            _log.critical("a defect ends the service", exc_info=True)
            return False
        return True

    async def _live(self) -> None:
        self._signals.on_first(partial(self._on_stop_signal, asyncio.get_running_loop()))
        self._source.start()
        self._topic_watch.start()
        await self._driver.run()

    def _on_stop_signal(self, loop: asyncio.AbstractEventLoop) -> None:
        self._told_to_stop_at = time.monotonic()
        loop.call_soon_threadsafe(self._begin_stop)

    def _begin_stop(self) -> None:
        _log.info("stopping: no more requests are taken in")
        self._driver.post(StopRequested())
        grace = max(0.0, self._shutdown_timeout - POLICY.closing)
        asyncio.get_running_loop().call_later(grace, self._driver.halt)

    def _let_go(self) -> None:
        """Leave the group, so that others go on at once; wait for neither thread without end."""
        self._topic_watch.stop()
        deadline = time.monotonic() + POLICY.leaving
        ended = [thread.stop(max(0.0, deadline - time.monotonic())) for thread in (self._source, self._sink)]
        if not all(ended):
            _log.warning("Timed out leaving Kafka; exiting. Uncommitted work will be redelivered.")
        if self._spans is not None and not self._spans.close(POLICY.exporting):
            _log.warning("The last spans are lost: the collector did not take them in time.")

    def _threads_ended_well(self) -> bool:
        """Log what ended the threads; ``True`` if nothing did."""
        failures = [each.failure for each in (self._source, self._sink) if each.failure is not None]
        for failure in failures:
            _log.error("%s", failure)
        return not failures


def unready_reasons(status: EngineStatus) -> tuple[str, ...]:
    """Return why the process is not ready, in sentences for ``/readyz``; empty: it is, without a problem."""
    return (
        *(["The service is stopping."] if status.stopping else []),
        *(["The service has not joined its consumer group."] if not status.joined else []),
        *status.troubles,
    )
