"""The service's own Kafka threads, as tasks of the simulated world.

The classes of ``consumer.adapters.kafka`` that run on the owner thread or the committer thread are written for threads
that block. Here their modules are compiled once more, with one change: a method that calls something becomes a
generator, and the value of a call is waited for where it is a generator itself. So every place where a thread may
stand still is a place where anything else may happen, and the code that decides is the very code that runs in
production. Line numbers stay those of the file.
"""

import ast
import builtins
import inspect
import logging
import queue
from collections import deque
from collections.abc import Callable
from types import GeneratorType, ModuleType, SimpleNamespace
from typing import Any

from consumer.adapters.kafka import (
    at_least_once,
    broken_batches,
    broker_watch,
    committer,
    fetching,
    membership,
    offset_commits,
    outgoing,
    positions,
    reading,
    resets,
    topic_consumer,
    transactions,
    turns,
)
from consumer.adapters.kafka import source as kafka_in
from consumer.adapters.kafka.bounded_call import OverdueError
from tests.simulation.kafka import SimulatedConsumer
from tests.simulation.loop import Loop, Signal, Steps, Wait
from tests.simulation.producer import PlainProducer, SimulatedProducer

_ASKED = frozenset({"pause", "resume", "drained", "reload", "reread", "topic_is", "start", "stop", "commit"})
"""Called from outside of a task, or where no task can wait."""
_COMMITTERS = frozenset({"start", "stop", "commit"})
_TASKS: dict[str, frozenset[str]] = {
    "KafkaSource": _ASKED,
    "Committer": _COMMITTERS,
    "TransactionalSink": _COMMITTERS,
    "AtLeastOnceSink": _COMMITTERS,
    **dict.fromkeys(
        (
            *("BrokenBatches", "BrokerWatch", "Fetching", "Group", "LogResets", "OffsetCommits", "Positions"),
            *("Outgoing", "Reading"),
        ),
        frozenset(),
    ),
    "TopicConsumer": frozenset({"end_seen"}),
    "Turns": frozenset({"_is_late", "due"}),
}
"""Class -> its methods that stay as they are."""


class _Waits(ast.NodeTransformer):
    """``f(x)`` becomes ``(yield from _w) if type(_w := f(x)) is _Generator else _w``, but for what runs elsewhere."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        waited = ast.IfExp(
            test=ast.Compare(
                left=ast.Call(
                    func=ast.Name("_type", ast.Load()),
                    args=[ast.NamedExpr(target=ast.Name("_w", ast.Store()), value=node)],
                    keywords=[],
                ),
                ops=[ast.Is()],
                comparators=[ast.Name("_Generator", ast.Load())],
            ),
            body=ast.YieldFrom(ast.Name("_w", ast.Load())),
            orelse=ast.Name("_w", ast.Load()),
        )
        return ast.copy_location(waited, node)

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _leave  # noqa: N815


_COMPILED: dict[str, ModuleType] = {}
"""Modules that were compiled into tasks, for those that import them."""


def _import(name: str, *arguments: Any) -> ModuleType:  # noqa: ANN401 - as the built-in's
    return _COMPILED.get(name) or builtins.__import__(name, *arguments)


def as_tasks(module: ModuleType, **replaced: Any) -> ModuleType:  # noqa: ANN401 - whatever the module names
    """Compile a module's threads into tasks; ``replaced`` are the names of the world that it must not touch.

    Modules that it imports and that hold tasks as well have to be compiled before.
    """
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in _TASKS:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name not in {"__init__", *_TASKS[node.name]}:
                    _Waits().generic_visit(method)
    ast.fix_missing_locations(tree)
    copy = _COMPILED[module.__name__] = ModuleType(f"simulated.{module.__name__}")
    copy.__dict__.update(_type=type, _Generator=GeneratorType, __builtins__={**vars(builtins), "__import__": _import})
    exec(compile(tree, str(module.__file__), "exec"), copy.__dict__)  # noqa: S102 - our own source
    copy.__dict__.update({name: value for name, value in replaced.items() if name in copy.__dict__})
    return copy


class _Thread:
    """Never started: the world runs what it would run."""

    def __init__(self, **_: Any) -> None: ...  # noqa: ANN401 - threading.Thread's


class _Flag:
    """``threading.Event`` among tasks of one thread."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


class Mailbox:
    """``queue.SimpleQueue``; getting from it waits."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._filled = Signal()

    def put(self, item: Any) -> None:  # noqa: ANN401 - queue's
        self._items.append(item)
        self._filled.give()

    def get(self, timeout: float = 1e9) -> Steps:
        while not self._items:
            yield Wait(self._filled, timeout)
            if not self._items and timeout < NEVER:
                raise queue.Empty
        return self._items.popleft()


NEVER = 1e8


class Clock:
    """``time`` of the simulated world that runs at the moment."""

    loop: Loop

    def monotonic(self) -> float:
        return self.loop.now

    def sleep(self, seconds: float) -> Steps:
        """A little longer than asked for: nothing happens meanwhile that a poll more often would show."""
        yield max(seconds, 0.03)


CLOCK = Clock()


def within(seconds: float, call: Callable[..., Steps], *arguments: Any) -> Steps:  # noqa: ANN401 - passed through
    """``bounded_call.within``: what the call has sent arrives though nobody waits for it any more."""
    steps, end = call(*arguments), CLOCK.loop.now + seconds
    while True:
        try:
            wait = next(steps)
        except StopIteration as done:
            return done.value
        left = max(0.0, end - CLOCK.loop.now)
        yield Wait(wait.signal, min(wait.seconds, left)) if isinstance(wait, Wait) else min(wait, left)
        if CLOCK.loop.now >= end:
            raise OverdueError(f"no answer within {seconds:g} s")


_SILENT = logging.getLogger("simulation")
_SILENT.disabled = True
_THREADING = SimpleNamespace(Thread=_Thread, Event=_Flag)
_WORLD = {
    "time": CLOCK,
    "threading": _THREADING,
    "queue": SimpleNamespace(SimpleQueue=Mailbox, Empty=queue.Empty),
    "Consumer": SimulatedConsumer,
    "Producer": SimulatedProducer,
    "within": within,
    "_log": _SILENT,
}
_SOURCE = (topic_consumer, membership, reading, fetching, broken_batches, broker_watch, resets, positions, turns)
for _module in (*_SOURCE, offset_commits, outgoing, committer):
    as_tasks(_module, **_WORLD)
KAFKA_IN = as_tasks(kafka_in, **_WORLD)
KAFKA_OUT = as_tasks(transactions, **_WORLD)
AT_LEAST_ONCE = as_tasks(at_least_once, **_WORLD | {"Producer": PlainProducer})
GROUP = _COMPILED[membership.__name__]
RESETS = _COMPILED[resets.__name__]
BROKEN = _COMPILED[broken_batches.__name__]
POSITIONS = _COMPILED[positions.__name__]
OUTGOING = _COMPILED[outgoing.__name__]
