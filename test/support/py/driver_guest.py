# SPDX-License-Identifier: BSD-3-Clause
"""A guest with our driver. The programs in the guest report cases, and its kernel must log no
errors.

    guest = driver_guest.start(SCRIPT, devices)
    driver_guest.finish(guest, record_property, {"ring": lambda vector: ...})

The guest runs a script with `driver-test SUITE` (test/driver/suites/), which prints TAP lines and,
to request an action from the host, "ask WORD ARGUMENT...".
"""
import os
import re
import socket
import threading
import time

from guestkit import driver, initramfs, kernel, machine, qmp
from support.py import guest_device
from support.py.paths import TEST
from support.py.wire import RawClient, readable, ring

#: Seconds until a guest must have finished its script.
TIMEOUT = int(os.environ.get("IVSHMEM_GUEST_TIMEOUT", "120"))
MODULES = ("ivs_walk", "ivs_import", "ivs_legacy", "ivs_claim")

#: A root port with address space above 4 GiB.
PORT = ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1,pref64-reserve=4G"]

#: Words that mark a line in the kernel's log as an error.
COMPLAINTS = ("BUG", "WARNING", "Oops", "possible circular", "possible recursive", "KASAN",
              "lockdep",
              "INFO: task", "scheduling while atomic", "sleeping function", "refcount_t",
              "Call Trace",
              "INFO: rcu", "soft lockup", "inconsistent lock", "nobody cared", "general protection")
_LOG = r"""
dmesg -r >/tmp/all
# Ignore messages from before the start of init.
sed -n '/Run \/init as init process/,$p' /tmp/all >/tmp/log
[ -s /tmp/log ] || cp /tmp/all /tmp/log
grep -E '{complaints}' /tmp/log >/tmp/complaints
if [ -s /tmp/complaints ]; then
	first=$(sed -n 's/[][().*+?^$|{{}}\\]/./g;s/^<[0-9]*>//;1p' /tmp/complaints)
	grep -n -A 60 -E "$first" /tmp/log | head -n 160 | sed 's/^/log: /'
fi
echo "log: $(wc -l </tmp/log) lines, $(wc -l </tmp/complaints) complaints"
"""

_RUN = r"""
stty -echo
for name in {modules}; do
	insmod /modules/$name.ko || echo "not ok 0 - insmod $name: $(dmesg | tail -n 1)"
done
(
{script}
)
{log}
"""


def start(place, script, devices, modules=("ivshmem", "ivs_walk"), programs=(), **options):
    """Boot a guest that inserts these modules and runs a script."""
    name = f"guest{len(list(place.dir.glob('guest*.img')))}"
    image = str(place.dir / f"{name}.img")
    found = kernel.find()
    log = _LOG.format(complaints="|".join(COMPLAINTS))
    initramfs.build(image, found, _RUN.format(modules=" ".join(modules), script=script, log=log),
                    programs=[(place.build / "test/driver-test", "driver-test"), *programs],
                    extra_modules=[driver.module(found),
                                   *driver.modules(found, TEST / "driver" / "modules", MODULES)])
    options.setdefault("append", "")
    # Panic on an oops: if it ended only one task, others would wait for that task.
    options["append"] += " oops=panic"
    options.setdefault("qemu", guest_device.QEMU)
    guest = machine.Guest(name, found, image, image + ".log", devices=devices,
                          serial=str(place.dir / f"{name}.console"), await_serial=True, **options)
    guest.close = guest.stop
    place.add(guest)
    guest.console = place.add(Console(guest))
    return guest


