"""A blocking call that is no longer waited for after a time, although it goes on.

Made for librdkafka's ``send_offsets_to_transaction``: having added the offsets to the transaction, it looks for the
group's coordinator without regard to its time-out, and where a broker answers "not yet" it waits for the next change
of a connection, which may never come (librdkafka #5456, #5511). After a restart of a single broker, a third of the
transactions under way were seen to hang until the next restart.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OverdueError(Exception):
    """The call has not come back in time; it goes on, and nobody learns what it comes to."""


def within(seconds: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make the call on a thread of its own; raises what it raises, or ``OverdueError`` after so many seconds.

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
