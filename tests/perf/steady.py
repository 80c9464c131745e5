"""Rows that ask whether anything grows with a cluster's age, or is too large when it has much to know.

A row takes samples at equal distances, writes them to a file of tab-separated columns, and compares the mean of the first quarter
with that of the last one, after a time that the waiting times of cleaning account for.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree

from brokers import LAKEBED, WORK, Failed, Lakebed, Process, output_of

FLAT = 1.2
FEW = 8  # samples are not divided into quarters
EXAMPLES = LAKEBED.parent / "examples"
BUDGET = 64 << 20  # so that what is cached reaches its bound in the first minutes


def file_store(name):
    path = WORK / name
    shutil.rmtree(path, ignore_errors=True)
    return path, f"file://{path}"


class Samples:
    """Rows of numbers by name."""

    def __init__(self, name):
        self.name, self.rows = name, []

    def add(self, row):
        self.rows.append(row)
        WORK.mkdir(parents=True, exist_ok=True)
        path = WORK / f"{self.name}.tsv"
        with open(path, "w" if len(self.rows) == 1 else "a") as out:
            if len(self.rows) == 1:
                print(*row, sep="\t", file=out)
            print(*(f"{n:.4g}" if n != int(n) else int(n) for n in row.values()), sep="\t", file=out)

    def quarters(self, column, from_row):
        """Means of the first and the last quarter of what comes at or after a row."""
        values = [row[column] for row in self.rows[from_row:]]
        if len(values) < FEW:
            raise Failed(f"{self.name}: {len(values)} samples after the first {from_row}: run longer")
        n = len(values) // 4
        return statistics.mean(values[:n]), statistics.mean(values[-n:])

    def judge(self, what, columns, from_row):
        """A row of the table for each column: did it grow?"""
        for column, digits in columns.items():
            first, last = self.quarters(column, from_row)
            ratio = last / first if first else (1.0 if not last else float("inf"))
            text = f"{ratio:.2f} × ({first:.{digits}f} → {last:.{digits}f})"
            yield f"{what}: {column}", f"last quarter ≤ {FLAT} × the first", text, ratio <= FLAT


# --- the hour


class Bench(Process):
    """The load generator beside what else is measured; its report comes at its end."""

    def __init__(self, log, mode, node, *options):
        target = ["--bootstrap", node.address, "--format", "json"]
        super().__init__([LAKEBED, "bench", mode, *target, *options], log)

    def report(self, seconds):
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{self.log.name}: not done in {seconds} s") from late
        text = self.log.read_text(errors="replace")
        found = next((line for line in text.splitlines() if line.startswith("{")), None)
        if self.child.returncode or not found:
            raise Failed(f"{self.log.name}: {text[-500:]}")
        return json.loads(found)


class Load:
    """One topic after the other, each for a while: four connections that make 100 commits/s together, and a reader at the end
    of the log. The topic before the last one is deleted, so that what is kept stays the same."""

    RATE, CONNECTIONS = 100, 4

    def __init__(self, node, seconds, stack):
        self.node, self.seconds, self.stack = node, seconds, stack
        self.number, self.latencies, self.running = 0, [], None

    def next_topic(self):
        self.number += 1
        topic = f"topic-{self.number}"
        common = ["--topic", topic, "--partitions", str(self.CONNECTIONS), "--duration", f"{self.seconds}s"]
        windows = max(1, round(self.seconds / 60))
        rate = ["--connections", str(self.CONNECTIONS), "--rate", str(self.RATE / self.CONNECTIONS), "--windows", str(windows)]
        start = lambda *a: self.stack.enter_context(Bench(*a))
        produce = start("hour-produce.log", "produce", self.node, *common, *rate)
        fetch = start("hour-fetch.log", "fetch", self.node, *common, "--from", "latest")
        self.running = (produce, fetch, time.monotonic())
        if self.number > 2:
            delete_topic(self.node.address, f"topic-{self.number - 2}")

    def turn(self):
        """Called often: begins the next topic when the time of this one is over."""
        if self.running and time.monotonic() < self.running[2] + self.seconds + 1:
            return
        self.finish()
        self.next_topic()

    def finish(self):
        if self.running:
            produce, fetch, _ = self.running
            made, read = (one.report(self.seconds + 60) for one in (produce, fetch))
            if not read["records"]:
                raise Failed("the reader at the end of the log read nothing")
            self.latencies += [(w["p50_ms"], w["p99_ms"]) for w in made["windows"] if w["count"]]
            self.running = None


def delete_topic(address, name):
    """DeleteTopics, version 1."""
    text = lambda s: struct.pack(">h", len(s)) + s.encode()
    request = struct.pack(">hhi", 20, 1, 1) + text("perf") + struct.pack(">i", 1) + text(name) + struct.pack(">i", 30_000)
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 30) as s, s.makefile("rb") as answers:
        s.sendall(struct.pack(">i", len(request)) + request)
        answer = answers.read(struct.unpack(">i", answers.read(4))[0])
    error = struct.unpack(">h", answer[-2:])[0]
    if error:
        raise Failed(f"topic {name} was not deleted: error {error}")


def metrics(node):
    """Counters of requests by kind, merges that were done, and all that has no labels."""
    page = node.read_metrics()
    plain = {name: float(value) for name, value in re.findall(r"^(lakebed_\w+) (\S+)$", page, re.M)}
    for kind, value in re.findall(r'^lakebed_store_requests_total\{kind="(\w+)".*\} (\S+)$', page, re.M):
        plain[kind] = plain.get(kind, 0) + float(value)
    done = re.findall(r'^lakebed_merges_total\{outcome="Done"\} (\S+)$', page, re.M)
    return {**plain, "merges": sum(map(float, done))}


def inspect(url):
    """What `lakebed inspect state` says, and how long it took: it reads what a start reads."""
    began = time.monotonic()
    text = output_of(["nice", "-n", "19", LAKEBED, "inspect", "state", "--store", url], 300)
    number = lambda pattern: float(next(iter(re.findall(pattern, text, re.M)), 0))
    return {
        "entries": number(r"^entries +(\d+)"),
        "partitions": number(r"^partitions +(\d+)"),
        "nodes": len(re.findall(r"^node ", text, re.M)),
        "to be deleted": number(r"^to be deleted +(\d+)"),
        "inline slots": number(r"^inline slots +(\d+)"),
        "snapshot bytes": number(r"^snapshot .* parts, (\d+) bytes"),
        "inspect s": time.monotonic() - began,
    }


def objects(url):
    """Number and bytes by the first part of the key."""
    counts = {}
    for key, size in listed_files(url[7:]) if url.startswith("file://") else listed_s3(url):
        count = counts.setdefault(key.split("/")[0], [0, 0])
        count[0] += 1
        count[1] += size
    return counts


def listed_files(root):
    for folder, _, names in os.walk(root):
        for name in names:
            path = pathlib.Path(folder, name)
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                yield str(path.relative_to(root)), path.stat().st_size


def listed_s3(url):
    """From LocalStack, which does not ask who one is."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    query, space = {"list-type": "2", "prefix": f"{prefix}/"}, "{*}"
    while query:
        address = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            page = xml.etree.ElementTree.parse(answer)
        for one in page.iterfind(f"{space}Contents"):
            yield one.findtext(f"{space}Key")[len(prefix) + 1:], int(one.findtext(f"{space}Size"))
        more = page.findtext(f"{space}NextContinuationToken")
        query = {**query, "continuation-token": more} if more else None


