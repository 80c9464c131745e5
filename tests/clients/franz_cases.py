"""franz-go: the client written in Go (franz/main.go)."""

import os
import pathlib
import re
import shutil
import subprocess

from harness.suite import Suite

from external import run_program

FOLDER = pathlib.Path(__file__).resolve().parent / "franz"


def unusable():
    if not shutil.which("go"):
        return "Go is not installed and apt-get could not install it"
    needed = re.search(r"^go (\S+)", (FOLDER / "go.mod").read_text(), re.M)[1]
    found = re.search(r"go([\d.]+)", subprocess.run(["go", "version"], capture_output=True, text=True).stdout)[1]
    number = lambda text: [int(n) for n in text.split(".")]
    return None if number(found) >= number(needed) else f"it needs Go {needed}, here is {found}"


def run(node):
    if (reason := unusable()) is not None:
        suite = Suite("franz-go", "(not built)")
        suite.skip("all", reason)
        return suite.close()
    program = pathlib.Path(os.environ["LAKEBED_CLIENTS_CACHE"]) / "franz"
    built = subprocess.run(["go", "build", "-mod=readonly", "-o", str(program), "."], cwd=FOLDER, capture_output=True, text=True)
    if built.returncode:
        suite = Suite("franz-go", "")
        suite.case("build", program_built, built)
        return suite.close()
    version = re.search(r"franz-go (v\S+)", (FOLDER / "go.mod").read_text())[1]
    return run_program("franz-go", version, [str(program), node.bootstrap], FOLDER)


def program_built(built):
    assert built.returncode == 0, built.stderr
