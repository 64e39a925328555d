"""TCP connections by host name. A host whose name server is silent keeps no other host from connecting.

The event loop's own look-ups share a few threads and go on after their callers were cancelled, so a few silent names
occupy all of them. Here each look-up has its own daemon thread. A host has at most one, which all its callers share.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any, Final, TypeAlias

import anyio
from anyio.abc import SocketStream

from consumer.adapters.mirakl.policy import MIRAKL
from schemas.explanation import Explanation

GetAddrInfo: TypeAlias = Callable[..., Sequence[tuple[Any, ...]]]

_NO_MEMORY: Final = Explanation(
    "This machine has no memory left for a connection to Mirakl.", "Give the process more memory."
)
_OWN_TROUBLES: Final = {
    errno.EMFILE: Explanation(
        "This process has no file descriptor left for a connection to Mirakl.", "Raise its limit (ulimit -n)."
    ),
    errno.ENFILE: Explanation(
        "This machine has no file descriptor left for a connection to Mirakl.", "Raise fs.file-max."
    ),
    errno.ENOMEM: _NO_MEMORY,
    errno.ENOBUFS: _NO_MEMORY,
    errno.EADDRNOTAVAIL: Explanation(
        "This machine has no local port left for a connection to Mirakl.", "Widen net.ipv4.ip_local_port_range."
    ),
}


class OwnTroubleError(OSError):
    """A connection failed for lack of a resource of our own; ``explanation`` says which, and what to do."""

    def __init__(self, number: int, explanation: Explanation) -> None:
        super().__init__(number, explanation.problem)
        self.explanation = explanation


class HostConnections:
    """Opens TCP connections to hosts by name, trying their addresses in turn (RFC 8305); for one event loop.

    Name look-ups run on threads of their own, one for each host at a time, and their number is bounded.
    """

    def __init__(self, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._lookups: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def connect(self, host: str, port: int) -> SocketStream:
        """Connect to the first address that answers. Raises ``OSError``, ``OwnTroubleError`` among them."""
        addresses = await self._addresses(host, port)
        if len(addresses) == 1:
            return await _connect(addresses[0], port)
        return await _connect_to_first(addresses, port)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        with suppress(ValueError):
            return [str(ip_address(host))]
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = self._start_lookup(host, port)
        await asyncio.wait([lookup])  # which goes on where this caller is cancelled
        return lookup.result()

    def _start_lookup(self, host: str, port: int) -> "asyncio.Future[Sequence[str]]":
        if len(self._lookups) >= MIRAKL.lookups:
            raise BlockingIOError(errno.EAGAIN, "too many name look-ups are under way")
        loop = asyncio.get_running_loop()
        lookup = loop.create_future()
        settle = partial(self._settle, host, port)
        thread = threading.Thread(
            target=self._look_up, args=(host, port, loop, settle), name="name-lookup", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            problem = "This process cannot start a thread for a name look-up."
            raise OwnTroubleError(errno.EAGAIN, Explanation(problem, "Raise its limit (ulimit -u).")) from error
        self._lookups[host, port] = lookup
        return lookup

    def _look_up(self, host: str, port: int, loop: asyncio.AbstractEventLoop, settle: Callable[..., None]) -> None:
        """On a thread of its own."""
        found: Sequence[str] = ()
        problem: Exception | None = None
        try:
            rows = self._getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
            found = _by_turns([row[4][0] for row in rows])
        except socket.gaierror as error:
            problem = _want_of_descriptors() or error
        except Exception as error:  # noqa: BLE001 - raised to whoever waits
            problem = _as_own_trouble(error)
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, found, problem)

    def _settle(self, host: str, port: int, found: Sequence[str], problem: Exception | None) -> None:
        lookup = self._lookups.pop((host, port))
        if problem is None:
            lookup.set_result(found)
        else:
            lookup.set_exception(problem)
            lookup.exception()  # seen, also where nobody waits any more


async def _connect(address: str, port: int) -> SocketStream:
    try:
        return await anyio.connect_tcp(address, port)
    except OSError as error:
        problem = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if problem.errno == errno.EADDRNOTAVAIL and ":" in address:  # what a machine without IPv6 says of every address
        raise problem
    raise _as_own_trouble(problem)  # outside the handler: an error must not become its own cause's context


async def _connect_to_first(addresses: Sequence[str], port: int) -> SocketStream:
    """Connect to all in turn, each a little later, until one has answered (RFC 8305)."""
    connected: list[SocketStream] = []
    problems: list[Exception] = []

    async def attempt(address: str, ended: anyio.Event) -> None:
        try:
            stream = await _connect(address, port)
        except OSError as problem:
            problems.append(problem)
        else:
            connected.append(stream)
            group.cancel_scope.cancel()
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                ended = anyio.Event()
                group.start_soon(attempt, address, ended)
                with anyio.move_on_after(MIRAKL.next_address_seconds):
                    await ended.wait()
    except BaseException:
        for stream in connected:
            await anyio.aclose_forcefully(stream)
        raise
    for late in connected[1:]:
        await anyio.aclose_forcefully(late)
    if connected:
        return connected[0]
    own = next((problem for problem in problems if isinstance(problem, OwnTroubleError)), None)
    raise own or OSError("no address answered") from ExceptionGroup("all addresses", problems)


def _by_turns(addresses: Sequence[str]) -> Sequence[str]:
    """Order addresses such that the families alternate, the first one first (RFC 8305, section 4)."""
    distinct = dict.fromkeys(addresses)
    of_first_family = [each for each in distinct if (":" in each) == (":" in addresses[0])]
    of_other = [each for each in distinct if each not in of_first_family]
    return [each for pair in zip_longest(of_first_family, of_other) for each in pair if each][: MIRAKL.addresses]


def _as_own_trouble(error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno in _OWN_TROUBLES:
        return OwnTroubleError(error.errno, _OWN_TROUBLES[error.errno])
    return error


def _want_of_descriptors() -> Exception | None:
    """Resolvers report the want of a file descriptor as a name that does not exist: so try to get one."""
    try:
        socket.socket().close()
    except OSError as error:
        return _as_own_trouble(error)
    return None