KINDS = ("put", "get", "head", "list", "delete")


def sample(node, url, minute, before, seconds):
    now = metrics(node)
    found, kinds = objects(url), inspect(url)
    row = {"minute": minute, "slot": now["lakebed_slot"], "floor": now["lakebed_log_floor"], **kinds}
    for prefix in ("log", "snapshots", "segments"):
        row[f"{prefix} objects"] = found.get(prefix, (0, 0))[0]
    row["bucket MB"] = sum(size for _, size in found.values()) / 1e6
    row["memory MB"] = node.memory_mb("VmRSS")
    row["unmerged entries"] = now["lakebed_unmerged_entries"]
    row["commits/s"] = (now["lakebed_commits"] - before["lakebed_commits"]) / seconds
    for kind in KINDS:
        row[f"{kind.upper()}/s"] = (now.get(kind, 0) - before.get(kind, 0)) / seconds
    return now, row


def hour(o):
    path, url = (None, o.store) if o.store else file_store("hour-store")
    options = ["--cleaning", "--time-scale", str(o.time_scale), "--memory-budget", str(BUDGET)]
    samples, every = Samples("hour"), o.minutes * 60 / 60
    with Lakebed(store=url, flush="latency", options=options).ready() as node, contextlib.ExitStack() as stack:
        load = Load(node, max(60, round(o.minutes * 60 / 12)), stack)
        start, before = time.monotonic(), metrics(node)
        for n in range(60):
            sampled = start + every * n
            while time.monotonic() < start + every * (n + 1):
                load.turn()
                time.sleep(0.2)
            before, row = sample(node, url, (n + 1) * every / 60, before, time.monotonic() - sampled)
            samples.add(row)
        load.finish()
    restarts = [restart(url, options, how) for how in (signal.SIGKILL, signal.SIGTERM)]
    checked = output_of([LAKEBED, "fsck", "--read", "--store", url], 3600).splitlines()[-1]
    # Slots may go when they are 24 h old, and with the round after the next snapshot.
    settled = (max(24 * 60 / o.time_scale, 1) + 10 * 60 / o.time_scale + 1) * 60 / every
    what = f"{o.minutes} minutes at {statistics.mean(r['commits/s'] for r in samples.rows):.0f} commits/s, 1:{o.time_scale}"
    columns = {"entries": 0, "partitions": 0, "nodes": 1, "to be deleted": 1, "inline slots": 0, "snapshot bytes": 0,
               "log objects": 0, "snapshots objects": 1, "segments objects": 0, "bucket MB": 1, "memory MB": 1,
               "inspect s": 2, **{f"{kind.upper()}/s": 2 for kind in KINDS}}
    yield from samples.judge(what, columns, int(settled))
    yield from latencies(what, load.latencies)
    yield "… start after kill -9, and after a sign-off", "reported", ", ".join(f"{s:.2f} s" for s in restarts), True
    yield "… `fsck --read` afterwards", "no damage", checked, " 0 damaged" in checked
    if path:
        shutil.rmtree(path)


