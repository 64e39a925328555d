"""A blocking call with a timeout. After the timeout it continues on its own thread, and its result is lost.

Made for librdkafka's ``send_offsets_to_transaction``: having added the offsets to the transaction, it looks for the
group's coordinator regardless of its timeout, and if a broker answers "not yet" it waits for the next change of a
connection, which may never come (librdkafka #5456, #5511). After a restart of a single broker, a third of the open
transactions were observed to hang until the next restart.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OverdueError(Exception):
    """The call has not returned in time; it continues, and its result is lost."""


def within(seconds: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of the call, made on a thread of its own; raise what it raises, or ``OverdueError`` in time.

    The thread ends with the call and keeps no process from ending.
    """
    answer: Future[T] = Future()

    def make() -> None:
        try:
            answer.set_result(call(*args, **kwargs))
        except BaseException as problem:  # noqa: BLE001 - raised to whoever waits
            answer.set_exception(problem)

    threading.Thread(target=make, name="bounded-call", daemon=True).start()
    if not wait((answer,), seconds).done:
        raise OverdueError(f"no answer within {seconds:g} s")
    return answer.result()
