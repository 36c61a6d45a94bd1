# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem migrate, with QEMUs that run the firmware only: what arrives, what is refused, and which
VM runs after a failure at any step."""
import json
import mmap
import os
import signal
import struct
import time

import pytest

from support.py.config import TOOL
from support.py.programs import SHM, wait_until
from support.py.vm_pair import (MIB, PORT, Pair, Vm, acknowledge, behind_port, devices_of, doorbell,
                                plain, refusals, servers)
from support.py.wire import RawClient


@pytest.fixture
def pair(place):
    """Two VMs, not started yet."""
    yield Pair(place)
    for path in SHM.glob(place.shm + "-*"):
        path.unlink()


def test_plain(pair):
    """The content of a region of which the VM is the master arrives; the destination is running,
    and the source is stopped, but not ended."""
    done = pair.plain().migrate()
    assert done.returncode == 0, done.stderr
    assert f"migrated: the destination is running: VM to (monitor {pair.destination.path})\n" in \
        done.stdout
    assert f"the source is stopped, and can be ended (quit): VM from (monitor {pair.source.path})" \
        in done.stdout
    assert pair.states() == ("postmigrate", "running")
    assert pair.regions[1].read_bytes() == pair.regions[0].read_bytes() == b"f" * MIB


def test_doorbell(place, pair):
    """The region of a doorbell device arrives at the destination's server, and each vector of the
    VM is rung once. The roster page of the source's server arrives, too, but is overwritten by the
    destination's server when the tool joins it to ring."""
    sockets, paths = servers(place, "--roster")
    with open(paths[0], "r+b") as file:
        file.write(b"hello")
    pair.start(doorbell(sockets[0]), doorbell(sockets[1]))
    place.add(RawClient(str(sockets[0]), 2).greeting())

    def connected(path):
        return struct.unpack_from("<I", path.read_bytes(), MIB - 4096 + 44)[0]

    wait_until(lambda: [connected(path) for path in paths] == [2, 1], "the rosters are written")
    done = pair.migrate("--json")
    told = json.loads(done.stdout)
    assert (told["result"], told["runs"], told["rung"]) == ("migrated", "destination", 2), done
    assert told["problems"] == [] and told["passes"] >= 1 and told["transferred"] > 0
    assert told["total"] >= 33 * MIB and told["total_ms"] > 0
    assert paths[1].read_bytes()[:5] == b"hello" and pair.states() == ("postmigrate", "running")
    wait_until(lambda: [connected(path) for path in paths] == [2, 1], "the rosters are right")


def test_return_path_is_set(pair):
    """The capabilities that make failures visible are set on both sides."""
    assert pair.plain().migrate().returncode == 0
    for vm in (pair.source, pair.destination):
        on = {each["capability"] for each in vm.qmp.command("query-migrate-capabilities")
              if each["state"]}
        assert {"return-path", "events"} <= on


def test_paused(pair):
    """A VM that is paused is paused at the destination, too."""
    pair.plain()
    pair.source.qmp.command("stop")
    done = pair.migrate()
    assert done.returncode == 0 and "migrated: the destination is paused: VM to" in done.stdout
    assert pair.states()[1] == "paused"


def test_plan(pair):
    """--plan prints each step and what is true after it, and changes nothing."""
    pair.plain()
    vms = (pair.source, pair.destination)
    before = [vm.qmp.command("query-migrate-capabilities") for vm in vms]
    done = pair.migrate("--plan")
    assert done.returncode == 0 and done.stdout.startswith("Nothing has been changed. The steps")
    steps = [line for line in done.stdout.splitlines() if line[:3].strip(" .").isdigit()]
    assert len(steps) == done.stdout.count("    after that: ") == 5
    assert "with the regions of pl0 (1M)" in done.stdout
    told = json.loads(pair.migrate("--plan", "--json").stdout)
    assert told["result"] == "planned" and [set(each) for each in told["steps"]] == [
        {"step", "after"}] * 5
    assert before == [vm.qmp.command("query-migrate-capabilities") for vm in vms]
    assert pair.states() == ("running", "inmigrate")


