# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem migrate with stand-ins for QEMU's monitor: replies and failures that a real QEMU does not
produce, or not at the right moment. In each case the tool says which VM runs, and never has both
run."""
import json
import signal

import pytest

from support.py import stand_in_vm
from support.py.attach import Control
from support.py.config import TOOL

ACTIVE = {"status": "active", "ram": {"total": 1 << 30, "remaining": 1 << 29}}
COMPLETED = {"status": "completed", "ram": {"total": 1 << 30}}
FAILED = {"status": "failed", "error-desc": "\x1b[31mno\nluck"}
CANCELLED = {"status": "cancelled"}
RUNNING = {"status": "running", "running": True}
WAITS = {"status": "inmigrate", "running": False}
STOPPED = {"status": "postmigrate", "running": False}
PAUSED = {"status": "paused", "running": False}
FINISHING = {"status": "finish-migrate", "running": False}
END, HANG, DROP, REFUSE, IGNORE = (
    {"do": name} for name in ("end", "hang", "drop", "refuse", "ignore"))


class Stage:
    """A source and a destination that act according to scripts."""

    def __init__(self, place, source, destination):
        self.place = place
        self.source, source_path = stand_in_vm.start(place, "a", source)
        self.destination, destination_path = stand_in_vm.start(
            place, "b", {"query-status": [WAITS], **destination}, "-incoming", "defer")
        self.words = [TOOL, "migrate", "--qmp", source_path, "--to", "unix:/none", "--to-qmp",
                      destination_path, "--json"]

    def run(self, *more):
        """Migrate. Return: the completed process, and which VM runs."""
        done = self.place.run(*self.words, *more, timeout=100)
        lines = done.stdout.splitlines()
        assert "\x1b" not in done.stderr
        return done, json.loads(lines[-1])["runs"] if lines else None

    def called(self, process, name):
        """How often a command was run."""
        return process.out.text().splitlines().count(name)


@pytest.fixture(name="stage")
def stage_fixture(place, fast_clock):  # pylint: disable=unused-argument
    """Start the actors; time limits expire sooner."""
    return lambda source, destination: Stage(place, source, destination)


def test_success(stage):
    """The destination is polled until it is running."""
    acts = stage({"query-migrate": [{}, ACTIVE, ACTIVE, COMPLETED]},
                 {"query-status": [WAITS, WAITS, WAITS, RUNNING]})
    done, runs = acts.run()
    assert done.returncode == 0 and runs == "destination", done
    acts.source.end()
    assert not acts.called(acts.source, "cont") and not acts.called(acts.source, "quit")


def test_destination_ends_after_completion(stage):
    """If the destination ends after the source has completed, the source continues, once the
    process is dead."""
    acts = stage({"query-migrate": [{}, COMPLETED], "query-status": [RUNNING, STOPPED, RUNNING]},
                 {"query-status": [WAITS, WAITS, END]})
    done, runs = acts.run()
    assert done.returncode == 1 and runs == "source", done
    assert "the source has completed, but the destination has ended" in done.stderr
    assert "the source is running: VM stand-in (monitor " in done.stderr
    acts.source.end()
    assert acts.called(acts.source, "cont") == 1


@pytest.mark.parametrize("end", [HANG, DROP], ids=["hang", "drop"])
def test_destination_is_silent_after_completion(stage, end):
    """If the destination lives but does not answer, it may run, so the source is not continued."""
    acts = stage({"query-migrate": [{}, COMPLETED], "query-status": [RUNNING, STOPPED]},
                 {"query-status": [WAITS, WAITS, end]})
    done, runs = acts.run()
    assert done.returncode == 1 and runs == "unknown", done
    assert "it is not known whether the destination is running: VM stand-in" in done.stderr
    assert "only if its process has ended, resume the source (cont)" in done.stderr
    acts.source.end()
    assert not acts.called(acts.source, "cont") and acts.destination.popen.poll() is None


def test_destination_does_not_start(stage):
    """A migration whose destination never runs is not reported as a success."""
    acts = stage({"query-migrate": [{}, COMPLETED], "query-status": [RUNNING, STOPPED]}, {})
    done, runs = acts.run()
    assert runs == "unknown" and 'the destination is in the state "inmigrate"' in done.stderr
    acts.source.end()
    assert not acts.called(acts.source, "cont")


def test_cancelled_too_late(stage):
    """If the destination had started before the source was cancelled, both are running, and the
    destination is stopped."""
    acts = stage({"query-migrate": [{}, ACTIVE, CANCELLED]}, {"query-status": [WAITS, RUNNING]})
    done, runs = acts.run()
    assert runs == "source" and "the destination had already started; it has been stopped" in \
        done.stderr, done
    acts.destination.end()
    assert acts.called(acts.destination, "stop") == 1


def test_failed_after_the_destination_started(stage):
    """If the source has failed and is stopped, but the destination is running, the destination is
    taken to be the VM."""
    acts = stage({"query-migrate": [{}, FAILED], "query-status": [RUNNING, STOPPED]},
                 {"query-status": [WAITS, RUNNING]})
    done, runs = acts.run()
    assert done.returncode == 1 and runs == "destination"
    assert "the destination had already started, and is running" in done.stderr
    assert "the migration has failed: ?[31mno?luck" in done.stderr
    acts.source.end()
    assert not acts.called(acts.source, "cont")


def test_source_is_left_paused(stage):
    """A source that QEMU leaves paused after a failure is resumed."""
    acts = stage({"query-migrate": [{}, FAILED], "query-status": [RUNNING, PAUSED, RUNNING]}, {})
    done, runs = acts.run()
    assert done.returncode == 1 and runs == "source" and "the source is running: " in done.stderr
    acts.source.end()
    assert acts.called(acts.source, "cont") == 1


def test_monitor_is_cut(stage):
    """QEMU continues a migration without a monitor, so the tool connects again."""
    acts = stage({"query-migrate": [{}, ACTIVE, DROP, ACTIVE, COMPLETED]},
                 {"query-status": [WAITS, RUNNING]})
    done, runs = acts.run()
    assert done.returncode == 0 and runs == "destination", done
    acts.source.end()
    assert acts.called(acts.source, "qmp_capabilities") == 2


def test_destination_starts_after_the_failure(stage):
    """A destination that is still loading when the source has given up may start a moment later."""
    acts = stage({"query-migrate": [{}, ACTIVE, FAILED], "query-status": [RUNNING, STOPPED]},
                 {"query-status": [WAITS, WAITS, WAITS, RUNNING], "query-migrate": [{}, ACTIVE]})
    done, runs = acts.run()
    assert runs == "destination"
    assert "the destination had already started, and is running" in done.stderr
    acts.source.end()
    assert not acts.called(acts.source, "cont")


def test_destination_loads_for_ever(stage):
    """A destination that is loading may start at any time, so a stopped source is not continued."""
    acts = stage({"query-migrate": [{}, ACTIVE, FAILED], "query-status": [RUNNING, STOPPED]},
                 {"query-migrate": [{}, ACTIVE]})
    done, runs = acts.run()
    assert runs == "unknown" and "the destination is still loading" in done.stderr
    acts.source.end()
    assert not acts.called(acts.source, "cont")


@pytest.mark.parametrize("end", [HANG, DROP], ids=["hang", "drop"])
@pytest.mark.parametrize("source, runs", [
    ([RUNNING, PAUSED], "unknown"), ([RUNNING], "source"),
    ([RUNNING, {"events": ["STOP"], **RUNNING}], "unknown"),
], ids=["paused", "running", "stopped meanwhile"])
def test_destination_is_silent_after_the_failure(stage, end, source, runs):
    """If the destination does not answer after the source has failed, it may run, unless the source
    has never been stopped."""
    acts = stage({"query-migrate": [{}, ACTIVE, FAILED], "query-status": source},
                 {"query-status": [WAITS, end]})
    done, told = acts.run()
    assert done.returncode == 1 and told == runs, done
    acts.source.end()
    assert not acts.called(acts.source, "cont")


def test_destination_does_not_answer_once(stage):
    """A destination that answers late, or drops a connection, is asked again."""
    acts = stage({"query-migrate": [{}, ACTIVE, FAILED], "query-status": [RUNNING, PAUSED]},
                 {"query-status": [WAITS, IGNORE, DROP, RUNNING]})
    done, runs = acts.run()
    assert runs == "destination", done
    acts.source.end()
    assert not acts.called(acts.source, "cont")


@pytest.mark.parametrize("status", [FAILED, COMPLETED], ids=["failed", "completed"])
def test_destination_had_run(stage, status):
    """If the destination has ended, but its events show that it had run, the source is not
    continued, because its memory is older."""
    acts = stage({"query-migrate": [{}, ACTIVE, status], "query-status": [RUNNING, STOPPED]},
                 {"query-status": [WAITS, {"events": ["RESUME", "SHUTDOWN"], **END}]})
    done, runs = acts.run()
    assert runs == "unknown", done
    assert "the destination has ended, and may have run before: VM stand-in" in done.stderr
    acts.source.end()
    assert not acts.called(acts.source, "cont")


def test_source_is_about_to_run(stage):
    """While the source is in a temporary state, it is not taken to be stopped."""
    acts = stage({"query-migrate": [{}, ACTIVE, CANCELLED],
                  "query-status": [RUNNING, FINISHING, FINISHING, RUNNING]},
                 {"query-status": [WAITS, RUNNING]})
    done, runs = acts.run()
    assert runs == "source", done
    acts.destination.end()
    assert acts.called(acts.destination, "stop") == 1


def test_source_answers_late(stage):
    """A source that answers late is queried again."""
    acts = stage({"query-migrate": [{}, ACTIVE, IGNORE, ACTIVE, COMPLETED]},
                 {"query-status": [WAITS, RUNNING]})
    done, runs = acts.run()
    assert done.returncode == 0 and runs == "destination", done
    assert "the migration may still be running, so the source is queried again" in done.stderr


@pytest.mark.parametrize("script", [
    {"query-migrate": [{}, ACTIVE, HANG]},
    {"query-migrate": [{}, ACTIVE], "migrate_cancel": [IGNORE]},
    {"query-migrate": [{}, ACTIVE]},
], ids=["hung", "unanswered cancel", "never ends"])
def test_source_does_not_give_up(stage, script):
    """If the source is not known to have given up, the migration may still be running, so peers
    stay stopped."""
    acts = stage(script, {})
    peer, path = stand_in_vm.start(acts.place, "c", {})
    done, runs = acts.run("--timeout", "1", "--peer", path)
    assert done.returncode == 1 and runs == "unknown", done
    assert "the migration may still be running" in done.stderr
    assert f"VM stand-in (monitor {path}) is left stopped" in done.stderr
    peer.end()
    assert acts.called(peer, "stop") == 1 and not acts.called(peer, "cont")


def test_cancel_is_repeated(stage):
    """If the monitor drops the connection, the tool sends the command to cancel the migration
    again."""
    acts = stage({"query-migrate": [{}, *[ACTIVE] * 40, CANCELLED], "migrate_cancel": [DROP, {}]},
                 {})
    done, runs = acts.run("--timeout", "1")
    assert runs == "source" and "the migration is cancelled" in done.stderr, done
    acts.source.end()
    assert acts.called(acts.source, "migrate_cancel") == 2


@pytest.mark.parametrize("status", [{}, {"status": "none"}], ids=["absent", "none"])
def test_migration_has_not_begun(stage, status):
    """A migration that never begins is reported."""
    acts = stage({"migrate": [DROP], "query-migrate": [status]}, {})
    done, runs = acts.run()
    assert runs == "source" and "the source has not begun to migrate" in done.stderr, done


def test_destination_is_paused_after_completion(stage):
    """A destination that was started with -S is resumed, because the source was running."""
    acts = stage({"query-migrate": [{}, COMPLETED], "query-status": [RUNNING, STOPPED]},
                 {"query-status": [WAITS, PAUSED, PAUSED, PAUSED, RUNNING]})
    done, runs = acts.run()
    assert done.returncode == 0 and runs == "destination", done
    acts.destination.end()
    assert acts.called(acts.destination, "cont") == 1


def test_peer_does_not_answer(stage):
    """A peer that does not answer "stop" may have stopped, so it is resumed."""
    acts = stage({}, {})
    peer, path = stand_in_vm.start(acts.place, "c", {"stop": [IGNORE]})
    done, _ = acts.run("--peer", path)
    assert done.returncode == 1 and "no answer to stop" in done.stderr
    peer.end()
    assert acts.called(peer, "cont") == 1


@pytest.mark.parametrize("script, message", [
    ({"migrate-set-capabilities": [REFUSE]}, "QEMU refuses migrate-set-capabilities"),
    ({"migrate": [REFUSE]}, "QEMU refuses migrate: as the script says"),
])
def test_refused_by_the_source(stage, script, message):
    """If the source refuses a step, nothing has been migrated, and the source is running."""
    done, runs = stage(script, {}).run()
    assert done.returncode == 1 and message in done.stderr and runs == "source"
    assert "nothing has been migrated. The source is running: VM stand-in" in done.stderr
    assert ("start it again before the next attempt" in done.stderr) == ("migrate" in script)


def test_unanswered_migrate(stage):
    """Without an answer to migrate, the source is asked whether it has begun."""
    acts = stage({"migrate": [DROP], "query-migrate": [{}, ACTIVE, COMPLETED]},
                 {"query-status": [WAITS, RUNNING]})
    done, runs = acts.run()
    assert done.returncode == 0 and runs == "destination", done


def test_source_ends(stage):
    """If the source ends, the VM is lost unless the destination has started."""
    done, runs = stage({"query-migrate": [{}, ACTIVE, END]}, {}).run()
    assert runs == "unknown" and "the source has ended during the migration" in done.stderr


def test_source_ends_after_the_destination_has_started(stage):
    """If the source ends, but the destination is running, the destination
    is taken to be the VM."""
    acts = stage({"query-migrate": [{}, ACTIVE, END]}, {"query-status": [WAITS, RUNNING]})
    done, runs = acts.run()
    assert runs == "destination" and "the destination is running: VM stand-in" in done.stderr


@pytest.mark.parametrize("reply", [
    {"status": 5, "ram": 7}, {"status": "active", "ram": {"total": -5, "mbps": "x"}},
    {"status": "x" * 100000}, {"blocked-reasons": [["x"]], "status": "completed"},
])
def test_odd_replies(stage, reply):
    """The tool survives replies of any form."""
    acts = stage({"query-migrate": [{}, reply, COMPLETED]}, {"query-status": [WAITS, RUNNING]})
    done, _ = acts.run()
    assert done.returncode in (0, 1), done


def test_blocked(stage):
    """The tool prints QEMU's reason for refusing a migration."""
    acts = stage({"query-migrate": [{"blocked-reasons": ["device \x1b[1m is odd"]}]}, {})
    done, runs = acts.run()
    assert "QEMU refuses to migrate the source: device ?[1m is odd" in done.stderr
    assert runs == "as before"


