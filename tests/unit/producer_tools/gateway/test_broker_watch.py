"""Whether the brokers respond and the reader keeps up: told from what the leaders of the partitions answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # public, yet not marked

from producer_tools.connection import Connection
from producer_tools.errors import MissingRightError
from producer_tools.gateway.broker_watch import BrokerWatch, Ends, TopicEnds
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.results_reader import ResultsReader
from schemas.rights import Right
from tests.unit.producer_tools.fake_kafka import fake_broker, settings


class Scene:
    """A watch over brokers and a reader that do as a test says."""

    def __init__(self, policy: GatewayPolicy | None = None) -> None:
        self.ends: Ends = {0: 10, 1: 20}
        self.added: Sequence[int] = ()
        self.told: list[int] = []
        self.down = False
        self.refused = False
        """Nothing is told about a topic, as without DESCRIBE on it."""
        self.missing: Mapping[str, Right] = {}
        self.silence: Callable[[float], None] | None = None
        """Takes the place of an answer about rights; told the timeout in seconds."""
        self.connection = SimpleNamespace(all_down_at=0.0)
        self.reader = SimpleNamespace(progress={0: 0, 1: 0}, add_partitions=self.told.extend)
        topics = SimpleNamespace(
            ends=self._ends,
            find_added=lambda _timeout: self.added,
            missing_rights=self._missing_rights,
        )
        self.watch = BrokerWatch(
            cast("Connection", self.connection),
            cast("TopicEnds", topics),
            cast("ResultsReader", self.reader),
            policy or GatewayPolicy(),
        )

    def _ends(self, _timeout: float) -> Ends:
        if self.down:
            raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))
        if self.refused:
            raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        return self.ends

    def _missing_rights(self, timeout: float) -> Mapping[str, Right]:
        if self.silence:
            self.silence(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self.missing

    def state(self) -> tuple[bool, bool]:
        """Whether the brokers answer, and whether the reader is up to date."""
        return self.watch.brokers_answer, self.watch.reader_is_up_to_date

    def read_all(self) -> None:
        """Let the reader arrive at the ends of this moment."""
        self.reader.progress.update(self.ends)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a thread."""
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_reader_is_up_to_date_once_it_has_read_what_was_there() -> None:
    scene = Scene()
    scene.watch.probe()
    assert (True, False) == scene.state()
    assert 30 == scene.watch.lag_records

    scene.read_all()
    scene.ends = {0: 15, 1: 25}  # others go on
    scene.watch.probe()

    assert (True, True) == scene.state()


def test_a_reader_that_falls_behind_is_noticed() -> None:
    scene = Scene(GatewayPolicy(behind_seconds=0.1, probe_seconds=0.02))
    scene.read_all()
    scene.watch.probe()
    assert (True, True) == scene.state()

    scene.ends = {0: 11, 1: 20}
    until = time.monotonic() + 0.15
    while time.monotonic() < until:
        scene.watch.probe()
        time.sleep(0.02)

    assert (True, False) == scene.state()


def test_a_reader_that_arrives_late_is_not_up_to_date() -> None:
    """It has read what was there long ago, and still lags as far behind."""
    scene = Scene(GatewayPolicy(behind_seconds=0.1, probe_seconds=0.1))
    scene.watch.probe()
    time.sleep(0.12)
    scene.read_all()
    scene.ends = {0: 100, 1: 200}
    scene.watch.probe()

    assert not scene.watch.reader_is_up_to_date


def test_brokers_that_do_not_answer_are_noticed() -> None:
    scene = Scene(GatewayPolicy(probe_seconds=0.01))
    scene.read_all()
    scene.watch.start()
    eventually(lambda: scene.watch.brokers_answer and scene.watch.reader_is_up_to_date)
    scene.down = True
    eventually(lambda: not scene.watch.brokers_answer)
    scene.down = False
    eventually(lambda: scene.watch.brokers_answer)
    scene.watch.stop()


