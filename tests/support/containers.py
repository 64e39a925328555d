"""Real parts as containers, of the public images."""

import contextlib
import functools
import os
from collections.abc import Mapping

# Containers are removed by the fixtures that start them, so testcontainers' reaper, one more image to pull, is not
# needed; and ports are reached through the engine's host even where the tests run in a container themselves.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

from tests.support.parts import free_port, wait_until


@functools.cache
def image_available(image: str) -> bool:
    """Whether the engine has the image, or can pull it."""
    engine = docker.from_env(timeout=300)
    with contextlib.closing(engine):
        try:
            engine.images.get(image)
        except ImageNotFound:
            try:
                engine.images.pull(image)
            except (APIError, NotFound):
                return False
    return True


class _ContainerPart:
    """The controls of a part that is a container. Its port is chosen here: Docker maps another one at each start."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._created = False

    def start(self) -> None:
        if self._created:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._created = True
        self.wait_ready()

    def wait_ready(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self._container.get_wrapped_container().stop(timeout=30)

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def remove(self) -> None:
        if self._created:
            self._container.stop(force=True, delete_volume=True)


class KafkaContainer(_ContainerPart):
    """A broker of the ``apache/kafka`` image, which testcontainers has no class for.

    The inter-broker listener is an address inside the container: the broker verifies each transaction over it.
    """

    def __init__(self, settings: Mapping[str, str], *, image: str = "apache/kafka:4.3.1") -> None:
        port = free_port()
        container = DockerContainer(image).with_bind_ports(9092, port).with_kwargs(hostname="kafka")
        super().__init__(container)
        self.bootstrap = f"{container.get_container_host_ip()}:{port}"
        container.with_envs(
            **{
                _variable(name): value
                for name, value in {
                    **settings,
                    "controller.quorum.voters": "1@localhost:9093",
                    "listeners": "HOST://:9092,INSIDE://:19092,CONTROLLER://:9093",
                    "advertised.listeners": f"HOST://{self.bootstrap},INSIDE://kafka:19092",
                    "listener.security.protocol.map": "HOST:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
                    "inter.broker.listener.name": "INSIDE",
                }.items()
            }
        )

    def wait_ready(self) -> None:
        from tests.support.kafka import START_SECONDS, broker_answers

        wait_until(lambda: broker_answers(self.bootstrap), timeout=START_SECONDS, what="the Kafka container answers")


class PostgresServerContainer(_ContainerPart):
    """A server of the ``postgres`` image."""

    def __init__(self, *, image: str = "postgres:17") -> None:
        port = free_port()
        container = PostgresContainer(image, username="resync", password="resync", dbname="postgres")
        super().__init__(container.with_bind_ports(5432, port))
        self.url = f"postgresql+psycopg://resync:resync@{container.get_container_host_ip()}:{port}/postgres"

    def wait_ready(self) -> None:
        from tests.support.postgres import START_SECONDS, server_answers

        wait_until(lambda: server_answers(self.url), timeout=START_SECONDS, what="the PostgreSQL container answers")


def _variable(setting: str) -> str:
    """The image's name for a broker setting."""
    return "KAFKA_" + setting.replace(".", "_").upper()
