"""Real processes, and what happens to them: killed, paused, in company, without a store, without space.

Truth is the ledger of a foreign producer (librdkafka), never the node's own answer.
"""

import os
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import confluent_kafka

from harness.ledger import compare
from harness.load import IDEMPOTENT, PLAIN, Producing, Reading, create, read_all, saw_the_truth
from harness.proxy import FLAKY, PASS, Proxy
from harness.suite import Suite, finish

import groups
import no_space
import store_away
from stores import FileStores, LocalStack, MemoryStores

SECONDS = float(os.environ.get("LAKEBED_FAILURES_SECONDS", "30"))
# The floor does not move before slots are half a minute old.
CLEANING_SECONDS = SECONDS * 4 / 3
PATIENCE = 20
SEED = int(os.environ.get("LAKEBED_FAILURES_SEED", "0")) or random.randrange(1 << 32)


# A slot may go when it is half a minute old, and parts of the fourth snapshot before: one every hundred slots, so many of them.
CLEANING = ("--cleaning", "--time-scale", "3600", "--flush", "latency")


class Unwatched:
    seen = True

    def before_kill(self, node):
        pass

    def at_end(self, node, store):
        return ""


class Cleans:
    """What `--cleaning` with hurried clocks does while its nodes are killed. Counters are a process's own: they are added up."""

    COUNTED = {"slots": "lakebed_cleaned_slots", "snapshot objects": "lakebed_cleaned_snapshot_objects",
               "segments": "lakebed_deleted_objects_total", "merges": "lakebed_merges_total"}

    def __init__(self):
        self.done, self.floors = dict.fromkeys(self.COUNTED, 0), []

    def before_kill(self, node):
        for what, name in self.COUNTED.items():
            self.done[what] += int(node.metric(name))
        self.floors.append(int(node.metric("lakebed_log_floor")))

    @property
    def seen(self):
        return all(self.done.values()) and len(set(self.floors)) > 5

    def at_end(self, node, store):
        assert self.seen, f"not everything was cleaned while nodes were killed: {self.done}, floors {self.floors}"
        moved = {floor for floor in self.floors if floor > 1}
        first = store.lakebed("inspect", "log", "--from", "1", "--slots", "1")
        assert first == "1 nothing", f"the floor is {max(moved)}, and slot 1 is there: {first}"
        return f"; cleaned {self.done}, floor {min(moved)} to {max(moved)} under kills"


def kill_loop(store, settings, seconds=SECONDS, watch=Unwatched, padding=0):
    """kill -9 and start again, in a loop, under load."""
    dice, node, watch = random.Random(SEED), store.node(), watch()
    with node:
        create(node.bootstrap, "load")
        producing, reading = Producing("p", node.bootstrap, "load", settings, padding=padding), Reading(node.bootstrap, "load")
        producing.start()
        reading.start()
        kills, until = 0, time.monotonic() + seconds
        while time.monotonic() < until or not watch.seen and time.monotonic() < until + PATIENCE:
            time.sleep(dice.uniform(0.2, 2.0))
            watch.before_kill(node)
            node.kill()
            time.sleep(dice.choice([0, 0, 0.3]))
            node.start()
            kills += 1
        ledger, done = producing.finish(), watch.at_end(node, store)
        final = read_all(node.bootstrap, "load")
        said = compare(ledger, final) + done
        seen = reading.finish()
        saw_the_truth(seen, final)
        node.stop()
    assert ledger.count > 1000 and kills >= seconds / 5, f"{kills} kills, {ledger.count} acknowledged: too few to mean anything"
    return f"{kills} kills; {said}; errors {dict(producing.codes)}; fsck {store.check()}"


def two_nodes(store, seconds=SECONDS * 1.5):
    """Producers and readers that began at either of two nodes and move between them, while they are killed, paused and stopped
    in turn."""
    dice, nodes = random.Random(SEED), [store.node(), store.node()]
    with nodes[0], nodes[1]:
        both = ",".join(n.bootstrap for n in nodes)
        create(nodes[0].bootstrap, "load")
        producing = [Producing(name, at, "load", settings, rate=700) for name, at, settings in (
            ("a", nodes[0].bootstrap, IDEMPOTENT), ("b", nodes[1].bootstrap, IDEMPOTENT),
            ("c", nodes[0].bootstrap, PLAIN), ("m", both, IDEMPOTENT))]
        reading = [Reading(n.bootstrap, "load") for n in nodes] + [Reading(both, "load")]
        for thread in producing + reading:
            thread.start()
        done, until = {"killed": 0, "paused": 0, "stopped": 0}, time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(dice.uniform(0.5, 2.0))
            node, what = dice.choice(nodes), dice.choice(["killed", "killed", "paused", "stopped"])
            done[what] += 1
            if what == "paused":
                node.pause()
                time.sleep(dice.uniform(0.5, 4))
                node.resume()
                continue
            node.kill() if what == "killed" else node.stop()
            time.sleep(dice.choice([0, 1]))
            node.start()
        ledgers = [p.finish() for p in producing]
        seen = [r.finish() for r in reading]
        final = read_all(nodes[1].bootstrap, "load")
        assert final == read_all(nodes[0].bootstrap, "load"), "the two nodes show different logs"
        total = ledgers[0]
        for other in ledgers[1:]:
            total.add(other)
        said = compare(total, final, moving={b"c"})
        for view in seen:
            saw_the_truth(view, final)
        for node in nodes:
            node.stop()
    assert total.count > 1000, f"only {total.count} acknowledged"
    return f"{done}; {said}; fsck {store.check()}"


