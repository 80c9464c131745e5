"""The store goes away for a minute, half of it refusing connections and half of it swallowing requests.

What is checked here is the table in docs/operations.md.
"""

import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness.ledger import compare
from harness.load import IDEMPOTENT, PLAIN, Producing, Reading, create, read_all, saw_the_truth
from harness.proxy import HANG, PASS, REFUSE, Proxy

from stores import LocalStack

BUDGET = 64 << 20
AWAY = 30


def store_away(folder):
    proxy = Proxy(*LocalStack.address(folder))
    store = LocalStack.bucket(folder, "away", {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"})
    node, other, late = store.node("--memory-budget", str(BUDGET)), store.node(), store.node()
    with node, other:
        create(node.bootstrap, "load")
        # Enough to fill the buffer budget many times over within a minute.
        producing = [Producing("i", node.bootstrap, "load", IDEMPOTENT, rate=3000, padding=1000),
                     Producing("p", node.bootstrap, "load", PLAIN, rate=1000)]
        reading = Reading(node.bootstrap, "load")
        for thread in [*producing, reading]:
            thread.start()
        time.sleep(5)
        assert node.get("/readyz")[0] == 200, node.get("/readyz")
        before = sum(p.ledger.count for p in producing)
        assert before > 1000, f"only {before} acknowledged while all was well"
        watch = Watch(node)
        watch.start()
        proxy.set(REFUSE)
        until = time.monotonic() + AWAY
        cold = Reading(other.bootstrap, "load")
        cold.start()
        while_away(node, REFUSE, until)
        refuses_to_start(late)
        # It may have a part in memory, from the commits that it read whole when it registered; nothing else.
        known = cold.finish()
        proxy.set(HANG)
        until = time.monotonic() + AWAY
        left = other.stop()
        while_away(node, HANG, until)
        proxy.set(PASS)
        back = time.monotonic()
        await_ready(node, 30)
        took = time.monotonic() - back
        time.sleep(3)
        ledger = producing[0].finish()
        ledger.add(producing[1].finish())
        seen, final = reading.finish(), read_all(node.bootstrap, "load")
        said = compare(ledger, final)
        saw_the_truth(seen, final)
        saw_the_truth(known, final)
        assert ledger.count > before + 1000, "nothing was acknowledged after the store came back"
        peak = watch.finish()
        assert peak < BUDGET + (150 << 20), f"memory rose to {peak >> 20} MiB"
        node.stop()
    return f"a node told to stop left in {left:.1f} s; ready {took:.1f} s after it came back; at most {peak >> 20} MiB resident; {said}"


def while_away(node, mode, until):
    started, refused_at = time.monotonic(), None
    while refused_at is None:
        status, why = node.get("/readyz")
        if status == 503:
            refused_at = time.monotonic() - started
        assert time.monotonic() < started + 12, f"{mode}: /readyz still says ready after 12 s: {why}"
        time.sleep(0.2)
    assert node.get("/healthz")[0] == 200
    hot = next_hot(node)
    assert hot, f"{mode}: recent records could not be read"
    assert "load" in AdminClient({"bootstrap.servers": node.bootstrap}).list_topics(timeout=10).topics, f"{mode}: metadata"
    refuses_change(node, mode)
    does_not_know_the_end(node, mode)
    begun = node.metric("lakebed_commits")
    while time.monotonic() < until:
        time.sleep(0.5)
        assert node.get("/readyz")[0] == 503, f"{mode}: ready without a store"
        assert node.get("/healthz")[0] == 200
    # They are counted when they are first sent, and at most four are under way.
    since = node.metric("lakebed_commits") - begun
    assert since <= 4, f"{mode}: {since} commits without a store"


def consumer(node):
    return Consumer({"bootstrap.servers": node.bootstrap, "group.id": "unused", "enable.auto.commit": False, "log_level": 0})


def next_hot(node):
    """What was written since the node's start comes from its memory."""
    reader = consumer(node)
    reader.assign([TopicPartition("load", 0, OFFSET_BEGINNING)])
    message = reader.poll(10)
    reader.close()
    return message is not None and message.error() is None


def does_not_know_the_end(node, mode):
    """Another node may have written: the latest offset is not answered from memory."""
    reader = consumer(node)
    try:
        answer = reader.get_watermark_offsets(TopicPartition("load", 0), 8)
    except KafkaException:
        return
    finally:
        reader.close()
    raise AssertionError(f"{mode}: the latest offset is {answer} without a store")


def refuses_to_start(node):
    try:
        node.start()
    except RuntimeError as left:
        assert "it left with 1" in str(left), left
        return
    node.kill()
    raise AssertionError("a node started without a store")


def refuses_change(node, mode):
    """A change of metadata is answered with an error that says try again, not with success, and not never."""
    client = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0})
    try:
        client.create_topics([NewTopic(f"new-{mode}", 1, 1)], operation_timeout=5, request_timeout=25)[f"new-{mode}"].result(30)
    except KafkaException as refused:
        assert refused.args[0].code() in (KafkaError.REQUEST_TIMED_OUT, KafkaError._TIMED_OUT), refused
    else:
        raise AssertionError(f"{mode}: a topic was created without a store")


def await_ready(node, patience):
    give_up = time.monotonic() + patience
    while (answer := node.get("/readyz"))[0] != 200:
        assert time.monotonic() < give_up, f"not ready {patience} s after the store came back: {answer[1]}"
        time.sleep(0.2)


class Watch(threading.Thread):
    """The highest resident memory."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.peak, self.stopping = node, 0, threading.Event()

    def run(self):
        while not self.stopping.wait(0.5):
            self.peak = max(self.peak, int(self.node.metric("process_resident_memory_bytes")))

    def finish(self):
        self.stopping.set()
        self.join()
        return self.peak
