# SPDX-License-Identifier: BSD-3-Clause
"""Test the manual page ivshmem-qemu(7): run its commands and QMP requests, and check that QEMU
prints its messages. Neither libvirt nor a security module is needed: this file contains the QEMU
arguments that libvirt generates from the page's XML."""
import grp
import json
import os
import pwd
import re
import stat
import xml.etree.ElementTree as ET

import pytest

from guestkit import machine
from guestkit.proc import KitError
from guestkit.qmp import Qmp
from support.py import device_guest
from support.py.man_page import ManPage
from support.py.programs import wait_until

MIB = 1 << 20
#: As much memory as the page's memory-backend-ram has
PAUSED = ["-M", "q35", "-accel", "tcg", "-m", "1G", "-S", "-display", "none", "-nodefaults"]
#: Replaces the group kvm, which may not exist. This process may assign files to this group, even if
#: it is not root.
GROUP = grp.getgrgid(os.getgid() or 1).gr_name
USED = set()


class Setting:
    """The page, with a test's paths and names instead of its own, and the programs that it starts.
    """

    def __init__(self, place):
        self._place = place
        self._vms = 0
        self.region = place.shm_path
        self.state = place.dir / "state"
        self.page = ManPage("ivshmem-qemu.7", {
            "/dev/shm/demo": place.shm_path, "name='demo'": f"name='{place.shm}'",
            "/run/ivshmem/demo.sock": place.socket, "/run/ivshmem": place.dir,
            "/var/lib/demo.state": self.state, "ivshmem-server": place.server_program,
            "root kvm": f"{pwd.getpwuid(os.getuid()).pw_name} {GROUP}",
            "group kvm": f"group {GROUP}"})

    def arguments(self, section, word):
        """Return: the arguments that a QEMU command, or a list of options, on the page adds to a
        VM."""
        *others, command = self.page.commands(section, word)
        if command[0] != "qemu-system-x86_64":
            return [word for line in [*others, command] for word in line]
        assert command[1] == "..."
        return command[2:]

    def make_file(self):
        """Let systemd-tmpfiles create the region's file."""
        config = self._place.dir / "ivshmem.conf"
        config.write_text(self.page.block("PLAIN", "f /dev/shm") + "\n")
        done = self._place.run("systemd-tmpfiles", "--create", config)
        assert done.returncode == 0, done.stderr

    def start_server(self):
        """Run the page's commands that start a server."""
        install, server, _ = self.page.commands("DOORBELL", "ivshmem-server")
        assert self._place.run(*install).returncode == 0
        assert server.pop() == "&"
        process = self._place.start(*server, "-v")
        process.err.wait("listening at")
        return process

    def vm(self, *arguments):
        """Start a QEMU whose VM stays paused. Return: its process."""
        return self._place.start(machine.qemu_program(), *PAUSED, *arguments)

    def paused(self, *arguments):
        """Start a QEMU whose VM stays paused, and connect to its QMP socket. Return: its process,
        and the connection."""
        self._vms += 1
        path = self._place.dir / f"qmp{self._vms}"
        process = self.vm("-qmp", f"unix:{path},server=on,wait=off", *arguments)
        return process, self._place.add(Qmp(path))


@pytest.fixture
def setting(place):
    made = Setting(place)
    yield made
    USED.update(made.page.used)


def ask(qmp, request):
    """Send a QMP request of the page. Return: QEMU's reply."""
    return qmp.command(request["execute"], **request["arguments"])


def libvirt_arguments(setting):
    """Return: the arguments in the page's <qemu:commandline>."""
    text = setting.page.block("LIBVIRT", "qemu:commandline")
    root = ET.fromstring(text.replace("<qemu:commandline>", "<qemu:commandline xmlns:qemu='q'>"))
    return [argument.get("value") for argument in root]


def libvirt_devices(setting, model):
    """Return: the QEMU arguments that libvirt 9.0 generates from the page's <shmem> of a model."""
    shmem = ET.fromstring(setting.page.block("LIBVIRT", f"<model type='{model}'/>"))
    device = {"driver": shmem.find("model").get("type"), "id": "shmem0", "bus": "pcie.0"}
    if model == "ivshmem-plain":
        size, units = shmem.find("size"), {"M": MIB}
        memory = {"qom-type": "memory-backend-file", "id": "shmmem-shmem0", "share": True,
                  "mem-path": f"/dev/shm/{shmem.get('name')}",
                  "size": int(size.text) * units[size.get("unit")]}
        device["memdev"] = memory["id"]
        return ["-object", json.dumps(memory), "-device", json.dumps(device)]
    msi = shmem.find("msi")
    device |= {"vectors": int(msi.get("vectors")), "ioeventfd": msi.get("ioeventfd") == "on",
               "chardev": "charshmem0"}
    return ["-chardev", f"socket,id=charshmem0,path={shmem.find('server').get('path')}",
            "-device", json.dumps(device)]


