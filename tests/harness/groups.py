"""Members of consumer groups (librdkafka) that remember what they were given and what they read."""

import time

from confluent_kafka import Consumer, TopicPartition

PATIENCE = 60


class Member:
    """One consumer of a group: what it was given, and what it has read."""

    def __init__(self, bootstrap, group, topic, protocol, settings=()):
        timeouts = {} if protocol == "consumer" else {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        self.topic, self.assigned, self.read = topic, set(), []
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol,
            "auto.offset.reset": "earliest", "enable.auto.commit": False, **timeouts, **dict(settings)})
        self.started = time.monotonic()
        self.consumer.subscribe([topic])

    def poll(self, seconds=0.05):
        for message in self.consumer.consume(500, seconds):
            if message.error() is None:
                self.read.append((message.partition(), message.offset(), message.value()))
            elif not message.error().retriable():
                raise AssertionError(message.error())
        self.assigned = {p.partition for p in self.consumer.assignment()}

    def has_read(self, offset):
        """Of every partition that it has."""
        return self.assigned <= {p for p, o, _ in self.read if o == offset}

    def offsets(self):
        """What it may commit: behind the last record of each of its partitions."""
        offsets = {}
        for partition, offset, _ in self.read:
            if partition in self.assigned:
                offsets[partition] = max(offset + 1, offsets.get(partition, 0))
        return offsets

    def commit(self):
        if offsets := self.offsets():
            self.consumer.commit(offsets=[TopicPartition(self.topic, p, o) for p, o in offsets.items()], asynchronous=False)

    def close(self):
        self.consumer.close()


def until(condition, members, seconds=PATIENCE, what="it"):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"{what} did not come to be within {seconds} s: {[m.assigned for m in members]}"
        for member in members:
            member.poll()


def committed(bootstrap, group, topic, partitions):
    asker = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})
    found = asker.committed([TopicPartition(topic, p) for p in range(partitions)], PATIENCE)
    asker.close()
    return [p.offset for p in found]
