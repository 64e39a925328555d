"""A rolling upgrade from the former release, and back: what its requesters notice.

The former release makes the database and runs. This release migrates the database under load, while the former
replicas go on; one of them is killed and must start on the migrated tables. Then the replicas become this release's,
one by one; the stored credentials are written anew in this release's form, and back; and the replicas become the
former release's again, one by one. At the end every request must have exactly one outcome.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.chaos.audit import Account, take_account
from tests.chaos.load import Stream
from tests.chaos.recovery import (
    BROKER_WAIT_SECONDS,
    GRACE_SECONDS,
    Conditions,
    Measured,
    listed,
    roll,
    settle_and_watch,
)
from tests.chaos.releases import THIS, Release
from tests.chaos.scene import Scene, under_load
from tests.chaos.stage import CONSUMER_SESSION_SECONDS, Plan, prepared
from tests.chaos.workload import Requests, clients

PARTITIONS = 6
CLIENTS = 4
"""Each costs one command of the former release before the load begins."""
DRAIN_SECONDS = 120.0


@dataclass(slots=True)
class Upgrade:
    """What one upgrade and its rollback have shown."""

    measured: list[Measured]
    account: Account

    @property
    def held(self) -> bool:
        """Whether every request has one outcome, and no partition was silent for too long."""
        return not self.account.violations and all(each.held for each in self.measured)


def upgrade_and_back(former: Release, folder: Path, console: Console, conditions: Conditions, database: str) -> Upgrade:
    """Upgrade three replicas from ``former`` to the tree at hand under load, and roll them back."""
    plan = Plan(
        PARTITIONS,
        clients(CLIENTS),
        3,
        protocol=conditions.protocol,
        static=all(conditions.memberships),
        database=database,
        latency="30ms",
        jitter="40ms",
        tail="0:0s",
        release=former,
    )
    with prepared(plan, folder) as stage:
        streams = [Stream(client, conditions.rate / CLIENTS, range(PARTITIONS)) for client in plan.clients]
        with under_load(stage, Requests(stage.api_key, 1), streams) as scene:
            measured = list(_story(scene, former, console))
            if not scene.drain(DRAIN_SECONDS):
                console.print("some requests have no outcome")
        account = take_account(stage.broker.bootstrap, stage.topics, stage.mirakl.journal, [])
        account.violations += [f"Mirakl: {each}" for each in stage.mirakl.violations()]
        account.violations += [f"load: {each}" for each in scene.load.failed]
    return Upgrade(measured, account)


def _story(scene: Scene, former: Release, console: Console) -> Iterator[Measured]:
    stage = scene.stage
    with _watched(scene, "db upgrade of this release, former replicas running", GRACE_SECONDS, console) as migration:
        THIS.run(stage.settings, "db", "upgrade")
        console.print(f"the database lists the revisions {', '.join(stage.supported_revisions())}")
    yield migration
    static = stage.plan.static and stage.plan.protocol == "classic"
    session = 0.0 if static else CONSUMER_SESSION_SECONDS + BROKER_WAIT_SECONDS
    with _watched(scene, "kill -9 of a former replica, restarted", GRACE_SECONDS + session, console) as killed:
        stage.replicas[0].kill()
        stage.replicas[0].start(wait=True)
    yield killed
    yield roll(scene, "rolling upgrade of three", console, THIS)
    with _watched(scene, "credentials written anew, and back", GRACE_SECONDS, console) as rotated:
        THIS.run(stage.settings, "encryption-key", "rotate")
        scene.settle()
        THIS.run(stage.settings, "encryption-key", "rotate", "--unbound")
    yield rotated
    yield roll(scene, "rolling back of three", console, former)


@contextmanager
def _watched(scene: Scene, scenario: str, bound: float, console: Console) -> Iterator[Measured]:
    """Measure the longest silence of each partition during the block, and until results have come again on all."""
    measured = Measured(f"{scenario}, longest silence of a partition", bound)
    settle_and_watch(scene)
    began = time.monotonic()
    yield measured
    scene.settle()
    measured.seconds = sorted(scene.outcomes.gaps().values())
    took = time.monotonic() - began
    console.print(f"{scenario} ({took:.1f} s): longest silence of each partition: {listed(measured.seconds)}")
