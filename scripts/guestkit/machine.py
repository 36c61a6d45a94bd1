# SPDX-License-Identifier: BSD-3-Clause
"""Run one guest: QEMU with a kernel, an initramfs, and a console whose output is written to a file.

    with Guest("a", kernel.find(), "a.img", "a.log", env={"role": "x"}) as guest:
        status = int(guest.wait_for(r"^guest: exit (\\d+)", 60).group(1))

Environment: IVSHMEM_ACCEL (kvm or tcg) overrides the accelerator, IVSHMEM_QEMU the QEMU program.
"""

import contextlib
import json
import os
import re
import shlex
import socket
import threading

from . import qmp as qmp_module
from .proc import KitError, Process, find_program, tail_of, wait_for_text

#: Interrupts in user space need a virtual IOMMU, whose interrupt remapping needs the split irqchip.
#: With a vfio-user device, QEMU aborts when the guest enables an IOMMU without caching mode.
IOMMU_MACHINE = "q35,kernel-irqchip=split"
IOMMU_DEVICE = "intel-iommu,intremap=on,caching-mode=on"

#: Do not offer cmpxchg16b to the guest. Under QEMU 7.2, Linux 6.12 has crashed in kmalloc() right
#: after this instruction, with half of RAX in the flags. Linux does not need the instruction.
_EMULATED = "max,-cx16"

#: Boot on one CPU; init.sh starts the others. During boot Linux patches its code by means of a
#: breakpoint. If another CPU is running at that time, QEMU 7.2's emulation (not 11.1's) can keep a
#: stale breakpoint, which Linux then hits forever. This happened in about one of several hundred
#: boots, often without a message.
_ONE_AFTER_THE_OTHER = "maxcpus=1"

#: Kernel parameters that shorten the boot by not probing for absent hardware
_FAST_BOOT = "no_timer_check tsc=reliable i8042.noaux=1 i8042.nokbd=1 8250.nr_uarts=1 " \
             "cryptomgr.notests"


def accelerator():
    """Return: "kvm" if it works, otherwise "tcg".

    KVM is not used if /proc/cpuinfo lists neither vmx nor svm: on some virtual machines /dev/kvm
    can then be opened, but guests hang in the firmware.
    """
    forced = os.environ.get("IVSHMEM_ACCEL")
    if forced:
        if forced not in ("kvm", "tcg"):
            raise KitError(f"IVSHMEM_ACCEL={forced} is invalid; use kvm or tcg")
        return forced
    with open("/proc/cpuinfo") as f:
        if not re.search(r"^flags\s*:.*\b(vmx|svm)\b", f.read(), re.M):
            return "tcg"
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return "tcg"
    return "kvm"


def qemu_program():
    program = os.environ.get("IVSHMEM_QEMU") or find_program("qemu-system-x86_64")
    if not program:
        raise KitError("qemu-system-x86_64 is missing: install the package qemu-system-x86")
    return program


def escaped(path):
    """Return: a path, escaped for use as a value in a QEMU option."""
    return str(path).replace(",", ",,")


def doorbell(socket_path, vectors, ident="ivshmem0", bus=None):
    """Return: QEMU arguments for an ivshmem-doorbell device that connects to a server's socket."""
    place = f",bus={bus}" if bus else ""
    return ["-chardev", f"socket,id=c-{ident},path={escaped(socket_path)}",
            "-device", f"ivshmem-doorbell,id={ident},chardev=c-{ident},vectors={vectors}{place}"]


def plain(path, size, ident="ivshmem0", bus=None):
    """Return: QEMU arguments for an ivshmem-plain device whose region is a file, such as
    /dev/shm/NAME."""
    place = f",bus={bus}" if bus else ""
    return ["-object", f"memory-backend-file,id=m-{ident},share=on,mem-path={escaped(path)},"
                       f"size={size}",
            "-device", f"ivshmem-plain,id={ident},memdev=m-{ident}{place}"]


def vfio_user(socket_path, ident="ivshmem0", bus=None):
    """Return: QEMU arguments for a vfio-user device that a program serves on a socket. Only the
    QEMU of vfio_user_qemu.find() is certain to accept them."""
    device = {"driver": "vfio-user-pci", "id": ident,
              "socket": {"type": "unix", "path": str(socket_path)}}
    return ["-device", json.dumps(device | ({"bus": bus} if bus else {}))]