#: What differs -> (changes to the source's device, to the destination's, name of the problem, part
#: of the message)
DIFFERENCES = {
    "peers": ({"master": "off"}, {"master": "off"}, "master",
              "pl0 of the source is a peer, whose memory QEMU does not migrate"),
    "peer at the destination": ({}, {"master": "off"}, "master",
                                "the source would complete, and the destination would exit"),
    "slot": ({}, {"slot": "6"}, "surplus", "pl0 at the destination is in slot 06.0"),
    "size": ({}, {"size": "2M"}, "size", "has 1M at the source, but 2M at the destination"),
    "backend": ({}, {"backend": "m1"}, "backend", 'the id "m0" at the source, but "m1"'),
    "private": ({"share": "off"}, {"share": "off"}, "share", "no share=on at the source"),
    "private at the destination": ({}, {"share": "off"}, "share",
                                   "no share=on at the destination"),
}


@pytest.mark.parametrize("which", DIFFERENCES)
def test_differences(pair, which):
    """Each difference that would lose the VM, or its region, is refused before anything changes."""
    source, destination, name, sentence = DIFFERENCES[which]
    if "size" in destination:
        os.truncate(pair.regions[1], 2 * MIB)
    pair.plain(source, destination)
    done = pair.migrate("--json")
    assert name in refusals(done) and sentence in done.stderr, done
    assert "the VM cannot be migrated; nothing has been changed:" in done.stderr
    assert pair.states() == ("running", "inmigrate")


def test_device_id_may_differ(pair):
    """QEMU matches devices by their slots, so ids may differ."""
    assert pair.plain({}, {"ident": "other"}).migrate().returncode == 0


def test_missing_device(place, pair):
    """A device that the destination lacks is refused if it cannot be unplugged and plugged in
    again: here, it is a doorbell device, or on the root bus."""
    sockets, _ = servers(place)
    pair.start([*plain(pair.regions[0]), *doorbell(sockets[0])], [])
    done = pair.migrate("--json")
    assert refusals(done) == ["slot", "replug"]
    assert "db0 is in slot 05.0 at the source, but the destination has no ivshmem device there" in \
        done.stderr
    assert "the destination lacks pl0, and it cannot be unplugged from the source because it is " \
        "on the root bus (slot 04.0)" in done.stderr


def test_surplus_device(pair):
    """A device that only the destination has is refused."""
    pair.start([], plain(pair.regions[1]))
    done = pair.migrate("--json")
    assert refusals(done) == ["surplus"] and "start the destination without it" in done.stderr


def test_other_type(place, pair):
    """A plain device does not become a doorbell device."""
    sockets, _ = servers(place)
    pair.start(plain(pair.regions[0]), doorbell(sockets[1], slot="4"))
    done = pair.migrate("--json")
    assert "slot" in refusals(done)
    assert "is an ivshmem-plain, but the device in its slot" in done.stderr


def test_vectors(place, pair):
    """Different numbers of vectors are refused."""
    sockets, _ = servers(place)
    pair.start(doorbell(sockets[0]), doorbell(sockets[1], vectors=1))
    done = pair.migrate("--json")
    assert refusals(done) == ["vectors"] and "vectors=2 at the source, but vectors=1" in done.stderr


def test_auto_master(place, pair):
    """With master=auto, the VM with id 0 is the master. If another client has connected before, the
    VM is a peer."""
    sockets, _ = servers(place)
    host = place.add(RawClient(str(sockets[0]), 2).greeting())
    pair.start(doorbell(sockets[0], master="auto"), doorbell(sockets[1], master="auto"))
    assert host.id == 0
    done = pair.migrate("--json")
    assert refusals(done) == ["master"] and "db0 of the source is a peer" in done.stderr


def test_memory(pair):
    """Different memory is refused."""
    pair.source = Vm(pair.place, "from", *plain(pair.regions[0]))
    other = ["-M", "q35,memory-backend=ram0", "-object", "memory-backend-ram,id=ram0,size=48M",
             "-m", "48M"]
    pair.destination = Vm(pair.place, "to", *plain(pair.regions[1]), "-incoming", "defer",
                          memory=other)
    done = pair.migrate("--json")
    assert refusals(done) == ["memory"] and '"ram0" has 32M at the source, but 48M' in done.stderr