def flaky_store(folder, seconds=SECONDS):
    """Connections to the store are cut anywhere: requests that arrived and were not answered, replies cut short."""
    proxy = Proxy(*LocalStack.address(folder))
    store = LocalStack.bucket(folder, "flaky", {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"})
    node, other = store.node(), store.node()
    with node, other:
        create(node.bootstrap, "load")
        producing = [Producing("i", node.bootstrap, "load", IDEMPOTENT), Producing("j", other.bootstrap, "load", IDEMPOTENT),
                     Producing("p", node.bootstrap, "load", PLAIN, padding=500)]
        reading = Reading(other.bootstrap, "load")
        proxy.set(FLAKY)
        for thread in [*producing, reading]:
            thread.start()
        time.sleep(seconds)
        proxy.set(PASS)
        ledgers = [p.finish() for p in producing]
        each = [ledger.count for ledger in ledgers]
        assert min(each) > 1000, f"acknowledged to each producer: {each}"
        ledger = ledgers[0]
        for more in ledgers[1:]:
            ledger.add(more)
        final = read_all(node.bootstrap, "load")
        said = compare(ledger, final)
        seen = reading.finish()
        saw_the_truth(seen, final)
        retries = node.metric("lakebed_commit_retries") + other.metric("lakebed_commit_retries")
        node.stop()
        other.stop()
    assert proxy.cuts > seconds and retries, f"{proxy.cuts} cuts, {retries} commits sent again: too few to mean anything"
    codes = {p.label: dict(p.codes) for p in producing}
    return f"{proxy.cuts} cuts, {retries:.0f} commits sent again; {said}; errors {codes}; fsck {store.check()}"


def main(names):
    with tempfile.TemporaryDirectory(prefix="lakebed-failures-") as folder:
        cases = {
            "kill-file-plain": lambda: kill_loop(FileStores(folder, "kp"), PLAIN),
            "kill-file-idempotent": lambda: kill_loop(FileStores(folder, "ki"), IDEMPOTENT),
            "kill-s3-plain": lambda: kill_loop(LocalStack.bucket(folder, "kp"), PLAIN),
            "kill-s3-idempotent": lambda: kill_loop(LocalStack.bucket(folder, "ki"), IDEMPOTENT),
            "kill-cleaning-file": lambda: kill_loop(FileStores(folder, "kc", CLEANING), IDEMPOTENT, CLEANING_SECONDS, Cleans, 500),
            "kill-cleaning-s3": lambda: kill_loop(LocalStack.bucket(folder, "kc", args=CLEANING), IDEMPOTENT, CLEANING_SECONDS, Cleans, 500),
            "two-nodes-file": lambda: two_nodes(FileStores(folder, "two")),
            "groups-file": lambda: groups.two_nodes_groups(FileStores(folder, "groups"), SEED, SECONDS * 1.5),
            "two-nodes-s3": lambda: two_nodes(LocalStack.bucket(folder, "two")),
            "flaky-s3": lambda: flaky_store(folder),
            "store-away": lambda: store_away.store_away(folder),
            "no-space": lambda: no_space.no_space(folder),
        }
        assert not set(names) - set(cases), f"known are {', '.join(cases)}"
        suite = Suite("failures", f"(seed {SEED}; librdkafka {confluent_kafka.libversion()[0]})")
        if not names:
            suite.bites("a store that forgets", kill_loop, MemoryStores(folder), PLAIN, 6, says="not where they were said to be")
        for name in names or cases:
            suite.case(name, cases[name])
        if suite.failed:
            show_logs(folder)
        LocalStack.down()
    finish("failures", [suite.close()])


def show_logs(folder):
    """The temporary folder goes; what the nodes said must not."""
    for log in sorted(pathlib.Path(folder).glob("*.log")):
        print(f"--- last lines of {log.name}")
        print("".join(log.open().readlines()[-15:]))


if __name__ == "__main__":
    main(sys.argv[1:])