@pytest.mark.parametrize("script, sentence", [
    ({"qom-list": [[{"name": f"d{i}", "type": "child<ivshmem-plain>"} for i in range(17)], []],
      "qom-get": [0]}, "has more than 16 ivshmem devices"),
    ({"human-monitor-command": ["".join(f"b{i} 4 KiB 0x0 0x1 0x2\r\n" for i in range(257))]},
     "has more than 256 RAM blocks"),
], ids=["devices", "blocks"])
def test_limits(stage, script, sentence):
    """A VM with more devices or RAM blocks than the tool can compare is not migrated."""
    done, runs = stage(script, {}).run()
    assert runs == "as before" and f"  the source {sentence}" in done.stderr, done
    assert "limits" in {each["name"] for each in json.loads(done.stdout)["problems"]}


def test_forwarded(stage):
    """A VM whose monitor is forwarded is migrated only with --force, and the forwarder's exit is
    not mistaken for the VM's."""
    acts = stage({"query-migrate": [{}, {}, ACTIVE, FAILED],
                  "query-status": [RUNNING, RUNNING, STOPPED]}, {})
    _, path = stand_in_vm.start(acts.place, "c", {"query-status": [WAITS, WAITS, END]},
                                program="socat")
    acts.words[acts.words.index("--to-qmp") + 1] = path
    done, runs = acts.run()
    assert runs == "as before" and "the destination is not a process on this host" in done.stderr
    assert "make sure that they do not, and use --force" in done.stderr
    done, runs = acts.run("--force")
    assert runs == "unknown", done
    acts.source.end()
    assert not acts.called(acts.source, "cont")


