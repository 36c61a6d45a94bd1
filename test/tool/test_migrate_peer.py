# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem migrate, for a VM that is a peer of a server: its doorbell device is unplugged from the
source and plugged in at the destination. The VMs run the firmware only."""
import os
import signal

import pytest

from support.py.attach import start_server
from support.py.control import ask_once
from support.py.programs import SHM
from support.py.vm_pair import (MIB, PORT, Pair, acknowledge, behind_port, devices_of, doorbell,
                                plain, refusals)
from support.py.wire import RawClient

PORT2 = ["-device", "pcie-root-port,id=rp1,chassis=2,slot=2,addr=7"]


@pytest.fixture
def pair(place):
    """Two VMs, not started yet."""
    yield Pair(place)
    for path in SHM.glob(place.shm + "-*"):
        path.unlink()


def peer(server, **changes):
    """QEMU's arguments for a port, and a doorbell device behind it that is a peer."""
    return [*PORT, *behind_port(doorbell(server.socket, **{"master": "off", **changes}))]


def other_server(place, name, *options):
    """Start a second server. Return: the server, and the path of its control socket."""
    control = place.dir / f"{name}.control"
    server = place.server("--control", control, *options, socket=place.dir / f"{name}.sock",
                          region=["-r", f"shm:{place.shm}-{name}"])
    return server, control


def clients(control):
    """Return: the pids of the clients of a server."""
    return [each["pid"] for each in ask_once(control)["peers"]]


@pytest.mark.parametrize("other", [False, True], ids=["same server", "other server"])
def test_peer(place, pair, other):
    """The device is plugged in at the destination, with the same server or the one that is given.
    Its region is not copied, and it is a peer again, even with id 0."""
    server, control = start_server(place)
    place.shm_path.write_bytes(b"s" * MIB)
    pair.start(peer(server), PORT)
    words, to_control = ["--control", control], control
    to_server = server
    if other:
        to_server, to_control = other_server(place, "b", "-n", "2", "-l", "1M")
        words += ["--to-server", to_server.socket]
    plan = pair.migrate("--plan", *words).stdout
    assert "unplug db0 (1M) from the source" in plan
    assert "plug db0 (1M) into the destination, the doorbell device with the server " \
        f"{to_server.socket}\n" in plan
    assert clients(control) == [pair.source.pid]
    process = place.start(*pair.words(*words))
    acknowledge(pair.source, "db0")
    assert process.wait() == 0, process.err.text()
    assert devices_of(pair.source) == [] and devices_of(pair.destination) == ["db0"]
    assert pair.states() == ("postmigrate", "running")
    assert clients(to_control) == [pair.destination.pid]
    for name, value in (("master", "off"), ("vectors", 2)):
        assert pair.destination.qmp.command("qom-get", path="/machine/peripheral/db0",
                                            property=name) == value
    found = place.shm_path.read_bytes()
    assert found == b"s" * MIB
    if other:
        assert not any((SHM / f"{place.shm}-b").read_bytes())


def test_failure(place, pair):
    """If the migration fails, the device is plugged in again at the source, with its server."""
    server, control = start_server(place)
    pair.start([*peer(server), *plain(pair.regions[0], "pl1", "m1", slot="7")],
               [*PORT, *plain(pair.regions[1], "pl1", "m1", slot="7")])
    to_server, to_control = other_server(place, "b", "-n", "2", "-l", "1M")
    pair.regions[0].write_bytes(os.urandom(MIB))
    pair.source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 20000})
    process = place.start(*pair.words("--control", control, "--to-server", to_server.socket))
    acknowledge(pair.source, "db0")
    pair.source.wait_migration("active")
    assert devices_of(pair.source) == ["pl1"] and clients(control) == []
    pair.destination.process.signal(signal.SIGKILL)
    assert process.wait() == 1
    assert f"the source is running: VM from (monitor {pair.source.path})" in process.err.text()
    assert sorted(devices_of(pair.source)) == ["db0", "pl1"]
    assert clients(control) == [pair.source.pid] and clients(to_control) == []


def test_refusals(place, pair):
    """A migration that would kill the VM, or leave it without its device, is refused before
    anything changes."""
    server, control = start_server(place)
    large, _ = other_server(place, "large", "-n", "1", "-l", "2M")
    pair.start(peer(server), PORT)
    before = pair.source.qmp.command("query-chardev")

    def check(names, sentence, *words):
        done = pair.migrate("--json", *words)
        assert refusals(done) == names and sentence in done.stderr, done
        assert pair.states() == ("running", "inmigrate")
        assert devices_of(pair.source) == ["db0"]

    given = ["--control", control]
    check(["unplug"], "Give the server's control socket with --control PATH")
    check(["server"], f"db0 cannot be plugged in at the destination with the server {place.dir}/no",
          *given, "--to-server", place.dir / "no")
    check(["size", "vectors"], "the region of db0 has 1M at the source, but 2M at the server",
          *given, "--to-server", large.socket)
    limit = str(len(os.listdir(f"/proc/{pair.destination.pid}/fd")) + 4)
    place.run("prlimit", "--pid", pair.destination.pid, f"--nofile={limit}:{limit}")
    check(["plug"], "raise its limit (prlimit --pid", *given)
    client = RawClient(server.socket, 2).greeting()
    check(["unplug"], "dies if a peer rings db0 while it is unplugged, and 1 other client", *given)
    client.close()
    assert pair.source.qmp.command("query-chardev") == before
    pair.source.qmp.command("chardev-add", id="gone0-fds-0", backend={"type": "null", "data": {}})
    assert "pending" in refusals(done := pair.migrate("--json", *given))
    assert 'the unplug of gone0 was requested and is not complete, so the device could vanish ' \
        'during the migration' in done.stderr
    assert f'run "ivshmem detach --qmp {pair.source.path} gone0" first' in done.stderr


def test_told_leaves(place, pair):
    """A QEMU that was told of a leave would die, so it is not migrated."""
    server, control = start_server(place, told=True)
    pair.start(peer(server), PORT)
    done = pair.migrate("--json", "--control", control)
    assert refusals(done) == ["unplug"] and "has told this QEMU that a peer left" in done.stderr


def test_two_devices(place, pair):
    """Only one doorbell device is unplugged; a device without an id cannot be."""
    server, control = start_server(place)
    second = [word.replace("addr=9", "bus=rp1") for word in
              doorbell(server.socket, "db1", master="off", slot="9")]
    nameless = [word.replace("id=pl0,", "").replace("addr=9", "bus=rp2") for word in
                plain(pair.regions[0], slot="9")]
    ports = [*PORT2, "-device", "pcie-root-port,id=rp2,chassis=3,slot=3,addr=8"]
    pair.start([*peer(server), *ports, *second, *nameless], [*PORT, *ports])
    done = pair.migrate("--json", "--control", control)
    assert sorted(refusals(done)) == ["replug", "unplug"], done.stderr
    assert "is the second doorbell device that has to be unplugged" in done.stderr
    assert "which cannot be unplugged from the source because it has no id (id=)" in done.stderr


@pytest.mark.usefixtures("fast_clock")
def test_pending(place, pair):
    """A guest that does not acknowledge the unplug is not migrated."""
    server, control = start_server(place)
    pair.start(peer(server), PORT)
    done = pair.migrate("--control", control)
    assert done.returncode == 3 and "the unplug of db0 was requested" in done.stderr, done
    assert "nothing has been migrated. The source is running: VM from" in done.stderr
    assert devices_of(pair.source) == ["db0"]