@pytest.mark.parametrize("more, state, sentence", [
    ([], "running", 'is in the state "running", and does not wait for a migration'),
    (["-S"], "prelaunch", "does not wait for a migration: start it with -incoming defer"),
    (["-incoming", "unix:{dir}/listens"], "inmigrate", "already listens for a migration"),
], ids=["running", "prelaunch", "listening"])
def test_destination_does_not_wait(place, pair, more, state, sentence):
    """A destination that is not started with -incoming defer is refused."""
    pair.source = Vm(place, "from", *plain(pair.regions[0]))
    pair.destination = Vm(place, "to", *plain(pair.regions[1]),
                          *(word.format(dir=place.dir) for word in more))
    done = pair.migrate("--json")
    assert refusals(done) == ["incoming"] and sentence in done.stderr
    assert pair.states() == ("running", state)


def test_monitors_in_use(pair):
    """While a migration is under way, the tool uses the VM's monitor; a second monitor shows the
    migration."""
    process = pair.plain().begin()
    pair.source.path = pair.place.dir / "from.test.qmp"
    pair.source.qmp.close()
    pair.destination.path = pair.place.dir / "to.test.qmp"
    pair.destination.qmp.close()
    done = pair.migrate("--json")
    assert refusals(done) == ["active", "incoming"]
    assert 'a migration of the source is already under way ("active")' in done.stderr
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT


def test_same_region(pair):
    """Both sides must not have the same region."""
    pair.start(plain(pair.regions[0]), plain(pair.regions[0]))
    done = pair.migrate("--json")
    assert set(refusals(done)) == {"region"}
    assert f"map the same region, {pair.regions[0]}" in done.stderr
    assert "region" in refusals(pair.migrate("--json", "--force"))


def test_other_users(pair):
    """The message names a program that maps the region of either side; with --force, the VM is
    migrated nevertheless."""
    pair.plain()
    with open(pair.regions[0], "r+b") as file, mmap.mmap(file.fileno(), 0):
        done = pair.migrate("--json")
        assert refusals(done) == ["users"]
        assert f"(pid {os.getpid()}) maps the region {pair.regions[0]} of the source: what it " \
            "writes while the memory is copied is lost" in done.stderr
    with open(pair.regions[1], "r+b") as file, mmap.mmap(file.fileno(), 0):
        done = pair.migrate("--json")
        assert refusals(done) == ["users"]
        assert f"maps the region {pair.regions[1]} of the destination, which the migration " \
            "overwrites" in done.stderr
        done = pair.migrate("--force")
    assert done.returncode == 0
    assert "note: " in done.stderr and "which is overwritten" in done.stderr


def test_clients_of_the_source_server(place, pair):
    """The message names a client of the source's server that has the region mapped."""
    sockets, _ = servers(place)
    pair.start(doorbell(sockets[0]), doorbell(sockets[1]))
    client = place.start(place.client_program, "-v", "-S", sockets[0], stdin=-1)
    client.write("dump\n")
    client.out.wait("(this one)")
    done = pair.migrate("--json")
    assert refusals(done) == ["users"] and f"ivshmem-client (pid {client.pid}) maps" in done.stderr


def test_peers_are_stopped_meanwhile(place, pair):
    """The message names other VMs that use the region. With --peer, they are stopped while the
    source is migrated, and continue afterwards, unless they were paused before."""
    pair.plain()
    peers = [Vm(place, f"peer{i}", *plain(pair.regions[0], master="off")) for i in range(2)]
    peers[1].qmp.command("stop")
    done = pair.migrate("--json", "--peer", peers[0].path)
    assert refusals(done) == ["users"] and f"VM peer1 (pid {peers[1].pid}) maps" in done.stderr
    words = [word for peer in peers for word in ("--peer", peer.path)]
    process = pair.begin(*words)
    assert [peer.state() for peer in peers] == ["paused", "paused"]
    pair.source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
    assert process.wait() == 0, process.err.text()
    assert [peer.state() for peer in peers] == ["running", "paused"]
    for peer in peers:
        assert f"(monitor {peer.path}) still has the old region, which the migrated VM no longer " \
            "uses: migrate it, too" in process.err.text()
    assert pair.states() == ("postmigrate", "running")


