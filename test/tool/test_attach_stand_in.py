# SPDX-License-Identifier: BSD-3-Clause
"""`ivshmem attach` and `ivshmem detach` with a stand-in for QEMU's monitor: failures at each
command, KVM, and versions of QEMU that are not installed. test_attach.py uses QEMU itself."""
import os
import resource
import signal

import pytest

from support.py.attach import FAST, VECTORS, Control, StandIn, blocks_sigint, make_region
from support.py.config import TOOL
from support.py.programs import wait_until
from support.py.wire import RawClient

DOORBELL = {"d0": ["ivshmem-doorbell", {"bus": "rp0", "chardev": "c0", "vectors": 2}]}
PLAIN = {"d0": ["ivshmem-plain", {"bus": "rp0", "memdev": "m0"}]}

#: The commands of "attach --region", in order -> whether something may be left in the VM if the
#: monitor does not answer the command
PLAIN_COMMANDS = {
    "qmp_capabilities": False, "query-kvm": False, "device-list-properties": False,
    "query-status": False, "query-chardev": False, "qom-list": False, "qom-list#2": False,
    "query-pci": False, "qom-get#4": False, "object-add": True, "device_add": True,
    "query-pci#2": True,
}
SERVER_COMMANDS = {"query-chardev#2": False, "chardev-add": True, "device_add": True,
                   "query-pci#2": True}


#: The note of an earlier run
NOTE = "d0-fds-30"


def detachable(place, devices, told=False, others=0, noted=False, **settings):
    """Start a stand-in with a device, and a stand-in for the control socket of its server. Return:
    the stand-in for QEMU, and the arguments of "detach".

    noted: the note of an earlier run; True: any
    """
    notes = [NOTE if noted is True else noted] if noted else []
    vm = StandIn(place, devices=devices, objects=["m0"] if devices is PLAIN else [],
                 chardevs=["c0", *notes] if devices is DOORBELL else [], **settings)
    peers = [{"id": 0, "pid": vm.pid}, *({"id": at + 1, "pid": 1} for at in range(others))]
    if told is not None:
        peers[0]["told_leaves"] = told
    control = place.add(Control(place.dir / "control", lambda: {"peers": peers}))
    return vm, ["detach", "d0", "--control", control.path]


@pytest.mark.parametrize("command", PLAIN_COMMANDS)
def test_refused_at_each_command(place, command):
    """If QEMU refuses a command, the steps before it are undone."""
    make_region(place)
    vm = StandIn(place, fail={command: "refuse"})
    reason = vm.refused("attach", "--region", place.shm)
    name = command.split("#")[0]
    assert f"QEMU refuses {name}: {name} is refused" in reason or "lacks the device" in reason or \
        "hot-plug" in reason
    vm.check_nothing_left()


@pytest.mark.parametrize("kind", ["hang", "close"])
@pytest.mark.parametrize("command", PLAIN_COMMANDS)
def test_no_answer_to_each_command(place, command, kind):
    """If the monitor does not answer, or closes the connection, the tool names what may be left,
    and "detach" removes it once the monitor answers again."""
    make_region(place)
    vm = StandIn(place, fail={command: kind})
    reason = vm.refused("attach", "--region", place.shm, environment=FAST)
    name = command.split("#")[0]
    expected = {"hang": f"hung: no answer to {name} in 10 s", "close": "closed the connection"}
    assert expected[kind] in reason
    assert ("the steps cannot be undone" in reason) == PLAIN_COMMANDS[command]
    if PLAIN_COMMANDS[command]:
        left = "object" if name == "object-add" else "device"
        assert f"may still have the {left} ivshmem0" in reason
        vm.run("detach", "ivshmem0")
    vm.check_nothing_left()


@pytest.mark.parametrize("kind", ["refuse", "hang", "close"])
@pytest.mark.parametrize("command", SERVER_COMMANDS)
def test_failures_with_a_server(place, command, kind):
    """The same with a server. Even to undo a step, the tool unplugs a doorbell device only after
    all checks."""
    server = place.server("-n", VECTORS, "-l", "1M")
    vm = StandIn(place, fail={command: kind}, kvm=True)
    reason = vm.refused("attach", "--server", server.socket, environment=FAST)
    if kind == "refuse" and command == "query-pci#2":
        assert "ivshmem0 stays plugged in" in reason
        assert set(vm.state()["devices"]) == {"rp0", "ivshmem0"}
    elif kind == "refuse" or not SERVER_COMMANDS[command]:
        vm.check_nothing_left()
    else:
        assert "the steps cannot be undone" in reason
        assert ("the device ivshmem0" in reason) == (command != "chardev-add")


