"""Starts, stops, crashes and replicas: each request has one result, and nothing secret is left behind."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from producer_tools.sandbox.mirakl import Effect, Fault, Rules
from producer_tools.sandbox.mirakl.rules import Latency
from tests.integration.contract import wire
from tests.integration.contract.deployment import CREDENTIAL, Coordinates, Deployment, deployed, record
from tests.integration.contract.wire import pairs, request
from tests.support.parts import free_port, wait_until
from tests.support.records import RawRecord, read_topic
from tests.support.service import Service
from tests.support.topics import Topics, unused_topics

CLIENTS = 4


@pytest.fixture
def own(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment for this test alone: some clients whose Mirakl takes 50 ms, none of them active."""
    with deployed(kafka_bootstrap, topics, tmp_path) as deployment:
        deployment.key()
        for number in range(CLIENTS):
            deployment.specification(f"client-{number}", "--inactive")
            deployment.mirakl.rules(f"client-{number}", Rules(latency=Latency(seconds=0.05)))
        yield deployment


def specifications(deployment: Deployment) -> list[str]:
    listed = httpx.Response(200, text=deployment.administer("clients", "list", "--output", "json")).json()
    return [str(row["id"]) for row in listed]


def load(deployment: Deployment, count: int) -> list[Coordinates]:
    """Send that many good requests, spread over partitions and clients."""
    ids = specifications(deployment)
    return deployment.send(
        *(
            record(deployment.keys[0], request(pairs(2, f"P{number}"), ids[number % CLIENTS]), partition=number % 4)
            for number in range(count)
        )
    )


def each_has_one_result(deployment: Deployment, sent: list[Coordinates], timeout: float = 90) -> None:
    """Of a ``read_committed`` subscriber; results under way have had their time to arrive a second time."""
    deployment.outcomes.wait(sent, timeout)
    time.sleep(1)
    results = {each: deployment.outcomes.results[each] for each in sent}
    assert {1} == {len(found) for found in results.values()}
    assert {"SYNCHRONIZED"} == {wire.read_result(found[0].value)["status"] for found in results.values()}


def some_results(deployment: Deployment) -> None:
    before = len(deployment.outcomes.results)
    wait_until(lambda: len(deployment.outcomes.results) > before, timeout=60, what="results")


@pytest.mark.slow
@pytest.mark.parametrize("instance", [None, "replica-1"], ids=["dynamic", "static"])
def test_a_kill_in_the_middle_costs_no_result_and_doubles_none(own: Deployment, instance: str | None) -> None:
    settings = {"RESYNC_KAFKA__GROUP_INSTANCE_ID": instance} if instance else {}
    with own.service(**settings) as replica:
        assert own.outcomes.quiet([])
        sent = load(own, 8000)
        some_results(own)
        for _ in range(2):
            replica.kill()
            replica.start()
            killed_at = time.monotonic()
            if len(own.outcomes.results) < len(sent):
                some_results(own)
            if instance:
                assert time.monotonic() - killed_at < 10, "a static member goes on at once"
        each_has_one_result(own, sent)
    ids: dict[Coordinates, set[str | None]] = {}
    for found in read_topic(own.bootstrap, own.topics.results, isolation="read_uncommitted"):
        where = int(found.header("resync-request-partition") or -1), int(found.header("resync-request-offset") or -1)
        ids.setdefault(where, set()).add(found.header("ce_id"))
    assert {1} == {len(each) for each in ids.values()}, "the same request always has the same ce_id"


@pytest.mark.slow
def test_replicas_that_come_and_go_double_nothing(own: Deployment) -> None:
    replicas = [own.service(f"replica-{number}") for number in range(2)]
    chance = random.Random(3)
    try:
        for replica in replicas:
            replica.start()
        sent = load(own, 12_000)
        some_results(own)
        for number in range(4):
            replica = replicas[number % 2]
            if chance.random() < 0.5:
                replica.kill()
            else:
                replica.wait_ready()
                assert 0 == replica.terminate()
            replica.start()
            time.sleep(chance.uniform(0.2, 2))
        each_has_one_result(own, sent)
        for replica in replicas:
            replica.wait_ready()
        assert [0, 0] == [replica.terminate() for replica in replicas]
    finally:
        for replica in replicas:
            replica.kill()


def test_the_lag_that_an_autoscaler_sees_is_0_when_all_is_answered(own: Deployment) -> None:
    """As KEDA counts it: ends of the log minus committed offsets.

    Producers with transactions leave markers and aborted records behind, which are offsets that nobody answers.
    """
    with own.service():
        sent = load(own, 40)
        [good, *_] = [record(own.keys[0], request(pairs(1, "P"), each)) for each in specifications(own)]
        for partition, commit in ((0, True), (1, False)):
            send_in_transaction(own, replace(good, partition=partition), commit=commit)
        each_has_one_result(own, sent)
        wait_until(lambda: {0: 0, 1: 0, 2: 0, 3: 0} == lag(own), timeout=20, what="a lag of 0 on every partition")


