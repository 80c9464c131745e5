"""What a producer was told, and whether a reader finds exactly that: nothing lost, doubled or reordered."""

import collections


class Ledger:
    """Filled by delivery reports: (partition, offset, value) of what was acknowledged; the rest stays in `unknown`."""

    def __init__(self):
        self.acknowledged = collections.defaultdict(list)
        self.unknown = collections.Counter()
        self.sent = 0

    def report(self, partition, offset, value, error):
        if error is None:
            self.acknowledged[partition].append((offset, value))
        else:
            self.unknown[value] += 1

    def add(self, other):
        """Another producer's records of the same topic."""
        for partition, records in other.acknowledged.items():
            self.acknowledged[partition] += records
        self.unknown += other.unknown
        self.sent += other.sent

    @property
    def count(self):
        return sum(map(len, self.acknowledged.values()))


def compare(ledger, read, moving=()):
    """`read`: partition -> [(offset, value)] of everything in the topic, as a reader saw it. Raises AssertionError.

    Every acknowledged record stands at its acknowledged offset with its value; offsets run on from 0 without a hole; no
    record is there that was not sent; none is there twice; and those of one producer and partition stand in the order in
    which they were sent. Values sort as they were sent; what stands before a `-` names the producer.

    `moving`: producers without sequence numbers whose partitions move between live nodes. As with any Kafka cluster, what they have under way
    then may change its order, and some clients send it again: nothing of theirs is lost, the rest is told.
    """
    moved_twice = 0
    for partition, acknowledged in ledger.acknowledged.items():
        found = dict(read.get(partition, []))
        lost = [(o, v) for o, v in acknowledged if found.get(o) != v]
        assert not lost, f"partition {partition}: {len(lost)} acknowledged records are not where they were said to be, first {lost[0]}"
        offsets = [o for o, _ in acknowledged]
        assert len(set(offsets)) == len(offsets), f"partition {partition}: an offset was acknowledged twice"
    everything = {v for a in ledger.acknowledged.values() for _, v in a}
    for partition, records in read.items():
        offsets = [o for o, _ in records]
        assert offsets == list(range(len(offsets))), f"partition {partition}: offsets do not run on from 0"
        strangers = [v for _, v in records if v not in everything and not ledger.unknown[v]]
        assert not strangers, f"partition {partition}: {len(strangers)} records were never sent, first {strangers[0]}"
        twice = [v for v, n in collections.Counter(v for _, v in records).items() if n > 1]
        moved_twice += sum(producer_of(v) in moving for v in twice)
        twice = [v for v in twice if producer_of(v) not in moving]
        assert not twice, f"partition {partition}: {len(twice)} records are there twice, first {twice[0]}"
        for name, values in by_producer(records).items():
            if name in moving:
                continue
            moved = next(((a, b) for a, b in zip(values, values[1:]) if a > b), None)
            assert moved is None, f"partition {partition}, producer {name!r}: not in the order of their sending: {moved}"
    told = f"{ledger.count} acknowledged, {sum(ledger.unknown.values())} without an answer, {sum(map(len, read.values()))} read"
    return told + (f", {moved_twice} of producers without sequence numbers twice" if moving else "")


def producer_of(value):
    return value.rpartition(b"-")[0] if isinstance(value, bytes) else None


def by_producer(records):
    found = collections.defaultdict(list)
    for _, value in records:
        found[producer_of(value)].append(value)
    return found
