"""kafka-python: a client written in Python alone."""

import os
import time

import kafka
from kafka.admin import KafkaAdminClient, NewTopic

from harness.suite import Suite

from kcat_cases import same


def produce(node, topic, values, **settings):
    out = kafka.KafkaProducer(bootstrap_servers=node.bootstrap, **settings)
    futures = [out.send(topic, value, partition=0) for value in values]
    offsets = [f.get(60).offset for f in futures]
    out.close()
    same(offsets, list(range(len(values))))


def read(node, topic, count):
    reader = kafka.KafkaConsumer(bootstrap_servers=node.bootstrap, group_id=None, consumer_timeout_ms=20_000)
    at = kafka.TopicPartition(topic, 0)
    reader.assign([at])
    reader.seek_to_beginning(at)
    found = []
    for message in reader:
        found.append(message)
        if len(found) == count:
            break
    reader.close()
    return found


def round_trip(node, topic, altered=None, **settings):
    values = [f"v{i}".encode() for i in range(1000)]
    produce(node, topic, values, **settings)
    same([m.value for m in read(node, topic, len(values))], values[:-1] + [altered or values[-1]])


def fields(node):
    topic, now = "kp-fields", int(time.time() * 1000)
    out = kafka.KafkaProducer(bootstrap_servers=node.bootstrap)
    out.send(topic, None, b"k", [("h", b"1"), ("h", b"2")], timestamp_ms=now).get(60)
    out.send(topic, os.urandom(900_000), None, timestamp_ms=now).get(60)
    out.close()
    first, second = read(node, topic, 2)
    same((first.key, first.value, list(first.headers), first.timestamp), (b"k", None, [("h", b"1"), ("h", b"2")], now))
    assert len(second.value) == 900_000


def offsets(node):
    produce(node, "kp-offsets", [b"a", b"b", b"c"])
    reader, at = kafka.KafkaConsumer(bootstrap_servers=node.bootstrap, group_id=None), kafka.TopicPartition("kp-offsets", 0)
    same((reader.beginning_offsets([at])[at], reader.end_offsets([at])[at]), (0, 3))
    same(reader.offsets_for_times({at: 0})[at].offset, 0)
    reader.close()


def topics(node):
    client = KafkaAdminClient(bootstrap_servers=node.bootstrap)
    client.create_topics([NewTopic("kp-topic", 3, 1)])
    assert "kp-topic" in client.list_topics()
    client.delete_topics(["kp-topic"])
    assert "kp-topic" not in client.list_topics()
    client.close()


def run(node):
    suite = Suite("kafka-python", kafka.__version__)
    suite.case("round trip", round_trip, node, "kp-round-trip")
    suite.bites("round trip with one value altered", round_trip, node, "kp-bites", b"altered")
    suite.case("idempotent producer", lambda: round_trip(node, "kp-idempotent", enable_idempotence=True))
    suite.case("plain producer, gzip", lambda: round_trip(node, "kp-gzip", enable_idempotence=False, compression_type="gzip"))
    suite.case("keys, headers, nulls, 900 KB", fields, node)
    suite.case("earliest, latest, by time", offsets, node)
    suite.case("create and delete a topic", topics, node)
    return suite.close()
