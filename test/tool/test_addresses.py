# SPDX-License-Identifier: BSD-3-Clause
"""Every ivshmem command understands names, paths and addresses in the same way: a table of commands
and spellings."""
import json
import os
import signal

import pytest

from support.py import image
from support.py.config import TOOL, run
from support.py.programs import SHM

MIB = 1 << 20

#: Ways to spell the address of a region in /dev/shm, and of a file in the working directory
SHM_SPELLINGS = ["{name}", "shm:{name}", "shm:/{name}", "/dev/shm/{name}", "file:/dev/shm/{name}"]
FILE_SPELLINGS = ["{dir}/sub/{name}", "file:{dir}/sub/{name}"]
RELATIVE_SPELLINGS = ["sub/{name}", "./sub/{name}", "file:sub/{name}"]
SOCKET_SPELLINGS = ["{socket}", "unix:{socket}"]

#: The words before and after the address
WORDS = {
    "create": (["create"], ["--size", "1M"]),
    "resize": (["resize"], ["--size", "2M"]),
    "remove": (["remove"], []),
    "save": (["save"], ["saved"]),
    "restore": (["restore", "saved-before"], []),
    "list": (["list"], ["--json"]),
    "attach": (["attach", "--qmp", "/nonexistent", "--region"], []),
    "get": (["get"], ["0", "4"]),
    "put": (["put"], ["0", "text"]),
    "dump": (["dump"], ["0", "4"]),
    "peers": (["peers"], ["--json"]),
    "ring": (["ring"], ["all"]),
    "bench": (["bench"], ["--size", "64", "--time", "0", "--json"]),
    "wait": (["wait"], ["--timeout", "0"]),
    "pipe": (["pipe"], ["name", "--section", "0"]),
    "send": (["send"], ["name", "text", "--section", "0"]),
    "recv": (["recv"], ["name", "--section", "0"]),
    "publish": (["publish"], ["name", "text", "--section", "0"]),
    "subscribe": (["subscribe"], ["name", "--section", "0"]),
    "channels": (["channels"], ["--json"]),
    "config": (["config", "apparmor"], []),
    "looking-glass": (["looking-glass", "1920x1080", "--name"], []),
    "looking-glass test": (["looking-glass", "test", "--json"], []),
}

#: What a command does with a region whose first bytes are "mark". The region matches the one that
#: "create" is told to create. Without a server, a peer has no doorbells and no roster.
DONE = {
    "create": lambda done, path: f"{path} is already there" in done.stdout,
    "resize": lambda done, path: path.stat().st_size == 2 * MIB,
    "remove": lambda done, path: not path.exists(),
    "save": lambda done, path: f"saved {path} (1M) in " in done.stdout,
    "restore": lambda done, path: path.read_bytes()[:5] == b"saved",
    "list": lambda done, path: [region["path"] for region in
                                json.loads(done.stdout)["regions"]] == [str(path)],
    "get": lambda done, path: done.stdout == "mark",
    "put": lambda done, path: path.read_bytes()[:4] == b"text",
    "dump": lambda done, path: "mark" in done.stdout,
    "config": lambda done, path: done.stdout.endswith(f"{path} rw,\n"),
    "bench": lambda done, path: json.loads(done.stdout)["length"] == MIB,
}
#: What a command says if the region does not exist
ABSENT = {
    "resize": "{path} does not exist",
    "remove": "{path} does not exist",
    "save": "{path} does not exist",
    "restore": "{path} does not exist",
    "attach": "{path} does not exist",
    "list": 'no region "{spelled}"',
    **dict.fromkeys(["get", "put", "dump", "peers", "ring", "wait", "bench", "pipe", "send",
                     "recv", "publish", "subscribe", "channels"], "no region {address}: "),
    "looking-glass test": 'no region "{address}": ',
}
FOR_REGIONS = ["create", "resize", "remove", "save", "restore", "attach", "looking-glass test"]


@pytest.fixture(name="made")
def made_fixture(place):
    """The region in /dev/shm and the file, both of which the test may change or remove."""
    (place.dir / "sub").mkdir()
    paths = [place.shm_path, place.dir / "sub" / place.shm]
    for path in paths:
        path.touch(0o600)
        path.write_bytes(b"mark" + bytes(MIB - 4))
        path.chmod(0o600)
    yield paths
    place.shm_path.unlink(missing_ok=True)


def spell(place, spelling):
    """The address in this spelling."""
    return spelling.format(name=place.shm, dir=place.dir, socket=place.socket)


def give(place, command, address):
    """Run the command with this address. Return: the completed process."""
    if command == "restore":
        (place.dir / "saved-before").write_bytes(image.image(b"saved" + bytes(MIB - 5)))
    before, after = WORDS[command]
    return run(*before, address, *after, cwd=place.dir, errors="replace")


@pytest.mark.parametrize("command", DONE)
@pytest.mark.parametrize("spelling", SHM_SPELLINGS + FILE_SPELLINGS + RELATIVE_SPELLINGS)
def test_same_region(place, made, command, spelling):
    """Every command treats all spellings of a region as the same region. A configuration cannot
    contain a path that depends on the working directory."""
    path = made[spelling not in SHM_SPELLINGS]
    done = give(place, command, spell(place, spelling))
    if command == "config" and spelling in RELATIVE_SPELLINGS:
        assert done.returncode == 2 and "give the absolute path of a file" in done.stderr
        return
    assert done.returncode == 0 and DONE[command](done, path), done