class Guest:
    """A running guest.

    name       the guest's name, for messages
    kernel     a kernel_image.Kernel
    initramfs path of an initramfs created by initramfs.build()
    log        path of the console log, which is truncated; QEMU's own output is in log + ".qemu"
    devices    more QEMU arguments, for instance doorbell(...)
    qemu       first words of QEMU's command line; None: qemu_program()
    iommu      whether to add a virtual IOMMU, for interrupts in user space
    bind       driver to bind the ivshmem devices to ("vfio-pci" needs iommu=True), or None
    env        environment of the guest's /run; values must not contain spaces or quotes
    append     more kernel parameters
    memory     the guest's memory in MiB
    stay       if true, the guest does not power off after /run
    qmp        path of a control socket for guest.qmp()
    serial     path of a socket for the console, for guest.send()
    await_serial  delay the boot until a client is connected to serial, so that it misses no output
    keep       if true, the guest may outlive this process; see proc.Process
    """

    def __init__(self, name, kernel, initramfs, log, devices=(), iommu=False, bind=None, env=None,
                 append="", memory=256, cpus=1, stay=False, qmp=None, serial=None,
                 await_serial=False, keep=False, qemu=None):
        self.name = name
        self.log = str(log)
        self.qmp_path = qmp
        self.serial_path = serial
        self._qmp = None
        self._serial = None
        env = dict(env or {})
        if bind:
            env["GUEST_BIND"] = bind
        if stay:
            env["GUEST_STAY"] = "1"
        self.argv = [*(qemu or [qemu_program()]),
                     *_arguments(name, kernel, initramfs, self.log, devices, iommu,
                                 f"{_words(env)} {append}".strip(), memory, cpus, qmp, serial,
                                 await_serial)]
        for path in (self.log, self.log + ".qemu"):
            open(path, "wb").close()
        self._process = Process(name, self.argv, self.log + ".qemu", keep=keep)
        self.pid = self._process.pid

    def status(self):
        """Return: QEMU's exit status, or None while QEMU runs."""
        return self._process.status()

    def text(self):
        """Return: the console output so far."""
        with open(self.log, "rb") as f:
            return f.read().decode("utf-8", "replace").replace("\r", "")

    def tail(self, lines=15):
        """Return: the last lines of the console and of QEMU's own output."""
        said = tail_of(self.log + ".qemu", 5)
        return tail_of(self.log, lines) + [f"qemu: {line}" for line in said]

    def wait_for(self, regex, timeout, start=0):
        """Wait until the console's output matches the regex (re.M) at or after offset @start.
        Return: the match.

        Pass match.end() as @start to wait for later output. Raises KitError with the last lines of
        the console on a timeout, or if QEMU exits first.
        """
        return wait_for_text(self, regex, timeout, start)

    def wait(self, timeout):
        """Wait until QEMU exits. Return: its exit status, or None after the timeout."""
        return self._process.wait(timeout)

    def describe_end(self):
        return self._process.describe_end()

    def qmp(self):
        """Return: the connection to QEMU's control socket. The first call connects."""
        if not self._qmp:
            self._qmp = qmp_module.Qmp(self.qmp_path)
        return self._qmp

    def send(self, line):
        """Send a line to the console, which the guest's /run or /stay reads."""
        if not self._serial:
            self._serial = qmp_module.connect(self.serial_path, 20)
            threading.Thread(target=_drain, args=(self._serial,), daemon=True).start()
        self._serial.sendall(line.encode() + b"\n")

    def command_line(self):
        """Return: the QEMU command, for messages."""
        return shlex.join(self.argv)

    def stop(self):
        """Kill QEMU, because the guest has no state to save. Never raises."""
        if self._qmp:
            self._qmp.close()
        if self._serial:
            with contextlib.suppress(OSError):
                self._serial.shutdown(socket.SHUT_RDWR)  # also makes _drain() return
            self._serial.close()
        self._qmp = self._serial = None
        self._process.stop(grace=3)

    def detach(self):
        self._process.detach()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def _drain(connection):
    """Discard the console's output from the socket, because it is also in the log. If nothing read
    the socket, the guest would block after about 300 characters, because each character occupies a
    separate buffer in the socket."""
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def _words(env):
    for name, value in env.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or re.search(r"[\s\"']", str(value)):
            raise ValueError(f"{name}={value!r} cannot be passed on a kernel command line")
    return " ".join(f"{name}={value}" for name, value in env.items())


def _arguments(name, kernel, initramfs, log, devices, iommu, append, memory, cpus, qmp, serial,
               await_serial):
    accel = accelerator()
    argv = ["-name", name, "-nodefaults", "-no-user-config",
            "-M", IOMMU_MACHINE if iommu else "q35", "-accel", accel,
            "-cpu", "host" if accel == "kvm" else _EMULATED, "-m", str(memory), "-smp", str(cpus),
            "-display", "none", "-no-reboot"]
    if serial:
        wait = "on" if await_serial else "off"
        argv += ["-chardev", f"socket,id=console,server=on,wait={wait},path={escaped(serial)},"
                             f"logfile={escaped(log)}"]
    else:
        argv += ["-chardev", f"file,id=console,path={escaped(log)}"]
    argv += ["-serial", "chardev:console"]
    if qmp:
        argv += ["-qmp", f"unix:{escaped(qmp)},server=on,wait=off"]
    if iommu:
        argv += ["-device", IOMMU_DEVICE]
        append = f"intel_iommu=on {append}"
    if cpus > 1:
        append = f"{_ONE_AFTER_THE_OTHER} {append}"
    argv += list(devices)
    return argv + ["-kernel", str(kernel.image), "-initrd", str(initramfs),
                   "-append", f"console=ttyS0 panic=-1 quiet {_FAST_BOOT} {append}".strip()]
