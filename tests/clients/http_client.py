"""A small HTTP client that can cut connections, a reader of server-sent events, and records in JSON."""

import base64
import http.client
import json
import os
import socket
import urllib.parse

DIFFICULT = [
    (b"key", b"value", []),
    (None, b"no key", [("a", b"1"), ("a", b"2"), ("b", b""), ("c", None)]),
    (b"tombstone", None, []),
    (b"", b"", []),
    (bytes(range(256)), os.urandom(1000), [("bin", b"\x00\xff")]),
    ("ключ".encode(), "naïve \"quoted\" \\ \n\t 漢字 🦀".encode(), [("имя", "значение".encode())]),
]


def call(node, method, path, body=None, headers=None, kind="application/json", timeout=70):
    """Status, headers and body, in JSON where it is."""
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=timeout)
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    headers = dict(headers or {})
    if body is not None and kind:
        headers["content-type"] = kind
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        said = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, said, json.loads(data) if "json" in said.get("content-type", "") else data
    finally:
        connection.close()


def ok(node, method, path, body=None, expected=(200, 201, 204), **more):
    status, _, data = call(node, method, path, body, **more)
    assert status in expected, f"{method} {path}: {status} {data}"
    return data


def refused(node, method, path, body=None, status=400, problem=None, **more):
    """A problem, RFC 9457, of this status and type."""
    found, headers, data = call(node, method, path, body, **more)
    assert found == status, f"{method} {path}: {found} {data}, not {status}"
    assert headers["content-type"] == "application/problem+json" and data["status"] == status, (headers, data)
    assert problem is None or data["type"] == f"urn:lakebed:problem:{problem}", data
    return data


def raw(node, data):
    """A socket with these bytes sent."""
    stream = socket.create_connection(("127.0.0.1", node.http_port), timeout=70)
    stream.sendall(data)
    return stream


def request(method, path, body, **headers):
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def create(node, topic, partitions=1, **configs):
    ok(node, "POST", "/v1/topics", {"name": topic, "partitions": partitions, "configs": configs})


def read_all(node, topic, start="earliest", **params):
    """All records from there on, page by page."""
    records, position = [], start
    while True:
        query = urllib.parse.urlencode({"from": position, **params})
        page = ok(node, "GET", f"/v1/topics/{topic}/records?{query}")
        if not page["records"]:
            return records
        records += page["records"]
        position = page["next"]


class Tail:
    """One connection of an event source."""

    def __init__(self, node, path, last_id=None, timeout=20):
        self.connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=timeout)
        self.connection.request("GET", path, headers={"last-event-id": last_id} if last_id else {})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, (self.answer.status, self.answer.read())

    def events(self):
        """(name, id, data) of each; comments are ("comment", None, text)."""
        event = {}
        for line in self.answer:
            line = line.decode().rstrip("\n")
            if line.startswith(":"):
                yield "comment", None, line[1:].strip()
            elif line:
                name, _, value = line.partition(":")
                event[name] = value.strip()
            elif event:
                yield event.get("event", "message"), event.get("id"), json.loads(event["data"])
                event = {}

    def close(self):
        self.connection.close()
        self.answer.close()


def b64(data):
    return None if data is None else base64.b64encode(data).decode()


def to_json(key, value, headers, **more):
    """In base64, so that nothing is left to the encoding of text."""
    record = {"headers": [{"name": n} if v is None else {"name": n, "value_base64": b64(v)} for n, v in headers], **more}
    if key is not None:
        record["key_base64"] = b64(key)
    if value is not None:
        record["value_base64"] = b64(value)
    return record


def of_field(record, name):
    if f"{name}_base64" in record:
        return base64.b64decode(record[f"{name}_base64"])
    return None if record[name] is None else record[name].encode()


def from_json(record):
    headers = [(h["name"], of_field(h, "value")) for h in record["headers"]]
    return of_field(record, "key"), of_field(record, "value"), headers


def same(found, expected):
    assert found == expected, f"{len(found)} found, {len(expected)} expected; first difference " + repr(
        next(((i, f, e) for i, (f, e) in enumerate(zip(found, expected)) if f != e), "in length"))[:400]
