"""confluent-kafka-python: librdkafka as applications use it, with consumers that are assigned partitions and offsets. Groups
are in group_cases.py."""

import collections
import os
import time

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness.ledger import Ledger, compare
from harness.suite import Suite

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PATIENCE = 60


def producer(node, **settings):
    return Producer({"bootstrap.servers": node.bootstrap, **{k.replace("_", "."): v for k, v in settings.items()}})


def consumer(node, **settings):
    return Consumer({"bootstrap.servers": node.bootstrap, "group.id": "unused", "enable.auto.commit": False,
                     "enable.partition.eof": True, **{k.replace("_", "."): v for k, v in settings.items()}})


def admin(node):
    return AdminClient({"bootstrap.servers": node.bootstrap})


def create(node, topic, partitions=1, **config):
    client = admin(node)  # a future fails as soon as its client is dropped
    client.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(PATIENCE)


def read_all(node, topic, partitions=1, start=OFFSET_BEGINNING, **settings):
    """Every message from `start` up to the end, by partition."""
    reader = consumer(node, **settings)
    reader.assign([TopicPartition(topic, p, start) for p in range(partitions)])
    read, ended = collections.defaultdict(list), set()
    give_up = time.monotonic() + PATIENCE
    while len(ended) < partitions:
        assert time.monotonic() < give_up, f"{topic}: the end was not reached within {PATIENCE} s"
        for message in reader.consume(5000, 0.2):
            if message.error() is None:
                read[message.partition()].append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            elif not message.error().retriable() and message.error().code() != KafkaError._ALL_BROKERS_DOWN:
                raise AssertionError(f"{topic}: {message.error()}")
    reader.close()
    return read


def offsets_and_values(read):
    return {p: [(m.offset(), m.value()) for m in messages] for p, messages in read.items()}


def produce_all(node, topic, records, ledger=None, **settings):
    """`records`: (partition, value). Values must sort as they are sent. Waits for every delivery report."""
    ledger, sender = ledger or Ledger(), producer(node, **settings)
    for partition, value in records:
        def report(error, message, partition=partition, value=value):
            ledger.report(partition, message.offset(), value, error)
        while True:
            try:
                sender.produce(topic, value, partition=partition, on_delivery=report)
                break
            except BufferError:
                sender.poll(0.1)
        ledger.sent += 1
        sender.poll(0)
    left = sender.flush(PATIENCE)
    assert left == 0, f"{topic}: {left} records were not delivered within {PATIENCE} s"
    return ledger


def numbered(count, partitions=1, width=8, padding=""):
    return [(i % partitions, f"{i:0{width}}{padding}".encode()) for i in range(count)]


def everything_acknowledged(ledger):
    assert not ledger.unknown, f"{sum(ledger.unknown.values())} of {ledger.sent} records were refused"


def ledger_case(node, topic, count, partitions=1, padding="", **settings):
    if partitions > 1:
        create(node, topic, partitions)
    ledger = produce_all(node, topic, numbered(count, partitions, padding=padding), **settings)
    everything_acknowledged(ledger)
    return compare(ledger, offsets_and_values(read_all(node, topic, partitions)))


def one_lost(node):
    topic = "confluent-bites-lost"
    ledger = produce_all(node, topic, numbered(100))
    ledger.report(0, 100, b"00000100", None)
    compare(ledger, offsets_and_values(read_all(node, topic)))


def one_doubled(node):
    topic = "confluent-bites-doubled"
    ledger = produce_all(node, topic, numbered(100) + [(0, b"00000099")])
    compare(ledger, offsets_and_values(read_all(node, topic)))


def swapped(node):
    topic = "confluent-bites-order"
    ledger = produce_all(node, topic, [(0, b"2"), (0, b"1")])
    compare(ledger, offsets_and_values(read_all(node, topic)))


