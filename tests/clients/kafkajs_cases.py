"""kafkajs: producer and admin client for Node.js (kafkajs/main.js). It reads only in consumer groups, which do not exist
yet: what it produced is read back by librdkafka."""

import json
import os
import pathlib
import shutil
import subprocess

from harness.suite import Suite

from confluent_cases import read_all
from external import run_program
from kcat_cases import same

FOLDER = pathlib.Path(__file__).resolve().parent / "kafkajs"


def run(node):
    if not shutil.which("npm"):
        suite = Suite("kafkajs", "(not installed)")
        suite.skip("all", "Node.js is not installed and apt-get could not install it")
        return suite.close()
    home = pathlib.Path(os.environ["LAKEBED_CLIENTS_CACHE"]) / "kafkajs"
    home.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json", "main.js"):
        shutil.copy(FOLDER / file, home)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=home, check=True)
    version = json.loads((FOLDER / "package.json").read_text())["dependencies"]["kafkajs"]
    suite = run_program("kafkajs", version, ["node", "main.js", node.bootstrap], home,
                        {**os.environ, "KAFKAJS_NO_PARTITIONER_WARNING": "1"})
    back = Suite("kafkajs-read", "what it produced, read by librdkafka")
    for topic in ("kafkajs-plain", "kafkajs-gzip", "kafkajs-idempotent"):
        back.case(topic, read_back, node, topic, 1000)
    back.bites("a record too few", read_back, node, "kafkajs-plain", 1001)
    back.close()
    for result in back.failed:
        suite.failed.append(result)
    suite.passed += back.passed
    return suite


def read_back(node, topic, count):
    found = [(m.key(), m.value(), m.headers()) for m in read_all(node, topic)[0]]
    same(found, [(f"k{i}".encode(), f"v{i}".encode(), [("h", b"x")]) for i in range(count)])
