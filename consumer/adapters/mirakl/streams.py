"""Streams of bytes: how they are encrypted, and how they are lost."""

import ssl
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
"""Errors of a stream that the other side closed, or that broke."""


async def encrypted(stream: ByteStream, tls: ssl.SSLContext, host: str, seconds: float) -> ByteStream:
    """Return the stream within TLS; ``host``: the name that its certificate must hold. Closes it on any error.

    Raises ``TimeoutError`` after ``seconds``, ``ssl.SSLError``, or one of ``LOST``.
    """
    try:
        with anyio.fail_after(seconds):
            return await TLSStream.wrap(
                stream,
                server_side=False,
                hostname=host.removesuffix("."),  # certificates hold names without the final dot (RFC 6066, section 3)
                ssl_context=tls,
                standard_compatible=False,
            )
    except BaseException:
        await stream.aclose()
        raise
