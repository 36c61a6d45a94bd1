# SPDX-License-Identifier: BSD-3-Clause
"""Running "ivshmem attach" and "ivshmem detach" with VMs, and looking at what the VMs have
afterwards."""
import json
import os
import pathlib
import signal
import socket
import sys
import threading

from guestkit import machine
from guestkit.qmp import Qmp
from support.py import bare_vm
from support.py.config import TOOL
from support.py.control import ask_once
from support.py.paths import BUILD, SOURCE
from support.py.programs import TIMEOUT, wait_until

MIB = 1 << 20
NODE = "/dev/ivshmem0"
VECTORS = 2
#: Ports with windows for larger regions
PORTS = [word for at in range(2) for word in
         ("-device", f"pcie-root-port,id=rp{at},chassis={at + 1},slot={at + 1},"
                     "pref64-reserve=64M")]
#: Let the ports' own controllers handle hot-plug, instead of ACPI.
NATIVE = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
I440FX = ["-M", "pc"]
#: Environment in which the tool's time limits expire ten times as fast
FAST = {"LD_PRELOAD": BUILD / "test" / "libfast-clock.so", "IVS_CLOCK_RATE": 10,
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
_STAND_IN = SOURCE / "test" / "support" / "py" / "stand_in_qemu.py"


class Control:
    """A stand-in for a server's control socket.

    status: a function that returns the status to send
    """

    def __init__(self, path, status):
        self.path = str(path)
        self.status = status
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                sock.recv(4096)
                sock.sendall(json.dumps(self.status()).encode() + b"\n")

    def close(self):
        """Stop answering."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        os.unlink(self.path)


class Tool:
    """The tool, used with one VM.

    socket: path of the monitor that the tool uses
    """

    def __init__(self, place, socket_path):
        self.place = place
        self.socket = socket_path

    def start(self, command, *words, **keywords):
        """Start the tool. Return: the process."""
        return self.place.start(TOOL, command, "--qmp", self.socket, *words, **keywords)

    def run(self, command, *words, status=0, environment=None):
        """Run the tool, and check its exit status. Return: the process, which has ended."""
        process = self.start(command, *words, environment=environment)
        found = process.wait(3 * TIMEOUT)
        assert found == status, f"{found}: {process.out.text()}{process.err.text()}"
        return process

    def json(self, command, *words, **keywords):
        """Run the tool with --json. Return: what it prints."""
        return json.loads(self.run(command, *words, "--json", **keywords).out.text())

    def refused(self, command, *words, status=1, **keywords):
        """Run the tool, which must fail and print nothing but a reason. Return: the reason."""
        process = self.run(command, *words, status=status, **keywords)
        assert not process.out.text()
        return process.err.text()


class Vm(Tool):
    """A VM with a monitor for the tool, and another one for the test.

    shell: the guest, a device_guest.Shell; None: the VM has no operating system
    pid:   QEMU's pid
    """

    def __init__(self, place, *arguments, bare=False, paused=False, **options):
        number = len(list(place.dir.glob("tool*.qmp")))
        super().__init__(place, place.dir / f"tool{number}.qmp")
        self.shell = None
        monitor = ["-qmp", f"unix:{self.socket},server=on,wait=off", *arguments]
        path = place.dir / f"test{number}.qmp"
        if bare:
            process = place.start(machine.qemu_program(), *bare_vm.MACHINE, *["-S"] * paused,
                                  "-qmp", f"unix:{path},server=on,wait=off", *monitor)
            self.process = process
            self.pid = process.pid
            self.qmp = place.add(Qmp(path))
        else:
            from support.py import device_guest  # needs a newer QEMU, even if it is not used
            self.shell = device_guest.launch(place, monitor, qmp=str(path), **options)
            self.pid = self.shell.guest.pid
            self.qmp = self.shell.guest.qmp()
        self._before = self.left()

    def boot(self, driver=True):
        """Wait until the guest has booted, and load the driver."""
        self.shell.await_ready()
        if driver:
            self.shell.insert()
        return self

    def await_firmware(self):
        """Wait until the firmware has enabled the ports, after which it enables no device."""
        wait_until(lambda: all(region["address"] != -1
                               for bus in self.qmp.command("query-pci")
                               for device in bus["devices"] if device["qdev_id"].startswith("rp")
                               for region in device["regions"]), "the firmware is ready")

    def await_node(self):
        """Wait until the guest's driver has bound a device."""
        self.shell.run(f"until [ -e {NODE} ]; do sleep 0.05; done")

    def names(self, path):
        """Return: the names of an object's children."""
        return {each["name"] for each in self.qmp.command("qom-list", path=path)
                if each["type"].startswith("child<")}

    def left(self):
        """Return: the devices, objects and character devices that the VM has."""
        return (self.names("/machine/peripheral"), self.names("/objects"),
                {each["label"] for each in self.qmp.command("query-chardev")})

    def check_nothing_left(self):
        """Check that the VM is alive and has what it had at first."""
        assert self.qmp.command("query-status")["status"] in ("running", "prelaunch", "paused")
        assert self.left() == self._before

    def fds(self):
        """Return: the numbers of QEMU's fds."""
        return {int(entry.name) for entry in pathlib.Path(f"/proc/{self.pid}/fd").iterdir()}


class StandIn(Tool):
    """A stand-in for QEMU, for what the installed QEMUs cannot show: KVM, other versions, and
    failures at a certain command. Its settings are described in stand_in_qemu.py.

    shell: commands to run first, in a mount namespace of its own; None: there is none
    """

    def __init__(self, place, shell=None, **settings):
        super().__init__(place, place.dir / f"stand-in{len(list(place.dir.glob('stand-in*')))}")
        self._process = place.start(*["unshare", "-m"] * bool(shell), "bash", "-ec",
                                    f'{shell or ":"}; exec -a qemu-system-x86_64 "$0" "$@"',
                                    sys.executable, _STAND_IN, self.socket, json.dumps(settings))
        self._process.out.wait("listening")
        self.pid = self._process.pid

    def state(self):
        """Return: the devices, objects, character devices and commands of the stand-in."""
        qmp = Qmp(self.socket)
        try:
            return qmp.command("stand-in-state")
        finally:
            qmp.close()

    def await_command(self, name):
        """Wait until the stand-in has been given a command."""
        self._process.out.wait(name)

    def check_nothing_left(self):
        """Check that the stand-in has neither devices, objects nor character devices."""
        state = self.state()
        assert not state["objects"] and not state["chardevs"]
        assert {name for name in state["devices"] if not name.startswith("rp")} == set()


def blocks_sigint(pid):
    """Return: whether a process blocks SIGINT."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        blocked = next(line for line in file if line.startswith("SigBlk:"))
    return int(blocked.split()[1], 16) & 1 << signal.SIGINT - 1


def make_region(place, size=MIB):
    """Create a region. Return: its path."""
    with open(place.shm_path, "wb") as file:
        file.truncate(size)
    return place.shm_path


def start_server(place, *options, told=False):
    """Start a server. Return: the server, and the path of its control socket or, unless @told is
    False, of a stand-in. The stand-in says that the server tells QEMU of leaves; if @told is None,
    it does not say whether the server does."""
    real = place.dir / "real.control"
    server = place.server("-n", VECTORS, "-l", "1M", "--control", real, *options)
    if told is False:
        return server, real

    def status():
        reply = ask_once(real)
        for peer in reply["peers"]:
            del peer["told_leaves"]
            if told:
                peer["told_leaves"] = True
        return reply

    return server, place.add(Control(place.dir / "control", status)).path
