"""One process of a replica of several: its tie to the parent, ``processes``."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable


def tie_to_parent(parent: socket.socket) -> Callable[[int], None]:
    """Have this process stop when its parent has ended; return what reports the port of its admin server.

    The parent never writes to the socket, so a read from it returns at the parent's end.
    """

    def wait_for_parent() -> None:
        with contextlib.suppress(OSError):
            parent.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_parent, name="parent", daemon=True).start()
    return lambda port: parent.sendall(b"%d\n" % port)
