# SPDX-License-Identifier: BSD-3-Clause
"""QEMU without a guest: its own ivshmem devices are accessed over its qtest socket. For an
ivshmem-doorbell, this file is also the server and the other peer."""
import array
import fcntl
import os
import select
import socket
import struct
import subprocess
import termios

TIMEOUT = 30  # seconds; long enough for a loaded machine
SLOT = 5  # on the first bus
MEMORY = 1 << 20
OWN, PEER = 5, 3  # ids of QEMU and of the other peer
BAR0, BAR1, BAR2 = 0xfe000000, 0xfd000000, 0x1000000000
LETTERS = {1: "b", 2: "w", 4: "l", 8: "q"}
#: Destination of MSI-X messages: 4 bytes for each vector, in RAM that nothing else uses.
MESSAGES = 0x100000


class Doorbells:
    """A minimal server for an ivshmem-doorbell, and the doorbells of the other peer."""

    def __init__(self, path, vectors):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(TIMEOUT)
        self.listener.bind(path)
        self.listener.listen()
        self.connection = None
        self.memory = os.memfd_create("ivshmem")
        os.ftruncate(self.memory, MEMORY)
        self.fds = {peer: [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(vectors)]
                    for peer in (PEER, OWN)}
        self.rung = select.epoll()
        for fd in self.fds[PEER]:
            self.rung.register(fd, select.EPOLLIN)

    def send(self, number, fd=None):
        fds = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.connection.sendmsg([struct.pack("<q", number)], fds)

    def greet(self):
        self.connection, _ = self.listener.accept()
        self.send(0)
        self.send(OWN)
        self.send(-1, self.memory)
        for peer, fds in self.fds.items():
            for fd in fds:
                self.send(peer, fd)

    def heard(self):
        """Return true if QEMU has read all messages. It reads the messages after the memory in its
        event loop."""
        unread = fcntl.ioctl(self.connection, termios.TIOCOUTQ, b"\0" * 4)
        return struct.unpack("i", unread) == (0,)

    def ring(self, vector):
        """Ring QEMU's device, as the other peer."""
        os.eventfd_write(self.fds[OWN][vector], 1)

    def take(self):
        """Return: the vectors of the other peer that QEMU's device has rung since the last call."""
        found = sorted(self.fds[PEER].index(fd) for fd, _ in self.rung.poll(0, len(self.fds[PEER])))
        for vector in found:
            os.eventfd_read(self.fds[PEER][vector])
        return found

    def close(self):
        for fds in self.fds.values():
            for fd in fds:
                os.close(fd)
        os.close(self.memory)
        self.rung.close()
        self.listener.close()
        if self.connection:
            self.connection.close()


class Qemu:
    """A paused QEMU with one device. vectors: the number of vectors; 0 for ivshmem-plain."""

    def __init__(self, program, directory, vectors, ioeventfd="off"):
        self.doorbells = None
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(TIMEOUT)
        listener.bind(f"{directory}/qtest")
        listener.listen()
        if vectors:
            self.doorbells = Doorbells(f"{directory}/doorbells", vectors)
            device = ["-chardev", f"socket,id=c,path={directory}/doorbells", "-device",
                      f"ivshmem-doorbell,chardev=c,addr={SLOT:x}.0,vectors={vectors},"
                      f"ioeventfd={ioeventfd}"]
        else:
            device = ["-object", f"memory-backend-ram,id=m,share=on,size={MEMORY}", "-device",
                      f"ivshmem-plain,memdev=m,addr={SLOT:x}.0"]
        self.process = subprocess.Popen(
            [program, "-machine", "q35", "-accel", "tcg", "-S", "-display", "none", "-nodefaults",
             "-m", "64", "-qtest", f"unix:{directory}/qtest", "-qtest-log", "/dev/null"] + device,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if self.doorbells:
            self.doorbells.greet()
        self.socket, _ = listener.accept()
        listener.close()
        self.socket.settimeout(TIMEOUT)
        self.file = self.socket.makefile("rw")
        while self.doorbells and not self.doorbells.heard():
            self.settle()
        self.settle()

    def command(self, text):
        self.file.write(text + "\n")
        self.file.flush()
        answer = self.file.readline().split()
        while answer and answer[0] == "IRQ":
            answer = self.file.readline().split()
        assert answer and answer[0] == "OK", f"{text}: {answer}"
        return answer[1] if len(answer) > 1 else None

    def settle(self):
        """Wait for one full round of QEMU's event loop, so that all earlier events have been
        handled."""
        self.command("readb 0x0")
        self.command("readb 0x0")

    def _port(self, offset):
        self.command(f"outl 0xcf8 {0x80000000 | SLOT << 11 | offset & ~3:#x}")
        return 0xcfc + offset % 4

    def read(self, region, offset, size):
        if region == "config":
            return int(self.command(f"in{LETTERS[size]} {self._port(offset):#x}"), 0)
        base = {"bar0": BAR0, "bar1": BAR1}[region]
        return int(self.command(f"read{LETTERS[size]} {base + offset:#x}"), 0)

    def write(self, region, offset, size, value):
        if region == "config":
            self.command(f"out{LETTERS[size]} {self._port(offset):#x} {value:#x}")
        else:
            base = {"bar0": BAR0, "bar1": BAR1}[region]
            self.command(f"write{LETTERS[size]} {base + offset:#x} {value:#x}")

    def messages(self, vectors):
        """Return: the MSI-X messages sent since the last call, as {vector: value}. Messages with
        the value 0 are not detected."""
        size = 4 * vectors
        data = bytes.fromhex(self.command(f"read {MESSAGES:#x} {size:#x}")[2:])
        found = {vector: word for vector, (word,) in enumerate(struct.iter_unpack("<I", data))
                 if word}
        for vector in found:
            self.command(f"writel {MESSAGES + 4 * vector:#x} 0")
        return found

    def reset(self):
        """Reset the machine with q35's reset register."""
        self.command("outb 0xcf9 0x6")
        self.settle()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.file.close()
        self.socket.close()
        if self.doorbells:
            self.doorbells.close()


class Model:
    """Our PCI function, run by test/support/c/programs/device_lines.c."""

    def __init__(self, program, options):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        assert self.line("device " + options) == "ok"

    def line(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.endswith("\n"), f"{text}: the program has ended"
        return answer[:-1]

    def read(self, region, offset, size):
        return int(self.line(f"read {region} {offset} {size}"), 16)

    def write(self, region, offset, size, value):
        """Write to a register. Return: (peer, vector) of the doorbell that was rung, or None."""
        answer = self.line(f"write {region} {offset} {size} {value}")
        return tuple(map(int, answer.split()[1:])) if answer else None

    def close(self):
        self.process.stdin.close()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()
