"""The HTTP API against Kafka clients in both directions, sent again, as streams; the rest is in http_admin.py."""

import json
import os
import random
import tempfile
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

from harness.node import Node
from harness.suite import Suite
import http_admin
from http_client import DIFFICULT, Tail, create, from_json, ok, raw, read_all, refused, request, same, to_json

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def consume(node, topic, count, partitions=1):
    """What librdkafka reads from the start: (partition, offset, key, value, headers)."""
    consumer = Consumer({"bootstrap.servers": node.bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    found, until = [], time.monotonic() + 30
    while len(found) < count and time.monotonic() < until:
        for m in consumer.consume(1000, 0.5):
            assert m.error() is None, m.error()
            found.append((m.partition(), m.offset(), m.key(), m.value(), m.headers() or []))
    found += [(m.partition(), m.offset(), m.key(), m.value(), m.headers() or []) for m in consumer.consume(1, 0.5)]
    consumer.close()
    return found


def http_to_kafka(node, topic="http-to-kafka", expected=DIFFICULT):
    create(node, topic)
    stored = ok(node, "POST", f"/v1/topics/{topic}/records", {"records": [to_json(*r) for r in DIFFICULT]})
    assert [r["offset"] for r in stored["records"]] == [str(i) for i in range(len(DIFFICULT))], stored
    same([m[2:] for m in consume(node, topic, len(DIFFICULT))], expected)


def kafka_to_http(node, codec):
    topic = f"kafka-to-http-{codec}"
    create(node, topic)
    producer = Producer({"bootstrap.servers": node.bootstrap, "compression.type": codec, "linger.ms": 50})
    for key, value, headers in DIFFICULT * 200:
        producer.produce(topic, key=key, value=value, headers=headers)
    assert producer.flush(30) == 0
    for encoding in ("auto", "base64"):
        found = read_all(node, topic, encoding=encoding, max_records=357)
        same([from_json(r) for r in found], DIFFICULT * 200)
        same([r["offset"] for r in found], [str(i) for i in range(len(found))])
    return f"{len(DIFFICULT) * 200} records"


def raw_body(node):
    topic = "http-raw"
    create(node, topic, 3)
    path = f"/v1/topics/{topic}/records?key=k&partition=2&timestamp=1700000000000"
    ok(node, "POST", path, b"\x00raw\xff", kind="application/octet-stream", headers={"Lakebed-Header": "a=1=2"})
    [record] = read_all(node, topic)
    assert from_json(record) == (b"k", b"\x00raw\xff", [("a", b"1=2")]), record
    assert (record["partition"], record["timestamp"]) == (2, "1700000000000"), record


def partitioner(node, wrong=False):
    keys = [os.urandom(random.randint(1, 40)) for _ in range(1000)]
    create(node, f"murmur-http-{wrong}", 7)
    create(node, f"murmur-kafka-{wrong}", 7)
    records = [to_json(k, b"x", []) for k in keys]
    ok(node, "POST", f"/v1/topics/murmur-http-{wrong}/records", {"records": records})
    scheme = "consistent" if wrong else "murmur2"
    producer = Producer({"bootstrap.servers": node.bootstrap, "partitioner": scheme})
    for key in keys:
        producer.produce(f"murmur-kafka-{wrong}", key=key, value=b"x")
    assert producer.flush(30) == 0
    placed = [{m[2]: m[0] for m in consume(node, f"murmur-{side}-{wrong}", 1000, 7)} for side in ("http", "kafka")]
    differ = sum(placed[0][key] != placed[1][key] for key in keys)
    assert not differ, f"{differ} of 1000 keys are in other partitions"


def lines(count, pad=""):
    return "".join(json.dumps({"key": str(i), "value": f"{i}{pad}", "partition": i % 3}) + "\n" for i in range(count))


def cut_answer(node, key="cut-1"):
    """The client hangs up before the answer, and sends the same again: at once, then over the NDJSON form."""
    topic = f"cut-{key}"
    create(node, topic, 3)
    header = {"idempotency_key": key} if key else {}
    bodies = [
        (json.dumps({"records": [{"value": str(i)} for i in range(100)]}).encode(), "application/json", 100),
        (lines(20_000).encode(), "application/x-ndjson", 20_000),
    ]
    expected = 0
    for body, kind, count in bodies:
        if key:
            header = {"idempotency_key": f"{key}-{kind}"}
        for _ in range(3):
            stream = raw(node, request("POST", f"/v1/topics/{topic}/records", body, content_type=kind, **header))
            time.sleep(random.uniform(0, 0.1))
            stream.close()
        sent = {"Idempotency-Key": header["idempotency_key"]} if key else {}
        path = f"/v1/topics/{topic}/records"
        first = ok(node, "POST", path, body, kind=kind, headers=sent)
        assert first["stored"] == count, first["stored"]
        if key:
            assert ok(node, "POST", path, body, kind=kind, headers=sent) == first, "the answer changes"
        expected += count
    found = len(read_all(node, topic, max_records=10_000, max_bytes=8 << 20))
    assert found == expected, f"{found} records are stored, {expected} were sent"


def another_request(node):
    create(node, "key-reused")
    path, key = "/v1/topics/key-reused/records", {"Idempotency-Key": "same"}
    ok(node, "POST", path, {"records": [{"value": "a"}]}, headers=key)
    for other in ([{"value": "b"}], [{"value": "a"}, {"value": "b"}], [{"value": "a", "key": "k"}]):
        refused(node, "POST", path, {"records": other}, 422, "idempotency-key-reused", headers=key)
    assert len(read_all(node, "key-reused")) == 1


def survives(_, with_key=True):
    """kill -9 between two sends, and another node on the same store."""
    with tempfile.TemporaryDirectory(prefix="lakebed-http-") as folder:
        store, body = f"file://{folder}/data", {"records": [{"value": str(i), "partition": i % 4} for i in range(400)]}
        key = {"Idempotency-Key": "survives"} if with_key else {}
        path = "/v1/topics/t/records"
        with Node(store) as first, Node(store) as second:
            create(first, "t", 4)
            stored = ok(first, "POST", path, body, headers=key)
            answers = [ok(second, "POST", path, body, headers=key)]
            first.kill()
            first.start()
            answers.append(ok(first, "POST", path, body, headers=key))
            found = len(read_all(second, "t"))
            assert found == 400, f"{found} records are stored, 400 were sent"
            assert answers == [stored] * 2, "the answers differ"


def killed_midway(_):
    """kill -9 while lines arrive, three times; the whole is sent again each time, with its key."""
    with tempfile.TemporaryDirectory(prefix="lakebed-http-") as folder:
        body, key = lines(60_000, "x" * 100).encode(), {"Idempotency-Key": "midway"}
        path, partly = "/v1/topics/t/records", []
        with Node(f"file://{folder}/data") as node:
            create(node, "t", 3)
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\nidempotency-key: midway\r\n"
            for _ in range(3):
                stream = raw(node, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:random.randint(2 << 20, len(body) - 1)])
                time.sleep(random.uniform(0.3, 0.6))
                node.kill()
                node.start()
                stream.close()
                partly.append(len(read_all(node, "t", max_records=10_000, max_bytes=8 << 20)))
            assert ok(node, "POST", path, body, kind="application/x-ndjson", headers=key)["stored"] == 60_000
            found = read_all(node, "t", max_records=10_000, max_bytes=8 << 20)
            for p in range(3):
                same([int(r["key"]) for r in found if r["partition"] == p], list(range(p, 60_000, 3)))
        assert max(partly) > 0, "nothing was stored before any kill: nothing was tried"
        return f"{partly} records were stored by then"


def tail_resumes(node, skip=False):
    topic, count = f"tail-{skip}", 3000
    create(node, topic, 4)
    ok(node, "POST", f"/v1/topics/{topic}/records", {"records": [{"value": "before", "partition": 1}]})
    sent = [f"{i}" for i in range(count)]

    def produce():
        for start in range(0, count, 50):
            some = [{"value": v, "partition": int(v) % 4} for v in sent[start:start + 50]]
            ok(node, "POST", f"/v1/topics/{topic}/records", {"records": some})

    found, last, resumed, worker = [], None, 0, threading.Thread(target=produce)
    while len(found) < count:
        tail = Tail(node, f"/v1/topics/{topic}/tail", last)
        left = random.randint(1, 700)
        for name, at, record in tail.events():
            if name == "start":
                last = last or at
                if not worker.ident:
                    worker.start()
            if name != "message":
                continue
            found.append(record["value"])
            last = at
            left -= 1
            if left == 0 or len(found) >= count:
                break
        tail.close()
        resumed += 1
        if skip and resumed == 1:
            partition, offset = last.split(",")[0].split(":")
            last = ",".join([f"{partition}:{int(offset) + 1}"] + last.split(",")[1:])
            count -= 1
    worker.join()
    for p in range(4):
        same([v for v in found if int(v) % 4 == p], [v for v in sent if int(v) % 4 == p])
    return f"{resumed} connections"


def tail_beats(node):
    create(node, "tail-quiet")
    tail = Tail(node, "/v1/topics/tail-quiet/tail", timeout=20)
    events = tail.events()
    assert next(events)[0] == "start"
    started = time.monotonic()
    assert next(events)[0] == "comment" and 5 < time.monotonic() - started < 18
    ok(node, "DELETE", "/v1/topics/tail-quiet")
    name, _, data = next(e for e in events if e[0] != "comment")
    assert name == "problem" and data["type"].endswith("unknown-topic"), data
    tail.close()


def slow_tails(_):
    """100 clients follow a topic and take nothing of 40 MB: they cost little, and others are served."""
    with tempfile.TemporaryDirectory(prefix="lakebed-http-") as folder:
        with Node(f"file://{folder}/data", args=["--memory-budget", "64MiB"]) as own:
            create(own, "t")
            path = "/v1/topics/t/records"
            followers = [raw(own, b"GET /v1/topics/t/tail HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(100)]
            for _ in range(40):
                ok(own, "POST", path, {"records": [{"value": "x" * 1000}] * 1000})
            started = time.monotonic()
            assert len(ok(own, "GET", f"{path}?max_bytes=8388608&max_records=10000")["records"]) > 7000
            took, resident = time.monotonic() - started, own.metric("process_resident_memory_bytes") / 1e6
            assert took < 5 and resident < 200, (took, resident)
            own.stop()
            for follower in followers:
                follower.close()
            return f"{resident:.0f} MB resident"


def long_poll(node):
    create(node, "poll", 2)
    path = "/v1/topics/poll/records"
    assert ok(node, "GET", f"{path}?wait=200")["records"] == []
    timer = threading.Timer(1, lambda: ok(node, "POST", path, {"records": [{"value": "x", "partition": 1}]}))
    timer.start()
    started = time.monotonic()
    page = ok(node, "GET", f"{path}?from=latest&wait=30000")
    took = time.monotonic() - started
    assert [r["value"] for r in page["records"]] == ["x"] and page["next"] == "0:0,1:1" and 0.9 < took < 6, (took, page)
    return f"{took:.2f} s"


def starts(node):
    create(node, "starts")
    path = "/v1/topics/starts/records"
    for n, time_ms in enumerate((1000, 2000, 3000)):
        ok(node, "POST", path, {"records": [{"value": str(n), "timestamp": time_ms}, {"value": f"{n}b", "timestamp": str(time_ms)}]})

    def values(start):
        return [r["value"] for r in ok(node, "GET", f"{path}?from={start}")["records"]]
    assert values("earliest")[0] == "0" and values("latest") == [] and values("4") == ["2", "2b"] == values("0:4")
    assert values("time:1500") == ["1", "1b", "2", "2b"] and values("time:9999") == [] and values("6") == []
    gone = refused(node, "GET", f"{path}?from=7", status=416, problem="offset-out-of-range")
    assert (gone["log_start_offset"], gone["high_watermark"], gone["offset"]) == ("0", "6", "7"), gone
    refused(node, "GET", f"{path}?partition=1", status=404, problem="unknown-partition")
    assert len(ok(node, "GET", f"{path}?max_records=3")["records"]) == 3


def many_lines(node):
    create(node, "many-lines", 3)
    body, before = lines(100_000, " " + "x" * 100).encode(), node.metric("process_resident_memory_bytes")
    started = time.monotonic()
    stored = ok(node, "POST", "/v1/topics/many-lines/records", body, kind="application/x-ndjson")
    took = time.monotonic() - started
    assert stored["stored"] == 100_000 and sum(p["records"] for p in stored["partitions"]) == 100_000, stored
    found = consume(node, "many-lines", 100_000, 3)
    for p in range(3):
        same([int(m[2]) for m in found if m[0] == p], list(range(p, 100_000, 3)))
    grown = (node.metric("process_resident_memory_bytes") - before) / 1e6
    return f"{100_000 / took:.0f} records/s, resident memory +{grown:.0f} MB"


def bad_line(node):
    create(node, "bad-line")
    body = lines(3000).replace('"partition": 1', '"partition": 0').replace('"partition": 2', '"partition": 0').splitlines()
    body[2500] = '{"value": 7}'
    said = refused(node, "POST", "/v1/topics/bad-line/records", "\n".join(body), 400, kind="application/x-ndjson")
    assert (said["line"], said["stored"]) == (2501, 2500), said
    assert len(read_all(node, "bad-line", max_records=10_000)) == 2500


def run(node):
    suite = Suite("http", f"(confluent-kafka {confluent_kafka.__version__})")
    suite.case("HTTP to Kafka: bytes, nulls, headers", http_to_kafka, node)
    altered = DIFFICULT[:-1] + [(b"key", b"altered", [])]
    suite.bites("HTTP to Kafka with one record altered", http_to_kafka, node, "http-bites", altered)
    for codec in CODECS:
        suite.case(f"Kafka to HTTP, {codec}", kafka_to_http, node, codec)
    suite.case("one record as it is", raw_body, node)
    suite.case("partitioner: murmur2 of 1,000 keys", partitioner, node)
    suite.bites("partitioner: another one", partitioner, node, True)
    suite.case("answers cut off, sent again with a key", cut_answer, node)
    suite.bites("answers cut off, sent again without", cut_answer, node, "")
    suite.case("a key with another request", another_request, node)
    suite.case("sent again to another node and after kill -9", survives, node)
    suite.case("kill -9 while lines arrive, sent again with a key", killed_midway, node)
    suite.bites("sent again without a key", survives, node, False)
    suite.case("tail resumes: nothing lost, nothing twice", tail_resumes, node)
    suite.bites("tail with an id one too far", tail_resumes, node, True)
    suite.case("tail: heartbeats, and why it ends", tail_beats, node)
    suite.case("tails that nobody reads", slow_tails, node)
    suite.case("long poll wakes", long_poll, node)
    suite.case("from offsets and times, out of range", starts, node)
    suite.case("NDJSON of 100,000 lines", many_lines, node)
    suite.case("NDJSON with a bad line", bad_line, node)
    suite.case("hostile requests", http_admin.hostile, node)
    suite.case("a slow body is ended", http_admin.slow, node)
    suite.case("topics", http_admin.topics, node)
    suite.case("groups: members, lag, reset, delete", http_admin.groups, node)
    suite.case("origins", http_admin.origins, node)
    suite.case("schemathesis", http_admin.schemathesis, node)
    suite.case("schemathesis, with a topic and a group that are there", http_admin.schemathesis_known, node)
    suite.bites("schemathesis with an untrue description", http_admin.untrue, node)
    return suite.close()