@pytest.mark.parametrize("server", [False, True])
@pytest.mark.parametrize("unplugs", [1, 2, 3])
def test_guest_unplugs_the_device_at_once(place, server, unplugs):
    """A guest that is still completing an earlier unplug may unplug the new device, too. Then it is
    plugged in again, with a new backend; a backend that QEMU does not give up immediately is
    removed a little later."""
    if server:
        running = place.server("-n", VECTORS, "-l", "1M")
        words = ["attach", "--server", running.socket]
    else:
        make_region(place)
        words = ["attach", "--region", place.shm]
    vm = StandIn(place, unplugs=unplugs, busy_backends=3, kvm=not server, fds=4)
    if unplugs < 3:
        told = vm.json(*words)
        state = vm.state()
        assert set(state["devices"]) == {"rp0", "ivshmem0"}
        assert [name for name in state["objects"] + state["chardevs"] if "-fd-" not in name] == [
            told["backend"]]
    else:
        assert "the guest has immediately unplugged ivshmem0" in vm.refused(*words)
        vm.check_nothing_left()
        state = vm.state()
    assert state["counts"]["device_add"] == min(unplugs + 1, 3)
    assert bool(state["kept"]) == server  # placeholders for the fds that QEMU has closed


def test_memory_of_an_unplugged_device_is_awaited(place):
    """QEMU aborts if a doorbell device is plugged in before the memory of one that was unplugged is
    freed, so "attach" waits for that."""
    server = place.server("-n", VECTORS, "-l", "1M")
    vm = StandIn(place, late_blocks=5, kvm=True)
    vm.run("attach", "--server", server.socket)
    assert vm.state()["counts"]["human-monitor-command"] == 6
    held = StandIn(place, late_blocks=10 ** 6, kvm=True)
    assert "QEMU has not freed the memory of a doorbell device that was unplugged" in held.refused(
        "attach", "--server", server.socket, environment=FAST)
    held.check_nothing_left()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to run the tool as another user")
def test_device_is_not_plugged_in_again_without_placeholders(place):
    """If QEMU needs placeholders, but the tool cannot read /proc/PID/fd, the device that the guest
    has unplugged is not plugged in again: QEMU could die."""
    place.dir.chmod(0o777)
    server = place.server("-n", VECTORS, "-l", "1M", "--socket-mode", "0666")
    vm = StandIn(place, unplugs=1, fds=4)
    os.chmod(vm.socket, 0o777)
    tool = place.dir / "ivshmem"  # the folder of the build may be private
    tool.write_bytes(TOOL.read_bytes())
    tool.chmod(0o755)
    done = place.run("setpriv", "--reuid=65534", tool, "attach", "--qmp", vm.socket, "--server",
                     server.socket)
    assert done.returncode == 1
    assert "the guest has immediately unplugged ivshmem0" in done.stderr
    assert vm.state()["counts"]["device_add"] == 1


def test_hung_monitor(place):
    """If the monitor sends no greeting, it is hung, or another program is connected to it."""
    vm = StandIn(place)
    os.kill(vm.pid, signal.SIGSTOP)
    reason = vm.refused("detach", "ivshmem0", environment=FAST)
    os.kill(vm.pid, signal.SIGCONT)
    assert "is hung, with no greeting in 10 s" in reason
    assert "another program is connected" in reason


@pytest.mark.parametrize("version, ready", [([7, 2, 22], False), ([10, 0, 13], False),
                                            ([10, 1, 0], True), ([11, 1, 3], True)])
def test_device_of_another_program(place, version, ready):
    """vfio-user needs QEMU 10.1; the socket must belong to a running program."""
    device = place.start(place.device_program, "-v", "--socket", place.dir / "vmm", "--region",
                         f"shm:{place.shm}", "--size", "1M")
    device.err.wait("waiting for a VMM")
    vm = StandIn(place, version=version)
    if ready:
        assert vm.json("attach", "--device", place.dir / "vmm")["driver"] == "vfio-user-pci"
        assert vm.state()["devices"]["ivshmem0"][1]["socket"] == {
            "type": "unix", "path": str(place.dir / "vmm")}
    else:
        reason = vm.refused("attach", "--device", place.dir / "vmm")
        assert "lacks the device vfio-user-pci: it needs QEMU 10.1" in reason
        vm.check_nothing_left()


