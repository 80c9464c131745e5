"""Consumer groups by librdkafka, of the classic protocol and of KIP-848, with records compared with the producer's ledger."""

import random
import tempfile
import time

import confluent_kafka
from confluent_kafka import ConsumerGroupState, KafkaException

from confluent_cases import admin, create, numbered, produce_all
from harness.groups import PATIENCE, Member, committed, until
from harness.node import Node
from harness.suite import Suite


def shares(members, partitions):
    """Every partition has one member, and every member some."""
    held = [p for m in members for p in m.assigned]
    return sorted(held) == list(range(partitions)) and all(m.assigned for m in members)


def two_share(node, protocol):
    topic, group, partitions = f"groups-share-{protocol}", f"g-share-{protocol}", 6
    create(node, topic, partitions)
    ledger = produce_all(node, topic, numbered(3_000, partitions))
    first = Member(node.bootstrap, group, topic, protocol)
    until(lambda: first.read, [first], what="a first record")
    alone = time.monotonic() - first.started
    second = Member(node.bootstrap, group, topic, protocol)
    until(lambda: shares([first, second], partitions), [first, second], what="a fair share")
    joined = time.monotonic() - second.started
    until(lambda: len({r[:2] for m in (first, second) for r in m.read}) == ledger.count, [first, second], what="every record")
    values = {value for m in (first, second) for _, _, value in m.read}
    assert values == {v for a in ledger.acknowledged.values() for _, v in a}, "other records than were sent"
    second.close()
    until(lambda: len(first.assigned) == partitions, [first], what="all partitions for the one that stays")
    first.close()
    assert alone < 4, f"a default consumer had its first record after {alone:.1f} s"
    return f"first record after {alone:.2f} s, second member settled after {joined:.2f} s"


def goes_on(node, protocol):
    topic, group = f"groups-goes-on-{protocol}", f"g-goes-on-{protocol}"
    create(node, topic, 2)
    produce_all(node, topic, numbered(200, 2))
    member = Member(node.bootstrap, group, topic, protocol)
    until(lambda: len(member.read) == 200, [member], what="the first records")
    member.commit()
    member.close()
    assert committed(node.bootstrap, group, topic, 2) == [100, 100], committed(node.bootstrap, group, topic, 2)
    produce_all(node, topic, [(i % 2, f"{i:08}".encode()) for i in range(200, 300)])
    member = Member(node.bootstrap, group, topic, protocol)
    until(lambda: len(member.read) >= 100, [member], what="what came since")
    member.close()
    offsets = sorted(o for _, o, _ in member.read)
    assert len(offsets) == 100 and offsets[0] == 100, f"{len(offsets)} records from {offsets[0]}"


def wrong_offset(node):
    """An expectation that does not hold of what `goes_on` left."""
    found = committed(node.bootstrap, "g-goes-on-classic", "groups-goes-on-classic", 2)
    assert found == [100, 99], f"committed: {found}"


def dies_with_members(protocol):
    """kill -9 of the node: the members go on with their partitions, and offsets do not go back."""
    with tempfile.TemporaryDirectory(prefix="lakebed-groups-") as folder:
        node = Node(f"file://{folder}/data", log=f"{folder}/log")
        with node:
            # From the second start on it tells clients one and the same address.
            node.stop()
            node.start()
            topic, group, partitions = "survives", f"g-{protocol}", 4
            create(node, topic, partitions)
            produce_all(node, topic, numbered(400, partitions))
            members = [Member(node.bootstrap, group, topic, protocol) for _ in range(2)]
            until(lambda: shares(members, partitions) and all(m.has_read(99) for m in members), members)
            for member in members:
                member.commit()
            before = [set(m.assigned) for m in members]
            node.kill()
            node.start()
            died = time.monotonic()
            produce_all(node, topic, [(i % partitions, f"{i:08}".encode()) for i in range(400, 800)])
            until(lambda: len({r[:2] for m in members for r in m.read}) == 800, members, what="what came since")
            took = time.monotonic() - died
            found = committed(node.bootstrap, group, topic, partitions)
            assert found == [100] * partitions, found
            assert shares(members, partitions), [m.assigned for m in members]
            same = [set(m.assigned) for m in members] == before
            for member in members:
                member.commit()
                member.close()
            found = committed(node.bootstrap, group, topic, partitions)
            assert found == [200] * partitions, found
            return f"everything read {took:.1f} s after the start, assignment {'kept' if same else 'made anew'}"


