"""Producers and readers that go on while nodes come and go."""

import collections
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness.ledger import Ledger

PARTITIONS = 3

# A record is sent once, so that its order and number say something about the broker and not about the client's retries.
PLAIN = {"message.send.max.retries": 0, "message.timeout.ms": 30_000}
# The client sends again until it knows; the broker must see that it is the same record.
IDEMPOTENT = {"enable.idempotence": True, "message.timeout.ms": 240_000}


def create(bootstrap, topic, partitions=PARTITIONS):
    client = AdminClient({"bootstrap.servers": bootstrap})
    client.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)


class Producing(threading.Thread):
    """Sends numbered records to all partitions at some `rate` a second until told to finish; keeps the ledger."""

    def __init__(self, name, bootstrap, topic, settings, rate=2000, padding=0):
        super().__init__(daemon=True)
        self.label, self.topic, self.rate, self.padding = name, topic, rate, padding
        self.ledger, self.stopping, self.failure = Ledger(), threading.Event(), None
        self.codes = collections.Counter()
        quiet = {"log_level": 0, "reconnect.backoff.max.ms": 500, "linger.ms": 5, "socket.timeout.ms": 10_000}
        self.client = Producer({"bootstrap.servers": bootstrap, **quiet, **settings})

    def run(self):
        try:
            started, number = time.monotonic(), 0
            while not self.stopping.is_set():
                due = int((time.monotonic() - started) * self.rate)
                while number < due and not self.stopping.is_set():
                    if not self.send(number):
                        break
                    number += 1
                self.client.poll(0.01)
            left = self.client.flush(260)
            assert left == 0, f"{left} records got no verdict from the client"
        except Exception as failure:
            self.failure = failure

    def send(self, number):
        value = f"{self.label}-{number:09}".encode() + b"." * self.padding
        partition = number % PARTITIONS

        def report(error, message):
            self.ledger.report(partition, message.offset(), value, error)
            if error is not None:
                self.codes[error.name()] += 1
        try:
            self.client.produce(self.topic, value, partition=partition, on_delivery=report)
        except BufferError:
            return False
        except KafkaException as fatal:
            raise AssertionError(f"the client gave up: {fatal}") from None
        self.ledger.sent += 1
        return True

    def finish(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise self.failure
        return self.ledger


class Reading(threading.Thread):
    """Reads everything from the beginning and keeps what it saw."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.topic, self.stopping, self.errors = topic, threading.Event(), collections.Counter()
        self.seen = collections.defaultdict(list)
        self.client = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                                "auto.offset.reset": "error", "log_level": 0, "reconnect.backoff.max.ms": 500,
                                "socket.timeout.ms": 10_000})

    def run(self):
        self.client.assign([TopicPartition(self.topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        while not self.stopping.is_set():
            for message in self.client.consume(5000, 0.2):
                if message.error() is None:
                    self.seen[message.partition()].append((message.offset(), message.value()))
                else:
                    self.errors[message.error().name()] += 1

    def finish(self):
        self.stopping.set()
        self.join()
        self.client.close()
        # A false "out of range" would have made it start anew, or stop.
        assert not self.errors["_AUTO_OFFSET_RESET"] and not self.errors["OFFSET_OUT_OF_RANGE"], dict(self.errors)
        return self.seen


def read_all(bootstrap, topic, patience=120):
    """Partition -> [(offset, value)] from the beginning up to the end."""
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                       "enable.partition.eof": True, "log_level": 0})
    reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    read, ended, give_up = collections.defaultdict(list), set(), time.monotonic() + patience
    while len(ended) < PARTITIONS:
        assert time.monotonic() < give_up, f"the end of {topic} was not reached within {patience} s"
        for message in reader.consume(5000, 0.2):
            if message.error() is None:
                read[message.partition()].append((message.offset(), message.value()))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    reader.close()
    return read


def saw_the_truth(seen, final):
    """What a reader saw on the way is what stands there at the end, and it saw it in order."""
    for partition, records in seen.items():
        offsets = [o for o, _ in records]
        assert offsets == list(range(len(offsets))), f"partition {partition}: a reader skipped or went back"
        assert records == final[partition][:len(records)], f"partition {partition}: a reader saw what is not there"