@pytest.mark.parametrize("bars, done", [(False, True), (True, False)])
def test_detach_device_of_another_program(place, bars, done):
    """A vfio-user device with doorbells is not unplugged, because QEMU would abort."""
    devices = {"d0": ["vfio-user-pci", {"bus": "rp0"}]}
    vm = StandIn(place, version=[11, 1, 3], devices=devices, doorbell_bars=bars)
    if done:
        vm.run("detach", "d0")
        vm.check_nothing_left()
    else:
        assert "QEMU aborts when a vfio-user device with doorbells" in vm.refused("detach", "d0")
        assert "d0" in vm.state()["devices"]


#: Whether the server tells QEMU of leaves (None: it does not say), number of other peers, version,
#: KVM, options -> part of the refusal, or None
RULES = [
    (True, 0, [7, 2, 22], True, [], "has told this QEMU that a peer left"),
    (True, 0, [11, 1, 3], False, [], "has told this QEMU that a peer left"),
    (None, 0, [7, 2, 22], True, [], "is too old to say"),
    (False, 0, [7, 2, 22], True, [], None),
    (False, 3, [7, 2, 22], True, [], None),
    (False, 3, [11, 1, 3], True, [], None),
    (False, 0, [7, 2, 22], False, [], None),
    (False, 1, [7, 2, 22], False, [], "while it is unplugged, and 1 other client of the"),
    (False, 2, [7, 2, 22], False, ["--no-rings"], None),
    (False, 2, [9, 2, 0], False, [], "while it is unplugged, and 2 other clients of the"),
    (False, 2, [10, 0, 13], False, [], None),
    (False, 0, [11, 1, 3], False, [], None),
    (False, 1, [11, 1, 3], False, ["--no-rings"], "at any time after it was unplugged"),
    (False, 1, [10, 2, 0], False, [], "at any time after it was unplugged"),
]


@pytest.mark.parametrize("told, others, version, kvm, options, refusal", RULES)
def test_rules_for_doorbells(place, told, others, version, kvm, options, refusal):
    """A doorbell device is unplugged only if the VM survives. Otherwise, nothing is changed, and
    the reason says what to do instead."""
    vm, words = detachable(place, DOORBELL, told, others, version=version, kvm=kvm, fds=4)
    if refusal:
        reason = vm.refused(*words, *options)
        assert refusal in reason and "it is safe to shut down or reset the VM" in reason
        state = vm.state()
        assert "d0" in state["devices"] and state["chardevs"] == ["c0"]
        assert "device_del" not in state["counts"]
    else:
        said = vm.run(*words, *options).out.text()
        assert "detached d0; removed the character device c0" in said
        vm.check_nothing_left()
        # Without KVM, each fd that was closed has been replaced, except in QEMU 11.1.
        assert bool(vm.state()["kept"]) == (not kvm and version < [11, 1])


