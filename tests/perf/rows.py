"""The rows of the table in docs/benchmarks.md: each starts what it needs, measures, and says what was reached.

A row yields tuples (what, reach, measured, met); `measured` is text for the table, `met` True, False or None (no target).
"""

import shutil
import statistics
import time

import steady
from brokers import Delay, Failed, Kafka, Lakebed
from brokers import bench, free_port, median_ms, producer_perf_test, rdperf
from steady import file_store, metrics

S3 = "s3-standard"
PUT_P50_MS = 45  # of the injected profile
RECORD = 1024


def gb(n):
    """Records of 1 KiB that make n times 10^9 bytes of values."""
    return int(n * 1e9) // RECORD


def median_of(runs, key):
    return statistics.median(run[key] for run in runs)


def spread(runs, key="mb_per_s"):
    values = sorted(run[key] for run in runs)
    return f"{statistics.median(values):.0f} ({values[0]:.0f}–{values[-1]:.0f})"


def puts_per_s(report):
    rates = report["store_requests_per_s"]
    return sum(n for kind, n in rates.items() if kind in ("create", "swap", "put"))


def produce_memory(o):
    ours, theirs = [], []
    for run in range(o.runs):
        with Lakebed().ready() as node:
            o.prepare()
            ours.append(rdperf("produce", node, "perf", gb(o.gb)))
        with Kafka().ready() as kafka:
            rdperf("produce", kafka, "warm", gb(0.5))  # the virtual machine compiles its hot path
            o.prepare()
            theirs.append(rdperf("produce", kafka, "perf", gb(o.gb)))
    rate, cpu = median_of(ours, "mb_per_s"), median_of(ours, "broker_cpu_s_per_gb")
    ratio = rate / median_of(theirs, "mb_per_s")
    what = "produce, 1 KB, one default librdkafka connection, memory store"
    yield what, "≥ 500 MB/s", f"{spread(ours)} MB/s", rate >= 500
    peer = f"{spread(theirs)} MB/s at {median_of(theirs, 'broker_cpu_s_per_gb'):.2f} CPU s/GB"
    yield "… against Apache Kafka in the same run", "≥ 2.5 ×", f"{ratio:.2f} × ({peer})", ratio >= 2.5
    client = median_of(ours, "client_cpu_s_per_gb")
    yield "… processor time of the broker", "≤ 1.5 CPU s/GB", f"{cpu:.2f} CPU s/GB (client {client:.2f})", cpu <= 1.5


def produce_s3(o):
    runs = []
    for _ in range(o.runs):
        with Lakebed(profile=S3).ready() as node:
            o.prepare()
            runs.append(rdperf("produce", node, "perf", gb(o.gb)))
    rate, cpu = median_of(runs, "mb_per_s"), median_of(runs, "broker_cpu_s_per_gb")
    yield "the same, `s3-standard`", "≥ 300 MB/s", f"{spread(runs)} MB/s at {cpu:.2f} CPU s/GB", rate >= 300


def fetch_hot(o):
    ours, theirs, size = [], [], gb(min(o.gb, 2))
    for _ in range(o.runs):
        with Lakebed().ready() as node:
            rdperf("produce", node, "perf", size)
            ours += [rdperf("consume", node, "perf", size) for _ in range(2)]
        with Kafka().ready() as kafka:
            rdperf("produce", kafka, "perf", size)
            theirs += [rdperf("consume", kafka, "perf", size) for _ in range(2)]
    ratio = median_of(ours, "mb_per_s") / median_of(theirs, "mb_per_s")
    cpu = median_of(ours, "broker_cpu_s_per_gb")
    peer = f"{spread(theirs)} MB/s at {median_of(theirs, 'broker_cpu_s_per_gb'):.2f} CPU s/GB"
    what = "fetch, hot, one default librdkafka consumer"
    yield what, "≥ 1 × Apache Kafka in the same run", f"{ratio:.2f} ×: {spread(ours)} MB/s ({peer})", ratio >= 1
    yield "… processor time of the broker", "≤ 0.6 CPU s/GB", f"{cpu:.2f} CPU s/GB", cpu <= 0.6


def acknowledgement(o, flush, load, seconds, windows=1, options=()):
    with Lakebed(profile=S3, flush=flush, options=options).ready() as node:
        bench("produce", node, "--topic", "perf", "--duration", "2s", *load)  # connections, first flushes
        report = bench("produce", node, "--topic", "perf", "--duration", f"{seconds}s", "--windows", str(windows), *load)
    l = report["latency"]
    percentiles = f"p50 {l['p50_ms']:.0f}, p99 {l['p99_ms']:.0f}, p99.9 {l['p999_ms']:.0f}, max {l['max_ms']:.0f} ms"
    return report, l, f"{percentiles}, {puts_per_s(report):.1f} PUT/s"


def ack_latency(o):
    _, l, text = acknowledgement(o, "latency", ["--rate", "200"], o.seconds)
    met = l["p50_ms"] <= 1.6 * PUT_P50_MS and l["p99_ms"] <= 200
    what = "acknowledgement at 200 msg/s, one connection, linger 0, `s3-standard`, `latency`"
    yield what, "p50 ≤ 1.6 × PUT p50 (72 ms), p99 ≤ 200 ms", text, met


