# SPDX-License-Identifier: BSD-3-Clause
"""Plug in, unplug, reset and suspend devices that the guest driver uses, and ring them as fast as
possible.

There are fewer rounds with ivshmem-device's device, because every round does the same to that
device. Races within the driver, which may appear only once in hundreds of rounds, are found with
QEMU's device.
"""
import mmap
import struct
import threading

import pytest

from guestkit.proc import KitError
from support.py import driver_guest, guest_device
from support.py.driver_guest import PORT, Host
from support.py.wire import ring

SERVED = guest_device.SERVED
# Rounds repeat the same steps to find races. make check-slow runs the full numbers of rounds.
if guest_device.ALL:
    UNBINDS, INSERTS, BOOTS, RINGS = 200, 100, 3, 100000
elif SERVED:
    UNBINDS, INSERTS, BOOTS, RINGS = 12, 4, 1, 20000
else:
    UNBINDS, INSERTS, BOOTS, RINGS = 60, 30, 1, 50000
UNPLUGS = 4
RESETS = 1 if SERVED else 2


def test_unbind(place, record_property):
    """The device is unbound and rebound, and the module is removed and inserted: while the device
    is idle, and while files are open, memory is mapped and written, and threads wait."""
    host = Host()
    guest = driver_guest.start(place, f"""
driver-test life unbind {UNBINDS}
driver-test life modules {INSERTS}
""", host.doorbell(place, 2), cpus=2)
    place.add(Storm(host.client))
    driver_guest.finish(guest, record_property, host.answers())


class Storm:
    """Rings all vectors of all guests of a server until close() is called. Pauses while @held is
    locked."""

    def __init__(self, client):
        self._client = client
        self._stop = threading.Event()
        self.held = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.0002):
            with self.held:
                while self._client.next(0):
                    pass
                for known in self._client.peers.values():
                    for fd in known:
                        ring(fd)

    def close(self):
        """Stop ringing."""
        self._stop.set()
        self._thread.join(20)


class Plugs:
    """Plugs devices in and unplugs them through QMP: first a doorbell device, then plain ones.

    QEMU 7.2 without KVM does not remove its handlers for a doorbell's fds, and crashes when the
    number of such an fd is reused for a readable one. So vectors are not rung during an unplug, and
    no fd is opened after an unplug.

    QEMU 11.1 aborts (with a failed assertion in memory_region_del_subregion()) when a vfio-user
    device with MSI-X is unplugged, whichever program serves it. So with ivshmem-device only a plain
    device is used, and each plug connects to the same one. test_unbind covers devices with
    doorbells.
    """

    def __init__(self, guest, storm, served):
        self._guest = guest
        self._storm = storm
        self._served = served
        self._number = -1

    def _kind(self):
        if self._served:
            return {"driver": "vfio-user-pci",
                    "socket": {"type": "unix", "path": str(self._served.socket)}}
        if not self._number:
            return {"driver": "ivshmem-doorbell", "chardev": "c-ivshmem0", "vectors": 2}
        return {"driver": "ivshmem-plain", "memdev": f"m-{self._number}"}

    def plug(self):
        """Plug in the next device."""
        self._number += 1
        kind = self._kind()
        self._guest.qmp().command("device_add", bus="rp0", id=f"d{self._number}", **kind)

    def unplug(self):
        """Unplug the current device."""
        with self._storm.held:
            self._guest.qmp().unplug(f"d{self._number}")
            self._guest.qmp().wait_event("DEVICE_DELETED", 30)


@pytest.mark.parametrize("boot", range(BOOTS))
def test_hot_plug(place, record_property, boot):
    """Devices are plugged in and unplugged while in use. The host and the guest stop ringing a
    moment before an unplug, because otherwise QEMU crashes. test_unbind keeps ringing."""
    del boot  # each run does the same with that device
    host = Host()
    served = None
    # The backends exist from the start. The devices are plugged in later, each with its own memory
    # backend.
    port = PORT
    if SERVED:
        # If the port is above 4 GiB, the firmware of QEMU 11.1 gives it addresses that Linux
        # mistakes for those of an AMD processor. Linux then has no addresses left for devices that
        # are plugged in later.
        port = ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1,pref64-reserve=64M"]
        needed = []
        host.serve(place, 2)
        host.plain(place, 4 << 20, "plain")
        served = host.devices["plain"]
    else:
        needed = host.doorbell(place, 2)[:2]
        for number in range(1, UNPLUGS + 1):
            needed += host.plain(place, 4 << 20, str(number), number=number)[:2]
    guest = driver_guest.start(place, f"driver-test load unplug {UNPLUGS}", port + needed,
                               qmp=str(place.dir / "qmp"), cpus=2)
    plugs = Plugs(guest, place.add(Storm(host.client)), served)
    driver_guest.finish(guest, record_property, {"unplug": plugs.unplug, "plug": plugs.plug})
    if served:
        assert served.program.err.count("a VMM has connected") == UNPLUGS + 1