def test_too_many_fds(place):
    """If more fds might have to be replaced than the tool replaces, nothing is unplugged."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 16384:
        pytest.skip("the limit of open files is too low")
    vm, words = detachable(place, DOORBELL, high_fd=16384)
    assert "with the number 16384" in vm.refused(*words)
    assert "device_del" not in vm.state()["counts"]


def test_client_connects_during_the_checks(place):
    """The server is queried again immediately before the request."""
    vm, words = detachable(place, DOORBELL)
    replies = [[{"id": 0, "pid": vm.pid, "told_leaves": False}]]
    replies.append([*replies[0], {"id": 1, "pid": 1}])
    control = place.add(Control(place.dir / "changing", lambda: {"peers": replies.pop(0)}))
    reason = vm.refused(*words[:2], "--control", control.path)
    assert "1 other client of the server" in reason
    state = vm.state()
    assert "device_del" not in state["counts"] and state["chardevs"] == ["c0"]


def test_unknown_servers(place):
    """Without the right control socket, nothing is known about a doorbell device."""
    vm, words = detachable(place, DOORBELL, kvm=True)
    assert "Give the server's control socket with --control PATH. Or leave the device" in \
        vm.refused(*words[:2])
    other = place.add(Control(place.dir / "other", lambda: {"peers": []}))
    reason = vm.refused(*words[:2], "--control", other.path)
    assert f"--control PATH: the server ({other.path}) has no client with QEMU's pid" in reason
    assert "there is no socket" in vm.refused(*words[:2], "--control", place.dir / "none")
    vm.run(*words)


def test_placeholders_need_proc(place):
    """If a QEMU needs placeholders, but the tool cannot read /proc/PID/fd, a doorbell device is not
    unplugged. (The monitor's socket belongs to a process that is not QEMU.)"""
    vm, words = detachable(place, DOORBELL, version=[10, 0, 13])
    vm.run(*words)
    vm.check_nothing_left()
    kept = vm.state()["kept"]
    assert len(kept) == len(set(kept))


@pytest.mark.parametrize("release", ["deleted", "silent", "busy", "pending"])
@pytest.mark.parametrize("devices", [PLAIN, DOORBELL])
def test_ways_to_release(place, release, devices):
    """The tool removes what the device used, however QEMU reports that the device is gone."""
    vm, words = detachable(place, devices, release=release, kvm=True)
    vm.run(*words, environment=FAST)
    vm.check_nothing_left()


def test_guest_refuses(place):
    """If the guest refuses to release the device, it stays."""
    vm, words = detachable(place, DOORBELL, release="refused", fds=4)
    assert "the guest refuses to release d0" in vm.refused(*words)
    state = vm.state()
    assert "d0" in state["devices"] and state["chardevs"] == ["c0"]


@pytest.mark.parametrize("noted", [False, True])
@pytest.mark.parametrize("release", ["never", "always busy"])
def test_guest_does_not_answer(place, release, noted):
    """If a request is not acknowledged in time, the tool exits with a status of its own, even if
    QEMU accepted the request in an earlier run. As long as a request may be pending, the note about
    QEMU's fds stays."""
    vm, words = detachable(place, DOORBELL, noted=noted, release=release, fds=4)
    unknown = release == "always busy" and not noted
    reason = vm.refused(*words, "--timeout", "1", status=1 if unknown else 3, environment=FAST)
    if unknown:
        assert "the guest is still busy with the port of d0" in reason
        assert "An earlier request, if there was one, stays" in reason
    else:
        assert "the unplug of d0 was requested, but the guest has not released it in time" in reason
    assert len(vm.state()["chardevs"]) == (1 if unknown else 2)  # with a note about QEMU's fds


@pytest.mark.parametrize("number", [signal.SIGKILL, None])
@pytest.mark.parametrize("devices", [PLAIN, DOORBELL])
def test_pending_request_is_seen(place, devices, number):
    """QEMU does not show that a request is pending. The tool makes a note of it in the VM, which
    remains if the tool is killed, and plugs in nothing until the device is gone."""
    make_region(place)
    vm, words = detachable(place, devices, release="never", kvm=True)
    if number:
        process = vm.start(*words, "--timeout", "600")
        vm.await_command("device_del")
        process.signal(number)
        process.wait()
    else:
        vm.refused(*words, "--timeout", "1", status=3, environment=FAST)
    state = vm.state()
    assert "d0-fds-0" in state["chardevs"] and state["counts"]["device_del"] == 1
    reason = vm.refused("attach", "--region", place.shm)
    assert 'the unplug of d0 is not complete: run "ivshmem detach --qmp' in reason


@pytest.mark.parametrize("noted", [False, True])
def test_refused_request_after_a_note(place, noted):
    """If QEMU refuses the request, for example while the VM is being migrated, a note of this run
    is removed, and a note of an earlier run stays."""
    vm, words = detachable(place, DOORBELL, noted=noted, fail={"device_del": "refuse"})
    assert "device_del is refused" in vm.refused(*words)
    assert vm.state()["chardevs"] == ["c0", *[NOTE] * noted]


@pytest.mark.parametrize("noted", [False, True])
def test_interrupted_while_busy(place, noted):
    """If the tool is interrupted before QEMU has accepted its request, it says that an earlier
    request stays pending."""
    vm, words = detachable(place, DOORBELL, noted=noted, release="always busy")
    process = vm.start(*words, "--timeout", "600")
    wait_until(lambda: blocks_sigint(process.pid), "the tool holds signals")
    process.signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    expected = "the unplug of d0 was requested" if noted else "an earlier request, if there was"
    assert "interrupted: " in process.err.text() and expected in process.err.text()
    assert vm.state()["chardevs"] == ["c0", *[NOTE] * noted]


@pytest.mark.parametrize("noted", [False, True])
@pytest.mark.parametrize("command", ["query-chardev", "qom-list#3", "chardev-add"])
def test_released_during_the_checks(place, command, noted):
    """If the guest releases the device because of an earlier request while the tool is still
    checking, the fds that were closed are replaced all the same."""
    vm, words = detachable(place, DOORBELL, noted=noted and "d0-fds-1", released_after=command,
                           fds=4)
    vm.run(*words)
    vm.check_nothing_left()
    state = vm.state()
    assert len(state["closed"]) == 4 and set(state["closed"]) <= set(state["kept"])


def test_two_notes(place):
    """If an earlier run could not remove the note of the run before it, the note with the higher
    number counts."""
    vm = StandIn(place, chardevs=["ivshmem0-fds-30", "ivshmem0-fds-9"])
    vm.run("detach", "ivshmem0")
    assert max(vm.state()["kept"]) == 30 and vm.state()["chardevs"] == ["ivshmem0-fds-9"]
    vm.run("detach", "ivshmem0")
    assert vm.state()["chardevs"] == []


@pytest.mark.parametrize("command, left", [("chardev-add", ["d0-fds-1"]),
                                           ("chardev-remove", ["d0-fds-1", "d0-fds-"])])
def test_note_is_replaced_safely(place, command, left):
    """The note of an earlier run is removed only after a new note has been made."""
    vm, words = detachable(place, DOORBELL, noted="d0-fds-1", fail={command: "refuse"}, fds=4)
    assert f"{command} is refused" in vm.refused(*words)
    state = vm.state()
    assert "device_del" not in state["counts"]
    assert [name.startswith(start) for name, start in zip(state["chardevs"], ["c0", *left],
                                                          strict=True)] == [True] * (len(left) + 1)


def test_released_later(place):
    """When the device is gone after an earlier request, the tool removes what the device used, and
    replaces the fds that were closed."""
    note = "ivshmem0-fds-30"
    vm = StandIn(place, chardevs=["ivshmem0-chr-0123abcd", note, "other", "ivshmem0-chr-x"])
    said = vm.run("detach", "ivshmem0").out.text()
    assert "was released earlier: ivshmem0; removed the character device" in said
    state = vm.state()
    assert state["chardevs"] == ["other", "ivshmem0-chr-x"]
    assert max(state["kept"]) == 30
    assert 'has no device "ivshmem0"' in vm.refused("detach", "ivshmem0")


@pytest.mark.parametrize("command", ["device_del", "query-status#2", "query-status#3",
                                     "chardev-remove"])
def test_monitor_lost_during_detach(place, command):
    """If the connection to the monitor is lost, the tool says what is left in the VM."""
    vm, words = detachable(place, DOORBELL, kvm=True, fail={command: "close"})
    reason = vm.refused(*words)
    assert "closed the connection" in reason
    assert "Unless QEMU has ended, the VM still has the character device c0" in reason


@pytest.mark.parametrize("state, answers", [("paused", False), ("running", True)])
def test_paused_vm(place, state, answers):
    """A guest that is not running releases nothing, so nothing is requested."""
    vm, words = detachable(place, PLAIN, state=state)
    if answers:
        vm.run(*words)
        return
    assert "the VM is not running (paused)" in vm.refused(*words)
    assert "device_del" not in vm.state()["counts"]


def test_interrupted_attach(place):
    """After an interruption, the steps are undone."""
    make_region(place)
    vm = StandIn(place, enabled=False)
    process = vm.start("attach", "--region", place.shm, "--timeout", "600")
    wait_until(lambda: blocks_sigint(process.pid), "the tool holds signals")
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    vm.check_nothing_left()


def test_interrupted_detach(place):
    """After an interruption, the request stays pending, and the tool says so."""
    vm, words = detachable(place, PLAIN, release="never")
    process = vm.start(*words, "--timeout", "600")
    wait_until(lambda: blocks_sigint(process.pid), "the tool holds signals")
    process.signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    assert "interrupted: the unplug of d0 was requested" in process.err.text()


def test_other_devices(place):
    """A device of another kind is not unplugged."""
    vm = StandIn(place, devices={"nic0": ["e1000", {"bus": "rp0"}]})
    assert '"nic0" is not an ivshmem device but e1000' in vm.refused("detach", "nic0")
    assert "nic0" in vm.state()["devices"]


def test_fd_limit(place):
    """A QEMU that would run out of fds is not given a doorbell device."""
    server = place.server("-n", VECTORS, "-l", "1M")
    place.add(RawClient(server.socket, VECTORS).greeting())
    vm = StandIn(place)
    place.run("prlimit", "--pid", vm.pid, "--nofile=30:30")
    reason = vm.refused("attach", "--server", server.socket)
    assert "2 clients with 2 vectors each need 36: raise its limit" in reason
    vm.check_nothing_left()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a file system")
@pytest.mark.parametrize("file, reason", [(False, "cannot find"), (True, "is a different file")])
def test_other_mounts(place, file, reason):
    """A QEMU with other mounts would create the region's file, or use a different one."""
    make_region(place)
    create = f"truncate -s 1M {place.shm_path}" if file else ":"
    vm = StandIn(place, f"mount -t tmpfs none /dev/shm; {create}")
    assert reason in vm.refused("attach", "--region", place.shm)
    vm.check_nothing_left()
