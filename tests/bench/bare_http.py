"""``python -m tests.bench.bare_http PORT``: a Starlette handler that answers at once, on the gateway's own server."""

import asyncio
import sys

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from producer_tools.gateway.calls import PATH
from producer_tools.gateway.http_protocol import GatewayProtocol

ANSWER = b'{"synchronizedProducts": 2, "clientSpecificationId": "5f0c1d5e-2a53-4f0e-9d3c-0a4c5b1f7d10"}'


async def answer(request: Request) -> Response:
    """Read the body, as the gateway must, and answer."""
    await request.body()
    return Response(ANSWER, media_type="application/json")


def main(port: int) -> None:
    """Serve until killed."""
    config = uvicorn.Config(
        Starlette(routes=[Route(PATH, answer, methods=["POST"])]),
        port=port,
        http=GatewayProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
