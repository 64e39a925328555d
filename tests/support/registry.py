"""A real schema registry with Confluent's API (Apicurio), as a process."""

import hashlib
import os
import signal
import tarfile
import tempfile
from pathlib import Path
from shutil import rmtree

import httpx

from tests.support.java import downloaded, find_java, maven
from tests.support.parts import PartMissing, free_port, wait_until
from tests.support.process import ChildProcess

VERSION = "3.3.3"
SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
START_SECONDS = 120


class RegistryProcess:
    """An empty registry at every start. With ``user`` and ``password`` it demands HTTP Basic credentials."""

    def __init__(self, *, user: str | None = None, password: str = "") -> None:
        program = downloaded(f"apicurio-{VERSION}", _download)
        java = find_java(21)
        self._folder = Path(tempfile.mkdtemp(prefix="registry-"))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        configuration = self._folder / "config" / "application.properties"
        configuration.parent.mkdir(mode=0o700)
        configuration.write_text(_configuration(port, self._folder, user, password))
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={self._folder}"]
        self._registry = ChildProcess(
            [java, *options, "-jar", str(program / "quarkus-run.jar")], log=self._folder / "log"
        )

    def start(self) -> None:
        """Start, wait until it answers."""
        self._registry.start()
        self._registry.wait_ready(lambda: registry_answers(self.url), timeout=START_SECONDS)

    def stop(self) -> None:
        """End it in good order."""
        self._registry.end()

    def kill(self) -> None:
        """As a crash would."""
        self._registry.end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it."""
        self._registry.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._registry.send(signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete its files."""
        self.kill()
        rmtree(self._folder)


def registry_answers(url: str) -> bool:
    """Whether the registry answers, be it that it wants credentials."""
    try:
        return httpx.get(f"{url}/subjects", timeout=2).status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED)
    except httpx.TransportError:
        return False


def given_url() -> str | None:
    """The registry of ``TEST_REGISTRY_URL``."""
    url = os.environ.get("TEST_REGISTRY_URL")
    if url:
        wait_until(lambda: registry_answers(url), timeout=10, what=f"TEST_REGISTRY_URL={url} answers")
    return url


def _download(folder: Path) -> None:
    artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
    try:
        # This old plugin's copy takes the one file and reads no parent poms, which not every mirror has.
        copy = "org.apache.maven.plugins:maven-dependency-plugin:2.10:copy"
        maven(copy, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}", folder=folder)
    except PartMissing as missing:
        raise PartMissing(f"schema registry: {missing}. Install Java and Maven, or set TEST_REGISTRY_URL") from missing
    archive = folder / f"apicurio-registry-app-{VERSION}-all.tar.gz"
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise RuntimeError(f"{archive.name} is not the file that these tests know")
    with tarfile.open(archive) as files:
        files.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2, Debian's, has none yet
        files.extractall(folder)  # noqa: S202  its hash was checked
    archive.unlink()


def _configuration(port: int, folder: Path, user: str | None, password: str) -> str:
    lines = [
        "quarkus.http.host=127.0.0.1",
        f"quarkus.http.port={port}",
        "quarkus.management.host=127.0.0.1",
        "quarkus.management.port=0",
        "apicurio.datasource.url=jdbc:h2:mem:registry;DB_CLOSE_DELAY=-1",
        f"apicurio.import.work-dir={folder}",
        f"apicurio.storage.snapshot.location={folder}",
        "apicurio.rules.global.compatibility=BACKWARD",  # as Confluent's own
    ]
    if user:
        lines += [
            "quarkus.http.auth.basic=true",
            "quarkus.security.users.embedded.plain-text=true",
            "apicurio.auth.role-based-authorization=true",
            f'quarkus.security.users.embedded.users."{user}"={password}',
            f'quarkus.security.users.embedded.roles."{user}"=sr-admin',
        ]
    return "\n".join(lines) + "\n"
