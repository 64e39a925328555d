"""The embedded broker, as other clients of Kafka see it."""

import socket

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from producer_tools.sandbox.broker import PARTITIONS, EmbeddedBroker


def test_another_connection_reads_what_was_written_and_committed_with_its_metadata() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topic("requests")
        there = {"bootstrap.servers": broker.bootstrap_servers}
        producer = Producer(there)
        producer.produce("requests", b"value", partition=1, headers=[("name", b"header")])
        assert 0 == producer.flush(10)
        producer.close()
        consumer = Consumer({**there, "group.id": "group"})
        assert PARTITIONS == len(consumer.list_topics("requests", timeout=10).topics["requests"].partitions)
        consumer.assign([TopicPartition("requests", 1, 0)])
        message = consumer.poll(10)
        assert message is not None
        assert (b"value", [("name", b"header")]) == (message.value(), message.headers())
        consumer.commit(offsets=[TopicPartition("requests", 1, 1, "a map of what is done")], asynchronous=False)
        (committed,) = consumer.committed([TopicPartition("requests", 1)], timeout=10)
        assert (1, "a map of what is done") == (committed.offset, committed.metadata)
        consumer.close()


def test_two_at_once_have_an_address_each_and_nothing_listens_afterwards() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.bootstrap_servers != other.bootstrap_servers
    host, _, port = one.bootstrap_servers.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1)