def test_peer_is_the_source(pair):
    """A second monitor of the source is refused as a peer: the source would be stopped and
    continued."""
    pair.plain()
    pair.source.qmp.close()
    done = pair.migrate("--json", "--peer", pair.place.dir / "from.test.qmp")
    assert refusals(done) == ["monitor"] and "is the source or the destination itself" in \
        done.stderr


@pytest.mark.parametrize("master", ["on", "off"])
def test_unplug_and_plug(pair, master):
    """A plain device that the destination lacks is unplugged and plugged in again. Its region is
    not copied, so other programs may use it during the migration, and both sides have the same
    one."""
    pair.start([*PORT, *behind_port(plain(pair.regions[0], master=master))], PORT)
    with open(pair.regions[0], "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        plan = pair.migrate("--plan").stdout
        assert "unplug pl0 (1M) from the source" in plan and "copy the memory\n" in plan
        assert "plug pl0 (1M) into the destination" in plan
        process = pair.place.start(*pair.words())
        acknowledge(pair.source)
        assert process.wait() == 0, process.err.text()
        memory[0:1] = b"x"
    assert devices_of(pair.source) == [] and devices_of(pair.destination) == ["pl0"]
    assert pair.states() == ("postmigrate", "running")
    assert pair.destination.qmp.command("qom-get", path="/machine/peripheral/pl0",
                                        property="master") == master
    assert pair.regions[0].read_bytes() == b"x" + b"f" * (MIB - 1)


@pytest.mark.parametrize("change, sentence", [
    (lambda path: path.unlink(), "the source cannot find it any more"),
    (lambda path: (path.unlink(), path.write_bytes(b"n" * MIB)), "source maps a different file"),
    (lambda path: os.truncate(path, 4096), "it is smaller than the device"),
], ids=["removed", "replaced", "truncated"])
def test_file_that_cannot_be_plugged_again(pair, change, sentence):
    """If the file is not that of the region any more, the guest would get different memory."""
    pair.start([*PORT, *behind_port(plain(pair.regions[0]))], PORT)
    change(pair.regions[0])
    done = pair.migrate("--json")
    assert refusals(done) == ["file"] and sentence in done.stderr, done
    assert devices_of(pair.source) == ["pl0"]


def test_backend_that_cannot_be_plugged_again(pair):
    """A device is refused if an option of its backend would be lost."""
    device = [word.replace("share=on", "share=on,pmem=off,readonly=on")
              for word in behind_port(plain(pair.regions[0]))]
    pair.start([*PORT, *device], PORT)
    done = pair.migrate("--json")
    assert refusals(done) == ["file"] and "its memory backend has readonly=" in done.stderr, done


def test_unplug_is_undone(pair):
    """If the migration fails, the device is plugged in again."""
    pair.start([*PORT, *behind_port(plain(pair.regions[0], master="off")),
                *plain(pair.regions[1], "pl1", "m1", slot="7")],
               [*PORT, *plain(pair.place.dir / "other.region", "pl1", "m1", slot="7")])
    pair.regions[1].write_bytes(os.urandom(MIB))
    pair.source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 20000})
    process = pair.place.start(*pair.words())
    acknowledge(pair.source)
    pair.source.wait_migration("active")
    assert devices_of(pair.source) == ["pl1"]
    pair.destination.process.signal(signal.SIGKILL)
    check_source_runs(pair, process, "the migration has failed: ")
    assert sorted(devices_of(pair.source)) == ["pl0", "pl1"]


