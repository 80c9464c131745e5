"""kcat: librdkafka's own command line, as Debian ships it."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from harness.suite import Suite

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def kcat(node, *args, stdin=""):
    done = subprocess.run(["kcat", "-b", node.bootstrap, *args], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"kcat {' '.join(args)} left with {done.returncode}: {done.stderr.strip()}"
    return done.stdout


def consume(node, topic, *args, start="beginning"):
    out = kcat(node, "-C", "-t", topic, "-o", start, "-e", "-q", "-J", *args)
    return [json.loads(line) for line in out.splitlines()]


def payloads(node, topic, *args, **kwargs):
    return [m["payload"] for m in consume(node, topic, *args, **kwargs)]


def produce(node, topic, values, *args):
    kcat(node, "-P", "-t", topic, *args, stdin="".join(v + "\n" for v in values))


def version():
    out = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
    return re.search(r"Version (\S+) .*librdkafka (\S+)", out).expand(r"\1 (librdkafka \2)")


def same(found, expected):
    assert found == expected, f"{len(found)} read, {len(expected)} expected; first difference " + repr(
        next(((i, f, e) for i, (f, e) in enumerate(zip(found, expected)) if f != e), "in length"))


def round_trip(node, topic, expected_last=None):
    values = [f"v{i:05}" for i in range(1000)]
    produce(node, topic, values)
    same(payloads(node, topic), values[:-1] + [expected_last or values[-1]])
    return f"{len(values)} records"


def keys_headers_nulls(node):
    kcat(node, "-P", "-t", "kcat-keys", "-K:", "-Z", "-H", "a=1", "-H", "a=2", "-H", "empty=", stdin="k1:v1\nk2:\n:v3\n")
    found = [(m["key"], m["payload"], m["headers"]) for m in consume(node, "kcat-keys", "-Z")]
    headers = ["a", "1", "a", "2", "empty", ""]
    same(found, [("k1", "v1", headers), ("k2", None, headers), (None, "v3", headers)])


def codec(node, name):
    values = [f"{name} " + "abc" * 20 + str(i) for i in range(2000)]
    produce(node, f"kcat-{name}", values, "-z", name)
    same(payloads(node, f"kcat-{name}"), values)


def big(node):
    with tempfile.NamedTemporaryFile("w") as file:
        text = os.urandom(450_000).hex()
        file.write(text)
        file.flush()
        kcat(node, "-P", "-t", "kcat-big", file.name)
    same(payloads(node, "kcat-big"), [text])


def idempotent(node):
    values = [str(i) for i in range(5000)]
    produce(node, "kcat-idempotent", values, "-X", "enable.idempotence=true", "-X", "linger.ms=0")
    same(payloads(node, "kcat-idempotent"), values)


def positions(node):
    topic = "kcat-positions"
    produce(node, topic, ["a", "b", "c"])
    time.sleep(0.05)
    between = int(time.time() * 1000)
    time.sleep(0.05)
    produce(node, topic, ["d", "e"])
    same(payloads(node, topic, start="2"), ["c", "d", "e"])
    same(payloads(node, topic, start="-1"), ["e"])
    same(payloads(node, topic, start=f"s@{between}"), ["d", "e"])
    for spec, offset in ((-2, 0), (-1, 5), (between, 3)):
        out = kcat(node, "-Q", "-t", f"{topic}:0:{spec}")
        assert out.strip().endswith(f"offset {offset}"), f"asked for {spec}: {out}"


def listing(node):
    metadata = json.loads(kcat(node, "-L", "-J"))
    names = {t["topic"]: len(t["partitions"]) for t in metadata["topics"]}
    assert names.get("kcat-round-trip") == 1, names
    assert len(metadata["brokers"]) == 1, metadata["brokers"]


def run(node):
    if not shutil.which("kcat"):
        suite = Suite("kcat", "(not installed)")
        suite.skip("all", "kcat is not installed and apt-get could not install it")
        return suite.close()
    suite = Suite("kcat", version())
    suite.case("round trip", round_trip, node, "kcat-round-trip")
    suite.bites("round trip with one value altered", round_trip, node, "kcat-bites", "altered")
    suite.case("keys, repeated headers, nulls", keys_headers_nulls, node)
    for name in CODECS:
        suite.case(f"codec {name}", codec, node, name)
    suite.case("900 KB record", big, node)
    suite.case("idempotent producer", idempotent, node)
    suite.case("from an offset, from the end, by time", positions, node)
    suite.case("metadata", listing, node)
    return suite.close()