def ack_balanced(o):
    report, l, text = acknowledgement(o, "balanced", ["--rate", "200"], o.seconds)
    met = l["p50_ms"] <= 120 and l["p99_ms"] <= 250 and puts_per_s(report) <= 12
    yield "the same, `balanced`", "p50 ≤ 120 ms, p99 ≤ 250 ms, ≤ 12 PUT/s", text, met


def ack_long(o):
    report, _, text = acknowledgement(o, "balanced", ["--rate", "200"], 600, windows=10)
    first, last = report["p99_first_windows_ms"], report["p99_last_windows_ms"]
    reach = "p99 of the last three minutes ≤ 1.2 × the first three"
    yield "… over ten minutes", reach, f"{last / first:.2f} × ({first:.0f} → {last:.0f} ms); {text}", last <= 1.2 * first


def ack_twenty(o):
    _, l, text = acknowledgement(o, "balanced", ["--rate", "10", "--connections", "20"], o.seconds)
    yield "20 connections × 10 msg/s on one partition, `balanced`", "p99 ≤ 250 ms", text, l["p99_ms"] <= 250


THIRTY_MB = ["--connections", "4", "--rate", "7325", "--linger-ms", "5"]


def thirty_mb(o):
    for flush, reach in (("balanced", 12), ("economy", 6)):
        report, _, text = acknowledgement(o, flush, THIRTY_MB, o.seconds)
        cost = report["cost"]["requests_usd_per_gb"]
        more = f"{report['mb_per_s']:.1f} MB/s, {report['broker_cpu_s_per_gb']:.2f} CPU s/GB, requests ${cost:.5f}/GB"
        yield f"30 MB/s, `{flush}`", f"≤ {reach} PUT/s", f"{text}; {more}", puts_per_s(report) <= reach


def merging(o):
    """The same 30 MB/s with all background work and without, in turn."""
    for flush, reach in (("balanced", 14), ("economy", 7)):
        runs = [(thirty_mb_merged(o, flush, False), thirty_mb_merged(o, flush, True)) for _ in range(o.runs)]
        plain, merged = ([pair[i] for pair in runs] for i in range(2))
        p99 = [median_of(each, "p99_ms") for each in (plain, merged)]
        puts, ratio = median_of(merged, "puts_per_s"), p99[1] / p99[0]
        work = f"{median_of(merged, 'merges'):.0f} merges a run, {median_of(merged, 'written_mb_per_s'):.1f} MB/s written by them, "
        work += f"{median_of(merged, 'unmerged_mb'):.0f} MB not merged at the end"
        each = f"({spread(plain, 'p99_ms')} → {spread(merged, 'p99_ms')} ms)"
        cpu = f"{median_of(plain, 'cpu'):.2f} → {median_of(merged, 'cpu'):.2f} CPU s/GB"
        yield f"30 MB/s with merging, `{flush}`", "p99 ≤ 1.1 × without", f"{ratio:.2f} × {each}; {cpu}", ratio <= 1.1
        without = f"without {median_of(plain, 'puts_per_s'):.1f}"
        yield "… with all background work", f"≤ {reach} PUT/s", f"{puts:.1f} PUT/s, {without}; {work}", puts <= reach


def thirty_mb_merged(o, flush, cleaning):
    path, url = file_store("merging-store")
    options = ["--cleaning", "--time-scale", str(o.time_scale)] if cleaning else []
    with Lakebed(store=url, profile=S3, flush=flush, options=options).ready() as node:
        # Until what is merged comes in at the rate at which it is written.
        bench("produce", node, "--topic", "perf", "--duration", "15s", *THIRTY_MB)
        before = metrics(node)
        report = bench("produce", node, "--topic", "perf", "--duration", f"{o.seconds}s", *THIRTY_MB)
        now = metrics(node)
    shutil.rmtree(path)
    written = now["lakebed_merge_written_bytes_total"] - before["lakebed_merge_written_bytes_total"]
    merges = now["merges"] - before["merges"]
    if cleaning and not merges:
        raise Failed("nothing was merged: the run means nothing")
    return {
        "p99_ms": report["latency"]["p99_ms"],
        "puts_per_s": puts_per_s(report),
        "cpu": report["broker_cpu_s_per_gb"],
        "merges": merges,
        "written_mb_per_s": written / 1e6 / report["seconds"],
        "unmerged_mb": now["lakebed_unmerged_bytes"] / 1e6,
    }


def hedging(o):
    """The latency profile with slow requests sent twice and without, in turn."""
    runs = {"on": [], "off": []}
    for _ in range(o.runs):
        for hedging, reports in runs.items():
            report, latency, _ = acknowledgement(o, "latency", ["--rate", "200"], o.seconds, options=["--hedging", hedging])
            reports.append({**latency, "puts_per_s": puts_per_s(report)})
    text = lambda of: (f"p50 {spread(of, 'p50_ms')}, p99 {spread(of, 'p99_ms')}, p99.9 {spread(of, 'p999_ms')} ms, "
                       f"{median_of(of, 'puts_per_s'):.1f} PUT/s")
    what = "200 msg/s, `s3-standard`, `latency`, with hedging beside without"
    yield what, "reported", f"{text(runs['on'])}; without {text(runs['off'])}", True