@pytest.mark.parametrize("spelling", SHM_SPELLINGS + FILE_SPELLINGS + RELATIVE_SPELLINGS)
def test_same_region_for_a_test_pattern(place, made, spelling):
    """"looking-glass test" publishes in this region, too."""
    path = made[spelling not in SHM_SPELLINGS]
    process = place.start("env", "-C", place.dir, TOOL, *WORDS["looking-glass test"][0], "--mode",
                          "128x96", spell(place, spelling))
    told = json.loads(process.out.wait('"started"'))
    assert os.path.samefile(place.dir / told["path"], path)
    process.signal(signal.SIGTERM)
    process.wait()


@pytest.mark.parametrize("spelling", ["{name}", "shm:{name}", "shm:/{name}"])
def test_name_of_looking_glass(place, spelling):
    """The --name option of "looking-glass" takes a name, also in the form of an address."""
    done = give(place, "looking-glass", spell(place, spelling))
    assert done.returncode == 0 and f"looking-glass-client -f {place.shm_path}\n" in done.stdout


@pytest.mark.parametrize("command", ABSENT)
@pytest.mark.parametrize("spelling", SHM_SPELLINGS + FILE_SPELLINGS)
def test_absent_region(place, command, spelling):
    """Whatever the spelling, the same region is reported as missing; nothing is created."""
    (place.dir / "sub").mkdir()
    path = (SHM if spelling in SHM_SPELLINGS else place.dir / "sub") / place.shm
    spelled = spell(place, spelling)
    is_path = "/{name}" in spelling and spelling != "shm:/{name}"
    address = f"file:{path}" if is_path else f"shm:{place.shm}"
    done = give(place, command, spelled)
    assert done.returncode == 1
    assert ABSENT[command].format(path=path, spelled=spelled, address=address) in done.stderr, done
    assert not path.exists()


@pytest.mark.parametrize("spelling", SOCKET_SPELLINGS)
def test_socket(place, spelling):
    """A path at which there is a socket refers to a server; a command that needs a region says
    so."""
    place.server("-n", "1", "-l", "1M")
    address = spell(place, spelling)
    assert json.loads(give(place, "peers", address).stdout)["peers"] == []
    assert give(place, "get", address).stdout == "\0" * 4
    assert give(place, "put", address).returncode == give(place, "ring", address).returncode == 0
    assert "text" in give(place, "dump", address).stdout
    assert "no doorbell within 0 s" in give(place, "wait", address).stderr
    assert give(place, "config", address).stdout.endswith(f"{place.socket} rw,\n")
    region, = json.loads(give(place, "list", address).stdout)["regions"]
    assert str(place.socket) in [user["socket"] for user in region["used_by"]]
    for command in FOR_REGIONS:
        done = give(place, command, address)
        assert (done.returncode, done.stderr) == (2, (
            f'ivshmem {command}: invalid address "unix:{place.socket}": this is the socket of a '
            "server: specify a region instead\n"))


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize("address, message", [
    ("", '"": use a name, such as looking-glass'),
    ("a\nb", '"a?b": use UTF-8 without control characters'),
    ("file:/a\x1b", '"file:/a?": use UTF-8 without control characters'),
    ("a\udcff", '"a?": use UTF-8 without control characters'),
    ("a:b", '"a:b": put shm: before it if it is a name'),
    (":", '":": put shm: before it if it is a name'),
    ("a:/b", '"a:/b": put file: before it if it is a path'),
    ("x" * 4096, f'"{"x" * 4096}": it is too long'),
])
def test_same_error(place, command, address, message):
    """All commands report the same mistake if a word is not an address."""
    done = give(place, command, address)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"ivshmem {command}: invalid address {message}\n"


@pytest.mark.parametrize("command", FOR_REGIONS)
@pytest.mark.parametrize("address, message", [
    ("memfd:", "such a region has no name"), ("dir:/tmp", "such a region has no name"),
    ("pci:", "this is a device in a guest"), ("/dev/ivshmem0", "this is a device in a guest"),
    ("unix:/s", "this is the socket of a server"),
])
def test_not_a_region(place, command, address, message):
    """All commands that need a region report the same mistake if an address is not that of a
    region."""
    done = give(place, command, address)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f'ivshmem {command}: invalid address "{address}": {message}')


def test_colons(place, made):
    """A colon after a slash is part of a path. After shm: it is part of a name."""
    path = place.dir / "sub" / "a:b"
    os.rename(made[1], path)
    assert give(place, "get", path).stdout == give(place, "get", "./sub/a:b").stdout == "mark"
    path = SHM / f"{place.shm}:b"
    os.rename(made[0], path)
    try:
        assert give(place, "get", f"shm:{path.name}").stdout == "mark"
        assert "put shm: before it" in give(place, "get", path.name).stderr
    finally:
        path.unlink()