def test_lost_connections_count_at_once() -> None:
    scene = Scene()
    scene.watch.probe()
    assert (True, False) == scene.state()
    scene.connection.all_down_at = time.monotonic()

    assert (False, False) == scene.state()
    scene.watch.probe()
    assert (True, False) == scene.state()


@pytest.mark.parametrize("added", [[], [2, 3]])
def test_added_partitions_are_handed_to_the_reader(added: list[int]) -> None:
    scene = Scene(GatewayPolicy(look_seconds=0))
    scene.added = added
    scene.watch.probe()

    assert added == scene.told


@pytest.mark.parametrize("hidden", [True, False])
def test_a_right_that_is_missing_is_named_and_is_no_silence_of_the_brokers(
    caplog: pytest.LogCaptureFixture, *, hidden: bool
) -> None:
    """Without DESCRIBE the ends are refused; with it they are told as ever."""
    scene = Scene(GatewayPolicy() if hidden else GatewayPolicy(look_seconds=0))
    scene.refused, scene.missing = hidden, {"requests": Right.WRITE}
    scene.watch.probe()
    scene.watch.probe()
    assert ({"requests": Right.WRITE}, True) == (scene.watch.missing_rights, scene.watch.brokers_answer)

    scene.refused, scene.missing = False, {}
    scene.read_all()
    scene.watch.probe()

    assert ({}, (True, True)) == (scene.watch.missing_rights, scene.state())
    assert [
        "Kafka does not let us write to requests. Grant this user WRITE on the topic.",
        "the rights on both topics suffice again",
    ] == caplog.messages


def test_a_refusal_that_the_rights_do_not_explain_counts_as_silence() -> None:
    scene = Scene()
    scene.refused = True

    with pytest.raises(KafkaException):
        scene.watch.probe()


class Clock:
    """A monotonic clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("producer_tools.gateway.broker_watch.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_what_a_look_takes_does_not_make_the_reader_late(clock: Clock) -> None:
    """The ends are of the moment in which they are asked for, which is after the look."""
    scene = Scene(GatewayPolicy(look_seconds=0))
    scene.read_all()
    scene.silence = lambda _timeout: clock.advance(10)
    scene.watch.probe()

    assert (True, True) == scene.state()


def test_brokers_that_never_tell_rights_in_time_leave_the_gateway_ready(clock: Clock) -> None:
    policy = GatewayPolicy(look_seconds=0)
    scene = Scene(policy)
    scene.read_all()
    scene.watch.probe()
    silences = []

    def silence(timeout: float) -> None:
        clock.advance(timeout)
        silences.append(scene.state())

    scene.silence = silence
    for _ in range(5):
        scene.ends = {place: end + 1 for place, end in scene.ends.items()}  # records arrive without a pause
        clock.advance(policy.probe_seconds)
        scene.watch.probe()
        assert (True, True) == scene.state()
        scene.read_all()
    assert [(True, True)] * 5 == silences


def test_a_right_that_is_missing_stays_so_while_the_brokers_are_silent() -> None:
    scene = Scene(GatewayPolicy(look_seconds=0))
    scene.missing = {"requests": Right.WRITE}
    scene.watch.probe()
    scene.silence = lambda _timeout: None
    scene.watch.probe()

    assert {"requests": Right.WRITE} == scene.watch.missing_rights


@pytest.mark.parametrize("silence", [KafkaException(KafkaError(KafkaError._TIMED_OUT)), TimeoutError()])
def test_at_the_start_silent_brokers_are_asked_again_for_the_rights(
    monkeypatch: pytest.MonkeyPatch, silence: Exception
) -> None:
    """A silence neither ends the start nor counts as a grant."""
    with fake_broker(monkeypatch, [("requests", 1), ("results", 1)]) as broker:
        broker.rights = [silence, [AclOperation.DESCRIBE, AclOperation.READ]]

        with pytest.raises(MissingRightError, match=r"write to requests\. Grant this user WRITE"):
            TopicEnds(Connection(settings().kafka), "requests", "results")
