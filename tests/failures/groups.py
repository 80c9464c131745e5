"""Consumer groups on two nodes that are killed, paused and stopped in turn."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException

from harness.groups import Member, committed
from harness.ledger import compare
from harness.load import IDEMPOTENT, PARTITIONS, Producing, create, read_all

# A member of each protocol more than one node serves at a time, and fewer than there are partitions.
GROUPS = {"classic": "g-classic", "consumer": "g-consumer"}
MEMBERS = 2
CATCH_UP = 90


class Working(threading.Thread):
    """A member that reads and commits until it is told to finish. Of commits only what was acknowledged is remembered."""

    def __init__(self, bootstrap, protocol):
        super().__init__(daemon=True)
        self.stopping, self.failure, self.refused = threading.Event(), None, 0
        self.acknowledged = {}
        quiet = {"log_level": 0, "reconnect.backoff.max.ms": 500, "socket.timeout.ms": 10_000}
        self.member = Member(bootstrap, GROUPS[protocol], "load", protocol, quiet)

    def run(self):
        try:
            while not self.stopping.is_set():
                self.member.poll(0.1)
                self.commit()
        except Exception as failure:
            self.failure = failure

    def commit(self):
        offsets = self.member.offsets()
        try:
            self.member.commit()
        except KafkaException:
            self.refused += 1  # rebalanced away, or no coordinator just now: the next one tells
        else:
            for partition, offset in offsets.items():
                self.acknowledged[partition] = max(offset, self.acknowledged.get(partition, 0))

    def finish(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise self.failure


def never_back(both, highest):
    """What is committed now, at least what anybody was told before."""
    for protocol, group in GROUPS.items():
        try:
            found = committed(both, group, "load", PARTITIONS)
        except KafkaException:
            continue  # nobody answers just now
        before = highest[protocol]
        assert all(now >= then for now, then in zip(found, before)), f"{group}: offsets went back, {before}, then {found}"
        highest[protocol] = found


def two_nodes_groups(store, seed, seconds):
    """Every record reaches every group at least once; what was committed stays; each partition has one member in the end."""
    dice, nodes = random.Random(seed), [store.node(), store.node()]
    with nodes[0], nodes[1]:
        both = ",".join(n.bootstrap for n in nodes)
        create(nodes[0].bootstrap, "load")
        producing = Producing("g", both, "load", IDEMPOTENT, rate=300)
        working = {protocol: [Working(both, protocol) for _ in range(MEMBERS)] for protocol in GROUPS}
        everybody = [w for members in working.values() for w in members]
        for thread in [producing, *everybody]:
            thread.start()
        done, highest = {"killed": 0, "paused": 0, "stopped": 0}, {p: [-1001] * PARTITIONS for p in GROUPS}
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(dice.uniform(1, 4))
            node, what = dice.choice(nodes), dice.choice(["killed", "killed", "paused", "stopped"])
            done[what] += 1
            if what == "paused":
                node.pause()
                time.sleep(dice.uniform(0.5, 4))
                node.resume()
            else:
                node.kill() if what == "killed" else node.stop()
                time.sleep(dice.choice([0, 1, 5]))
                node.start()
            never_back(both, highest)
        ledger = producing.finish()
        final = read_all(both, "load")
        said = compare(ledger, final)
        ends = [len(final[p]) for p in range(PARTITIONS)]
        give_up = time.monotonic() + CATCH_UP
        while any(highest[p] != ends for p in GROUPS):
            assert time.monotonic() < give_up, f"ends {ends}, committed {highest} after {CATCH_UP} s without faults"
            time.sleep(0.5)
            never_back(both, highest)
        for protocol, members in working.items():
            held = sorted(p for w in members for p in w.member.assigned)
            assert held == list(range(PARTITIONS)), f"{protocol}: {held} assigned in the end"
        for worker in everybody:
            worker.finish()
        told = reread(working, final, highest)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda w: w.member.close(), everybody))
        for node in nodes:
            node.stop()
    assert ledger.count > 1000 and sum(done.values()) > seconds / 10, f"{done}, {ledger.count} records: too few to mean anything"
    return f"{done}; {said}; {told}; fsck {store.check()}"


def reread(working, final, highest):
    """What each group read, against what is there; commits that were acknowledged, against what is committed."""
    told = []
    for protocol, members in working.items():
        read = [r for w in members for r in w.member.read]
        everything = {(p, o, v) for p, records in final.items() for o, v in records}
        assert set(read) == everything, f"{protocol}: {len(everything - set(read))} records read by nobody, {len(set(read) - everything)} that are not there"
        for w in members:
            behind = {p: o for p, o in w.acknowledged.items() if highest[protocol][p] < o}
            assert not behind, f"{protocol}: {behind} was acknowledged, {highest[protocol]} is committed"
        told.append(f"{protocol}: {len(read)} read, {len(everything)} there, {sum(w.refused for w in members)} commits refused")
    return "; ".join(told)
