"""Building the system: a folder, a broker, a Mirakl, and the service with client specifications and API keys."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

from producer_tools.environment import BROKERS, SENDING, tool_settings
from producer_tools.errors import ResyncToolError
from producer_tools.publisher import ResyncPublisher, new_request
from producer_tools.sandbox.broker import EmbeddedBroker
from producer_tools.sandbox.demo.cases import (
    API_KEYS,
    DEADLINE_SECONDS,
    GLOBEX,
    SPECIFICATIONS,
    UNKNOWN_ID,
    ApiKey,
    Specification,
)
from producer_tools.sandbox.demo.mirakl import SimulatedMirakl
from producer_tools.sandbox.demo.screen import Screen
from producer_tools.sandbox.demo.service import Command, Service
from producer_tools.subscriber import ResyncResults
from schemas.settings import Settings

READY_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
"""Period in seconds at which Ctrl-C and the end of the service are noticed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The whole system, up and answering: broker, Mirakl, service, and clients for requests and results."""

    settings: Settings
    service: Service
    mirakl: SimulatedMirakl
    publisher: ResyncPublisher
    results: ResyncResults
    """From before the first request on."""
    folder: Path
    api_keys: Mapping[ApiKey, str]


@contextmanager
def staged(screen: Screen, *, keep: bool, verbose: bool) -> Iterator[Stage]:
    """Build the system, and leave no process and, unless ``keep``, no file of it behind."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="mirakl-resync-demo-"))
        stack.callback(_clear, folder, screen, keep=keep)
        broker = stack.enter_context(EmbeddedBroker())
        settings = tool_settings(SENDING, environ={BROKERS: broker.bootstrap_servers})
        for topic in (settings.topics.requests, settings.topics.results, settings.topics.dead_letters):
            broker.create_topic(topic)
        mirakl = stack.enter_context(SimulatedMirakl(SPECIFICATIONS))
        service = Service(_service_settings(broker), folder, screen.log if verbose else None)
        stack.callback(service.kill)
        screen.parts(broker=broker.bootstrap_servers, mirakl=mirakl.base_url, folder=str(folder))
        with screen.waiting("Adding client specifications and API keys; starting the service ..."):
            api_keys = _administer(service, mirakl)
            service.start()
            publisher = stack.enter_context(ResyncPublisher(settings, api_key=api_keys[GLOBEX]))
            results = stack.enter_context(ResyncResults(settings, start="end", follow=True))
            _await_first_answer(service, publisher, results)
        yield Stage(settings, service, mirakl, publisher, results, folder, api_keys)


def _clear(folder: Path, screen: Screen, *, keep: bool) -> None:
    if keep:
        screen.say(f"Kept, with database and log: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _service_settings(broker: EmbeddedBroker) -> dict[str, str]:
    return {
        BROKERS: broker.bootstrap_servers,
        "RESYNC_KAFKA__DELIVERY": "at-least-once",
        "RESYNC_DATABASE_URL": "sqlite:///demo.db",  # in its working directory
        "RESYNC_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "RESYNC_REQUEST_DEADLINE": f"{DEADLINE_SECONDS}s",
        "RESYNC_ADMIN__HOST": "127.0.0.1",
        "RESYNC_ADMIN__PORT": "0",
        "RESYNC_LOG__FORMAT": "console",
    }


def _administer(service: Service, mirakl: SimulatedMirakl) -> dict[ApiKey, str]:
    """Make the tables, the client specifications and the API keys; gives the keys."""
    additions = [_addition(each, mirakl.url(each)) for each in SPECIFICATIONS]
    issues: list[Command] = [
        (("api-keys", "issue", "--name", key.name, "--role", key.role, "--tenant", key.tenant), "") for key in API_KEYS
    ]
    _, *printed = service.administer([(("db", "upgrade"), ""), *additions, *issues])
    return dict(zip(API_KEYS, printed[len(additions) :], strict=True))


def _addition(specification: Specification, url: str) -> Command:
    arguments = (
        *("clients", "add", "--tenant", specification.tenant, "--name", specification.name),
        *("--id", specification.id, "--url", url, "--credential-file", "-"),
        *("--products-per-call", str(specification.products_per_call)),
        "--active" if specification.active else "--inactive",
    )
    return arguments, specification.credential


def _await_first_answer(service: Service, publisher: ResyncPublisher, results: ResyncResults) -> None:
    """Ask until the service answers: the specification does not exist, so nobody is called."""
    request = new_request([("MKL-FIRST", "SKU-FIRST")], requested_by="demo", client_specification_id=UNKNOWN_ID)
    publisher.submit(request)
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        service.check()
        result = results.read(POLL_SECONDS)
        if result is not None and result.value.request_id == request.request_id:
            return
    raise ResyncToolError(f"The service answers nothing within {READY_SECONDS:g} s. {service.last_words()}")
