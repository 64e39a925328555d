"""The simulated world: parts, faults, time. One seed, one history."""

from collections.abc import Hashable, Mapping
from random import Random

from consumer.engine.clock import Instant
from consumer.engine.commands import StartCall
from consumer.engine.events import (
    Assigned,
    CallFinished,
    DirectoryConfirmed,
    DirectoryUnavailable,
    Event,
    SchemaFound,
    SchemaMissing,
    SchemaUnavailable,
)
from consumer.engine.records import Record
from tests.simulation.broker import Broker, Transaction
from tests.simulation.laws import Laws
from tests.simulation.loop import Loop, Process
from tests.simulation.mirakl import Mirakl, SentCall
from tests.simulation.promises import Promises
from tests.simulation.published import Published
from tests.simulation.replica import Payload, Replica
from tests.simulation.scenario import LATE_KEY, Fault, Plan, SentRecord
from tests.simulation.shells import CLOCK
from tests.simulation.stores import Database

CALM_SECONDS = 60.0
"""Once all faults have ceased, everything must be answered within the deadline and this."""
SCHEMA_SECONDS = 40.0
MOST_EVENTS = 2_000_000
SLOW_SECONDS = 2.0
"""How long a core is slow."""
_OF_THE_BROKER = frozenset({"refuse", "trim", "recreate", "former progress"})
_OF_A_REPLICA = frozenset({"crash", "terminate", "freeze", "expel", "slow core"})


class ViolationError(Exception):
    """A law is broken."""


