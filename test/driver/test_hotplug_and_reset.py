# SPDX-License-Identifier: BSD-3-Clause
"""The guest driver while devices are plugged, unplugged, reset and suspended, and in storms of
doorbells.

With the device of ivshmem-device the rounds are fewer: each exercises it in the same way, and
faults within the driver that show in one round of hundreds are found with QEMU's.
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
# Rounds repeat the same steps to find races. check-slow has the full numbers.
if guest_device.ALL:
    UNBINDS, INSERTS, BOOTS, RINGS = 200, 100, 3, 100000
elif SERVED:
    UNBINDS, INSERTS, BOOTS, RINGS = 12, 4, 1, 20000
else:
    UNBINDS, INSERTS, BOOTS, RINGS = 60, 30, 1, 50000
UNPLUGS = 4
RESETS = 1 if SERVED else 2


def test_unbind(place, record_property):
    """Unbound and bound again, and the module removed and inserted: idle, and with files open,
    memory mapped and written, and threads waiting."""
    host = Host()
    guest = driver_guest.start(place, f"""
driver-test life unbind {UNBINDS}
driver-test life modules {INSERTS}
""", host.doorbell(place, 2), cpus=2)
    place.add(Storm(host.client))
    driver_guest.finish(guest, record_property, host.answers())


class Storm:
    """Rings all vectors of all guests of a server, until closed; paused while it is held."""

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
        """Stop."""
        self._stop.set()
        self._thread.join(20)


class Plugs:
    """Plugs devices in and out by QMP: a doorbell first, and after it only plain ones.

    QEMU 7.2 without KVM does not remove its handlers of a doorbell's fds, and dies when one of
    these numbers is reused for a readable fd: so its vectors are not rung while it is unplugged,
    and no fd is opened afterwards.

    QEMU 11.1 aborts when a vfio-user device with MSI-X is unplugged (memory_region_del_subregion:
    Assertion), whichever program serves it. So with ivshmem-device all are plain, and they are one:
    each plug is the next connection to it. Devices with doorbells are unbound in test_unbind.
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
        """Plug the next one in."""
        self._number += 1
        kind = self._kind()
        self._guest.qmp().command("device_add", bus="rp0", id=f"d{self._number}", **kind)

    def unplug(self):
        """Unplug the current one."""
        with self._storm.held:
            self._guest.qmp().unplug(f"d{self._number}")
            self._guest.qmp().wait_event("DEVICE_DELETED", 30)


@pytest.mark.parametrize("boot", range(BOOTS))
def test_hot_plug(place, record_property, boot):
    """Plugged and unplugged, in use, and in storms from the host and from the guest itself that end
    a moment before: QEMU does not survive more. test_unbind has storms all the time."""
    del boot  # the same in each run
    host = Host()
    served = None
    # The backends exist, the devices come later; each memory belongs to one device.
    port = PORT
    if SERVED:
        # Above 4 GiB the firmware of QEMU 11.1 assigns addresses to the port that Linux takes for
        # an AMD processor's, and then it has none for devices plugged in later.
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
    """Reset with its bus, in use: mappings still work, all users are notified, interrupts arrive
    again. Also while the host rings."""
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
    """The guest reboots: the device is reset, and keeps its id."""
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
    """Wakes a suspended guest."""

    def __init__(self, guest):
        self._guest = guest
        self._guest.qmp()  # connected before anything happens, so that no event is missed
        self._awake = threading.Event()
        self._thread = None
        self.slept = []

    def sleep(self, state):
        """Wait until it is about to suspend."""
        self._awake.clear()
        self._thread = threading.Thread(target=self._wake, args=(state,), daemon=True)
        self._thread.start()

    def awake(self):
        """Wait until it runs again."""
        self._awake.set()
        self._thread.join(30)

    def _wake(self, state):
        while not self._awake.wait(0.3):
            if state == "mem":
                self._wake_up()
            else:  # no event reports suspend-to-idle; a key ends it
                self._guest.console.send("")
                self.slept.append(state)

    def _wake_up(self):
        try:
            self._guest.qmp().wait_event("SUSPEND", 0.3)
        except KitError:
            return  # not yet; or something else has kept it awake
        self.slept.append("mem")
        self._guest.qmp().command("system_wakeup")


def test_suspend(place, record_property):
    """The machine suspends, first to RAM (S3), then to idle."""
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
    """As many doorbells as the host can ring, while files, eventfds and readers are opened and
    closed."""
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
