"""Where the nodes under test keep their data."""

import os
import pathlib
import re
import subprocess

from harness.node import ROOT, Node, binary


class Stores:
    def __init__(self, folder, name, url, env=None, args=()):
        self.folder, self.name, self.url, self.env, self.args, self.count = folder, name, url, env, args, 0

    def node(self, *args):
        self.count += 1
        return Node(self.url, [*self.args, *args], self.env, log=f"{self.folder}/{self.name}-{self.count}.log")

    def check(self):
        """The bucket holds what the manifest says, every batch with its checksum; says what was looked at."""
        return self.lakebed("fsck", "--read").splitlines()[-1]

    def lakebed(self, *command):
        """What a command says of this store; it must succeed."""
        done = subprocess.run([binary(), *command, "--store", self.url], env={**os.environ, **(self.env or {})},
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-500:]}"
        return done.stdout.rstrip("\n")


def FileStores(folder, name, args=()):
    return Stores(folder, f"file-{name}", f"file://{folder}/{name}", args=args)


def MemoryStores(folder):
    """Forgets everything when its node dies; topics come back as clients ask for them."""
    return Stores(folder, "memory", "memory://", args=("--default-partitions", "3"))


class LocalStack:
    """One server for the whole suite, on a port of its own; started when first needed."""

    env, state = None, None

    @classmethod
    def up(cls, folder):
        if cls.env is None:
            cls.state = {**os.environ, "LOCALSTACK_STATE": f"{folder}/localstack"}
            said = subprocess.run([ROOT / "localstack" / "up"], env=cls.state, stdout=subprocess.PIPE, text=True, check=True)
            cls.env = dict(re.findall(r"^export (\w+)=(.*)$", said.stdout, re.M))
        return cls.env

    @classmethod
    def address(cls, folder):
        host, port = re.match(r"http://\[?([^\]]*?)\]?:(\d+)$", cls.up(folder)["AWS_ENDPOINT_URL"]).groups()
        return host, int(port)

    @classmethod
    def bucket(cls, folder, name, env=None, args=()):
        return Stores(folder, f"s3-{name}", f"s3://lakebed/{name}", {**cls.up(folder), **(env or {})}, args)

    @classmethod
    def down(cls):
        if cls.env is not None:
            subprocess.run([ROOT / "localstack" / "down"], env=cls.state, check=True)
            cls.env = None


def directory_size(path):
    return sum(f.stat().st_size for f in pathlib.Path(path).rglob("*") if f.is_file())
