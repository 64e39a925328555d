"""A real Alertmanager, alone or as one of a pair, with the configuration that a test gives."""

import contextlib
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.parts import PartMissing, free_port, wait_until
from tests.support.process import ChildProcess


def program() -> str:
    """Return the path of the program, which Debian names otherwise than everybody else; ``amtool`` lies beside it.

    Raises :class:`PartMissing`.
    """
    found = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    if found is None or shutil.which("amtool") is None:
        raise PartMissing("Alertmanager: the program is missing. Install the package prometheus-alertmanager")
    return found


class Alertmanager:
    """One Alertmanager with ``configuration`` (YAML). With ``peer`` it forms a cluster with that one."""

    def __init__(self, configuration: str, peer: "Alertmanager | None" = None) -> None:
        self._amtool = shutil.which("amtool") or "amtool"
        self._folder = Path(tempfile.mkdtemp(prefix="alertmanager-"))
        self._configuration = self._folder / "alertmanager.yml"
        self._configuration.write_text(configuration)
        self.port, self.cluster_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = ChildProcess(
            [
                program(),
                f"--config.file={self._configuration}",
                f"--storage.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                f"--cluster.listen-address=127.0.0.1:{self.cluster_port}",
                "--cluster.settle-timeout=1s",
                "--cluster.gossip-interval=50ms",
                # how long a peer waits for the news that the other one has notified
                "--cluster.peer-timeout=2s",
                *([f"--cluster.peer=127.0.0.1:{peer.cluster_port}"] if peer else []),
            ],
            log=self._folder / "log",
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_ready(self._answers, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end(signal.SIGTERM)
        shutil.rmtree(self._folder)

    def check_configuration(self) -> str:
        """Have ``amtool`` check the configuration; what it says."""
        return self._run("check-config", str(self._configuration))

    def wait_for_peer(self) -> None:
        """Wait until the cluster has two members."""
        wait_until(lambda: len(self._status()["cluster"]["peers"]) == 2, timeout=20, what="the pair has found itself")

    def fire(self, labels: Mapping[str, str], annotations: Mapping[str, str], start: str) -> None:
        """Let an alert fire, with ``amtool``, as if it had begun at ``start`` (RFC 3339)."""
        self._run(
            *("alert", "add", f"--alertmanager.url={self.url}", f"--start={start}"),
            *(f"--annotation={name}={value}" for name, value in annotations.items()),
            *(f"{name}={value}" for name, value in labels.items()),
        )

    def notifications_failed(self) -> float:
        """How many attempts to notify a webhook have failed."""
        text = httpx.get(f"{self.url}/metrics", timeout=5).text
        name = 'alertmanager_notification_requests_failed_total{integration="webhook"}'
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    def output(self) -> str:
        """All that it has printed."""
        return self._process.output()

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/api/v2/status", timeout=5).json()
        return found

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError, json.JSONDecodeError):
            return httpx.get(f"{self.url}/-/ready", timeout=5).is_success
        return False

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([self._amtool, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout
