# SPDX-License-Identifier: BSD-3-Clause
"""Run the statically linked examples in a guest, together with the same examples on the host."""
import os
import subprocess

import pytest

from guestkit import driver, initramfs, kernel, machine

BOOT = 120
EXAMPLES = ["chat", "copy", "frames", "hello", "one-to-many", "ping-pong", "poll-loop", "queue",
            "sensor"]

# The guest's device is one peer: it runs one program at a time. "until_told" runs a program until
# the host sends "next".
CHANNELS = """
until_told() {
    "$@" & last=$!
    until [ "$word" = next ]; do read -r word; done
    word=
    kill $last
    wait $last
}
queue pci: send hi-from-the-guest
chat pci: guest
until_told sensor pci: watch
until_told sensor pci: publish 20
copy pci: receive /copy && copy pci: send /copy
until_told frames pci: show
until_told frames pci: produce 64x16
"""
OTHERS = """
hello pci:; echo ready; ping-pong pci:
echo from-the-guest | one-to-many write pci:
echo ring 0 1 | poll-loop pci:
one-to-many read pci:
"""


@pytest.fixture
def boot(build, place):
    """Return: boot(transport, script, devices), which starts a guest that runs a script. The script
    can use the examples."""
    guests = []

    def start(transport, script, devices):
        guest_kernel = kernel.find()
        vfio = transport == "vfio"
        if not vfio:
            script = "insmod /modules/ivshmem.ko; " + script
        image = os.path.join(place.dir, "guest.img")
        initramfs.build(
            image, guest_kernel, script, modules=initramfs.VFIO if vfio else (),
            extra_modules=[] if vfio else [driver.module(guest_kernel)],
            programs=[(build / f"examples/{name}-static", name) for name in EXAMPLES])
        # With one processor, TCG's atomic operations are not atomic for processes on the host.
        guests.append(machine.Guest("guest", guest_kernel, image, image + ".log", devices=devices,
                                    cpus=2, iommu=vfio, bind="vfio-pci" if vfio else None,
                                    serial=os.path.join(place.dir, "console")))
        return guests[-1]

    yield start
    for guest in guests:
        guest.stop()


def talk(guest, host):
    """Run chat: the guest's lines come from its console."""
    other = host("chat", "host", stdin=subprocess.PIPE)
    other.out.wait("0 guest has joined", timeout=BOOT)
    guest.wait_for(r"^\d+ host has joined", BOOT)
    guest.send("hello from the guest")
    other.out.wait("0 guest: hello from the guest", timeout=BOOT)
    other.write("hello from the host\n")
    guest.wait_for(r"^\d+ host: hello from the host", BOOT)
    guest.send("\x04")  # the end of the input
    other.out.wait("0 guest has left", timeout=BOOT)
    other.popen.stdin.close()
    assert other.wait() == 0


def measure(guest, host):
    """Run sensor in both directions."""
    publisher = host("sensor", "publish", "20")
    guest.wait_for(r"^\d\d:\d\d:\d\d reading \d+: ", BOOT)
    publisher.end()
    guest.wait_for("^sensor: the publisher has left", BOOT)
    guest.send("next")
    watcher = host("sensor", "watch", "last")
    watcher.out.wait(" reading ", 3, timeout=BOOT)
    guest.send("next")
    watcher.end()


def copy(place, guest, host):
    """Copy a file to the guest, and back."""
    (place.dir / "file").write_bytes(os.urandom(300000))
    for words in ("send", place.dir / "file"), ("receive", place.dir / "back"):
        process = host("copy", *words)
        assert process.wait(BOOT) == 0, process.err.text()
    guest.wait_for("^copy: sent 300000 bytes", BOOT)
    assert (place.dir / "back").read_bytes() == (place.dir / "file").read_bytes()


def show(guest, host):
    """Show frames in both directions, in place."""
    producer = host("frames", "produce", "64x16")
    guest.wait_for("^frames: showing 64x16, stride 256", BOOT)
    guest.wait_for(r"^frames: [\d.]+ per second, [1-9]\d* of \d+ in place, \d+ missed, 0 wrong",
                   BOOT)
    producer.end()
    guest.send("next")
    viewer = host("frames", "show")
    viewer.out.wait("frames: showing 64x16, stride 256", timeout=BOOT)
    last = viewer.out.wait(" missed, 0 wrong", 2, timeout=BOOT)
    assert " 0 of " not in last
    guest.send("next")
    viewer.end()


@pytest.mark.parametrize("transport", ["driver", "vfio"])
def test_examples(build, boot, place, transport):
    """The examples work between guest and host: those with channels, which need a region without
    other content, then hello, ping-pong, one-to-many in both directions, and poll-loop."""
    server = place.server("-n", "2", "--roster", region=["-r", "memfd:"])
    address = f"unix:{server.socket}"

    def host(name, *words, **options):
        return place.start(build / "examples" / name, *words, **options)

    def peer(name, *words, **options):
        return host(name, address, *words, **options)

    with boot(transport, "echo booted" + CHANNELS + OTHERS,
              machine.doorbell(server.socket, 2)) as guest:
        guest.wait_for("^booted", BOOT)
        receiver = host("queue", address, "receive")
        receiver.out.wait("queue: received: hi-from-the-guest", timeout=BOOT)
        guest.wait_for("^queue: sent: hi-from-the-guest", BOOT)
        receiver.end()
        talk(guest, peer)
        measure(guest, peer)
        copy(place, guest, peer)
        show(guest, peer)
        guest.wait_for(r"^hello: I am peer 0, waiting", BOOT)
        stranger = host("hello", address)  # this client is not the partner: it leaves when rung
        stranger.out.wait("I am peer 1, waiting")
        assert host("hello", address, "0", "good morning").wait() == 0
        guest.wait_for(r"^hello: peer 0 was told: good morning", BOOT)
        guest.wait_for("^ready", BOOT)
        answering = host("ping-pong", address)
        guest.wait_for(r"^ping-pong: 1000 round trips with peer \d+: min ", BOOT)
        assert answering.wait() == stranger.wait() == 0
        reading = host("one-to-many", "read", address)
        reading.out.wait("1: from-the-guest", timeout=BOOT)
        guest.wait_for(rf"^I am peer 0 \({transport}\), 2 vectors", BOOT)
        writing = place.run(build / "examples" / "one-to-many", "write", address, "0",
                            text="from-the-host\n")
        assert writing.returncode == 0, writing.stderr
        guest.wait_for(r"^1: from-the-host", BOOT)
