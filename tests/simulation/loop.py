"""The simulated world's time: one heap of events, and tasks that wait in it.

A task is a generator. It yields the seconds it sleeps for, or a ``Wait`` for a signal; whatever else happens in the
world happens between two yields. What belongs to a process stops with it: a dead process's tasks never go on, a
frozen one's go on when it thaws.
"""

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

Steps: TypeAlias = Generator[Any, Any, Any]


class Process:
    """What lives, freezes and dies as one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen_until = 0.0
        self.tasks: list[Task] = []

    def kill(self) -> None:
        """From now on nothing of it happens any more."""
        self.alive = False
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.steps.close()


@dataclass(slots=True)
class Wait:
    """Until the signal is given, or for so many seconds."""

    signal: "Signal"
    seconds: float


class Signal:
    """Wakes the task that waits for it; given before, it does not let the next one wait."""

    __slots__ = ("given", "task", "token")

    def __init__(self) -> None:
        self.given = False
        self.task: Task | None = None
        self.token = 0

    def give(self) -> None:
        """Wake who waits."""
        task = self.task
        if task is None:
            self.given = True
        else:
            self.task = None
            self.token += 1
            task.loop.after(0.0, task.step)


class Task:
    """One thread of a process."""

    __slots__ = ("loop", "process", "steps")

    def __init__(self, loop: "Loop", process: Process, steps: Steps) -> None:
        self.loop = loop
        self.process = process
        self.steps = steps

    def step(self) -> None:
        """Run until the next wait."""
        process, loop = self.process, self.loop
        if not process.alive:
            return
        if process.frozen_until > loop.now:
            loop.at(process.frozen_until, self.step)
            return
        try:
            wait = next(self.steps)
        except StopIteration:
            if self in process.tasks:
                process.tasks.remove(self)
            return
        if isinstance(wait, Wait):
            self._wait(wait.signal, wait.seconds)
        else:
            loop.at(loop.now + wait, self.step)

    def _wait(self, signal: Signal, seconds: float) -> None:
        if signal.given:
            signal.given = False
            self.loop.at(self.loop.now, self.step)
            return
        signal.task = self
        signal.token += 1
        token = signal.token

        def timed_out() -> None:
            if signal.token == token:
                signal.task = None
                signal.token += 1
                self.step()

        self.loop.at(self.loop.now + seconds, timed_out)


class Loop:
    """Events in the order of their times; those of one time in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.events = 0

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Schedule an event at a time."""
        self._number += 1
        heapq.heappush(self._heap, (time, self._number, event))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Schedule an event in so many seconds."""
        self.at(self.now + seconds, event)

    def start(self, process: Process, steps: Steps) -> Task:
        """Begin a task."""
        task = Task(self, process, steps)
        process.tasks.append(task)
        self.after(0.0, task.step)
        return task

    def turn(self) -> bool:
        """Run the next event; ``False`` if there is none."""
        if not self._heap:
            return False
        time, _, event = heapq.heappop(self._heap)
        self.now = max(self.now, time)
        self.events += 1
        event()
        return True