def libvirt_address(setting):
    """Return: the page's <address> for a device, as libvirt 9.0 passes it to QEMU."""
    address = ET.fromstring(setting.page.block("LIBVIRT", "<address"))
    assert (address.get("type"), address.get("function")) == ("pci", "0x0")
    return {"bus": f"pci.{int(address.get('bus'), 0)}", "addr": address.get("slot")}


class Guest:
    """A guest with the page's devices and ports, and with a port as libvirt creates it. Only the
    arguments in the page's domain give that port a window."""

    def __init__(self, setting, place):
        devices = (setting.arguments("PLAIN", "qemu-system")
                   + setting.arguments("DOORBELL", "qemu-system")
                   + setting.arguments("HOT-PLUG", "pcie-root-port")
                   + libvirt_arguments(setting)[2:]
                   + ["-device", f"pcie-root-port,id={libvirt_address(setting)['bus']},chassis=3"])
        self._shell = device_guest.start(place, devices, own=True, qmp=str(place.dir / "qmp"))
        self.qmp = self._shell.guest.qmp()
        self.run = self._shell.run
        self.known = self.devices()

    def devices(self):
        """Return: the addresses of the ivshmem devices whose BARs have files, in order."""
        return self.run("for d in /sys/bus/pci/devices/*; do if grep -q 0x1110 $d/device && "
                        "[ -e $d/resource0 ]; then echo ${d##*/}; fi; done").split()

    def plugged(self):
        """Wait for a newly plugged-in device. Return: its address."""
        def new():
            return set(self.devices()) - set(self.known)

        wait_until(new, "a device that is plugged in", timeout=60)
        address, = new()
        self.known.append(address)
        return address

    def unplug(self, request, address):
        """Unplug a device, and wait until QEMU and the guest have removed it."""
        assert request["execute"] == "device_del"
        self.qmp.unplug(request["arguments"]["id"])
        self.qmp.wait_event("DEVICE_DELETED", 30)
        assert address not in self.devices()
        self.known.remove(address)


def check_shared(setting, guest, address, text):
    """Check that a guest's device has the plain region."""
    guest.run(f"peek pci:{address} write 8192 {text}")
    with open(setting.region, "rb") as region:
        region.seek(8192)
        assert region.read(len(text)).decode() == text


def check_rings(guest, client, address, ident):
    """Check that a guest's device has doorbells, and rings a process on the host."""
    client.out.wait(f"peer {ident} joined with 2 vectors")
    before = client.out.count("doorbell on vector 1")
    guest.run(f"peek pci:{address} ring 1 1")
    client.out.wait("doorbell on vector 1", times=before + 1)


def test_devices_in_a_guest(setting, place, record_property):
    """The page's commands give a guest a plain device and a doorbell device, which lspci shows as
    the page says. The page's requests plug in more devices, and unplug a plain one."""
    setting.make_file()
    setting.start_server()
    guest = Guest(setting, place)
    client = place.start_client()
    plain, doorbell = guest.known
    assert setting.region.stat().st_size == 32 * MIB
    for path in (setting.region, place.socket):
        assert (stat.S_IMODE(path.stat().st_mode), path.group()) == (0o660, GROUP)
    check_shared(setting, guest, plain, "plain")
    guest.run(f"peek pci:{doorbell} ring 1 1")
    client.out.wait("doorbell on vector 1")
    record_property("case", "ok devices at start")
    check_listed(setting, guest, plain)
    record_property("case", "ok what lspci shows")

    plug_plain, plug_doorbell = (setting.page.requests("HOT-PLUG", word)
                                 for word in ("object-add", "chardev-add"))
    delete, remove = setting.page.requests("HOT-PLUG", "device_del")
    with pytest.raises(KitError, match=re.escape(setting.page.message("pcie.0"))):
        guest.qmp.command("device_add", driver="ivshmem-plain", memdev="shm0", bus="pcie.0")
    for at in range(2):
        for request in plug_plain:
            ask(guest.qmp, request)
        address = guest.plugged()
        check_shared(setting, guest, address, f"plugged{at}")
        guest.unplug(delete, address)
        ask(guest.qmp, remove)
    record_property("case", "ok a plain device is plugged in and unplugged, twice")
    for request in plug_doorbell:
        ask(guest.qmp, request)
    address = guest.plugged()
    check_rings(guest, client, address, 2)
    record_property("case", "ok a doorbell device is plugged in")
    plug, device = plug_plain
    ask(guest.qmp, plug)
    guest.qmp.command("device_add", **device["arguments"] | libvirt_address(setting))
    check_shared(setting, guest, guest.plugged(), "libvirt")
    record_property("case", "ok a plain device is plugged in below a port of libvirt's domain")