def send_in_transaction(deployment: Deployment, sent: RawRecord, *, commit: bool) -> None:
    producer = Producer({"bootstrap.servers": deployment.bootstrap, "transactional.id": f"test-{uuid.uuid4()}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    assert sent.partition is not None
    producer.produce(deployment.topics.requests, sent.value, sent.key, sent.partition, headers=list(sent.headers))
    producer.flush(20)
    if commit:
        producer.commit_transaction(20)
    else:
        producer.abort_transaction(20)


def lag(deployment: Deployment) -> dict[int, int]:
    """Of each partition: offsets from the committed one to the end; of one without a commit, all."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap})
    places = [TopicPartition(deployment.topics.requests, number) for number in range(4)]
    group = ConsumerGroupTopicPartitions(deployment.topics.group, places)
    [asked] = admin.list_consumer_group_offsets([group]).values()
    committed = {each.partition: max(each.offset, 0) for each in asked.result(10).topic_partitions}
    latest = {place: OffsetSpec.latest() for place in places}  # type: ignore[no-untyped-call] # theirs
    ends = admin.list_offsets(latest)
    return {place.partition: end.result(10).offset - committed[place.partition] for place, end in ends.items()}


def test_with_more_replicas_than_partitions_all_are_ready(own: Deployment) -> None:
    with own.service("one") as one, own.service("two") as two, own.service("three") as three:
        replicas = [one, two, three, *[own.service(f"more-{number}") for number in range(2)]]
        try:
            for replica in replicas[3:]:
                replica.start()
            for replica in replicas[3:]:
                replica.wait_ready()
            each_has_one_result(own, load(own, 200))
            assert [200] * 5 == [replica.status("/readyz") for replica in replicas]
        finally:
            for replica in replicas[3:]:
                replica.kill()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_stop_finishes_what_is_out_and_the_next_start_goes_on(own: Deployment, protocol: str) -> None:
    own.mirakl.script("client-0", Fault(effect=Effect.DELAY, delay=1.5))
    with own.service(RESYNC_KAFKA__GROUP_PROTOCOL=protocol) as replica:
        sent = load(own, 400)
        wait_until(lambda: own.mirakl.simulator.counters("client-0").calls > 0, timeout=20, what="a call")
        assert 0 == replica.terminate()
        taken_in = sum(products_taken_in(own).values())
        wait_until(lambda: 2 * len(own.outcomes.results) == taken_in, timeout=10, what="a result for all taken in")
        replica.start()
        each_has_one_result(own, sent)
    assert {1} == set(products_taken_in(own).values()), "what was answered before the stop was called again after it"


def products_taken_in(deployment: Deployment) -> Counter[str]:
    """How often Mirakl took in each product, over all clients."""
    calls = [call for number in range(CLIENTS) for call in deployment.mirakl.submissions(f"client-{number}")]
    return Counter(id_ for call in calls for id_ in call)


def test_at_least_once_answers_every_request(own: Deployment) -> None:
    settings = {"RESYNC_KAFKA__DELIVERY": "at-least-once"}
    with own.service(**settings) as replica:
        sent = load(own, 2000)
        some_results(own)
        assert 0 == replica.terminate()
        replica.start()
        each_has_one_result(own, sent)
        sent = load(own, 2000)
        some_results(own)
        replica.kill()
        replica.start()
        own.outcomes.wait(sent, 60)


def test_two_processes_of_one_instance_id_do_not_share_work(own: Deployment) -> None:
    settings = {"RESYNC_KAFKA__GROUP_INSTANCE_ID": "the-same"}
    with own.service("first", **settings) as first, own.service("second", **settings) as second:
        assert 1 == first.wait_end()
        assert "RESYNC_KAFKA__GROUP_INSTANCE_ID" in first.output()
        assert "Traceback" not in first.output()
        each_has_one_result(own, load(own, 100))
        assert second.running


def test_a_stop_while_it_starts_is_heard(own: Deployment) -> None:
    replica = own.service()
    replica.start()
    time.sleep(0.5)
    assert replica.terminate() in (0, -15)  # the latter before the interpreter has come to us


def test_a_service_that_may_not_start_says_why_and_what_to_do(own: Deployment) -> None:
    stories: dict[str, tuple[int, list[str], dict[str, str]]] = {
        "a setting that does not exist": (
            2,
            [
                "RESYNC_KAFKA__BOOTSTRAP_SERVER.",
                "Did you mean RESYNC_KAFKA__BOOTSTRAP_SERVERS?",
                "RESYNC_CALL_TIMEOUT",
                "'soon'",
            ],
            {"RESYNC_KAFKA__BOOTSTRAP_SERVER": "x", "RESYNC_CALL_TIMEOUT": "soon"},
        ),
        "a property that breaks the guarantees": (
            2,
            ["enable.auto.commit"],
            {"RESYNC_KAFKA__PROPERTIES": '{"enable.auto.commit": true}'},
        ),
        "no broker": (6, ["127.0.0.1:1"], {"RESYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}),
        "no topics": (1, ["topics ensure", "test."], unused_topics().environment),
        "no database": (1, ["db upgrade"], {"RESYNC_DATABASE_URL": "sqlite:////nowhere/at-all.db"}),
        "no tables": (1, ["db upgrade"], {"RESYNC_DATABASE_URL": f"sqlite:///{own.folder / 'empty.db'}"}),
        "no database server": (
            1,
            ["RESYNC_DATABASE_URL"],
            {"RESYNC_DATABASE_URL": f"postgresql+psycopg://resync:hunter2@127.0.0.1:{free_port()}/x"},
        ),
        "no registry": (6, ["registry"], {"RESYNC_SCHEMA_REGISTRY__URL": "http://127.0.0.1:1"}),
    }
    (own.folder / "empty.db").touch()
    replicas = {name: own.service(name.replace(" ", "-"), **settings) for name, (_, _, settings) in stories.items()}
    for replica in replicas.values():
        replica.start()
    for name, (code, words, _) in stories.items():
        assert code == replicas[name].wait_end(), name
        said = replicas[name].output()
        assert all(word in said for word in words), said
        assert "Traceback" not in said
        assert "hunter2" not in said


def test_a_port_that_is_taken_is_said(own: Deployment) -> None:
    with own.service("first") as first:
        second = Service({**own.environment, "RESYNC_ADMIN__PORT": str(first.admin_port)}, own.folder, "second")
        second.start()
        assert 1 == second.wait_end()
        assert "RESYNC_ADMIN__PORT" in second.output()
        assert "Traceback" not in second.output()


def test_metrics_tell_of_results_and_dead_letters(own: Deployment) -> None:
    with own.service() as replica:
        each_has_one_result(own, load(own, 50))
        [bad] = own.send(RawRecord(b"bad"))
        own.dead_letter(bad)
        wait_until(lambda: counted(replica, 'reason="UNREADABLE"') == 1, timeout=5, what="the dead letter is counted")
        assert 50 == counted(replica, 'status="SYNCHRONIZED"')
        assert replica.get("/metrics").headers["content-type"].startswith("text/plain")


def counted(replica: Service, label: str) -> float:
    """The sum of all counters with this label."""
    lines = [line for line in replica.get("/metrics").text.splitlines() if label in line and "_total{" in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_nothing_secret_is_left_anywhere(own: Deployment) -> None:
    [key, *_] = own.keys
    own.mirakl.script("client-1", Fault(effect=Effect.STATUS, status=400, message=CREDENTIAL))
    own.mirakl.script("client-2", Fault(effect=Effect.STATUS, status=503, message=CREDENTIAL, retry_after="100000"))
    own.mirakl.script("client-3", Fault(effect=Effect.STATUS, status=302, location=f"https://x/?k={CREDENTIAL}"))
    with own.service(RESYNC_LOG__LEVEL="debug") as replica:
        sent = load(own, 40)
        secret_headers = (("dj-api-key", key.encode()), ("DJ-API-KEY", key.encode()))
        sent += own.send(RawRecord(b"bad", None, secret_headers), record(f"wrong-{key}", request()))
        own.outcomes.wait(sent)
        metrics = replica.get("/metrics").text + replica.get("/readyz").text
        assert 0 == replica.terminate()
    places = {
        "logs": replica.output(),
        "metrics": metrics,
        "stores": "".join(path.read_bytes().decode("latin-1") for path in own.folder.glob("mirakl-resync.db*")),
        "listings": own.administer("clients", "list", "--output", "json")
        + own.administer("api-keys", "list", "--output", "json")
        + own.administer("config", "show"),
        "topics": "".join(
            str((found.key, found.value, found.headers))
            for topic in (own.topics.results, own.topics.dead_letters)
            for found in read_topic(own.bootstrap, topic, isolation="read_uncommitted")
        ),
    }
    secrets = {"API key": key, "Mirakl credential": CREDENTIAL, "encryption key": own.encryption_key}
    found = [(name, place) for place, text in places.items() for name, secret in secrets.items() if secret in text]
    assert [] == found
    assert all(places.values())