def latencies(what, windows):
    """By minutes, in their order."""
    samples = Samples("hour-latency")
    for p50, p99 in windows:
        samples.add({"produce p50 ms": p50, "produce p99 ms": p99})
    yield from samples.judge(what, {"produce p50 ms": 1, "produce p99 ms": 1}, 0)


def restart(url, options, how):
    """Seconds from the start to `ready`; then the node is ended so."""
    with Lakebed(store=url, flush="latency", options=options).ready() as node:
        took = time.monotonic() - node.started
        node.stop(how)
        return took


# --- thirty days


def example(name):
    path = EXAMPLES / name
    if not path.exists():
        raise Failed(f"{path} is not there: cargo build --release -p lakebed-testkit -p lakebed-manifest --examples")
    return path


def thirty_days(o):
    began, samples = time.monotonic(), Samples("thirty-days")
    lines = output_of([example("thirty_days"), str(o.days)], 7200).splitlines()
    names = lines[0].split("\t")
    for line in lines[1:]:
        samples.add(dict(zip(names, map(float, line.split("\t")))))
    print(f"thirty-days: {time.monotonic() - began:.0f} s of real time", file=sys.stderr)
    digits = {name: 2 if name in ("start s", "pending", "nodes") else 0 for name in names if name not in ("day", "slot")}
    # A day's log and records are there after one day, a topic goes on the third, and its objects with it.
    yield from samples.judge(f"{o.days} simulated days", digits, 3)


# --- a million partitions


def million(o):
    path, url = file_store("million-store")
    said = output_of([example("million"), url, str(o.partitions), "10"], 3600).strip()
    snapshot = int(re.findall(r"parts, (\d+) bytes", output_of([LAKEBED, "inspect", "state", "--store", url], 600))[0])
    with Lakebed().ready() as empty:
        time.sleep(2)
        least = empty.memory_mb("VmRSS")
    for what, options in (("", []), (", `--cleaning`", ["--cleaning"])):
        runs = [start_large(url, options) for _ in range(o.runs)]
        took, rest, peak = (statistics.median(run[i] for run in runs) for i in range(3))
        each = (rest - least) * 1e6 / o.partitions
        text = (f"{took:.1f} s to ready, {rest:.0f} MB at rest ({each:.0f} bytes a partition), {peak:.0f} MB at most; "
                f"snapshot {snapshot / 1e6:.0f} MB")
        yield f"start from {said}{what}", "reported", text, True
    shutil.rmtree(path)


def start_large(url, options):
    with Lakebed(store=url, options=options) as node:
        node.await_line(r"^ready$", 120)
        took = time.monotonic() - node.started
        time.sleep(10)
        return took, node.memory_mb("VmRSS"), node.memory_mb("VmHWM")


ROWS = {"hour": hour, "thirty-days": thirty_days, "million": million}
