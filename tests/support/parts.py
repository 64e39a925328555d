"""What the real parts have in common: how they are controlled, and how it is said that one cannot be had."""

import contextlib
import functools
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class PartMissing(Exception):  # noqa: N818  # it is an answer, not an error: the part cannot be had here
    """A real part cannot be had on this machine; the text says what would make it available."""


class Part(Protocol):
    """A real part that a test may disturb. It keeps its address and its data until it is removed."""

    def start(self) -> None:
        """Start, or start again after :meth:`stop` or :meth:`kill`; return when it answers."""

    def stop(self) -> None:
        """End it in good order."""

    def kill(self) -> None:
        """End it as a crash would."""

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""

    def resume(self) -> None:
        """Go on after :meth:`pause`."""

    def remove(self) -> None:
        """End it and delete its data."""


def free_port() -> int:
    """A TCP port on which nothing listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on ``port``."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Wait until ``condition`` holds.

    Raises :class:`TimeoutError`, which says ``what`` was waited for, after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.05)


def cache_folder() -> Path:
    """Where downloaded programs are kept between runs, outside the repository."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "mirakl-resync"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def docker_runs() -> bool:
    """Whether a Docker engine answers. ``TEST_PARTS=process`` says not to look for one."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if os.environ.get("TEST_PARTS") == "process" or not _may_answer(address):
        return False
    import docker
    from docker.errors import DockerException

    try:
        with contextlib.closing(docker.from_env(timeout=5)) as engine:
            return bool(engine.ping())
    except DockerException:
        return False


def _may_answer(address: str) -> bool:
    """Asked first, since Docker's library leaves a socket open that it could not connect."""
    if not address.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address.removeprefix("unix://")) == 0
