# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem doctor: the rules about VMs, each proven by a fault, and by its cure."""
import os
import shutil
import signal
import subprocess
import sys

import pytest

from support.py import stand_in_vm
from support.py.control import ask_once
from support.py.device import Devices
from support.py.control_answer import Answer
from support.py.doctor import Report, examine, prove, proves, run_command
from support.py.listing import MIB, TOOL, make, maps, run_apart, start_plain, start_vm
from support.py.programs import wait_until

NOBODY = 65534

#: A program that stands for a QEMU without ivshmem devices; it reads its input until that ends.
WITHOUT_DEVICES = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "-version") && HANGS)
		pause();
	if (argc > 1 && !strcmp(argv[1], "-version"))
		return puts("QEMU emulator version 6.2.0 (stand-in)") == EOF;
	if (argc > 2 && !strcmp(argv[1], "-device") && !strcmp(argv[2], "help"))
		return puts("name \"virtio-net-pci\", bus PCI") == EOF;
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
"""

#: Stands for QEMU's own ivshmem-server. Arguments: "-S", socket, file. It has loaded GLib.
OTHER_SERVER = """
import ctypes, os, socket, struct, sys
ctypes.CDLL("libglib-2.0.so.0")
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
listener.listen()
print("listening", flush=True)
peer, _ = listener.accept()
memory = os.open(sys.argv[3], os.O_RDWR)
for value, fds in ((0, []), (0, []), (-1, [memory]), (0, [os.eventfd(0)])):
    socket.send_fds(peer, [struct.pack("<q", value)], fds)
peer.recv(1)
"""


def stop(process):
    """End a program that is to be started again."""
    process.signal(signal.SIGTERM)
    process.wait()


def plain(place, size="1M", options="", device="", name="one"):
    """Start a VM with ivshmem-plain and wait until it maps the region."""
    vm = start_vm(place, name, "-object",
                  f"memory-backend-file,id=m,mem-path={place.shm_path},size={size},share=on"
                  + options, "-device", "ivshmem-plain,memdev=m" + device, machine="q35")
    wait_until(lambda: maps(vm, place.shm), "the VM maps the region")
    return vm


def serve(place, vectors=1, *options):
    """Start a server whose region remains when it ends, and which can be asked."""
    if not place.shm_path.exists():
        make(place.shm_path)
    return place.server("-l", "1M", "-n", vectors, "--control", place.dir / "control", *options)


def is_greeted(place, vm):
    """Whether the server has greeted the VM, and the VM has read all of that."""
    status = ask_once(place.dir / "control")
    return status["in_flight"] == 0 and \
        [peer["greeted"] for peer in status["peers"] if peer["pid"] == vm.pid] == [True]


def doorbell(place, vectors=1, chardev="", ready=True, before=()):
    """Start a VM with ivshmem-doorbell, and wait until it has read the server's greeting."""
    arguments = ("-chardev", f"socket,id=c,path={place.socket}{chardev}", "-device",
                 f"ivshmem-doorbell,chardev=c,vectors={vectors}")
    vm = place.start(*before, "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg",
                     "-nodefaults", "-display", "none", "-S", "-m", "16", "-name", "guest=bell",
                     *arguments)
    if ready:
        wait_until(lambda: maps(vm, place.shm) and is_greeted(place, vm), "the VM has joined")
    return vm


class Cure:
    """A cure that replaces a VM, so that the doctor is asked about another process afterwards."""

    def __init__(self, rule, vm, start, *words):
        self.finding = examine("--vm", str(vm.pid), *words).one(rule)
        stop(vm)
        self.vm = start()
        after = examine("--vm", str(self.vm.pid), *words)
        assert not after.findings, after.findings


@proves("vm-size")
def test_larger_file(place):
    """A VM that sees half of the file is started again with the file's size."""
    make(place.shm_path, 2 * MIB)
    cure = Cure("vm-size", plain(place), lambda: plain(place, "2M"))
    assert "size=2M" in cure.finding["advice"] and "a size of 1M" in cure.finding["found"]


