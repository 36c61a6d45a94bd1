# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-device does not wait for mutexes of epolls that other processes hold."""
from support.py.device import Devices, connect_when_free, start_server
from support.py.stuck_epoll import StuckEpoll
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
