"""The programs that a measurement starts: Lakebed, Apache Kafka, and the clients. Each ends what it started, by its pid."""

import ctypes
import json
import mmap
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LAKEBED = pathlib.Path(os.environ.get("LAKEBED", TARGET / "release" / "lakebed"))
WORK = TARGET / "perf"
JAVA_CLIENT = ["java", "-Xmx512m", "-Dorg.apache.logging.log4j.level=ERROR"]


class Failed(Exception):
    """A measurement that could not be made; the sentence goes into the table."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    def __init__(self, command, log, env=None):
        WORK.mkdir(parents=True, exist_ok=True)
        self.log = WORK / log
        self.started = time.monotonic()
        with open(self.log, "wb") as out:
            environment = {**os.environ, **(env or {})}
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)

    @property
    def pid(self):
        return self.child.pid

    def memory_mb(self, field):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
        raise Failed(f"no {field} of {self.pid}")

    def await_line(self, pattern, seconds=60):
        """Waits until the log has a line that matches; fails with its end if the process ends first."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            text = self.log.read_text(errors="replace")
            if found := re.search(pattern, text, re.M):
                return found
            if self.child.poll() is not None:
                break
            time.sleep(0.01)
        raise Failed(f"{self.log.name}: no line like {pattern}: {self.log.read_text(errors='replace')[-500:]}")

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Lakebed(Process):
    """A node. `store`: memory:// or file:///…; `options`: more of the command line."""

    def __init__(self, store="memory://", profile="none", flush="balanced", options=()):
        self.port, self.http = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.metrics = f"http://127.0.0.1:{self.http}/metrics"
        listen = ["--kafka-listen", self.address, "--advertise", self.address, "--http-listen", f"127.0.0.1:{self.http}"]
        command = [LAKEBED, "serve", "--store", store, "--store-profile", profile, "--flush", flush, *listen, *options]
        super().__init__(command, "lakebed.log", {"RUST_LOG": "warn"})

    def ready(self):
        self.await_line(r"^ready$")
        return self

    def read_metrics(self):
        with urllib.request.urlopen(self.metrics, timeout=10) as answer:
            return answer.read().decode()

    def produce_buckets(self):
        """Produce requests answered so far: (upper bound in s, how many took at most this)."""
        bucket = r'^lakebed_kafka_request_duration_seconds_bucket\{le="([^"]+)",api="Produce"\} (\d+)'
        found = re.findall(bucket, self.read_metrics(), re.M)
        return [(float(bound.replace("+Inf", "inf")), int(count)) for bound, count in found]


def median_ms(before, after):
    """Of the requests between two readings of cumulated buckets, interpolated within its bucket."""
    counts = [(bound, now - then) for (bound, now), (_, then) in zip(after, before)]
    half, low, below = counts[-1][1] / 2, 0.0, 0
    for bound, count in counts:
        if count >= half:
            return 1000 * (low + (bound - low) * (half - below) / (count - below))
        low, below = bound, count
    raise Failed("no produce requests")


class Kafka(Process):
    """Apache Kafka, one process with a fresh log, its data under the work folder. It advertises `advertised` if given."""

    def __init__(self, advertised=None, partitions=1):
        libs = kafka_libs()
        self.data = WORK / "kafka-data"
        shutil.rmtree(self.data, ignore_errors=True)
        port, controller = free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{advertised or self.address}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.data,
            "num.partitions": partitions,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
        }
        WORK.mkdir(parents=True, exist_ok=True)
        properties = WORK / "kafka.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        storage = [*JAVA_CLIENT, "-cp", libs, "kafka.tools.StorageTool", "format", "-t", "bGFrZWJlZC1wZXJmLTAwMQ"]
        subprocess.run([*storage, "-c", properties], check=True, capture_output=True)
        jvm = ["java", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true"]
        super().__init__([*jvm, "-cp", libs, "kafka.Kafka", properties], "kafka.log")

    def ready(self, seconds=60):
        """It logs nothing when it serves: ask it for its API versions until it answers."""
        host, port = self.address.split(":")
        hello = bytes.fromhex("0000000a" "0012" "0000" "00000001" "ffff")
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and self.child.poll() is None:
            try:
                with socket.create_connection((host, int(port)), 1) as s:
                    s.sendall(hello)
                    if s.recv(4):
                        return self
            except OSError:
                time.sleep(0.1)
        raise Failed(f"kafka: no answer: {self.log.read_text(errors='replace')[-500:]}")

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)


class Delay(Process):
    """A proxy that holds answers back; `advertised` is where clients go."""

    def __init__(self, port, broker, ms):
        command = [LAKEBED, "bench", "delay", "--listen", f"127.0.0.1:{port}", "--to", broker, "--by", f"{ms:.1f}ms"]
        super().__init__(command, "delay.log")
        self.await_line(r"delaying answers")


def back_free_memory(most_gb=16, leave_gb=1):
    """Touches free memory and lets it go, so that the host of a virtual machine has given it.

    Guests that report free pages lose them to the host, and touching one again costs some 10 µs, charged to whoever does.
    It is not neutral: it helps a broker that takes large fresh blocks, as ours does, and did nothing for Apache Kafka.
    So it is an option, to tell the host's share from the broker's, and what is reached without it is what counts.
    """
    free_kib = int(re.search(r"MemFree:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    size = min(int(most_gb * 1e9), free_kib * 1024 - int(leave_gb * 1e9))
    if size > 0:
        with mmap.mmap(-1, size) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)  # the large blocks are those that were reported
            view = ctypes.c_char.from_buffer(memory)
            ctypes.memset(ctypes.addressof(view), 1, size)
            del view


def kafka_libs():
    libs, pom = WORK / "kafka-libs", HERE / "kafka-peer" / "pom.xml"
    done = libs / "pom.xml"
    if not (done.exists() and done.read_text() == pom.read_text()):
        shutil.rmtree(libs, ignore_errors=True)
        copy = ["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={libs}"]
        subprocess.run(copy, check=True)
        shutil.copy(pom, done)
    return f"{libs}/*"


def output_of(command, seconds):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{pathlib.Path(command[0]).name}: not done in {seconds} s") from late
    if done.returncode:
        raise Failed(f"{pathlib.Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def rdperf(mode, broker, topic, records, *options, seconds=300):
    """One run of the librdkafka client; the broker's CPU seconds and memory are in the answer."""
    program, source = WORK / "rdperf", HERE / "rdperf.c"
    WORK.mkdir(parents=True, exist_ok=True)
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, source, "-lrdkafka"], check=True)
    pid = ["-p", str(broker.pid)]
    return json.loads(output_of([program, mode, broker.address, topic, str(records), *pid, *options], seconds))


def bench(mode, node, *options, seconds=900):
    """One run of our load generator."""
    target = ["--bootstrap", node.address, "--broker-pid", str(node.pid), "--metrics", node.metrics, "--format", "json"]
    return json.loads(output_of([LAKEBED, "bench", mode, *target, *options], seconds))


def producer_perf_test(address, topic, records, size=1024):
    """kafka-producer-perf-test at its defaults: its rate in MB/s (10^6)."""
    java = [*JAVA_CLIENT, "-cp", kafka_libs(), "org.apache.kafka.tools.ProducerPerformance", "--topic", topic]
    load = ["--num-records", str(records), "--record-size", str(size), "--throughput", "-1"]
    text = output_of([*java, *load, "--producer-props", f"bootstrap.servers={address}"], 600)
    rate = re.findall(r"([\d.]+) records/sec", text)
    if not rate:
        raise Failed(f"producer-perf-test: {text[-300:]}")
    return float(rate[-1]) * size / 1e6
