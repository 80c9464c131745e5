"""Every client against one node on the file store, which must leave well when asked to."""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.node import Node
from harness.suite import Suite, finish

import confluent_cases
import franz_cases
import group_cases
import http_cases
import java_cases
import kafka_python_cases
import kafkajs_cases
import kcat_cases

CLIENTS = {
    "kcat": kcat_cases,
    "confluent": confluent_cases,
    "groups": group_cases,
    "http": http_cases,
    "java": java_cases,
    "kafka-python": kafka_python_cases,
    "franz-go": franz_cases,
    "kafkajs": kafkajs_cases,
}


def main(names):
    with tempfile.TemporaryDirectory(prefix="lakebed-clients-") as folder:
        node = Node(f"file://{folder}/data", log=f"{folder}/log")
        with node:
            suites = [CLIENTS[name].run(node) for name in names or CLIENTS]
            last = Suite("node", "after all clients")
            last.case("leaves within 10 s of SIGTERM", node.stop)
            last.case("no error was logged", no_error, f"{folder}/log")
            suites.append(last.close())
    finish("clients", suites)


def no_error(log):
    bad = [line for line in open(log) if " ERROR " in line or "panicked" in line]
    assert not bad, "".join(bad[:10])


main(sys.argv[1:])