def storm(node, protocol):
    """Members come, leave and are abandoned at random: every record is read at least once, committed offsets never go back."""
    topic, group, partitions, dice = f"groups-storm-{protocol}", f"g-storm-{protocol}", 8, random.Random(7)
    create(node, topic, partitions)
    ledger, members, lost = produce_all(node, topic, numbered(4_000, partitions)), [], []
    seen, highest = set(), [-1001] * partitions  # none yet
    give_up, next_change = time.monotonic() + 90, 0
    rounds = 0
    while rounds < 12 or len(seen) < ledger.count:
        assert time.monotonic() < give_up, f"{len(seen)} of {ledger.count} records after 90 s"
        if rounds < 12 and time.monotonic() >= next_change:
            rounds += 1
            next_change = time.monotonic() + dice.uniform(0.5, 2)
            if len(members) > 1 and dice.random() < 0.5:
                leaving = members.pop(dice.randrange(len(members)))
                # Half of them leave without a word: their session has to run out.
                lost.append(leaving) if dice.random() < 0.3 else leaving.close()
            else:
                members.append(Member(node.bootstrap, group, topic, protocol))
        for member in members:
            member.poll(0.02)
            seen |= {r[:2] for r in member.read}
            try:
                member.commit()
            except KafkaException:
                pass  # it was rebalanced away in between
        found = committed(node.bootstrap, group, topic, partitions)
        assert all(now >= before for now, before in zip(found, highest)), f"offsets went back: {highest}, then {found}"
        highest = found
    for member in members + lost:
        member.close()
    return f"{rounds} changes, {ledger.count} records"


def described(node, protocol):
    topic, group = f"groups-described-{protocol}", f"g-described-{protocol}"
    create(node, topic, 3)
    produce_all(node, topic, numbered(30, 3))
    member = Member(node.bootstrap, group, topic, protocol, {"client.id": "me"})
    until(lambda: len(member.assigned) == 3 and len(member.read) == 30, [member])
    client = admin(node)
    listed = {g.group_id: g for g in client.list_consumer_groups().result(PATIENCE).valid}
    assert listed[group].state == ConsumerGroupState.STABLE, listed[group].state
    told = client.describe_consumer_groups([group])[group].result(PATIENCE)
    assert told.state == ConsumerGroupState.STABLE and len(told.members) == 1, told
    assert told.members[0].client_id == "me" and len(told.members[0].assignment.topic_partitions) == 3
    try:
        client.delete_consumer_groups([group])[group].result(PATIENCE)
        raise AssertionError("a group with members was deleted")
    except KafkaException as refused:
        assert "NON_EMPTY_GROUP" in str(refused), refused
    member.commit()
    member.close()
    until(lambda: client.describe_consumer_groups([group])[group].result(PATIENCE).state == ConsumerGroupState.EMPTY, [])
    client.delete_consumer_groups([group])[group].result(PATIENCE)
    assert group not in {g.group_id for g in client.list_consumer_groups().result(PATIENCE).valid}
    assert committed(node.bootstrap, group, topic, 3) == [-1001] * 3


def run(node):
    suite = Suite("groups", f"confluent-kafka {confluent_kafka.version()}, librdkafka {confluent_kafka.libversion()[0]}")
    for protocol in ("classic", "consumer"):
        suite.case(f"{protocol}: two members share, one takes over", two_share, node, protocol)
        suite.case(f"{protocol}: goes on from what was committed", goes_on, node, protocol)
        suite.case(f"{protocol}: listed, described, deleted", described, node, protocol)
        suite.case(f"{protocol}: members come and go", storm, node, protocol)
        suite.case(f"{protocol}: kill -9 of the node", dies_with_members, protocol)
    suite.bites("a wrong offset", wrong_offset, node, says="committed: [100, 100]")
    return suite.close()