def every_field(node):
    topic, now = "confluent-fields", int(time.time() * 1000)
    sent = [
        (None, None, None, now - 3),
        (b"", b"", [], now - 2),
        (b"key", b"value", [("a", b"1"), ("a", None), ("b", b""), ("\u00e9", b"\x00\xff")], now - 1),
        (bytes(range(256)), os.urandom(1000), [("h" * 300, b"x" * 3000)], now),
    ]
    out = producer(node)
    for key, value, headers, timestamp in sent:
        out.produce(topic, value, key, headers=headers, timestamp=timestamp)
    assert out.flush(PATIENCE) == 0
    found = [(m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in read_all(node, topic)[0]]
    expected = [(k, v, h or None, t) for k, v, h, t in sent]
    assert found == expected, f"{found} instead of {expected}"


def big(node):
    out, value = producer(node), os.urandom(900_000)
    out.produce("confluent-big", value)
    assert out.flush(PATIENCE) == 0
    found = [m.value() for m in read_all(node, "confluent-big")[0]]
    assert found == [value], "the record did not come back"


def too_big(node):
    errors, out = [], producer(node, **{"message.max.bytes": 5_000_000})
    create(node, "confluent-too-big")
    out.produce("confluent-too-big", b"x" * 2_000_000, on_delivery=lambda e, m: errors.append(e))
    out.flush(PATIENCE)
    assert errors and errors[0] is not None and errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, errors
    assert not read_all(node, "confluent-too-big")[0], "a refused record appeared"


def positions(node):
    topic = "confluent-positions"
    early = produce_all(node, topic, numbered(10))
    time.sleep(0.05)
    between = int(time.time() * 1000)
    time.sleep(0.05)
    late = Ledger()
    produce_all(node, topic, [(0, f"{i:08}".encode()) for i in range(10, 20)], ledger=late)
    assert (early.count, late.count) == (10, 10)
    reader = consumer(node)
    assert reader.get_watermark_offsets(TopicPartition(topic, 0), PATIENCE) == (0, 20)
    asked = [TopicPartition(topic, 0, t) for t in (0, between, between + 3_600_000)]
    by_time = [reader.offsets_for_times([a], PATIENCE)[0].offset for a in asked]
    assert by_time in ([0, 10, OFFSET_END], [0, 10, 20]), by_time
    reader.close()
    assert len(read_all(node, topic, start=15)[0]) == 5
    assert not read_all(node, topic, start=OFFSET_END)[0]
    assert len(read_all(node, topic, start=1000, **{"auto.offset.reset": "earliest"})[0]) == 20
    try:
        read_all(node, topic, start=1000, **{"auto.offset.reset": "error"})
    except AssertionError as caught:
        assert "_AUTO_OFFSET_RESET" in str(caught), caught
    else:
        raise AssertionError("an offset past the end was no error")


def waits_for_new(node):
    """A consumer at the end gets a record soon after it is acknowledged, not at its next poll interval."""
    topic = "confluent-long-poll"
    create(node, topic)
    reader, out = consumer(node), producer(node)
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    while (first := reader.poll(10)) is None or first.error() is None:
        pass
    slowest = 0
    for i in range(5):
        time.sleep(0.3)
        acknowledged = []
        out.produce(topic, str(i).encode(), on_delivery=lambda e, m: acknowledged.append(time.monotonic()))
        out.flush(PATIENCE)
        message = reader.poll(10)
        while message is not None and message.error() is not None:
            message = reader.poll(10)
        assert message is not None and message.value() == str(i).encode(), message
        slowest = max(slowest, time.monotonic() - acknowledged[0])
    reader.close()
    assert slowest < 1, f"a record came {slowest:.2f} s after it was acknowledged"
    return f"at most {max(slowest, 0) * 1000:.0f} ms after its acknowledgement"


def auto_create(node):
    produce_all(node, "confluent-auto", numbered(1))
    assert len(admin(node).list_topics("confluent-auto", PATIENCE).topics["confluent-auto"].partitions) == 1


def topics(node):
    topic, client = "confluent-topics", admin(node)
    create(node, topic, 3)
    assert len(client.list_topics(timeout=PATIENCE).topics[topic].partitions) == 3
    for name, expected in ((topic, KafkaError.TOPIC_ALREADY_EXISTS), ("no/slash", KafkaError.TOPIC_EXCEPTION)):
        try:
            create(node, name)
        except KafkaException as refused:
            assert refused.args[0].code() == expected, refused
        else:
            raise AssertionError(f"{name} was created")
    produce_all(node, topic, numbered(30, 3))
    client.delete_topics([topic])[topic].result(PATIENCE)
    assert topic not in client.list_topics(timeout=PATIENCE).topics
    create(node, topic, 2)
    ledger = produce_all(node, topic, numbered(20, 2))
    compare(ledger, offsets_and_values(read_all(node, topic, 2)))
    try:
        client.delete_topics(["confluent-never-there"])["confluent-never-there"].result(PATIENCE)
    except KafkaException as refused:
        assert refused.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART, refused
    else:
        raise AssertionError("a topic that was never there was deleted")


def log_append_time(node):
    topic = "confluent-append-time"
    create(node, topic, **{"message.timestamp.type": "LogAppendTime"})
    before, out = int(time.time() * 1000), producer(node)
    out.produce(topic, b"x", timestamp=1)
    assert out.flush(PATIENCE) == 0
    kind, stamped = read_all(node, topic)[0][0].timestamp()
    assert kind == confluent_kafka.TIMESTAMP_LOG_APPEND_TIME, kind
    assert before - 1000 <= stamped <= time.time() * 1000 + 1000, (before, stamped)


def cluster(node):
    client = admin(node)
    described = client.describe_cluster(request_timeout=PATIENCE).result(PATIENCE)
    assert [n.port for n in described.nodes] == [node.kafka_port], described.nodes
    assert described.cluster_id, "no cluster id"


def run(node):
    suite = Suite("confluent-kafka-python", f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})")
    suite.case("ledger", ledger_case, node, "confluent-ledger", 20_000)
    suite.bites("ledger with a record that was never sent", one_lost, node)
    suite.bites("ledger with a record twice", one_doubled, node)
    suite.bites("ledger out of order", swapped, node)
    suite.case("keys, values, headers, timestamps", every_field, node)
    for name in CODECS:
        suite.case(f"codec {name}", lambda n=name: ledger_case(
            node, f"confluent-{n}", 3000, padding="x" * 50, **{"compression.type": n}))
    for acks in ("0", "1", "all"):
        suite.case(f"acks {acks}", acks_case, node, acks)
    suite.case("900 KB record", big, node)
    suite.case("2 MB record is refused", too_big, node)
    suite.case("5 partitions", ledger_case, node, "confluent-five", 10_000, 5)
    suite.case("idempotent producer", lambda: ledger_case(
        node, "confluent-idempotent", 20_000, 2, **{"enable.idempotence": True}))
    suite.case("earliest, latest, by time, out of range", positions, node)
    suite.case("long poll", waits_for_new, node)
    suite.case("topic made by producing", auto_create, node)
    suite.case("topics created, refused, deleted, created again", topics, node)
    suite.case("LogAppendTime", log_append_time, node)
    suite.case("describe cluster", cluster, node)
    return suite.close()


def acks_case(node, acks):
    topic = f"confluent-acks-{acks}"
    create(node, topic)
    ledger = produce_all(node, topic, numbered(1000), acks=acks)
    everything_acknowledged(ledger)
    give_up = time.monotonic() + 10
    # Nobody says when a record without acknowledgement is there.
    while len(values := [m.value() for m in read_all(node, topic)[0]]) < 1000 and acks == "0" and time.monotonic() < give_up:
        time.sleep(0.1)
    assert values == [v for _, v in numbered(1000)], f"{len(values)} of 1000 records, or in another order"