def java_producer(o):
    for partitions, records, reach_ms in ((1, o.seconds * 700, 90), (16, o.seconds * 7000, 130)):
        with Lakebed(profile=S3, options=["--default-partitions", str(partitions)]).ready() as node:
            producer_perf_test(node.address, "warm", records // 10)
            before = node.produce_buckets()
            ours = producer_perf_test(node.address, "perf", records)
            p50 = median_ms(before, node.produce_buckets())
        port = free_port()
        address = f"127.0.0.1:{port}"
        with Kafka(advertised=address, partitions=partitions).ready() as kafka, Delay(port, kafka.address, p50):
            producer_perf_test(address, "warm", records // 10)
            theirs = producer_perf_test(address, "perf", records)
        ratio = ours / theirs
        measured = f"{ratio:.2f} × ({ours:.2f} against {theirs:.2f} MB/s), request p50 {p50:.0f} ms"
        what = f"`kafka-producer-perf-test` at its defaults, `s3-standard`, {partitions} partition{'s' * (partitions > 1)}"
        reach = f"≥ 0.9 × Apache Kafka behind that delay; p50 ≤ {reach_ms} ms"
        yield what, reach, measured, ratio >= 0.9 and p50 <= reach_ms


def idle(o):
    with Lakebed().ready() as node:
        bench("idle", node, "--connections", "20", "--duration", "1s")
        report = bench("idle", node, "--connections", "1000", "--duration", "5s")
    more = report["broker"]["rss_mb"] - report["broker"]["rss_before_mb"]
    yield "1,000 idle connections", "≤ 60 MB more", f"{more:.1f} MB more", more <= 60


def startup(o):
    path, url = file_store("startup-store")
    with Lakebed(store=url, flush="latency").ready() as node:
        for topic in range(10):
            bench("produce", node, "--topic", f"many-{topic}", "--partitions", "1000", "--rate", "1000", "--duration", "1s")
        slots = fill_slots(node, o)
    times = [first_acknowledgement(url) for _ in range(o.runs)]
    shutil.rmtree(path)
    took = statistics.median(times)
    text = f"{took:.2f} s ({min(times):.2f}–{max(times):.2f}); {slots}"
    what = "start from 10,000 partitions and 5,000 slots after the snapshot, `s3-standard`"
    yield what, "≤ 3 s to first acknowledgement", text, took <= 3


def fill_slots(node, o):
    """Commits until nearly 5,000 slots lie behind the newest snapshot, which the author of every 5,000th makes."""
    for _ in range(200):
        now = metrics(node)
        slot, snapshots = now["lakebed_slot"], now["lakebed_snapshots"]
        if snapshots and slot % 5000 >= 4700:
            return f"{slot:.0f} slots, {slot % 5000:.0f} after the snapshot"
        bench("produce", node, "--topic", "many-0", "--partitions", "1000", "--rate", "500", "--duration", "500ms")
    raise Failed(f"the slots were not written: {slot:.0f}, {snapshots:.0f} snapshots")


def first_acknowledgement(url):
    with Lakebed(store=url, profile=S3) as node:
        node.ready()
        report = bench("produce", node, "--topic", "many-3", "--partitions", "1", "--rate", "1", "--duration", "500ms")
        took = time.monotonic() - node.started
        if report["records"] != 1:
            raise Failed("no acknowledgement")
        return took


def memory(o):
    path, url = file_store("memory-store")
    budget = 256 << 20
    with Lakebed(store=url, options=["--memory-budget", str(budget)]).ready() as node:
        time.sleep(5)
        rest = node.memory_mb("VmRSS")
        yield "memory at rest, file store", "≤ 40 MB", f"{rest:.1f} MB", rest <= 40
        run = rdperf("produce", node, "perf", gb(o.gb))
        limit, peak = budget / 1e6 + 100, node.memory_mb("VmHWM")
    shutil.rmtree(path)
    measured = f"{peak:.0f} MB at most, {run['mb_per_s']:.0f} MB/s"
    yield "memory under the produce run, file store, budget 268 MB", f"≤ {limit:.0f} MB", measured, peak <= limit


ROWS = {
    "produce": produce_memory,
    "produce-s3": produce_s3,
    "fetch": fetch_hot,
    "ack-latency": ack_latency,
    "ack-balanced": ack_balanced,
    "ack-long": ack_long,
    "ack-twenty": ack_twenty,
    "thirty": thirty_mb,
    "java": java_producer,
    "idle": idle,
    "startup": startup,
    "memory": memory,
    "hedging": hedging,
    "merging": merging,
    **steady.ROWS,
}
# Left out unless they are asked for: ten minutes and more each.
LONG = ("ack-long", "merging", *steady.ROWS)
