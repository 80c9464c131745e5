"""The HTTP API: topics, groups, hostile requests, origins, and schemathesis against its description."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, TopicPartition

from harness.node import Node
from http_client import DIFFICULT, call, create, ok, raw, read_all, refused, same, to_json


def hostile(node):
    create(node, "hostile")
    path = "/v1/topics/hostile/records"
    refused(node, "POST", path, b" " * (17 << 20), 413, "too-large")
    refused(node, "POST", path, b"[" * 1_000_000, 400)
    refused(node, "POST", path, b'{"records":[{"headers":' + b"[" * 100_000, 400)
    refused(node, "POST", path, b'{"records":[{"value":"\xff\xfe"}]}', 400)
    refused(node, "POST", path, b'{"records":[{"value":"\\ud800"}]}', 400)
    refused(node, "POST", path, b'{"records":[' + b"{}," * 20_000 + b"{}]}", 400)
    refused(node, "POST", path, b'{"records":[{"headers":[' + b'{"name":""},' * 1001 + b'{"name":""}]}]}', 400)
    refused(node, "POST", path, {"records": [{"value": "x" * (2 << 20)}]}, 413, "too-large")
    refused(node, "POST", path, {"records": [{"value": "a"}, {"timestamp": 9 * 10**18}]}, 422, "invalid-value")
    refused(node, "POST", path, {"records": [{"value": "a"}, {"partition": 5}]}, 404, "unknown-partition")
    refused(node, "POST", path, "a=b", 415, "unsupported-media-type", kind="application/x-www-form-urlencoded")
    refused(node, "POST", path, "x" * (17 << 20), 413, "too-large", kind="application/x-ndjson")
    refused(node, "POST", path, {"records": [{}]}, 400, headers={"Idempotency-Key": "x" * 256})
    refused(node, "GET", f"{path}?unknown=1", status=400)
    refused(node, "GET", "/v1/topics/a%2Fb", status=400)
    refused(node, "GET", "/v1/topics/%ff", status=400)
    refused(node, "GET", "/v1/nothing", status=404, problem="not-found")
    refused(node, "GET", "/v1/topics/unknown/records", status=404, problem="unknown-topic")
    status, headers, _ = call(node, "PUT", path)
    assert status == 405 and set(headers["allow"].split(",")) == {"GET", "HEAD", "POST"}, headers
    assert read_all(node, "hostile") == [], "none of it is stored"
    for sent in (b"POST " + path.encode(), b"\x16\x03\x01\x00", b"\0\0\0\x10"):
        stream = raw(node, sent)
        assert stream.recv(100) == b"", "half a request is not answered"
        stream.close()


def slow(node):
    """A body that comes byte by byte has a minute."""
    stream = raw(node, b"POST /v1/topics/hostile/records HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
    started, answer = time.monotonic(), b""
    stream.settimeout(1)
    while time.monotonic() - started < 80 and not answer:
        try:
            stream.sendall(b" ")
            answer = stream.recv(4096)
        except TimeoutError:
            pass
    took = time.monotonic() - started
    assert answer.startswith(b"HTTP/1.1 408") and 55 < took < 70, (took, answer)


def groups(node):
    create(node, "http-groups", 2)
    ok(node, "POST", "/v1/topics/http-groups/records", {"records": [{"partition": i % 2, "value": str(i)} for i in range(10)]})
    settings = {"bootstrap.servers": node.bootstrap, "group.id": "http group/1", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False, "client.id": "reader"})
    consumer.subscribe(["http-groups"])
    found, until = [], time.monotonic() + 30
    while len(found) < 10 and time.monotonic() < until:
        found += [m for m in consumer.consume(100, 0.5) if not m.error()]
    consumer.commit(offsets=[TopicPartition("http-groups", 0, 3)], asynchronous=False)
    path = "/v1/groups/http%20group%2F1"
    assert any(g["group"] == "http group/1" and g["state"] == "Stable" for g in ok(node, "GET", "/v1/groups")["groups"])
    group = ok(node, "GET", path)
    [member] = group["members"]
    assert (group["state"], member["client_id"], member["assignment"]) == ("Stable", "reader", {"http-groups": [0, 1]}), group
    [offset] = ok(node, "GET", f"{path}/offsets")["offsets"]
    assert (offset["partition"], offset["offset"], offset["high_watermark"], offset["lag"]) == (0, "3", "5", "2"), offset
    reset = {"offsets": [{"topic": "http-groups", "to": "latest"}, {"topic": "http-groups", "partition": 1, "to": "1"}]}
    refused(node, "PATCH", f"{path}/offsets", reset, 409, "group-in-use")
    refused(node, "DELETE", path, status=409, problem="group-in-use")
    consumer.close()
    offsets = ok(node, "PATCH", f"{path}/offsets", reset)["offsets"]
    assert [(o["offset"], o["lag"]) for o in offsets] == [("5", "0"), ("1", "4")], offsets
    beyond = {"offsets": [{"topic": "http-groups", "partition": 1, "to": "6"}]}
    refused(node, "PATCH", f"{path}/offsets", beyond, 416, "offset-out-of-range")
    again = Consumer(settings)
    again.subscribe(["http-groups"])
    found, until = [], time.monotonic() + 20
    while len(found) < 4 and time.monotonic() < until:
        found += [m for m in again.consume(100, 0.5) if not m.error()]
    again.close()
    same([m.value() for m in found], [b"3", b"5", b"7", b"9"])
    ok(node, "DELETE", path)
    refused(node, "GET", path, status=404, problem="unknown-group")


def topics(node):
    create(node, "http-topic", 2, **{"max.message.bytes": "5000"})
    refused(node, "POST", "/v1/topics", {"name": "http-topic"}, 409, "topic-exists")
    refused(node, "POST", "/v1/topics", {"name": "x", "configs": {"cleanup.policy": "compact"}}, 422, "invalid-value")
    change = {"partitions": 5, "configs": {"max.message.bytes": None, "retention.ms": "1000"}}
    for query, expected in (("?validate_only=true", 2), ("", 5)):
        ok(node, "PATCH", f"/v1/topics/http-topic{query}", change)
        described = ok(node, "GET", "/v1/topics/http-topic")
        assert len(described["partitions"]) == expected, described
    assert described["configs"] == {"retention.ms": "1000"}, described
    refused(node, "PATCH", "/v1/topics/http-topic", {"partitions": 4}, 422)
    names, after = [], ""
    while after is not None:
        page = ok(node, "GET", f"/v1/topics?limit=3&after={after}")
        names += [t["name"] for t in page["topics"]]
        after = page["next"]
    assert names == sorted(set(names)) and "http-topic" in names, names
    ok(node, "DELETE", "/v1/topics/http-topic")
    refused(node, "GET", "/v1/topics/http-topic", status=404, problem="unknown-topic")


def origins(node):
    evil, friend = {"Origin": "http://evil.example"}, {"Origin": "http://localhost:5173"}
    body = {"name": "by-a-page"}
    refused(node, "POST", "/v1/topics", body, 403, "forbidden-origin", headers=evil)
    with tempfile.TemporaryDirectory(prefix="lakebed-http-") as folder:
        with Node(f"file://{folder}/data", args=["--http-cors-origin", friend["Origin"]]) as own:
            refused(own, "POST", "/v1/topics", body, 403, headers=evil)
            assert "access-control-allow-origin" not in call(own, "GET", "/v1/topics", headers=evil)[1]
            ask = {**friend, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
            status, headers, _ = call(own, "OPTIONS", "/v1/topics", headers=ask)
            assert status == 200 and headers["access-control-allow-origin"] == friend["Origin"], headers
            assert "idempotency-key" in headers["access-control-allow-headers"], headers
            status, headers, _ = call(own, "POST", "/v1/topics", body, headers=friend)
            assert status == 201 and headers["access-control-allow-origin"] == friend["Origin"], headers


def schemathesis(node, document=None, config="schemathesis.toml"):
    here = pathlib.Path(__file__).resolve().parent
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    at = document or f"http://127.0.0.1:{node.http_port}/openapi.json"
    done = subprocess.run(
        [program, "--config-file", here / config, "run", at, "--url", f"http://127.0.0.1:{node.http_port}"],
        capture_output=True, text=True, timeout=900, cwd=tempfile.gettempdir())
    print(done.stdout[-1500:] if done.returncode == 0 else done.stdout[-12000:], done.stderr[-2000:])
    assert done.returncode == 0, "schemathesis found the description untrue"


def schemathesis_known(node):
    """With a topic of all kinds of records and a group with offsets."""
    create(node, "known", 3)
    for p in range(3):
        ok(node, "POST", "/v1/topics/known/records", {"records": [to_json(*r, partition=p) for r in DIFFICULT]})
    ok(node, "PATCH", "/v1/groups/known/offsets", {"offsets": [{"topic": "known", "to": "2"}]})
    schemathesis(node, config="schemathesis_known.toml")


def untrue(node):
    """The description, but for what it says of one answer."""
    document = ok(node, "GET", "/openapi.json")
    document["components"]["schemas"]["TopicList"]["properties"]["topics"] = {"type": "string"}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        schemathesis(node, file.name)