#: A port, and a doorbell device behind it that is a peer
PORT = {"qom-get /machine/peripheral/rp0 addr": [8],
        "qom-get /machine/peripheral/rp0 parent_bus": ["/machine/q35/pcie.0"]}
PEER = {**PORT,
        "qom-list /machine/peripheral": [[{"name": "db0", "type": "child<ivshmem-doorbell>"}]],
        "qom-get /machine/peripheral/db0 parent_bus": ["/machine/peripheral/rp0/rp0"],
        "qom-get /machine/peripheral/db0/ivshmem.bar2[0] size": [1 << 20],
        "device_del": [{"events": [{"event": "DEVICE_DELETED", "data": {"device": "db0"}}]}],
        "query-migrate": [{}, ACTIVE, COMPLETED],
        **{f"qom-get /machine/peripheral/db0 {name}": [value] for name, value in
           (("addr", 0), ("master", "off"), ("vectors", 2), ("chardev", "c0"))}}
BLOCK = "0000:00:01.0:00.0/ivshmem.bar2 4 KiB 0x0 0x100000 0x100000\r\n"


def peer_stage(place, stage, source=None, destination=None, maps=None):
    """Start VMs with KVM, of which the source is a peer of a server with other clients. Return: the
    stage, and the tool's options. maps: a file that the source maps"""
    server = place.server("-n", "2", "-l", "1M")
    acts = stage({**PEER, **({"map": str(maps)} if maps else {}), **(source or {})},
                 {**PORT, "query-status": [WAITS, WAITS, RUNNING], **(destination or {})})
    peers = [{"pid": acts.source.pid, "told_leaves": False}, {"pid": 1, "told_leaves": False}]
    control = place.add(Control(place.dir / "control", lambda: {
        "peers": peers, "socket": str(server.socket), "region": {"path": None}}))
    return acts, ["--control", control.path]