@pytest.mark.usefixtures("fast_clock")
def test_unplug_that_is_not_acknowledged(pair):
    """A guest that does not acknowledge the unplug is not migrated: the request stays pending. The
    command can be repeated while the device is there, and says so when the device has gone in the
    meantime."""
    pair.start([*PORT, *behind_port(plain(pair.regions[0]))], PORT)
    for _ in range(2):
        done = pair.migrate("--json")
        assert done.returncode == 3 and json.loads(done.stdout)["runs"] == "as before"
        assert "the unplug of pl0 was requested, but the guest has not released it in time" in \
            done.stderr
        assert "nothing has been migrated. The source is running: VM from" in done.stderr
    assert pair.states() == ("running", "inmigrate") and devices_of(pair.source) == ["pl0"]
    acknowledge(pair.source)
    done = pair.migrate("--json")
    assert "pending" in refusals(done)
    assert f'run "ivshmem detach --qmp {pair.source.path} pl0" first' in done.stderr
    assert pair.place.run(TOOL, "detach", "--qmp", pair.source.path, "pl0").returncode == 0
    done = pair.migrate("--json")
    assert refusals(done) == ["memory"], done
    assert 'remove it from the source (object-del, id "m0")' in done.stderr
    pair.source.qmp.command("object-del", id="m0")
    wait_until(lambda: "/m0" not in pair.source.qmp.command(
        "human-monitor-command", **{"command-line": "info ramblock"}), "QEMU has freed the memory")
    assert pair.migrate().returncode == 0


def test_interruption_of_an_unplug(pair):
    """An interruption ends the wait for the guest."""
    pair.start([*PORT, *behind_port(plain(pair.regions[0]))], PORT)
    process = pair.place.start(*pair.words())
    wait_until(lambda: "ppoll" in (wait := open(f"/proc/{process.pid}/wchan").read()) or
               "poll" in wait, "it waits")
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT and pair.states()[0] == "running"


@pytest.mark.parametrize("change, name, sentence", [
    (lambda pair: pair.start([*PORT, *behind_port(plain(pair.regions[0]))], []), "port",
     "the destination has no port /machine/peripheral/rp0 in the same slot"),
    (lambda pair: pair.start([*PORT, *behind_port(plain(pair.regions[0]))],
                             [PORT[0], PORT[1].replace("addr=3", "addr=6")]),
     "port", "start it with the same ports"),
    (lambda pair: pair.start([*PORT, *behind_port(plain(pair.regions[0], master="off"))],
                             [*PORT, "-only-migratable"]), "replug", "which has -only-migratable"),
    (lambda pair: pair.start(["-S", *PORT, *behind_port(plain(pair.regions[0]))], PORT), "source",
     'in the state "prelaunch"'),
], ids=["no port", "other port", "only-migratable", "paused"])
def test_what_cannot_be_plugged_again(pair, change, name, sentence):
    """A migration that would leave the VM without its device is refused before anything changes."""
    change(pair)
    before = pair.states()
    done = pair.migrate("--json")
    assert name in refusals(done) and sentence in done.stderr, done
    assert pair.states() == before and devices_of(pair.source) == ["pl0"]


def check_source_runs(pair, process, *texts):
    """Check that the tool has failed, that the source is running, and that the messages say so."""
    assert process.wait() != 0
    err = process.err.text()
    for text in (*texts, f"the source is running: VM from (monitor {pair.source.path})"):
        assert text in err, err
    pair.source.wait_state("running")
    assert pair.destination.state() in ("ended", "inmigrate")
    assert pair.regions[0].exists()


def test_destination_is_killed(pair):
    """If the destination dies while memory is being copied, the source keeps running, and the
    migration can be repeated with another destination."""
    process = pair.plain().begin()
    pair.destination.process.signal(signal.SIGKILL)
    check_source_runs(pair, process, "the migration has failed: ")
    (pair.place.dir / "migration").unlink(missing_ok=True)
    pair.source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
    pair.destination = Vm(pair.place, "again", *plain(pair.regions[1]), "-incoming", "defer")
    assert pair.migrate().returncode == 0
    assert pair.regions[1].read_bytes() == pair.regions[0].read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruption(place, pair, number):
    """An interruption cancels the migration, and peers continue."""
    pair.plain()
    peer = Vm(place, "peer", *plain(pair.regions[0], master="off"))
    process = pair.begin("--peer", peer.path)
    process.signal(number)
    check_source_runs(pair, process, "interrupted: cancelling the migration",
                      "the migration is cancelled")
    assert process.popen.returncode == -number and peer.state() == "running"