def test_reset(place, record_property):
    """The device is reset with its bus while in use. Mappings still work, all users are notified,
    and interrupts arrive again, even if the host rings during the reset."""
    host = Host()
    other = Host()
    devices = PORT + host.doorbell(place, 2, bus="rp0")
    devices += ["-device", "pcie-root-port,id=rp1,chassis=2,slot=2"]
    devices += other.doorbell(place, 1, ident="other", bus="rp1")
    guest = driver_guest.start(place, f"""
driver-test load reset {RESETS}
driver-test -d 1 load reset 1
driver-test events 0
""", devices, cpus=2)
    place.add(Storm(other.client))
    driver_guest.finish(guest, record_property, host.answers())


def test_reboot(place, record_property):
    """A reboot of the guest resets the device, which keeps its id."""
    host = Host()
    lives = iter(["again", "done"])
    guest = driver_guest.start(place, """
driver-test device low 2 4194304 1
driver-test events 0
echo "ask life"; read -r answer
[ "$answer" = done ] || reboot -f
""", host.doorbell(place, 2) + ["-action", "reboot=reset"])
    cases = driver_guest.finish(guest, record_property,
                                {**host.answers(), "life": lambda: next(lives)})
    assert cases > 150 and next(lives, None) is None, cases
    assert len(host.client.peers) == 1


class Sleep:
    """Wakes the guest after it has suspended."""

    def __init__(self, guest):
        self._guest = guest
        self._guest.qmp()  # connect early, so that no event is missed
        self._awake = threading.Event()
        self._thread = None
        self.slept = []

    def sleep(self, state):
        """Start the thread that wakes the guest. Called when the guest is about to suspend."""
        self._awake.clear()
        self._thread = threading.Thread(target=self._wake, args=(state,), daemon=True)
        self._thread.start()

    def awake(self):
        """Stop the thread that wakes the guest. Called when the guest runs again."""
        self._awake.set()
        self._thread.join(30)

    def _wake(self, state):
        while not self._awake.wait(0.3):
            if state == "mem":
                self._wake_up()
            else:  # no QMP event reports suspend-to-idle; a key press ends it
                self._guest.console.send("")
                self.slept.append(state)

    def _wake_up(self):
        try:
            self._guest.qmp().wait_event("SUSPEND", 0.3)
        except KitError:
            return  # not suspended yet, or a different event has aborted the suspend
        self.slept.append("mem")
        self._guest.qmp().command("system_wakeup")


def test_suspend(place, record_property):
    """The driver works after the guest has been suspended to RAM (S3), and after it has been
    suspended to idle."""
    host = Host()
    guest = driver_guest.start(place, """
echo enabled >/sys/class/tty/ttyS0/power/wakeup
driver-test load sleep mem
driver-test load sleep freeze
driver-test events 0
""", host.doorbell(place, 2), qmp=str(place.dir / "qmp"))
    sleep = Sleep(guest)
    driver_guest.finish(guest, record_property,
                        {**host.answers(), "sleep": sleep.sleep, "awake": sleep.awake})
    assert set(sleep.slept) == {"mem", "freeze"}


def test_storm(place, record_property):
    """The host rings as fast as it can, while the guest opens and closes files and eventfds. The
    last doorbell on each vector arrives."""
    host = Host()
    vectors = 4

    def storm(rings):
        peer = host.peer()
        with mmap.mmap(host.client.memory, 4096) as memory:
            for number in range(int(rings)):
                vector = number % vectors
                struct.pack_into("<Q", memory, 8 * vector, number + 1)
                ring(peer[vector])

    guest = driver_guest.start(place, f"""
driver-test storm {RINGS}
driver-test events 0
""", host.doorbell(place, vectors), cpus=2)
    driver_guest.finish(guest, record_property, {**host.answers(), "storm": storm})
