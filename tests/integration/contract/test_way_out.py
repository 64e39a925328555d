"""A service that reaches Mirakl through a company's proxy, with its own authority, and only at allowed hosts."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from producer_tools.sandbox.mirakl import MiraklSimulator
from tests.integration.contract.deployment import Deployment
from tests.integration.contract.wire import Event, request
from tests.support.certificates import PrivateAuthority
from tests.support.fixtures import cannot_run
from tests.support.parts import PartMissing, wait_until
from tests.support.proxies import TinyProxy

LOGIN = ("resync", "pr0xy-s3cret")
DEADLINE_SECONDS = 8


@contextmanager
def encrypted_mirakl(authority: PrivateAuthority, folder: Path) -> Iterator[MiraklSimulator]:
    simulator, serving, stop = MiraklSimulator(seed=3), threading.Event(), threading.Event()

    async def serve() -> None:
        async with simulator.serving(ssl_context=authority.server_side("127.0.0.1", folder)):
            serving.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="encrypted-mirakl")
    thread.start()
    assert serving.wait(10)
    try:
        yield simulator
    finally:
        stop.set()
        thread.join()


def real_proxy() -> TinyProxy:
    try:
        return TinyProxy(LOGIN)
    except PartMissing as missing:
        cannot_run(missing)


def code(result: Event) -> tuple[int, str, bool]:
    error = result["error"]
    return error["httpStatus"], error["code"], error["retryable"]


def test_calls_go_through_the_proxy_and_its_end_costs_nobody_else_anything(
    deployment: Deployment, tmp_path: Path
) -> None:
    key, authority = deployment.key(), PrivateAuthority()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.certificate)
    with encrypted_mirakl(authority, tmp_path) as mirakl, real_proxy() as proxy:
        through = deployment.specification("through", "--inactive")
        direct = deployment.specification("direct", "--inactive")
        elsewhere = deployment.specification("elsewhere", "--inactive")
        deployment.administer("clients", "set", through, "--url", mirakl.url("through"))
        deployment.administer("clients", "set", elsewhere, "--url", "https://mirakl.example.com")
        settings = {
            "RESYNC_MIRAKL__PROXY_URL": f"http://{':'.join(LOGIN)}@127.0.0.1:{proxy.port}",
            "RESYNC_MIRAKL__CA_FILE": str(ca_file),
            "RESYNC_MIRAKL__ALLOWED_HOSTS": "127.0.0.1",
            "RESYNC_REQUEST_DEADLINE": f"{DEADLINE_SECONDS}s",
        }
        with deployment.service(**settings) as service:
            answers = deployment.ask(key, *(request(None, each) for each in (through, direct, elsewhere)))
            assert ["SYNCHRONIZED", "SYNCHRONIZED", "FAILED"] == [each["status"] for each in answers]
            assert (500, "CLIENT_SPECIFICATION_UNUSABLE", True) == code(answers[2])
            assert "RESYNC_MIRAKL__ALLOWED_HOSTS" in answers[2]["error"]["message"]
            assert 1 <= proxy.log.count("CONNECT 127.0.0.1:")

            proxy.stop()
            lost, working = deployment.ask(key, *(request(None, each) for each in (through, direct)))
            assert (503, "CM21_UNAVAILABLE", True) == code(lost)
            assert "no connection to the proxy: connection refused" in lost["error"]["message"]
            assert "SYNCHRONIZED" == working["status"]
            assert 200 == service.status("/readyz"), "it is no trouble of ours"

            proxy.start()
            # The client rests after its failures, perhaps for longer than a request's deadline.
            wait_until(
                lambda: deployment.ask(key, request(None, through))[0]["status"] == "SYNCHRONIZED",
                timeout=40,
                what="calls go through the proxy again",
            )
            assert 0 == service.terminate()
            assert LOGIN[1] not in service.output()
