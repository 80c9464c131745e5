"""One `lakebed serve` process: started on free loopback ports, waited for, stopped or killed by its own pid."""

import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"listening (kafka|http) (\S+:(\d+))$")


def binary():
    """$LAKEBED_BIN, or what `cargo build` leaves in the target directory."""
    named = os.environ.get("LAKEBED_BIN")
    if named:
        return named
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return str(pathlib.Path(target) / "debug" / "lakebed")


class Node:
    """Keeps its Kafka and HTTP port over restarts, so that clients find it again."""

    def __init__(self, store, args=(), env=None, log=None):
        self.store, self.args, self.log = store, list(args), log
        self.env = {**os.environ, "RUST_BACKTRACE": "0", **(env or {})}
        self.kafka_port = self.http_port = 0
        self.process = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.kafka_port}"

    def start(self, timeout=60, preexec=None):
        command = [binary(), "serve", "--store", self.store, "--kafka-listen", f"127.0.0.1:{self.kafka_port}",
                   "--http-listen", f"127.0.0.1:{self.http_port}", *self.args]
        if "--advertise" not in self.args and self.kafka_port:
            command += ["--advertise", self.bootstrap]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=self.env,
                                        text=True, errors="replace", preexec_fn=preexec)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stderr, self.lines), daemon=True).start()
        self._await_ready(time.monotonic() + timeout)
        return self

    def _read(self, pipe, lines):
        with open(self.log or os.devnull, "a") as log:
            for line in pipe:
                log.write(line)
                log.flush()
                lines.put(line.rstrip("\n"))
        lines.put(None)

    def _await_ready(self, deadline):
        seen = []
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise TimeoutError("no 'ready' in time; it said:\n" + "\n".join(seen[-20:])) from None
            if line is None:
                raise RuntimeError(f"it left with {self.process.wait()}; it said:\n" + "\n".join(seen[-20:]))
            seen.append(line)
            if found := LISTENING.search(line):
                setattr(self, found[1] + "_port", int(found[3]))
            if line == "ready":
                return

    def kill(self):
        """SIGKILL: no goodbye."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def stop(self, timeout=10):
        """SIGTERM: must leave with 0 within 10 s."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout + 2)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still there {timeout} s after SIGTERM") from None
        took = time.monotonic() - started
        assert code == 0, f"left with {code} after SIGTERM"
        assert took <= timeout, f"took {took:.1f} s to leave after SIGTERM"
        return took

    def get(self, path):
        """Status and text of one of its pages."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        """The sum over all labels."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if re.match(rf"{name}[{{ ]", line)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
