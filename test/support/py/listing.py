# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of ivshmem list share: running it, and processes that use regions."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

from support.py.paths import BUILD
from support.py.programs import wait_until

TOOL = BUILD / "tools" / "ivshmem"
MIB = 1 << 20

#: Keeps a file mapped until its input ends. Arguments: path, "shared" or "private"
MAPPER = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0, getattr(mmap, "MAP_" + sys.argv[2].upper()))
print("mapped", flush=True)
sys.stdin.read()
"""


class Listing:
    """The outcome of a run with --json."""

    def __init__(self, done):
        assert done.returncode == 0, done.stderr
        self.errors = done.stderr
        self.whole = json.loads(done.stdout)
        self.regions = self.whole["regions"]

    def one(self):
        """The only region in the list."""
        assert len(self.regions) == 1, self.regions
        return self.regions[0]

    def used_by(self, pid):
        """The regions that this process uses."""
        return [region for region in self.regions
                if pid in [user["pid"] for user in region["used_by"]]]


def run(*arguments):
    """Run ivshmem list. Return: the completed process."""
    return subprocess.run([TOOL, "list", *arguments], capture_output=True, text=True, timeout=30,
                          check=False)


def listing(*arguments):
    """The list in JSON."""
    return Listing(run("--json", *arguments))


def notes(region):
    """{name of a note: its text}"""
    return {note["note"]: note["text"] for note in region["notes"]}


def make(path, size=MIB, mode=0o640):
    """Create a file of this size."""
    with open(path, "wb") as file:
        file.truncate(size)
    os.chmod(path, mode)


def maps(process, text):
    """Whether the process maps a file whose name contains this string."""
    return text in pathlib.Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")


def start_vm(place, name, *arguments, machine="none"):
    """Start a QEMU that does not run its VM. It has no devices, or only q35's default devices."""
    ram = ["-m", "16"] if machine != "none" else []
    return place.start("qemu-system-x86_64", "-machine", machine, "-accel", "tcg", "-nodefaults",
                       "-display", "none", "-S", *ram,
                       *(["-name", f"guest={name}"] if name else []), *arguments)


def start_plain(place, name, path, options="share=on"):
    """Start a VM with ivshmem-plain and wait until it maps the file."""
    vm = start_vm(place, name, "-object",
                  f"memory-backend-file,id=m,mem-path={path},size=1M,{options}", "-device",
                  "ivshmem-plain,memdev=m", machine="q35")
    wait_until(lambda: maps(vm, str(path)), "the VM maps the region")
    return vm


def start_mapper(place, path, kind="shared", **options):
    """Start a process that maps a file."""
    process = place.start(sys.executable, "-c", MAPPER, path, kind, stdin=subprocess.PIPE,
                          **options)
    process.out.wait("mapped")
    return process


def run_apart(place, script, *arguments, options=()):
    """Run a shell script in its own mount namespace, with a copy of the tool as $0."""
    shutil.copy(TOOL, place.dir)
    return place.run("unshare", "-m", *options, "sh", "-ec", script, place.dir / "ivshmem",
                     *arguments)
