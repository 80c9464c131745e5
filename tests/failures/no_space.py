"""The disk fills up: nothing acknowledged is lost, the node says so, reads go on, and it recovers by itself once there is
space. A small tmpfs plays the disk, in a mount of its own."""

import os
import subprocess
import time

from harness.ledger import compare
from harness.load import IDEMPOTENT, Producing, Reading, create, read_all, saw_the_truth
from harness.suite import Skipped

from store_away import await_ready
from stores import FileStores

SMALL, LARGE = "size=24m", "size=256m"


def mount(*args):
    done = subprocess.run(["mount", *args], capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"this user cannot mount a small file system: {done.stderr.strip()}")


def no_space(folder):
    disk = f"{folder}/disk"
    os.mkdir(disk)
    mount("-t", "tmpfs", "-o", SMALL, "tmpfs", disk)
    try:
        return fill_and_grow(folder, disk)
    finally:
        subprocess.run(["umount", disk], check=True)


def fill_and_grow(folder, disk):
    node = FileStores(folder, "disk").node()
    with node:
        create(node.bootstrap, "load")
        producing = Producing("i", node.bootstrap, "load", IDEMPOTENT, rate=3000, padding=1000)
        reading = Reading(node.bootstrap, "load")
        producing.start()
        reading.start()
        full_at = await_full(node)
        before = producing.ledger.count
        time.sleep(8)
        status, why = node.get("/readyz")
        assert status == 503, f"ready on a full disk: {why}"
        assert "space" in why.lower(), f"it does not say that the disk is full: {why}"
        assert producing.ledger.count == before, "records were acknowledged on a full disk"
        readable = sum(map(len, read_all(node.bootstrap, "load").values()))
        assert readable >= before, f"{readable} of {before} acknowledged records can be read on a full disk"
        mount("-o", f"remount,{LARGE}", disk)
        await_ready(node, 30)
        time.sleep(3)
        ledger, seen = producing.finish(), reading.finish()
        assert ledger.count > before + 1000, "nothing was acknowledged after there was space again"
        final = read_all(node.bootstrap, "load")
        said = compare(ledger, final)
        saw_the_truth(seen, final)
        node.stop()
        with node:
            assert read_all(node.bootstrap, "load") == final, "after a restart the log is another"
            node.stop()
    return f"full after {full_at:.0f} s; {said}"


def await_full(node):
    started = time.monotonic()
    while node.metric("lakebed_store_requests_total") == 0 or node.get("/readyz")[0] == 200:
        assert time.monotonic() < started + 60, "the disk did not fill up within 60 s"
        time.sleep(0.2)
    return time.monotonic() - started