@proves("vm-size")
def test_smaller_file(place):
    """A file that has become smaller than the VM's memory is enlarged."""
    make(place.shm_path)
    vm = plain(place)
    os.truncate(place.shm_path, MIB // 2)
    finding = prove("vm-size", "--vm", str(vm.pid))
    assert finding["command"] == f"truncate -c -s '>{MIB}' {place.shm_path}"
    assert finding["subject"] == f"VM one (pid {vm.pid})"


@proves("vm-discard")
def test_discard(place):
    """A VM whose memory backend discards the content of the region when it ends."""
    place.shm_path.write_bytes(b"x" * MIB)
    place.shm_path.chmod(0o640)
    Cure("vm-discard", plain(place, options=",discard-data=on"), lambda: plain(place))
    assert not place.shm_path.read_bytes().strip(b"\0")


@proves("vm-masters")
def test_masters(place):
    """Two masters of one region; seen from both, and once when all of the region is examined."""
    make(place.shm_path)
    masters = [plain(place, device=",master=on", name=name) for name in ("one", "two")]
    assert examine("--vm", str(masters[1].pid)).one("vm-masters")
    found = examine(place.shm).one("vm-masters")["found"]
    assert "VM one" in found or "VM two" in found

    def restart(_finding):
        stop(masters[1])
        plain(place, name="two")

    prove("vm-masters", "--vm", str(masters[0].pid), cure=restart)


@proves("vm-reconnect")
def test_reconnect(place):
    """With reconnect=, QEMU waits for ever: it does not map the region, and never handles the
    signal that would end it."""
    serve(place)
    vm = doorbell(place, chardev=",reconnect=1", ready=False)
    wait_until(lambda: [peer["pid"] for peer in ask_once(place.dir / "control")["peers"]]
               == [vm.pid], "the VM has connected")

    finding = examine("--vm", str(vm.pid)).one("vm-reconnect")
    assert "character device c" in finding["found"] and not maps(vm, place.shm)
    vm.end()
    assert not examine("--vm", str(doorbell(place).pid)).findings


@proves("vm-server-gone")
@pytest.mark.parametrize("kind", ["absent", "dead", "other"])
def test_server_gone(place, kind):
    """The server ends, and perhaps leaves its socket behind, or is started again."""
    server = serve(place)
    vm = doorbell(place)
    if kind == "dead":
        server.end()
    else:
        server.stop()
    if kind == "other":
        serve(place)
    finding = examine("--vm", str(vm.pid)).one("vm-server-gone")
    text = {"absent": "does not exist", "dead": "no process listens", "other": "does not know"}
    assert text[kind] in finding["found"] and str(place.socket) in finding["found"]
    assert "vm-server-gone" in examine(place.shm).rules
    stop(vm)
    if kind != "other":
        serve(place)
    assert not examine("--vm", str(doorbell(place).pid)).findings


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")
def test_server_of_another_namespace(place):
    """VMs of libvirt run in a mount namespace, which still has the server's socket, or in which a
    file system hides it."""
    serve(place)
    vm = doorbell(place, before=["unshare", "-m"])
    assert not examine("--vm", str(vm.pid)).findings
    place.run("nsenter", "-t", vm.pid, "-m", "mount", "-t", "tmpfs", "none", place.dir)
    assert "does not exist" in examine("--vm", str(vm.pid)).one("vm-server-gone")["found"]
    place.run("nsenter", "-t", vm.pid, "-m", "umount", place.dir)
    for server in place.servers():
        server.end()
    assert "no process" in examine("--vm", str(vm.pid)).one("vm-server-gone")["found"]


@proves("vm-vectors")
def test_vectors(place):
    """A VM with fewer vectors than the server has."""
    serve(place, 4)
    cure = Cure("vm-vectors", doorbell(place, 2), lambda: doorbell(place, 4))
    assert "vectors=2" in cure.finding["found"] and "vectors=4" in cure.finding["advice"]


@proves("vm-nofile")
def test_nofile(place):
    """A VM that may not open as many files as 8 peers of 32 vectors need."""
    serve(place, 32, "--max-peers", 8)
    vm = doorbell(place, 32, before=["sh", "-c", 'ulimit -Sn 200; exec "$@"', "sh"])
    assert prove("vm-nofile", "--vm", str(vm.pid))["command"] == \
        f"prlimit --pid {vm.pid} --nofile=1024:"


@proves("vm-phys-bits")
def test_phys_bits(place):
    """A region that fills the addresses of a CPU. QEMU's emulation supports only one number of
    bits, so a stand-in has the arguments of a VM."""
    make(place.shm_path)

    def start(bits):
        return stand_in_vm.start(
            place, f"bits{bits}", {"map": str(place.shm_path)}, "-cpu",
            f"host,phys-bits={bits}", "-object",
            f"memory-backend-file,id=m,mem-path={place.shm_path},size=1M,share=on", "-device",
            "ivshmem-plain,memdev=m")[0]

    Cure("vm-phys-bits", start(20), lambda: start(40))


@proves("vm-old-device")
def test_old_device(place):
    """A stand-in has arguments of the device that QEMU has no longer; a real QEMU starts with those
    that the printed command prints."""
    make(place.shm_path)
    old, _ = stand_in_vm.start(place, "old", {"map": str(place.shm_path)}, "-device",
                               f"ivshmem,shm={place.shm},size=1M")
    finding = examine("--vm", str(old.pid)).one("vm-old-device")
    assert finding["command"] == f"ivshmem config qemu {place.shm} --size 1M"
    words = [TOOL, *finding["command"].split()[1:]]
    text = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    lines = text.replace("\\\n", " ").splitlines()
    stop(old)
    vm = start_vm(place, "new", *" ".join(line for line in lines if line[:1] == "-").split(),
                  machine="q35")
    wait_until(lambda: maps(vm, place.shm), "the VM maps the region")
    assert not examine("--vm", str(vm.pid)).findings


def test_old_doorbell(place):
    """An old device with a server."""
    old, _ = stand_in_vm.start(place, "old", {}, "-device", "ivshmem,chardev=c,vectors=3",
                               "-chardev", f"socket,id=c,path={place.socket}")
    finding = examine("--vm", str(old.pid)).one("vm-old-device")
    assert finding["command"] == \
        f"ivshmem config qemu {place.socket} --kind doorbell --vectors 3"
    run_command(finding)


def build_without_devices(place, hangs=0):
    """Return: the path of a program that stands for a QEMU without ivshmem devices."""
    program = place.dir / "qemu-system-x86_64"
    source = place.dir / "without.c"
    source.write_text(WITHOUT_DEVICES, encoding="utf-8")
    subprocess.run(["cc", f"-DHANGS={hangs}", "-o", program, source], timeout=60, check=True)
    return program


def start_without_devices(place, program):
    """Start it as a VM."""
    process = place.start(program, "-name", "guest=bare", stdin=subprocess.PIPE)
    process.out.wait("ready")
    return process


@proves("vm-no-ivshmem")
def test_no_ivshmem(place):
    """A QEMU without ivshmem devices is replaced by one that has them."""
    vm = start_without_devices(place, build_without_devices(place))
    cure = Cure("vm-no-ivshmem", vm, lambda: start_vm(place, "bare"))
    assert "version 6.2.0 (stand-in)" in cure.finding["found"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
@pytest.mark.parametrize("part", ["program", "directory", "mode", "namespace", "nosuid"])
def test_strange_program(place, part):
    """A program that another user could have put there is not run."""
    program = build_without_devices(place)
    if part == "program":
        os.chown(program, NOBODY, NOBODY)
    elif part == "directory":
        os.chown(place.dir, NOBODY, NOBODY)
    elif part == "mode":
        program.chmod(0o777)
    if part == "nosuid":  # a user may have mounted it, and chosen the owners of its files
        report = prove_nothing_apart(place, program)
        assert not report.findings
        return
    if part == "namespace":  # another program is at this path for the process
        vm = place.start("unshare", "-m", "sh", "-ec", 'mount --bind /bin/cat "$1"; exec "$1"',
                         "sh", program, stdin=subprocess.PIPE)
        wait_until(lambda: vm_is_cat(vm), "the program runs")
        assert os.readlink(f"/proc/{vm.pid}/exe") == str(program)
    else:
        vm = start_without_devices(place, program)
    assert not examine("--vm", str(vm.pid)).findings


def prove_nothing_apart(place, program):
    """Return: the report about the program, which runs from a file system mounted nosuid."""
    done = run_apart(place, """
mkdir "$1/mount"
mount -t ramfs -o nosuid none "$1/mount"
chmod 755 "$1/mount"
cp "$2" "$1/mount/qemu-system-x86_64"
mkfifo "$1/input"
"$1/mount/qemu-system-x86_64" -name guest=bare < "$1/input" > "$1/output" &
exec 3> "$1/input"
until grep -q ready "$1/output"; do :; done
"$0" doctor --json --vm $!
""", place.dir, program)
    return Report(done.stdout)


def vm_is_cat(vm):
    """Whether the process runs /bin/cat, under whatever name."""
    return os.path.samefile(f"/proc/{vm.pid}/exe", "/bin/cat")


def test_hanging_program(place):
    """A QEMU that does not answer is ended, and nothing is said about its devices."""
    program = build_without_devices(place, hangs=1)
    vm = start_without_devices(place, program)
    assert not examine("--vm", str(vm.pid)).findings
    assert [pid for pid in os.listdir("/proc") if pid.isdigit() and is_program(pid, program)] \
        == [str(vm.pid)]


def is_program(pid, program):
    """Whether the process runs the program."""
    try:
        return os.readlink(f"/proc/{pid}/exe") == str(program)
    except OSError:  # it has ended
        return False


@proves("vm-no-vfio-user")
def test_no_vfio_user(place):
    """A region belongs to a VM and to an ivshmem-device, which the VM's QEMU cannot use."""
    make(place.shm_path)
    device = Devices(place, "--socket", place.dir / "vmm", "--region", f"shm:{place.shm}")
    vm = plain(place)
    if "vfio-user-pci" in place.run("qemu-system-x86_64", "-device", "help").stdout:
        pytest.skip("this QEMU has vfio-user-pci")
    prove("vm-no-vfio-user", "--vm", str(vm.pid), cure=lambda _: stop(device))


@proves("vm-unplug")
def test_unplug(place):
    """A VM of QEMU's server gets a server of this project."""
    make(place.shm_path)
    other = place.start("bash", "-c", 'exec -a ivshmem-server "$@"', "bash", sys.executable, "-c",
                        OTHER_SERVER, "-S", place.socket, place.shm_path)
    other.out.wait("listening")
    vm = doorbell(place, ready=False)
    wait_until(lambda: maps(vm, place.shm), "the VM has joined")

    def start():
        other.end()
        place.socket.unlink()
        serve(place)
        return doorbell(place)

    Cure("vm-unplug", vm, start)
    assert not examine(place.shm).findings


@pytest.mark.parametrize("words", ["vm", "region"])
def test_healthy(place, words):
    """A VM without faults, with each kind of device."""
    serve(place, 2)
    vms = [start_plain(place, "plain", place.shm_path), doorbell(place, 2)]
    for vm in vms:
        report = examine(*(["--vm", str(vm.pid)] if words == "vm" else [place.shm]))
        assert not report.findings, report.findings
        examined = report.whole["examined"]
        assert (examined["regions"], examined["vms"]) == (1, 1 if words == "vm" else 2)


def test_all(place):
    """Without arguments, the doctor examines these VMs, too; what it finds is about others."""
    serve(place)
    vms = [start_plain(place, "plain", place.shm_path), doorbell(place)]
    report = examine()
    assert report.whole["examined"]["vms"] >= 2
    for vm in vms:
        assert not [finding for finding in report.findings
                    if f"(pid {vm.pid})" in finding["subject"]]


def test_unplugged(place):
    """A device that has been unplugged is not one whose server is gone."""
    vm, _ = stand_in_vm.start(place, "bare", {}, "-chardev", f"socket,id=c,path={place.socket}",
                              "-device", "ivshmem-doorbell,chardev=c")
    assert not examine("--vm", str(vm.pid)).findings


@pytest.mark.parametrize("control", ["silent", "absent", "nonsense"])
def test_silent_server(place, control):
    """A program that looks like a server and does not answer does not stop the doctor."""
    script = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[4])
listener.listen()
print("ready", flush=True)
while True:
    peer, _ = listener.accept()
    if sys.argv[5] == "nonsense":
        peer.send(b'{"peers":[7,{"pid":"x"}],"vectors":-1,"limits":7}\\n')
    peer.recv(1000)
    peer.recv(1000)
"""
    path = place.dir / "control"
    server = place.start("bash", "-c", 'exec -a ivshmem-server "$@"', "bash", sys.executable, "-c",
                         script, "-S", place.socket, "--control", path, control)
    assert server.pid
    vm, _ = stand_in_vm.start(place, "bell", {}, "-chardev", f"socket,id=c,path={place.socket}",
                              "-device", "ivshmem-doorbell,chardev=c")
    assert not examine("--vm", str(vm.pid)).findings


def test_hostile_arguments(place):
    """Arguments are text of other users: huge, and with control characters."""
    words = []
    for i in range(2000):
        words += ["-chardev", f"socket,id=\033[31m{i},path=/nonexistent/{'x' * 20}{i}", "-device",
                  f"ivshmem-doorbell,chardev=\033[31m{i},vectors=99999999999999999999"]
    vm, _ = stand_in_vm.start(place, "evil", {}, "-name", "guest=\033[31mevil", "-cpu",
                              "host,phys-bits=99999", "-m", "size=junk", "-overcommit",
                              "mem-lock=", *words)
    done = place.run(TOOL, "doctor", "--vm", vm.pid)
    assert done.returncode in (0, 1, 2) and "\033" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_other_user(place):
    """A user examines root's VM: what cannot be seen is not a fault."""
    serve(place)
    for vm in (start_plain(place, "plain", place.shm_path), doorbell(place)):
        done = subprocess.run([TOOL, "doctor", "--json", "--vm", str(vm.pid)], capture_output=True,
                              text=True, timeout=60, check=False, user=NOBODY, group=NOBODY,
                              extra_groups=[])
        assert '"rule": "vm-' not in done.stdout and "as root" in done.stdout


@pytest.mark.parametrize("words, status, message", [
    (["--vm", "x"], 2, 'invalid pid "x"'),
    (["--vm", "0"], 2, 'invalid pid "0"'),
    (["--vm", "99999999999"], 2, 'invalid pid "99999999999"'),
    (["--vm", "1"], 2, "process 1 is not a VM (QEMU)"),
])
def test_mistakes(place, words, status, message):
    """A mistake is reported."""
    done = place.run(TOOL, "doctor", *words)
    assert done.returncode == status and message in done.stderr and not done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to start a program of another user")
def test_server_of_another_user(place):
    """A process of another user that claims to be the server of a VM is not believed."""
    control = place.dir / "lying-control"
    Answer(place, control, b'{"vectors": 7, "peers": []}\n')
    place.dir.chmod(0o755)
    shutil.copy(shutil.which("bash"), place.dir / "ivshmem-server")
    place.start(place.dir / "ivshmem-server", "-c", "read line", "--socket", str(place.socket),
                "--control", str(control), stdin=subprocess.PIPE, user=NOBODY)
    serve(place)  # later, so that it has a higher pid
    vm = doorbell(place)
    assert not examine("--vm", str(vm.pid)).findings