def test_timeout(pair):
    """After --timeout the migration is cancelled."""
    process = pair.plain().begin("--timeout", "1", "--json")
    check_source_runs(pair, process, "not completed within 1 s: cancelling the migration")
    told = json.loads(process.out.text())
    assert (told["result"], told["runs"]) == ("failed", "source")


def test_source_is_killed(pair):
    """If the source dies, that is reported: its VM is lost, and the destination is not running."""
    process = pair.plain().begin()
    pair.source.process.signal(signal.SIGKILL)
    assert process.wait() == 1
    assert "the source has ended during the migration, and the destination is not running" in \
        process.err.text()


def test_tool_is_killed(pair):
    """If the tool itself is killed, QEMU completes the migration by itself."""
    process = pair.plain().begin()
    process.signal(signal.SIGKILL)
    pair.source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
    pair.destination.wait_state("running")
    assert pair.states() == ("postmigrate", "running")


def test_server_is_killed(place, pair):
    """If the destination's server is not known, the VM is migrated all the same, but its doorbells
    are not rung."""
    sockets, _ = servers(place)
    pair.start(doorbell(sockets[0]), doorbell(sockets[1]))
    for server in place.servers():
        server.signal(signal.SIGKILL)
        server.wait()
    done = pair.migrate()
    assert done.returncode == 0
    assert "note: the server of the destination is not known" in done.stderr
    assert pair.states() == ("postmigrate", "running")


def test_address_in_use(place, pair):
    """If the destination cannot listen, nothing has been migrated."""
    pair.plain()
    (place.dir / "occupied").mkdir()
    pair.uri = f"unix:{place.dir}/occupied"
    done = pair.migrate()
    assert done.returncode == 1 and "QEMU refuses migrate-incoming: " in done.stderr
    assert "nothing has been migrated. The source is running: VM from (monitor " \
        f"{pair.source.path})" in done.stderr and pair.states()[0] == "running"


def test_progress(pair):
    """On a terminal, the progress is shown."""
    pair.plain()
    pair.regions[0].write_bytes(os.urandom(MIB))
    pair.source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 20000})
    pid, terminal = os.forkpty()
    if not pid:
        os.execv(TOOL, [str(word) for word in pair.words()])
    shown = b""
    end = time.monotonic() + 30
    while b" MiB sent, " not in shown and time.monotonic() < end:
        shown += os.read(terminal, 1000)
    os.kill(pid, signal.SIGINT)
    assert b"migrating VM from" in shown and b"MiB left, " in shown and b" MiB/s, pass " in shown
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, "the tool has ended")
    os.close(terminal)


@pytest.mark.parametrize("words, message", [
    ([], "--qmp is missing"), (["--qmp", "a"], "--to is missing"),
    (["--qmp", "a", "--to", "unix:b"], "--to-qmp is missing"),
    (["--qmp", "a", "--to", "exec:cat", "--to-qmp", "b"], 'invalid address "exec:cat": use unix:'),
    (["--qmp", "a", "--to", "unix:b", "--to-qmp", "a"], 'invalid destination "a"'),
    (["--timeout", "0"], 'invalid timeout "0": use 1 to 86400 seconds'),
    (["--peer", "x"] * 17, 'surplus peer "x"'), (["x"], 'surplus argument "x"'),
])
def test_mistakes(place, words, message):
    """Mistakes in the command line are reported with status 2."""
    done = place.run(TOOL, "migrate", *words)
    assert done.returncode == 2 and message in done.stderr and not done.stdout


def test_absent_monitor(place):
    """A monitor that does not exist is reported, with what it was needed for."""
    done = place.run(TOOL, "migrate", "--qmp", place.dir / "a", "--to", "unix:b", "--to-qmp",
                     place.dir / "b")
    assert done.returncode == 1 and done.stderr.startswith("ivshmem migrate: source: ")