def test_peer_with_kvm(place, stage):
    """With KVM, a peer is unplugged and plugged in although others may ring it. QEMU frees the
    device's memory some time after the device has gone, and is migrated only after that."""
    acts, words = peer_stage(place, stage, {"human-monitor-command": ["", BLOCK, BLOCK, ""]})
    done, runs = acts.run(*words)
    assert done.returncode == 0 and runs == "destination", done
    acts.source.end()
    acts.destination.end()
    calls = [name for name in acts.source.out.text().splitlines() if name in (
        "chardev-add", "device_del", "chardev-remove", "human-monitor-command", "migrate", "getfd")]
    assert calls == ["human-monitor-command", "chardev-add", "device_del", "chardev-remove",
                     "chardev-remove", *["human-monitor-command"] * 3, "migrate"]
    assert acts.called(acts.destination, "chardev-add") == 1
    assert acts.called(acts.destination, "device_add") == 1


def test_memory_is_not_freed(place, stage):
    """If QEMU does not free the memory, the destination would not accept it, so the VM is not
    migrated. The device is not plugged in again either, because QEMU would abort."""
    acts, words = peer_stage(place, stage, {"human-monitor-command": ["", BLOCK]})
    done, runs = acts.run(*words)
    assert done.returncode == 1 and runs == "as before", done
    assert "QEMU has not freed the memory of db0 within 10 s of the unplug" in done.stderr
    assert "is running without db0, which cannot be plugged in again: the reason" in done.stderr
    acts.source.end()
    assert not acts.called(acts.source, "device_add") and not acts.called(acts.source, "migrate")


