"""Real parts as fixtures, one of each for the whole run, started when the first test asks.

Where a part cannot be had, its tests are skipped by name and listed at the end. With ``CI`` set they fail instead:
there, what can be had must be had.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from consumer import compiled
from tests.support import alertmanager, kafka, postgres, registry
from tests.support.fixtures import cannot_run, running
from tests.support.parts import PartMissing, docker_runs
from tests.support.secured_kafka import SecuredKafka
from tests.support.topics import Topics, create_topics, delete_topics

ON_REAL_PARTS = ("tests/chaos/", "tests/contract/", "tests/integration/")

settings.register_profile("any machine", deadline=None)  # a property is no benchmark
settings.load_profile("any machine")

PARTS = {
    "alertmanager_program": "alertmanager",
    "docker_engine": "docker",
    "kafka_bootstrap": "kafka",
    "own_kafka": "kafka",
    "secured_kafka": "kafka",
    "postgres_url": "postgres",
    "own_postgres": "postgres",
    "schema_registry_url": "registry",
    "own_registry": "registry",
}


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Address of a real broker that many tests share: none may stop it."""
    given = kafka.given_bootstrap()
    if given:
        yield given
        return
    for broker in running(kafka.real_kafka):
        yield broker.bootstrap


@pytest.fixture
def own_kafka() -> Iterator[kafka.Kafka]:
    """A real broker for this test alone, running: it may be stopped, killed and frozen."""
    yield from running(kafka.real_kafka)


@pytest.fixture(scope="session")
def secured_kafka() -> Iterator[SecuredKafka]:
    """A real broker with SASL and ACLs that many tests share: none may stop it, or take rights away for good."""
    yield from running(SecuredKafka)


@pytest.fixture
def topics(kafka_bootstrap: str) -> Iterator[Topics]:
    """Topics and a group of this test's own, on the shared broker."""
    made = create_topics(kafka_bootstrap)
    yield made
    delete_topics(kafka_bootstrap, made)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of a real server that many tests share, with a role that may create databases."""
    given = postgres.given_url()
    if given:
        yield given
        return
    for server in running(postgres.real_postgres):
        yield server.url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database of this test's own, on the shared server."""
    url = postgres.new_database(postgres_url)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def own_postgres() -> Iterator[postgres.Postgres]:
    """A real server for this test alone, running."""
    yield from running(postgres.real_postgres)


@pytest.fixture(scope="session")
def schema_registry_url() -> Iterator[str]:
    """Base URL of a real registry that many tests share: subjects need names of their own."""
    given = registry.given_url()
    if given:
        yield given
        return
    for process in running(registry.RegistryProcess):
        yield process.url


@pytest.fixture
def own_registry() -> Iterator[registry.RegistryProcess]:
    """A real, empty registry for this test alone, running."""
    yield from running(registry.RegistryProcess)


@pytest.fixture(scope="session")
def alertmanager_program() -> str:
    """The path of a real Alertmanager, of which tests start their own."""
    try:
        return alertmanager.program()
    except PartMissing as missing:
        cannot_run(missing)


@pytest.fixture(scope="session")
def compiled_engine() -> None:
    """The engine in compiled form, which ``make test`` makes where it can."""
    if not compiled.available():
        cannot_run(PartMissing("The engine is not compiled. Install a C compiler and run `make compiled`"))


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A Docker engine that answers."""
    if not docker_runs():
        pytest.skip("Docker: no engine answers. Start Docker")


class _RealPartsOnTwoWorkers(LoadScopeScheduling):  # type: ignore[misc]  # untyped
    """Tests on real parts mostly wait: two workers run them, each on one set of parts; then all use the CPU.

    xdist's own groups have no effect with pytest 9.2, whose node ids no longer take a suffix.
    """

    def _split_scope(self, nodeid: str) -> str:
        if not nodeid.startswith(ON_REAL_PARTS):
            return nodeid
        return "integration" if nodeid.startswith("tests/integration/") else "contract"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Deal the tests out to the workers."""
    return _RealPartsOnTwoWorkers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the real parts that it uses, so that ``-m "not kafka"`` needs no marks by hand."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in PARTS:
                item.add_marker(PARTS[fixture])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what could not run here, and why."""
    reasons: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    if reasons:
        terminalreporter.section("what could not run here")
    for reason, tests in reasons.items():
        terminalreporter.line(f"{reason}: {len(tests)} tests")
        for test in tests:
            terminalreporter.line(f"    {test}")