class Console:
    """The guest's console: output line by line, and input. The output is read from the socket, not
    from the log, because QEMU logs a character twice if the socket is temporarily full."""

    def __init__(self, guest):
        self._guest = guest
        self._text = b""
        self._ended = False
        self._changed = threading.Condition()
        self._socket = qmp.connect(guest.serial_path, 20)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self):
        try:
            while data := self._socket.recv(65536):
                with self._changed:
                    self._text += data
                    self._changed.notify_all()
        except OSError:
            pass  # the connection has been closed
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def next(self, deadline):
        """Wait for the next line. Return: the line without its newline."""
        with self._changed:
            while b"\n" not in self._text:
                assert not self._ended, "the guest ended: " + "\n".join(self._guest.tail(40))
                left = deadline - time.monotonic()
                assert left > 0, "the guest is too slow:\n" + "\n".join(self._guest.tail(40))
                self._changed.wait(min(left, 1))
            line, self._text = self._text.split(b"\n", 1)
            return line.decode("utf-8", "replace").replace("\r", "")

    def send(self, line):
        """Type a line."""
        self._socket.sendall(line.encode() + b"\n")

    def close(self):
        """Close the connection."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # QEMU has ended
        self._thread.join(20)
        self._socket.close()


def finish(guest, record_property, answers=None, timeout=None):
    """Answer the guest's requests until the guest has ended: the answer is the text that the
    function in @answers returns, or "done". Each TAP line becomes a case. Fails if a case is
    "not ok", if a program ended early or if the kernel logged errors. Return: the
    number of cases."""
    console = guest.console
    deadline = time.monotonic() + (timeout or TIMEOUT)
    result = Result()
    while True:
        line = console.next(deadline)
        if line.startswith("ask "):
            word, *arguments = line.split()[1:]
            answer = (answers or {})[word](*arguments)
            console.send(answer if isinstance(answer, str) else "done")
        elif line.startswith("guest: exit"):
            break
        else:
            result.take(line, record_property)
    result.check(guest)
    return result.cases


class Result:
    """Results of the cases of one guest."""

    def __init__(self):
        self.cases = 0
        self._since_plan = 0
        self._wrong = []
        self._log = []
        self._log_end = None
        self._notes = []

    def take(self, line, record_property):
        """Read one line."""
        found = re.match(r"(not )?ok \d+ - (.*)", line)
        if found:
            record_property("case", f"{'not ok' if found[1] else 'ok'} {found[2]}")
            self.cases += 1
            self._since_plan += 1
            if found[1]:
                self._wrong.append("\n".join(self._notes + [line]))
            self._notes = []
        elif line.startswith("# "):
            self._notes.append(line)
        elif re.match(r"1\.\.\d+$", line):
            if self._since_plan != int(line[3:]):
                self._wrong.append(
                    f"{self._since_plan} cases were reported, but the plan is {line}")
            self._since_plan = 0
        elif line.startswith("log: "):
            self._log.append(line[5:])
            self._log_end = re.match(r"log: \d+ lines, (\d+) complaints", line) or self._log_end
        elif "Segmentation fault" in line or "Bus error" in line:
            self._wrong.append(line)

    def check(self, guest):
        """Fail if a case or a program has failed, or if the kernel has logged errors."""
        if self._since_plan:
            self._wrong.append(f"a program ended early, after {self._since_plan} cases")
        assert not self._wrong, "\n".join(self._wrong) + "\n" + "\n".join(guest.tail(10))
        assert self._log_end, "no kernel log: " + "\n".join(guest.tail(40))
        assert self._log_end[1] == "0", "the kernel has logged errors:\n" + "\n".join(self._log)
        assert self.cases, "the guest had no cases:\n" + "\n".join(guest.tail(40))


class Host:
    """The host's side of a guest: the memory shared with the guest, and a peer that rings the guest
    and is rung by it."""

    def __init__(self):
        self.memories = {}
        self.devices = {}
        self.client = None
        self.guest = None

    def doorbell(self, place, vectors, size="4M", ident="ivshmem0", bus=None,
                 number=0):
        """Start a server and a peer. Return: QEMU's arguments for the guest's device,
        /dev/ivshmemNUMBER."""
        socket = self.serve(place, vectors, size, ident, number)
        self.devices[ident] = guest_device.Device(place, ident, bus).doorbell(socket, vectors)
        return self.devices[ident].arguments

    def serve(self, place, vectors, size="4M", ident="ivshmem0", number=0):
        """Start only the server and the peer. Return: the server's socket."""
        socket = place.dir / ident
        place.server("-n", vectors, "-l", size, socket=socket, region=["-r", "memfd:"])
        self.client = place.add(RawClient(str(socket), vectors).greeting())
        self.memories[number] = self.client.memory
        return socket

    def plain(self, place, size, ident="plain", bus=None, number=1):
        """Create a sparse file as a region. Return: QEMU's arguments for a plain device that has
        this region."""
        path = place.dir / f"{ident}.region"
        with open(path, "wb") as region:
            region.truncate(size)
        self.open_memory(place, path, number)
        self.devices[ident] = guest_device.Device(place, ident, bus).plain(path, size)
        return self.devices[ident].arguments

    def open_memory(self, place, path, number):
        """Open a file that is the memory of /dev/ivshmemNUMBER."""
        self.memories[number] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        place.add(Fd(self.memories[number]))

    def answers(self):
        """Return: answers for driver_guest.finish()."""
        return {"look": self.look, "write": self.write, "ring": self.ring, "rung": self.rung,
                "ring-soon": self.ring}

    def look(self, number, offset, *words):
        """Check the data that the guest has written."""
        expected = " ".join(words).encode()
        assert os.pread(self.memories[int(number)], len(expected), int(offset)) == expected

    def write(self, number, offset, *words):
        """Write data for the guest."""
        os.pwrite(self.memories[int(number)], " ".join(words).encode() + b"\0", int(offset))

    def peer(self):
        """Wait until the guest has joined. Return: the eventfds of its vectors."""
        if not self.guest:
            self.client.read_until(
                lambda: any(len(known) == self.client.vectors
                            for known in self.client.peers.values()), "the guest has joined")
            self.guest, = self.client.peers
        return self.client.peers[self.guest]

    def ring(self, vector):
        """Ring the guest."""
        ring(self.peer()[int(vector)])

    def rung(self, vector):
        """Check that the guest rings this vector of the host's peer, and no other."""
        assert readable(self.client.own, timeout=20) == [int(vector)]
        os.read(self.client.own[int(vector)], 8)


class Fd:
    """An fd that can be passed to Place.add(), to be closed at the end."""

    def __init__(self, fd):
        self._fd = fd

    def close(self):
        """Close the fd."""
        os.close(self._fd)