@pytest.mark.parametrize("frees", [True, False])
def test_second_device_is_pending(place, stage, frees):
    """Plain devices are unplugged first: if the guest does not release one, the doorbell device is
    still plugged in.
    If the guest does not release the doorbell device, the plain one is plugged in again."""
    plain = {f"qom-get /machine/peripheral/pl0 {name}": [value] for name, value in (
        ("addr", 0), ("master", "off"), ("memdev", "/objects/m0"),
        ("parent_bus", "/machine/peripheral/rp0/rp0"))}
    region = place.dir / "region"
    region.write_bytes(bytes(1 << 20))
    backend = {f"qom-get /objects/m0 {name}": [value] for name, value in (
        ("size", 1 << 20), ("mem-path", str(region)), ("share", True), ("offset", 0),
        ("readonly", False), ("rom", "off"), ("pmem", False))}
    both = [{"name": name, "type": f"child<ivshmem-{kind}>"} for name, kind in (
        ("db0", "doorbell"), ("pl0", "plain"))]
    deleted = [{"events": [{"event": "DEVICE_DELETED", "data": {"device": "pl0"}}]}]
    source = {**plain, **backend, "qom-list /machine/peripheral": [both],
              "device_del": [{}], "device_del pl0": deleted if frees else [{}]}
    acts, words = peer_stage(place, stage, source, maps=region)
    done, runs = acts.run(*words)
    assert done.returncode == 3 and runs == "as before", done
    name = "db0" if frees else "pl0"
    assert f"the unplug of {name} was requested, but the guest has not released it in time" in \
        done.stderr
    acts.source.end()
    assert acts.called(acts.source, "device_del") == 1 + frees
    assert acts.called(acts.source, "device_add") == frees