class World:
    """One run of one plan."""

    def __init__(self, plan: Plan, *, tracing: bool = False, recording: bool = False) -> None:
        self.plan = plan
        self.tracing = tracing
        self.recorded: dict[str, list[str]] | None = {} if recording else None
        """Process -> the lines of its trace, which ``replay`` reads."""
        self.told: list[str] = []
        self.loop = Loop()
        self.loop.now = 100.0
        CLOCK.loop = self.loop
        self.start = self.loop.now
        self.rng = Random(f"{plan.seed}/world")
        self.broker = Broker(
            self.loop,
            Random(f"{plan.seed}/broker"),
            plan.partitions,
            session=plan.session,
            transaction_timeout=plan.transaction_timeout,
            trace=self.trace,
        )
        self.database = Database([shop.specification for shop in plan.shops])
        self.broker.longest_metadata = plan.longest_metadata
        self.registry_down_until = 0.0
        self.unwritable_until = 0.0
        self.mirakl = Mirakl(
            {shop.specification.id: shop for shop in plan.shops},
            Random(f"{plan.seed}/mirakl"),
            plan.call_timeout,
            {shop.specification.id: shop.specification.credential for shop in plan.shops},
        )
        self.records = {record.number: record for record in plan.records}
        self.records_at: dict[tuple[int, int], SentRecord] = {}
        self.laws = Laws(self)
        self.promises = Promises(self)
        self.published = Published(self)
        self.broker.on_commit = self._committed
        self.broker.on_write = self._written
        self.broker.on_progress = self._progressed
        self.violation: ViolationError | None = None
        self.calm = False
        self.replicas: dict[int, Replica | None] = {}
        self.every: list[Replica] = []
        self._lives: dict[int, int] = {}
        self._wanted: dict[int, bool] = {}
        self._step_faults: list[list[object]] = []
        self._call_number = 0

    # -- the run ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the plan. Raises ``ViolationError``."""
        plan = self.plan
        for slot in range(plan.replicas):
            self._wanted[slot] = True
            self._after(self.rng.random() * 0.5, self._boot, slot)
        for record in plan.records:
            self.loop.at(self.start + record.time, lambda record=record: self._send(record))  # type: ignore[misc]
        for fault in plan.faults:
            self.loop.at(self.start + fault.time, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        self._turn_until(lambda: False, plan.duration)
        self._calm_down()
        patience = CALM_SECONDS + plan.limits.request_deadline
        if any(record.schema is not None for record in plan.records):
            patience += SCHEMA_SECONDS
        before = -1
        while self.published.unanswered():
            if before == len(self.published.visible):
                left = [f"{each.partition}:{each.offset}" for each in self.published.unanswered()]
                self.violated(f"{patience:.0f} s after the last fault or outcome {left} have none")
            before = len(self.published.visible)
            self._turn_until(lambda: not self.published.unanswered(), patience)
        if not self._turn_until(lambda: not self.published.lagging(), patience):
            self.violated(f"partitions {self.published.lagging()}: the committed offset does not reach the log's end")
        self.promises.done(self._call_number)

    def _turn_until(self, done: object, seconds: float) -> bool:
        end, look = self.loop.now + seconds, self.loop.now
        while self.loop.now < end:
            if self.loop.now >= look:
                if done():  # type: ignore[operator]
                    return True
                look = self.loop.now + 0.2
            self.loop.turn()
            if self.violation is not None:
                raise self.violation
            if self.loop.events > MOST_EVENTS:
                self.violated("the world turns in circles")
        return bool(done())  # type: ignore[operator]

    def _after(self, seconds: float, what: object, *args: object) -> None:
        self.loop.after(seconds, lambda: what(*args))  # type: ignore[operator]

    def _calm_down(self) -> None:
        """All faults cease."""
        self.trace("--- all faults cease")
        self.calm = True
        now = self.loop.now
        self.database.down_until = min(self.database.down_until, now)
        self.registry_down_until = min(self.registry_down_until, now)
        self.unwritable_until = min(self.unwritable_until, now)
        self.broker.silent_until = min(self.broker.silent_until, now)
        self.broker.refused_until.clear()
        self._step_faults.clear()
        for slot in self._wanted:
            self._wanted[slot] = slot < self.plan.replicas
            if self._wanted[slot] and self.replicas.get(slot) is None:
                self._after(0.1, self._boot, slot)
        for shop in self.plan.shops:
            self.database.remove(now, shop.specification.id, gone=False)
            self.database.change(now, shop.specification.id, active=True, suspended=False)
        self.database.issue(now, LATE_KEY)
        for key in (b"north-operator", b"south-operator"):
            self.database.revoke(now, key, revoked=False)

    def violated(self, text: str) -> None:
        """A law is broken: the run ends."""
        for replica in self.replicas.values():
            if replica is not None and self.tracing:
                self._describe(replica)
        self.trace(f"VIOLATION: {text}")
        if self.violation is None:
            self.violation = ViolationError(text)
        raise self.violation

    def _describe(self, replica: Replica) -> None:
        """What a reader of a trace wants to know of a process."""
        core, consumer = replica.core, replica.source._consumer
        self.trace(
            f"{replica.process.name}: troubles {core._clock.troubles}, {core._pressure.records} records,"
            f" {core._pressure.bytes} bytes, fetch budget {core.fetch_budget.records},"
            f" over limit {sorted(core._pressure.over_limit)}, stopping {core._partitions.stopping}"
        )
        for each in core._partitions.assignments.values():
            fetch = consumer._fetches.get(each.partition)
            self.trace(
                f"    partition {each.partition} e{each.epoch}: base {each.progress.base},"
                f" position {each.progress.position}, {len(each.backlog)} wait, open {list(each.open)[:20]},"
                f" finished {[request.record.offset for request in each.decided][:20]},"
                f" paused {each.paused} / {each.partition in consumer._paused}, {each.phase.name},"
                f" fetched to {fetch.position if fetch else None} of {self.broker.logs[each.partition].end}"
            )
        for lane in core._dispatch.lanes.values():
            next_call = lane.health.can_call_at(self.loop.now) - self.start
            self.trace(
                f"    {lane.specification.name}: {lane.health.state(self.loop.now)}, {len(lane.queue.waiting)} queued,"
                f" {lane.queue.bisection.depth} in bisection, calls {list(lane.calls)}, can call at {next_call:.2f}"
            )

    def trace(self, text: str) -> None:
        if self.tracing:
            self.told.append(f"{self.loop.now - self.start:9.4f}  {text}")

    # -- processes -------------------------------------------------------------------------------------

    def _boot(self, slot: int) -> None:
        if self.replicas.get(slot) is None and self._wanted.get(slot):
            life = self._lives[slot] = self._lives.get(slot, 0) + 1
            self.trace(f"{slot}.{life}: starts")
            replica = self.replicas[slot] = Replica(self, slot, life)
            self.every.append(replica)

    def _kill(self, replica: Replica, restart: float | None) -> None:
        self.trace(f"{replica.process.name}: killed")
        replica.process.alive = False
        self._bury(replica, restart)

    def _bury(self, replica: Replica, restart: float | None) -> None:
        """What is left of a process: its session, its open transaction."""
        self.loop.after(0.0, replica.process.kill)
        self.replicas[replica.slot] = None
        consumer = replica.source._consumer
        wait = self.plan.session * (0.8 + 0.2 * self.rng.random())
        self.loop.after(wait, lambda: self._expire(consumer.member_id, replica))
        if restart is not None:
            self._after(restart, self._boot, replica.slot)

    def _expire(self, member_id: str, replica: Replica) -> None:
        """A session ends, if nothing was heard in it."""
        if self.broker.down:
            self._after(self.broker.down_until - self.loop.now + self.plan.session, self._expire, member_id, replica)
            return
        silent = not replica.process.alive or replica.process.frozen_until > self.loop.now
        if silent and member_id in self.broker.members:
            self.trace(f"broker: the session of {member_id} ({replica.process.name}) ends")
            self.broker.leave(member_id)

    def exited(self, replica: Replica) -> None:
        """A process ends by itself; somebody starts it again."""
        self.trace(f"{replica.process.name}: exits")
        replica.process.alive = False
        self._bury(replica, 0.5 if self._wanted.get(replica.slot) else None)

    def _freeze(self, replica: Replica, seconds: float) -> None:
        self.trace(f"{replica.process.name}: frozen for {seconds} s")
        now = self.loop.now
        replica.disturb(seconds)
        replica.process.frozen_until = now + seconds
        consumer = replica.source._consumer
        wait = self.plan.session * (0.8 + 0.2 * self.rng.random())
        self.loop.after(wait, lambda: self._expire(consumer.member_id, replica))
        self.loop.at(now + seconds + self.rng.random() * 0.3, consumer.check)

    def step(self, replica: Replica, what: str) -> None:
        """A task is about to take a step that a fault may wait for."""
        for fault in self._step_faults:
            if fault[0] == what:
                fault[1] -= 1  # type: ignore[operator]
                if fault[1] == 0:
                    self._step_faults.remove(fault)
                    if fault[2] == "crash at step":
                        self._kill(replica, fault[3])  # type: ignore[arg-type]
                    elif fault[2] == "terminate at step":
                        replica.terminate()
                    elif fault[2] == "expel at step":
                        self._expel(replica)
                    else:
                        self._freeze(replica, fault[3])  # type: ignore[arg-type]
                    return

    def garbles(self) -> bool:
        """Draw whether a fetched batch cannot be unpacked."""
        return not self.calm and self.rng.random() < self.plan.garbled

    def trouble(self, what: str) -> str:
        """Draw what happens to a call of the broker."""
        if not self.calm and what in ("send offsets", "commit") and self.rng.random() < self.plan.hanging:
            return "hangs"
        if self.calm or self.rng.random() >= self.plan.network_trouble:
            return ""
        return self.rng.choice(("request lost", "answer lost", "slow"))

    def failure(self, what: str) -> str:
        """Draw what goes wrong inside a producer."""
        if what == "send offsets" and self.loop.now < self.unwritable_until:
            return "before"
        if self.calm or self.rng.random() >= self.plan.transaction_trouble:
            return ""
        if what == "commit":
            return self.rng.choice(("before", "fatal before", "fatal after", "fatal after"))
        return self.rng.choice(("before", "fatal before"))

    # -- faults ----------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        if self.calm:
            return
        self.trace(f"*** {fault.kind} {fault.args}")
        if fault.kind in _OF_A_REPLICA:
            replica = self.replicas.get(fault.args[0])
            if replica is not None:
                self._strike_replica(replica, fault)
        elif fault.kind.endswith("at step"):
            self._step_faults.append([fault.args[0], fault.args[1], fault.kind, fault.args[2]])
        elif fault.kind == "join":
            slot = max(self._wanted) + 1
            self._wanted[slot] = True
            self._boot(slot)
            self._after(fault.args[0], self._retire, slot)
        elif fault.kind.endswith("down") or fault.kind in ("unwritable", "silent progress"):
            self._take_down(fault.kind, self.loop.now + fault.args[0])
        elif fault.kind in _OF_THE_BROKER:
            self._strike_broker(fault)
        else:
            self._change(fault, self.loop.now)

    def _strike_replica(self, replica: Replica, fault: Fault) -> None:
        match fault.kind:
            case "crash":
                self._kill(replica, fault.args[1])
            case "terminate":
                replica.terminate()
            case "freeze":
                self._freeze(replica, fault.args[1])
            case "expel":
                self._expel(replica)
            case _:
                replica.disturb(SLOW_SECONDS + fault.args[1])
                replica.slow_until, replica.lag = self.loop.now + SLOW_SECONDS, fault.args[1]

    def _strike_broker(self, fault: Fault) -> None:
        match fault.kind:
            case "refuse":
                self.broker.refused_until[fault.args[0]] = self.loop.now + fault.args[1]
            case "trim":
                self._trim(fault.args[0])
            case "recreate":
                self._recreate(keeps_progress=fault.args[0])
            case _:
                self.broker.former_from, self.broker.former_until = self.loop.now, self.loop.now + fault.args[0]

    def _take_down(self, what: str, until: float) -> None:
        match what:
            case "broker down":
                self.broker.down_until = until
            case "database down":
                self.database.down_until = until
            case "unwritable":
                self.unwritable_until = until
            case "silent progress":
                self.broker.silent_until = until
            case _:
                self.registry_down_until = until

    def _expel(self, replica: Replica) -> None:
        """The group goes on without a member, which learns of it later."""
        self.trace(f"broker: {replica.process.name} is no member any more")
        consumer = replica.source._consumer
        self.broker.leave(consumer.member_id)
        self._after(self.rng.random() * 0.5, consumer.check)

    def _retire(self, slot: int) -> None:
        self._wanted[slot] = False
        replica = self.replicas.get(slot)
        if replica is not None:
            replica.terminate()

    def _change(self, fault: Fault, now: float) -> None:
        """Somebody changes a row."""
        if fault.kind == "revoke key":
            self.database.revoke(now, fault.args[0], revoked=fault.args[1])
            return
        if fault.kind == "issue key":
            self.database.issue(now, LATE_KEY)
            return
        id_ = self.plan.shops[fault.args[0]].specification.id
        match fault.kind:
            case "suspend":
                self.database.change(now, id_, suspended=fault.args[1])
            case "deactivate":
                self.database.change(now, id_, active=not fault.args[1])
            case "remove":
                self.database.remove(now, id_, gone=fault.args[1])
            case "quota":
                self.database.change(now, id_, calls_per_hour=fault.args[1])
            case "concurrency":
                self.database.change(now, id_, concurrent_calls=fault.args[1])
            case "batch size":
                self.database.change(now, id_, products_per_call=fault.args[1])
            case _:
                self.mirakl.credentials[id_] += "+"
                self.database.change(now, id_, credential=self.mirakl.credentials[id_])

    def _trim(self, partition: int) -> None:
        """Delete the head of a log, as retention does: what is older than anything that waits, or a little more."""
        log = self.broker.logs[partition]
        done = self.broker.committed.get(partition, (log.start, ""))[0]
        ahead = log.end if self.plan.study == "cut" else self.rng.choice((0, 0, 3))
        if self.plan.study == "cut":
            self.published.read_before_cut |= {
                (partition, offset)
                for replica in self.replicas.values()
                if replica is not None and partition in replica.core._partitions.assignments
                for offset in replica.core._partitions.assignments[partition].open
            }
        log.start = max(log.start, min(log.end, done + ahead))
        for offset in [each for each in log.offsets if each < log.start]:
            log.records.pop(offset, None)
        log.offsets = [each for each in log.offsets if each >= log.start]
        self.trace(f"broker: the log of {partition} starts at {log.start}")

    def _committed(self, transaction: Transaction) -> None:
        """A transaction's outcomes become visible."""
        self.published.published(transaction)
        self.promises.committed(transaction.producer.process)

    def _written(self, _process: Process, payload: Payload) -> None:
        """An outcome becomes visible outside of a transaction."""
        self.published.written(payload)

    def _progressed(self, process: Process, offsets: Mapping[int, tuple[int, str]]) -> None:
        """Offsets are committed outside of a transaction."""
        self.published.progressed(offsets)
        self.promises.committed(process)

    def _recreate(self, *, keeps_progress: bool) -> None:
        """Delete the requests topic and create it again; the group's progress may outlast it."""
        self.published.recreated()
        self.records_at.clear()
        self.broker.recreate(keeps_progress=keeps_progress)
        for replica in self.replicas.values():
            if replica is not None:
                replica.source._consumer.wake.give()

    def sent_record(self, record: Record) -> SentRecord:
        """Return what was sent as this record, which may be of a topic that was deleted since."""
        if record.value is None:  # it could not be unpacked
            return self.records_at[record.partition, record.offset]
        return self.records[int(record.value.split(b"|")[0])]

    # -- what the parts do -----------------------------------------------------------------------------

    def _send(self, record: SentRecord) -> None:
        log = self.broker.logs[record.partition]
        log.end += record.gap
        record.offset = log.append(record)
        record.timestamp = int(self.loop.now * 1000)
        record.incarnation = self.broker.incarnation
        self.records_at[record.partition, record.offset] = record
        self.published.sent(record)
        self.trace(
            f"sent r{record.number} at {record.partition}:{record.offset} "
            f"{record.api_key!r} {record.given} {record.products} schema={record.schema} readable={record.readable}"
        )
        for replica in self.replicas.values():
            if replica is not None:
                replica.source._consumer.wake.give()

    def call(self, replica: Replica, command: StartCall) -> None:
        """A call leaves a replica."""
        self._call_number += 1
        call = SentCall(
            self._call_number, command.specification, dict(command.products), replica.process.name, self.loop.now
        )
        self.laws.call_starts(replica, command, call)
        self.promises.call_starts(replica, call)
        seconds, outcome = self.mirakl.receive(call, float("inf") if self.calm else self.loop.now - self.start)
        call.outcome = outcome
        replica.calls[command.call_id] = call
        self._after(seconds, replica.post, CallFinished(command.call_id, outcome))

    def handles(self, replica: Replica, event: Event, at: Instant) -> None:
        """A replica's core is about to handle an event."""
        if isinstance(event, CallFinished):
            call = replica.calls.pop(event.call_id)
            call.ended = at.mono
            self.trace(f"{replica.process.name}: call {event.call_id} {event.outcome}")
            self.promises.call_finished(replica, call)
        elif isinstance(event, Assigned):
            self.promises.assigned(replica, event.epoch)
            self.published.read_from(event.partition, event.offset, event.metadata or "")

    def confirm_directory(self, replica: Replica, asked_at: float) -> None:
        """The database is asked."""

        def read() -> None:
            if self.loop.now < self.database.down_until:
                self._after(0.05, replica.post, DirectoryUnavailable("the database is down"))
                return
            directory = self.database.directory
            new = directory if directory.version != replica.known_version else None
            replica.known_version = directory.version
            self._after(0.002, replica.post, DirectoryConfirmed(asked_at, new))

        self._after(self.rng.choice((0.001, 0.001, 0.01, 0.2)), read)

    def look_up_schema(self, replica: Replica, reference: Hashable) -> None:
        """The registry is asked."""

        def answer() -> None:
            if self.loop.now < self.registry_down_until or (not self.calm and self.rng.random() < 0.2):
                replica.post(SchemaUnavailable(reference, "the registry is down"))
            elif replica.decoder.learn(reference):
                replica.post(SchemaFound(reference))
            else:
                replica.post(SchemaMissing(reference))

        self._after(0.01, answer)
