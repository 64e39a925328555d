"""The faults. Each is a context: it strikes on entry, and what it broke is whole again on exit."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from tests.chaos.stage import Replica, Stage
from tests.chaos.workload import Client

SESSION_SECONDS = 10.0
"""After that the group gives a silent replica's partitions away."""


class From(StrEnum):
    """The moment from which recovery is measured."""

    STRIKE = "strike"
    """What is left can go on at once."""
    HEAL = "heal"
    """Nothing can go on before the part is back."""


class UnexpectedExitError(Exception):
    """A replica ended otherwise than it should."""


Strike: TypeAlias = Callable[[Stage, random.Random, list[str]], AbstractContextManager[None]]
"""The list gets what there is to say about this fault: who was hit."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault; it lasts between ``shortest`` and ``longest`` seconds."""

    kind: str
    strike: Strike
    shortest: float
    longest: float
    measured: From = From.STRIKE
    weight: int = 2
    quick: bool = False
    """It may strike while another fault lasts."""
    mirakl: bool = False
    """It explains answers 502 and 503."""
    needs: str = ""
    """A part that not every run has."""


def _victim(stage: Stage, chance: random.Random, notes: list[str]) -> Replica | None:
    up = [each for each in stage.replicas if each.wanted and each.service.running and not each.frozen]
    if not up:
        return None
    victim = chance.choice(up)
    notes.append(victim.name)
    return victim


@contextmanager
def _killed(stage: Stage, chance: random.Random, notes: list[str]) -> Iterator[None]:
    victim = _victim(stage, chance, notes)
    if victim is not None:
        victim.kill()
    yield
    if victim is not None:
        victim.start()


@contextmanager
def _all_killed(stage: Stage, _chance: random.Random, notes: list[str]) -> Iterator[None]:
    victims = [replica for replica in stage.replicas if replica.wanted]
    notes.append("all")
    for victim in victims:
        victim.kill()
    yield
    for victim in victims:
        victim.start()


@contextmanager
def _terminated(stage: Stage, chance: random.Random, notes: list[str]) -> Iterator[None]:
    victim = _victim(stage, chance, notes)
    if victim is not None and (code := victim.terminate()) != 0:
        raise UnexpectedExitError(f"{victim.name} ended with {code} after SIGTERM")
    yield
    if victim is not None:
        victim.start()


@contextmanager
def _joined(stage: Stage, _chance: random.Random, notes: list[str]) -> Iterator[None]:
    """One more replica comes, and goes again."""
    guest = stage.replica("guest")
    notes.append(guest.name)
    stage.replicas.append(guest)
    guest.start(wait=False)
    yield
    stage.replicas.remove(guest)
    if not guest.service.running:
        raise UnexpectedExitError("guest ended by itself")
    code = guest.terminate()
    if code not in (0, -15):  # before its handlers are there, SIGTERM ends it as it would any program
        raise UnexpectedExitError(f"guest ended with {code} after SIGTERM")


@contextmanager
def _frozen(stage: Stage, chance: random.Random, notes: list[str]) -> Iterator[None]:
    victim = _victim(stage, chance, notes)
    if victim is not None:
        victim.freeze()
    yield
    if victim is not None and victim.service.running:
        victim.thaw()


@contextmanager
def _broker_killed(stage: Stage, _chance: random.Random, _notes: list[str]) -> Iterator[None]:
    stage.broker.kill()
    yield
    stage.broker.start()


@contextmanager
def _broker_stopped(stage: Stage, _chance: random.Random, _notes: list[str]) -> Iterator[None]:
    stage.broker.stop()
    yield
    stage.broker.start()


@contextmanager
def _broker_frozen(stage: Stage, _chance: random.Random, _notes: list[str]) -> Iterator[None]:
    stage.broker.pause()
    yield
    stage.broker.resume()


@contextmanager
def _database_away(stage: Stage, _chance: random.Random, _notes: list[str]) -> Iterator[None]:
    with stage.database.away():
        yield


@contextmanager
def _registry_away(stage: Stage, _chance: random.Random, _notes: list[str]) -> Iterator[None]:
    assert stage.registry is not None
    stage.registry.pause()
    yield
    stage.registry.resume()


@contextmanager
def _mirakl_down(stage: Stage, _chance: random.Random, _notes: list[str]) -> Iterator[None]:
    stage.mirakl.kill()
    yield
    stage.mirakl.start()


def _mirakl(scripted: dict[str, object]) -> Strike:
    """One instance, or all, behave so."""

    @contextmanager
    def strike(stage: Stage, chance: random.Random, notes: list[str]) -> Iterator[None]:
        client: Client | None = chance.choice([None, *stage.plan.clients])
        notes.append(client.name if client else "all clients")
        stage.mirakl.script(scripted, client)
        yield
        stage.mirakl.heal(client)

    return strike


ALL = (
    Fault("kill -9", _killed, 0, 14, weight=5, quick=True),
    Fault("SIGTERM", _terminated, 0, 5, weight=3, quick=True),
    Fault("kill -9 of all", _all_killed, 0, 3, From.HEAL, weight=1),
    Fault("join and leave", _joined, 3, 8),
    Fault("zombie", _frozen, SESSION_SECONDS + 2, SESSION_SECONDS + 8, weight=3),
    Fault("freeze", _frozen, 0.5, SESSION_SECONDS - 4, quick=True),
    Fault("broker killed", _broker_killed, 0, 5, From.HEAL, weight=3),
    Fault("broker stopped", _broker_stopped, 0, 5, From.HEAL),
    Fault("broker away", _broker_killed, SESSION_SECONDS + 2, SESSION_SECONDS + 8, From.HEAL, weight=1),
    Fault("broker frozen", _broker_frozen, 1, 15, From.HEAL),
    Fault("database away", _database_away, 2, 12, From.HEAL),
    Fault("registry away", _registry_away, 2, 12, From.HEAL, needs="registry"),
    Fault("Mirakl down", _mirakl_down, 1, 8, From.HEAL, mirakl=True),
    Fault("Mirakl 503", _mirakl({"effect": "status", "status": 503}), 1, 8, From.HEAL, mirakl=True),
    Fault("Mirakl 429", _mirakl({"effect": "status", "status": 429, "retry_after": "3"}), 1, 8, From.HEAL, mirakl=True),
    Fault("Mirakl hangs", _mirakl({"effect": "hang"}), 1, 8, From.HEAL, mirakl=True),
    Fault("Mirakl resets", _mirakl({"effect": "reset", "taken_in": True}), 1, 8, From.HEAL, mirakl=True),
)
"""``Mirakl resets``: the call is taken in, and its answer lost."""
