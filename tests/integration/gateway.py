"""The gateway as a process, and curl as its caller."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from producer_tools.gateway.calls import PATH
from tests.integration.contract.deployment import Deployment
from tests.support.parts import free_port
from tests.support.service import Service

BODY = {"products": [{"miraklProductId": "MKL-001", "productSku": "SKU-WIDGET-42"}]}
"""What the published page asks for."""


class Gateway(Service):
    """``mirakl-resync gateway`` as a process."""

    def __init__(self, deployment: Deployment, name: str = "gateway", **settings: str) -> None:
        self.port = free_port()
        own = {"RESYNC_GATEWAY__PORT": str(self.port), **deployment.environment, **settings}
        super().__init__(own, deployment.folder, name, program=("producer_tools", "gateway"))

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Of the published operation."""
        return f"{self.address}{PATH}"

    def curl(self, *arguments: str) -> "Answer":
        """Make a call with curl; ``arguments`` follow the URL."""
        command = ["curl", "--silent", "--show-error", "--include", "--max-time", "30", self.url, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return read_answer(done.stdout)

    def ask(self, key: str, body: object = BODY, *headers: str) -> "Answer":
        """Make the published call with curl, as an operator."""
        given = [f"dj-api-key: {key}", "dj-client: OPERATOR", "content-type: application/json", *headers]
        return self.curl("--data", json.dumps(body), *(part for each in given for part in ("--header", each)))


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        return json.loads(self.text)


def read_answer(text: str) -> Answer:
    """Read what ``curl --include`` prints."""
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status.split()[1]), headers, body)
