# SPDX-License-Identifier: BSD-3-Clause
"""Guests with six devices each, and their host: peers of two regions, which pass messages through
channels.

A guest has three devices that are connected to a server (doorbell), and three whose memory is a
file (plain). Of each three, the library reaches one through the driver, one through vfio and one
through sysfs.
"""
import itertools
import os
import signal
import socket

from guestkit import driver, initramfs, kernel, machine, qmp
from support.py.programs import Lines, wait_until

TRANSPORTS = ("driver", "vfio", "sysfs")
DEVICES = ("doorbell", "plain")
LETTERS = "abh"
#: seconds; for a boot, and for a command that takes less than a second on an idle machine
PATIENCE = 120
SIZE = 64 << 20

# Run each line of the console in the background. What the line N prints has the prefix "jN> ", and
# at the end it prints "exit STATUS".
_RUN = """
stty -echo
ifconfig lo 127.0.0.1
for bdf in {vfio} {sysfs}; do
	echo "$bdf" >/sys/bus/pci/devices/$bdf/driver/unbind
done 2>/dev/null
for bdf in {vfio}; do
	echo vfio-pci >/sys/bus/pci/devices/$bdf/driver_override
	echo $bdf >/sys/bus/pci/drivers_probe
done
for bdf in {sysfs}; do
	echo none >/sys/bus/pci/devices/$bdf/driver_override
done
insmod /modules/ivshmem.ko
echo ready
n=0
while read -r line; do
	n=$((n + 1))
	{{ (eval "$line"); echo "exit $?"; }} 2>&1 </dev/null | while IFS= read -r said; do
		echo "j$n> $said"
	done &
done
"""


def _slot(device, transport):
    return 0x10 + len(TRANSPORTS) * DEVICES.index(device) + TRANSPORTS.index(transport)


def _bdf(device, transport):
    return f"0000:00:{_slot(device, transport):02x}.0"


class Job:
    """A command that runs in a guest."""

    def __init__(self, guest, number):
        self._guest = guest
        self._prefix = f"j{number}> "

    def wait(self, text, times=1, timeout=PATIENCE):
        """Wait until it has printed @times lines that begin with a text. Return: the last one."""
        return self._clean(self._guest.lines.wait(self._prefix + text, times, timeout))

    def _clean(self, line):
        return line[len(self._prefix):].rstrip("\r")

    def finish(self, status=0, timeout=PATIENCE):
        """Wait until it has exited with this status. Return: its output as a list of lines."""
        ended = self.wait("exit ", timeout=timeout)
        seen = [self._clean(line) for line in self._guest.lines.seen
                if line.startswith(self._prefix)]
        assert ended == f"exit {status}", "\n".join(seen[-20:])
        return seen[:-1]

    def status(self):
        """Return: its exit status, or None while it runs."""
        found = [line for line in self._guest.lines.seen if line.startswith(f"{self._prefix}exit ")]
        return int(found[0].split()[2]) if found else None

    def wait_for_end(self):
        """Wait until it has ended, with any status."""
        self.wait("exit ")

    def signal(self, name="TERM"):
        """Send a signal to the command, which start_program() has started."""
        pid = self.wait("pid ").split()[1]
        self._guest.start(f"kill -{name} {pid}").finish()


class Guest:
    """A guest that runs commands; close() ends it."""

    def __init__(self, place, letter, devices):
        found = kernel.find()
        image = place.dir / f"{letter}.img"
        script = _RUN.format(**{transport: " ".join(_bdf(device, transport) for device in DEVICES)
                                for transport in TRANSPORTS})
        initramfs.build(image, found, script, modules=initramfs.VFIO,
                        extra_modules=[driver.module(found)], programs=[
                            (place.build / "test/channel-load-static", "channel-load"),
                            (place.build / "tools/ivshmem-static", "ivshmem")])
        # With one processor, TCG's atomic operations are not atomic for processes on the host.
        self._machine = machine.Guest(letter, found, image, f"{image}.log", devices=devices,
                                      iommu=True, cpus=2, serial=str(place.dir / f"{letter}.con"),
                                      await_serial=True)
        place.add(self)
        self._socket = qmp.connect(self._machine.serial_path, 20)
        self.lines = Lines(self._socket)
        self._numbers = itertools.count(1)

    def wait_until_ready(self):
        """Wait until the guest has booted."""
        self.lines.wait("ready", timeout=PATIENCE)

    def start(self, command):
        """Start a command of the shell. Return: a Job."""
        self._socket.sendall(command.encode() + b"\n")
        return Job(self, next(self._numbers))

    def start_program(self, command):
        """Start a program to which Job.signal() can send a signal. Return: a Job."""
        return self.start(f"sh -c 'echo pid $$; exec {command}'")

    def run(self, command, timeout=PATIENCE):
        """Run a command. Return: its output as a list of lines."""
        return self.start(command).finish(timeout=timeout)

    def kill(self):
        """Kill QEMU, as if it had crashed."""
        os.kill(self._machine.pid, signal.SIGKILL)
        assert self._machine.wait(PATIENCE) == -signal.SIGKILL
        self.close()

    def close(self):
        """End the guest."""
        if self._socket:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # QEMU has ended
            self.lines.text()
            self._socket.close()
            self._socket = None
        self._machine.stop()