def check_listed(setting, guest, address):
    """Check that the numbers in the page's output of lspci are those of the device. (The names come
    from lspci's database.)"""
    command, line = setting.page.block("IN THE GUEST", "lspci").split("\n")
    ids = re.fullmatch(r"\$ lspci -nn -d (\w+:\w+)", command)[1]
    kind, shown, revision = re.fullmatch(r"00:[\d.]+ RAM memory \[(\w+)\]: Red Hat, Inc. Inter-VM "
                                         r"shared memory \[(.*)\] \(rev (\w+)\)", line).groups()
    files = guest.run(f"cd /sys/bus/pci/devices/{address}; cat class vendor device revision; cd /")
    assert shown == ids
    assert files.split() == [f"0x{kind}00", *[f"0x{part}" for part in ids.split(":")],
                             f"0x{revision}"]


def test_devices_of_libvirt(setting, place):
    """QEMU accepts what libvirt generates from the page's two <shmem> elements and <qemu:arg>
    elements: the devices have the region, the server and the vectors, and the doorbell device is a
    master."""
    setting.make_file()
    server = setting.start_server()
    process, qmp = setting.paused(*libvirt_devices(setting, "ivshmem-plain"))
    assert setting.region.stat().st_size == 32 * MIB
    qmp.command("quit")
    assert process.wait() == 0
    _, qmp = setting.paused(*libvirt_arguments(setting),
                            *libvirt_devices(setting, "ivshmem-doorbell"))
    server.err.wait("client 0 joined")
    path = "/machine/peripheral/shmem0"
    assert qmp.command("qom-get", path=path, property="vectors") == 2
    assert qmp.command("qom-get", path=path, property="master") == "on"


def test_messages_of_qemu(setting, place):
    """QEMU prints the page's messages if there is no server, if the device has too few vectors, and
    if the region's file is too small; it lists both devices."""
    doorbell = setting.arguments("DOORBELL", "qemu-system")
    process = setting.vm(*doorbell)
    assert process.wait() == 1
    assert process.err.count(setting.page.message("No such file")) == 1
    setting.start_server()
    process = setting.vm(*[word.replace("vectors=2", "vectors=1") for word in doorbell])
    process.err.wait(setting.page.message("eventfd"))
    process.end()
    setting.region.write_bytes(bytes(MIB))
    process = setting.vm(*setting.arguments("PLAIN", "qemu-system"))
    assert process.wait() == 1
    assert process.err.count(setting.page.message("backing store").removesuffix(" ...")) == 1
    listed = place.run(machine.qemu_program(), "-device", "help").stdout
    assert '"ivshmem-plain"' in listed and '"ivshmem-doorbell"' in listed


def test_discarded_data(setting):
    """With discard-data=on, a QEMU that exits empties the region; otherwise it does not."""
    setting.region.write_bytes(b"x" * 32 * MIB)
    plain = setting.arguments("PLAIN", "qemu-system")
    for options, content in ("", b"x"), (",discard-data=on", b"\0"):
        process, qmp = setting.paused(plain[0], plain[1] + options, *plain[2:])
        qmp.command("quit")
        assert process.wait() == 0
        assert setting.region.read_bytes() == content * 32 * MIB


def save(qmp, request):
    """Save a VM, and wait until QEMU has done so."""
    ask(qmp, request)
    wait_until(lambda: qmp.command("query-migrate")["status"] == "completed", "saved")


def test_save_and_restore(setting, place):
    """QEMU saves a VM only if its devices have master=on; restoring a VM also restores the region.
    A doorbell device with master=on does not start if its server has another client."""
    section = "SAVE, RESTORE AND MIGRATION"
    memory = setting.arguments(section, "memory-backend-ram")
    plain, doorbell = (setting.page.commands(section, "master=on"))
    request, = setting.page.requests(section, "migrate")
    setting.make_file()
    setting.start_server()
    peer, qmp = setting.paused(*setting.arguments("PLAIN", "qemu-system"))
    with pytest.raises(KitError, match=re.escape(setting.page.message("peer mode"))):
        ask(qmp, request)
    peer.end()

    devices = [*memory, *setting.arguments("PLAIN", "qemu-system")[:2], *plain,
               *setting.arguments("DOORBELL", "qemu-system")[:2], *doorbell]
    source, qmp = setting.paused(*devices)
    with open(setting.region, "r+b") as region:
        region.write(b"before")
        region.flush()
        save(qmp, request)
        qmp.command("quit")
        assert source.wait() == 0
        region.seek(0)
        region.write(b"behind")
    other = place.start_client()
    incoming = setting.arguments(section, "-incoming")
    refused = setting.vm(*devices, *incoming)
    assert refused.wait() == 1
    assert refused.err.count(setting.page.message("master must connect")) == 1
    other.write("quit\n")
    assert other.wait() == 0
    _, qmp = setting.paused(*devices, *incoming)
    wait_until(lambda: qmp.command("query-status")["status"] != "inmigrate", "restored")
    assert setting.region.read_bytes()[:6] == b"before"


def test_everything_is_tested():
    """The tests above use each literal paragraph and message of the page, except commands for
    security modules, which may be missing from this machine."""
    left = ManPage("ivshmem-qemu.7").everything() - USED
    untested = ManPage("ivshmem-qemu.7").blocks["APPARMOR AND SELINUX"]
    assert left == set(untested)
