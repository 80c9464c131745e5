"""Clients in other languages: a program that prints one JSON line a case, {"case": …, "error": null or text}."""

import json
import subprocess

from harness.suite import Suite


def run_program(name, version, command, cwd, env=None):
    suite = Suite(name, version)
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for result in results:
        suite.case(result["case"], verdict, result["error"])
    suite.case("program ends", program_ended, done, results)
    return suite.close()


def verdict(error):
    assert error is None, error


def program_ended(done, results):
    assert done.returncode == 0 and results, f"left with {done.returncode} after {len(results)} cases: {done.stderr[-2000:]}"
