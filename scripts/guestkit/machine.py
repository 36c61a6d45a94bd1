# SPDX-License-Identifier: BSD-3-Clause
"""One guest: QEMU with a kernel, an initramfs and its console in a file.

    with Guest("a", kernel.find(), "a.img", "a.log", env={"role": "x"}) as guest:
        status = int(guest.wait_for(r"^guest: exit (\\d+)", 60).group(1))

Environment: IVSHMEM_ACCEL, kvm or tcg, overrules the choice of the accelerator; IVSHMEM_QEMU the
program.
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

#: Interrupts in user space need a virtual IOMMU; interrupt remapping needs the split irqchip. With a
#: vfio-user device and without caching mode QEMU aborts when the guest switches the IOMMU on.
IOMMU_MACHINE = "q35,kernel-irqchip=split"
IOMMU_DEVICE = "intel-iommu,intremap=on,caching-mode=on"

#: Without cmpxchg16b: with QEMU 7.2 Linux 6.12 was seen to die in kmalloc(), right behind that instruction,
#: with half of RAX in its flags. Linux does without it.
_EMULATED = "max,-cx16"

#: Linux boots on one processor, and init.sh starts the others. Linux patches its own code as it boots, behind
#: a breakpoint; where another processor runs meanwhile, QEMU 7.2's emulation (not 11.1's) can keep the
#: breakpoint that is gone, and Linux returns to it for ever: one boot in some hundreds, often without a word.
_ONE_AFTER_THE_OTHER = "maxcpus=1"

#: Words that only cut the boot short: no probing for what the machine does not have.
_FAST_BOOT = "no_timer_check tsc=reliable i8042.noaux=1 i8042.nokbd=1 8250.nr_uarts=1 " \
             "cryptomgr.notests"


def accelerator():
    """kvm where it really works, else tcg.

    A nested /dev/kvm without vmx or svm in /proc/cpuinfo opens, but a guest hangs in its firmware.
    """
    forced = os.environ.get("IVSHMEM_ACCEL")
    if forced:
        if forced not in ("kvm", "tcg"):
            raise KitError(f"IVSHMEM_ACCEL={forced}: it is kvm or tcg")
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
    """A path as the value of a QEMU option."""
    return str(path).replace(",", ",,")


def doorbell(socket_path, vectors, ident="ivshmem0", bus=None):
    """QEMU arguments for one ivshmem-doorbell device at a server's socket."""
    place = f",bus={bus}" if bus else ""
    return ["-chardev", f"socket,id=c-{ident},path={escaped(socket_path)}",
            "-device", f"ivshmem-doorbell,id={ident},chardev=c-{ident},vectors={vectors}{place}"]


def plain(path, size, ident="ivshmem0", bus=None):
    """QEMU arguments for one ivshmem-plain device: a file (also in /dev/shm) as the region."""
    place = f",bus={bus}" if bus else ""
    return ["-object", f"memory-backend-file,id=m-{ident},share=on,mem-path={escaped(path)},"
                       f"size={size}",
            "-device", f"ivshmem-plain,id={ident},memdev=m-{ident}{place}"]


def vfio_user(socket_path, ident="ivshmem0", bus=None):
    """QEMU arguments for one device that a program serves at a socket (vfio-user); QEMU is then
    that of vfio_user_qemu.find()."""
    device = {"driver": "vfio-user-pci", "id": ident,
              "socket": {"type": "unix", "path": str(socket_path)}}
    return ["-device", json.dumps(device | ({"bus": bus} if bus else {}))]


class Guest:
    """A running guest.

    name       for messages
    kernel     a kernel_image.Kernel
    initramfs  path, see initramfs.build()
    log        path of the file for its console, written anew; QEMU's own words go to log + ".qemu"
    devices    more QEMU arguments, for instance doorbell(...)
    qemu       the words that begin QEMU's command line; None: qemu_program() alone
    iommu      with a virtual IOMMU, for interrupts in user space
    bind       driver for the ivshmem devices, "vfio-pci" needs iommu=True; None: left alone
    env        environment of the guest's /run: words without spaces and quotes
    append     more words for the kernel command line
    memory     MiB
    stay       do not power off after /run
    qmp        path of a control socket; guest.qmp() then connects to it
    serial     path of a socket for typing to the console with guest.send()
    await_serial  the guest does not begin before somebody has connected there, and so misses nothing
    keep       it may outlive this process; see proc.Process
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
        """None while QEMU runs, then its exit status."""
        return self._process.status()

    def text(self):
        """The console so far."""
        with open(self.log, "rb") as f:
            return f.read().decode("utf-8", "replace").replace("\r", "")

    def tail(self, lines=15):
        """The console's last lines, and QEMU's own if it had any."""
        said = tail_of(self.log + ".qemu", 5)
        return tail_of(self.log, lines) + [f"qemu: {line}" for line in said]

    def wait_for(self, regex, timeout, start=0):
        """Wait until the console has the regex (re.M) at or after start; returns the match.

        match.end() is a start for what comes later. KitError with the console's end when it did
        not come in time or QEMU ended without.
        """
        return wait_for_text(self, regex, timeout, start)

    def wait(self, timeout):
        """Wait for QEMU's end; its status, or None if it still runs."""
        return self._process.wait(timeout)

    def describe_end(self):
        return self._process.describe_end()

    def qmp(self):
        """The control connection, made at the first call."""
        if not self._qmp:
            self._qmp = qmp_module.Qmp(self.qmp_path)
        return self._qmp

    def send(self, line):
        """Type a line on the console; the guest's /run or /stay has to read it."""
        if not self._serial:
            self._serial = qmp_module.connect(self.serial_path, 20)
            threading.Thread(target=_drain, args=(self._serial,), daemon=True).start()
        self._serial.sendall(line.encode() + b"\n")

    def command_line(self):
        """The QEMU command, for people."""
        return shlex.join(self.argv)

    def stop(self):
        """End QEMU at once; there is nothing in such a guest worth saving. Never raises."""
        if self._qmp:
            self._qmp.close()
        if self._serial:
            with contextlib.suppress(OSError):
                self._serial.shutdown(socket.SHUT_RDWR)  # ends _drain(), too
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
    """The console comes to the socket as well as to the log; unread, it would stop the guest
    after some 300 characters (each is a message of its own in the socket's buffer)."""
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def _words(env):
    for name, value in env.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or re.search(r"[\s\"']", str(value)):
            raise ValueError(f"{name}={value!r} cannot go through a kernel command line")
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
