"""Apache Kafka's own tools: the Java client, at its defaults an idempotent producer."""

import collections
import json
import os
import pathlib
import shutil
import subprocess

from harness.ledger import Ledger, compare
from harness.suite import Suite

from confluent_cases import create, offsets_and_values, read_all
from kcat_cases import same

HERE = pathlib.Path(__file__).resolve().parent
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TOOLS = "org.apache.kafka.tools."


def libraries():
    """Resolved once from java/pom.xml into $LAKEBED_CLIENTS_CACHE."""
    target, pom = pathlib.Path(os.environ["LAKEBED_CLIENTS_CACHE"]) / "java-libs", HERE / "java" / "pom.xml"
    stamp = target / ".pom.xml"
    if not stamp.exists() or stamp.read_bytes() != pom.read_bytes():
        shutil.rmtree(target, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        stamp.write_bytes(pom.read_bytes())
    return f"{target}/*"


class Tools:
    def __init__(self, node):
        self.node, self.path = node, libraries()

    def run(self, tool, *args, stdin="", check=True):
        command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.apache.logging.log4j.level=WARN", "-cp",
                   self.path, TOOLS + tool, "--bootstrap-server", self.node.bootstrap, *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"{tool} {args} left with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def version(self):
        command = ["java", "-cp", self.path, TOOLS + "ConsoleProducer", "--version"]
        return subprocess.run(command, capture_output=True, text=True).stdout.split()[0]

    def console_produce(self, topic, lines, *args):
        self.run("ConsoleProducer", "--topic", topic, *args, stdin="".join(line + "\n" for line in lines))

    def console_consume(self, topic, count, *args):
        out = self.run("consumer.ConsoleConsumer", "--topic", topic, "--partition", "0", "--offset", "earliest",
                       "--max-messages", str(count), "--timeout-ms", "20000", *args)
        return out.splitlines()


def values(node, topic):
    return [v.decode() for _, v in offsets_and_values(read_all(node, topic))[0]]


def round_trip(tools, topic, altered=None):
    lines = [f"line {i}" for i in range(2000)]
    tools.console_produce(topic, lines)
    expected = lines[:-1] + [altered or lines[-1]]
    same(values(tools.node, topic), expected)
    same(tools.console_consume(topic, len(lines)), expected)


def keys_and_headers(tools):
    reader = ["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true",
              "--reader-property", "null.marker=NULL"]
    tools.console_produce("java-keys", ["a:1,b:2\tk1\tv1", "c:3\tk2\tNULL", "NULL\tNULL\tv3"], *reader)
    found = [(m.key(), m.value(), m.headers()) for m in read_all(tools.node, "java-keys")[0]]
    expected = [(b"k1", b"v1", [("a", b"1"), ("b", b"2")]), (b"k2", None, [("c", b"3")]), (None, b"v3", None)]
    assert found == expected, found


def codec(tools, name):
    lines = [f"{name} {'abc' * 20} {i}" for i in range(2000)]
    tools.console_produce(f"java-{name}", lines, "--compression-codec", name)
    same(values(tools.node, f"java-{name}"), lines)
    same(tools.console_consume(f"java-{name}", len(lines)), lines)


def big(tools):
    line = "x" * 900_000
    tools.console_produce("java-big", [line])
    same(values(tools.node, "java-big"), [line])


def ledger(tools, topic, partitions, **settings):
    """VerifiableProducer prints a line for every acknowledgement."""
    create(tools.node, topic, partitions)
    config = pathlib.Path(os.environ["LAKEBED_CLIENTS_CACHE"]) / f"{topic}.properties"
    config.write_text("".join(f"{k.replace('_', '.')}={v}\n" for k, v in settings.items()))
    out = tools.run("VerifiableProducer", "--topic", topic, "--max-messages", "20000", "--command-config", str(config))
    told, acknowledged = Ledger(), collections.defaultdict(list)
    for event in map(json.loads, out.splitlines()):
        assert event["name"] != "producer_send_error", event
        if event["name"] == "producer_send_success":
            acknowledged[event["partition"]].append((event["offset"], int(event["value"])))
    told.acknowledged = acknowledged
    assert told.count == 20_000, told.count
    read = offsets_and_values(read_all(tools.node, topic, partitions))
    return compare(told, {p: [(o, int(v)) for o, v in records] for p, records in read.items()})


def topics(tools):
    topic = "java-topic"
    tools.run("TopicCommand", "--create", "--topic", topic, "--partitions", "4")
    assert topic in tools.run("TopicCommand", "--list").split()
    assert "exists" in tools.run("TopicCommand", "--create", "--topic", topic, check=False)
    offsets = tools.run("GetOffsetShell", "--topic", topic).split()
    same(sorted(offsets), [f"{topic}:{p}:0" for p in range(4)])
    tools.run("TopicCommand", "--delete", "--topic", topic)
    assert topic not in tools.run("TopicCommand", "--list").split()


def run(node):
    if not shutil.which("mvn") or not shutil.which("java"):
        suite = Suite("java", "(not installed)")
        suite.skip("all", "Java or Maven is not installed and apt-get could not install it")
        return suite.close()
    tools = Tools(node)
    suite = Suite("java", f"Apache Kafka {tools.version()}")
    suite.case("console producer and consumer", round_trip, tools, "java-round-trip")
    suite.bites("console producer with one value altered", round_trip, tools, "java-bites", "altered")
    suite.case("keys, headers, nulls", keys_and_headers, tools)
    for name in CODECS:
        suite.case(f"codec {name}", codec, tools, name)
    suite.case("900 KB record", big, tools)
    suite.case("idempotent ledger, 5 partitions", ledger, tools, "java-ledger", 5)
    suite.case("plain ledger", lambda: ledger(tools, "java-plain", 1, enable_idempotence="false"))
    suite.case("kafka-topics, kafka-get-offsets", topics, tools)
    return suite.close()
