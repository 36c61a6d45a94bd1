# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-device does not wait for locks of the kernel that other processes hold."""
from support.py.device import Devices, connect_when_free, start_server
from support.py.lingering import stopped
from support.py.stuck_epoll import StuckEpoll, StuckSocket
from support.py.vfio_user import EVENTFD, INTX, TRIGGER, UNMASK, Client, eventfd


def test_mutex_for_nested_epolls_is_not_needed(place):
    """Any process can hold the kernel's mutex for nested epolls. Meanwhile VMMs connect, set up the
    interrupt of the pin, and leave."""
    start_server(place)
    path = place.dir / "vmm"
    running = Devices(place, "--socket", path, "--legacy",
                      f"chardev={place.socket},size=1M,msi=off")
    with StuckEpoll(nested=True):
        with Client(path) as client:
            client.set_irqs(INTX, EVENTFD | TRIGGER, 0, 1, fds=[eventfd()])
            client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, fds=[eventfd()])
        connect_when_free(place, path)
    running.stop()


def test_lock_of_the_vmms_end_is_not_needed(place):
    """A VMM holds the lock of its end of the connection from before the device accepts it. The
    device, which sets an option of its own end, does not wait for that lock."""
    path = place.dir / "vmm"
    running = Devices(place, "--socket", path, "--region", f"shm:{place.shm}", "--size", "1M")
    with stopped(running):
        client = place.add(Client(path, greet=False))
        stuck = place.add(StuckSocket(client.sock))
    assert client.greet()
    stuck.release()
    running.stop()