class HostJob:
    """A command that runs on the host."""

    def __init__(self, process):
        self._process = process

    def wait(self, text, times=1, timeout=PATIENCE):
        """Wait until it has printed @times lines with a text. Return: the last one."""
        return self._process.out.wait(text, times, timeout)

    def finish(self, status=0, timeout=PATIENCE):
        """Wait until it has exited with this status. Return: its output as a list of lines."""
        ended = self._process.wait(timeout)
        assert ended == status, "\n".join(self._process.out.seen[-20:])
        return self._process.out.seen

    def status(self):
        """Return: its exit status, or None while it runs."""
        return self._process.popen.poll()

    def wait_for_end(self):
        """Wait until it has ended, with any status."""
        self._process.wait(PATIENCE)

    def signal(self, name="TERM"):
        """Send a signal to the command, which start_program() has started."""
        self._process.signal(signal.Signals[f"SIG{name}"])


def finish_all(jobs, timeout=PATIENCE):
    """Wait until all jobs have ended with status 0. Return: their outputs. If one fails, do not
    wait for the others, which may wait for it."""
    wait_until(lambda: any(job.status() for job in jobs) or
               all(job.status() is not None for job in jobs), "all jobs end", timeout)
    failed = [job for job in jobs if job.status()]
    return [job.finish() for job in failed or jobs]


class Host:
    """The host, which runs commands as the guests do."""

    def __init__(self, place):
        self._place = place
        programs = f"{place.build}/test:{place.build}/tools"
        self._environment = {"PATH": f"{programs}:{os.environ['PATH']}"}

    def start(self, command):
        """Start a command of the shell. Return: a HostJob."""
        return HostJob(self._place.start("sh", "-c", f"exec 2>&1; {command}",
                                         environment=self._environment))

    def start_program(self, command):
        """Start a program to which HostJob.signal() can send a signal. Return: a HostJob."""
        return self.start(f"exec {command}")

    def run(self, command, timeout=PATIENCE):
        """Run a command. Return: its output as a list of lines."""
        return self.start(command).finish(timeout=timeout)


class Machines:
    """Two guests a and b, and the host h, which share two regions."""

    def __init__(self, place):
        self._place = place
        self._server = place.server("-n", "1", "-l", str(SIZE), "--roster",
                                    region=["-r", "memfd:"])
        with open(place.shm_path, "wb") as region:
            region.truncate(SIZE)
        self._machines = {"h": Host(place)}
        for letter in "ab":
            self.boot(letter)
        for letter in "ab":
            self[letter].wait_until_ready()

    def __getitem__(self, letter):
        return self._machines[letter]

    def boot(self, letter):
        """Start a guest, which need not be ready. Return: the guest."""
        devices = []
        for device, transport in itertools.product(DEVICES, TRANSPORTS):
            ident = f"{device}-{transport}"
            bus = f"pcie.0,addr={_slot(device, transport):#x}"
            if device == "doorbell":
                devices += machine.doorbell(self._server.socket, 1, ident, bus)
            else:
                devices += machine.plain(self._place.shm_path, SIZE, ident, bus)
        self._machines[letter] = Guest(self._place, letter, devices)
        return self._machines[letter]

    def address(self, letter, device, transport):
        """Return: the address of a region at a guest or at the host, which ignores @transport."""
        if letter != "h":
            return f"pci:{_bdf(device, transport)}"
        if device == "doorbell":
            return f"unix:{self._server.socket}"
        return f"shm:{self._place.shm}"

    def options(self, letter, device, transport):
        """Return: an address, and the option --section if it is needed."""
        return self.address(letter, device, transport) + \
            ("" if device == "doorbell" else f" --section {section(letter, device, transport)}")


def section(letter, device, transport):
    """Return: the section of a peer, "id" or a number: each device of a guest has its own."""
    if device == "doorbell":
        return "id"
    return len(TRANSPORTS) * LETTERS.index(letter) + TRANSPORTS.index(transport)