@pytest.mark.parametrize("command", ["chardev-add", "device_add"])
def test_peer_cannot_be_plugged_in(place, stage, command):
    """If the destination refuses the device, it runs without the device, and the message says
    so."""
    acts, words = peer_stage(place, stage, {}, {command: [REFUSE]})
    done, runs = acts.run(*words)
    assert done.returncode == 1 and runs == "destination", done
    assert f"QEMU refuses {command}: as the script says" in done.stderr
    assert "is running without db0, which cannot be plugged in again: the reason" in done.stderr


def test_peer_is_interrupted(place, stage):
    """An interruption while the tool waits for the guest to release the device leaves the VM as it
    is."""
    acts, words = peer_stage(place, stage, {"device_del": [{}]})
    process = place.start(*acts.words, *words)
    acts.source.out.wait("device_del")
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    assert "interrupted: the unplug of db0 was requested" in process.err.text()
    assert json.loads(process.out.text())["runs"] == "as before"
    acts.source.end()
    assert not acts.called(acts.source, "migrate") and not acts.called(acts.source,
                                                                       "chardev-remove")


@pytest.mark.parametrize("told", [None, False])
def test_old_server(place, stage, told):
    """If the destination's server is too old, the VM's device cannot be unplugged any more after
    the tool has joined to ring, and has left. A note says so."""
    scripts = [{key.replace("db0", "iv"): value for key, value in {
        **PEER, "qom-get /machine/peripheral/db0 master": ["on"],
        "qom-list /machine/peripheral": [[{"name": "iv", "type": "child<ivshmem-doorbell>"}]],
        **more}.items()} for more in ({}, {"query-migrate": [{}],
                                          "query-status": [WAITS, WAITS, RUNNING]})]
    acts = stage(*scripts)
    peers = [{"pid": acts.destination.pid} | ({} if told is None else {"told_leaves": told})]
    control = place.add(Control(place.dir / "control", lambda: {"peers": peers}))
    done, runs = acts.run("--control", control.path)
    assert done.returncode == 0 and runs == "destination", done
    assert ("is too old to say whether it tells QEMUs" in done.stderr) == (told is None)


@pytest.mark.parametrize("role", ["source", "peer"])
def test_libvirt(stage, role):
    """Domains of libvirt are left to libvirt."""
    acts = stage({}, {})
    _, path = stand_in_vm.start(acts.place, "c", {}, "-chardev",
                                "socket,id=charmonitor,path=/none,server=on")
    if role == "source":
        acts.words[acts.words.index("--qmp") + 1] = path
    done, runs = acts.run(*(["--peer", path] if role == "peer" else []))
    assert runs == "as before" and "is a domain of libvirt" in done.stderr, done
