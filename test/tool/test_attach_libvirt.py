# SPDX-License-Identifier: BSD-3-Clause
"""`ivshmem attach` and `ivshmem detach` with --domain: with libvirt itself, and with a stand-in for
virsh where libvirt would need KVM."""
import json
import os
import signal
import tempfile

import pytest

from support.py.attach import MIB, Control, make_region, start_server
from support.py.config import TOOL
from support.py.libvirt import Libvirt
from support.py.programs import wait_until

PORT = "    <controller type='pci' model='pcie-root-port' index='{}'/>\n"

#: A stand-in for virsh: the domain's XML is a file, and a device is released immediately.
_VIRSH = """#!/bin/sh
dir={dir}
echo "$*" >> $dir/calls
case $1 in
uri) cat $dir/uri;;
dumpxml) [ ! -e $dir/plugged -o -e $dir/after ] && cat $dir/xml;;
attach-device) cat $3 > $dir/plugged; [ ! -e $dir/after ] || cp $dir/after $dir/xml;;
detach-device)
    cat $3 > $dir/unplugged
    [ -e $dir/kept ] || cp $dir/before $dir/xml
    [ ! -e $dir/pending ] || exec sh -c 'echo "error: Failed to detach device from /dev/stdin
error: internal error: unable to execute QEMU command device_del: Device shmem0 is already in the \
process of unplug" >&2; exit 1';;
*) echo "error: what is $1?" >&2; exit 1;;
esac
"""
_XML = """<domain type='{type}' id='1'>
  <name>vm</name>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0'/>
    </controller>
    <controller type='pci' index='2' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>
    </controller>
    <controller type='scsi' index='9' model='virtio-scsi'>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </controller>
{shmem}  </devices>
</domain>
"""
_SHMEM = """    <shmem name='x'>
      <model type='ivshmem-{model}'/>
      <alias name='{alias}'/>
    </shmem>
"""


class StandIn:
    """A stand-in for virsh, and a domain with devices."""

    def __init__(self, place, kind="kvm", models=("plain",)):
        self._place = place
        self.dir = place.dir
        shmems = [_SHMEM.format(model=model, alias=f"shmem{at}")
                  for at, model in enumerate(models)]
        for name, some in (("before", shmems[:-1]), ("xml", shmems), ("after", shmems)):
            (self.dir / name).write_text(_XML.format(type=kind, shmem="".join(some)))
        (self.dir / "uri").write_text("qemu:///session\n\n")
        virsh = self.dir / "virsh"
        virsh.write_text(_VIRSH.format(dir=self.dir))
        virsh.chmod(0o755)

    def run_as_nobody(self, *words):
        """Run the tool with this virsh as an unprivileged user. Return: the completed process."""
        tool = self.dir / "ivshmem"
        tool.write_bytes(TOOL.read_bytes())
        tool.chmod(0o755)
        for path in (self.dir, *self.dir.rglob("*")):
            path.chmod(0o777)
        return self._place.run("setpriv", *["--reuid=65534"] * (not os.getuid()), "env",
                               f"PATH={self.dir}:{os.environ['PATH']}",
                               f"XDG_RUNTIME_DIR={self.dir}", tool, *words)

    def start(self, *words):
        """Start the tool with this virsh, and wait until the unplug is requested. Return: the
        process."""
        process = self._place.start("env", f"PATH={self.dir}:{os.environ['PATH']}", TOOL, *words)
        wait_until(lambda: "detach-device" in self.calls(), "the unplug is requested")
        return process

    def run(self, *words, path=None):
        """Run the tool with this virsh. Return: the completed process."""
        path = path or f"{self.dir}:{os.environ['PATH']}"
        return self._place.run("env", f"PATH={path}", TOOL, *words)

    def calls(self):
        """Return: the commands that virsh was given."""
        path = self.dir / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_free_port(place):
    """The device is placed behind the first root port without a device, and its new alias is
    printed."""
    vm = StandIn(place)
    (vm.dir / "xml").write_bytes((vm.dir / "before").read_bytes())
    make_region(place)
    done = vm.run("attach", "--domain", "vm", "--region", place.shm, "--master", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"id": "shmem0", "driver": "ivshmem-plain", "size": MIB,
                                       "path": str(place.shm_path)}
    assert vm.calls() == ["dumpxml", "attach-device", "dumpxml"]
    text = (vm.dir / "plugged").read_text()
    assert "bus='0x02' slot='0x00'" in text and f"<shmem name='{place.shm}' role='master'>" in text


@pytest.mark.parametrize("told, reason", [
    (False, None), (True, "has told this QEMU that a peer left"), (None, "is too old to say")])
def test_rules_for_doorbells(place, told, reason):
    """With KVM, a doorbell device is unplugged if QEMU has never been told of a leave. libvirt's
    file says which pid QEMU has."""
    vm = StandIn(place, models=["plain", "doorbell"])
    runtime = vm.dir / "libvirt/qemu/run"
    runtime.mkdir(parents=True)
    (runtime / "vm.pid").write_text("77\n")
    status = {"peers": [{"pid": 77} | ({} if told is None else {"told_leaves": told})]}
    control = place.add(Control(place.dir / "control", lambda: status))
    done = vm.run_as_nobody("detach", "--domain", "vm", "shmem1", "--control", control.path)
    if reason:
        assert done.returncode == 1 and reason in done.stderr
        assert "detach-device" not in vm.calls()
    else:
        assert done.stdout == "detached shmem1\n"


@pytest.mark.parametrize("uri, reason", [
    ("qemu:///system", "QEMU's pid is not known either"),
    ("qemu+ssh://host/session", "libvirt of another host (qemu+ssh://host/session)")])
def test_other_libvirts(place, uri, reason):
    """The pid is that of a domain of the libvirt to which virsh connects."""
    vm = StandIn(place, models=["doorbell"])
    (vm.dir / "uri").write_text(uri + "\n\n")
    runtime = vm.dir / "libvirt/qemu/run"
    runtime.mkdir(parents=True)
    (runtime / "vm.pid").write_text("77\n")
    control = place.add(Control(place.dir / "control", lambda: {
        "peers": [{"pid": 77, "told_leaves": False}]}))
    done = vm.run_as_nobody("detach", "--domain", "vm", "shmem0", "--control", control.path)
    assert done.returncode == 1 and reason in done.stderr
    assert "detach-device" not in vm.calls()


def test_unknown_alias(place):
    """If libvirt plugs in the device, but then fails, the tool says that the device is there."""
    vm = StandIn(place)
    (vm.dir / "after").unlink()
    make_region(place)
    done = vm.run("attach", "--domain", "vm", "--region", place.shm)
    assert done.returncode == 1 and "the device is plugged in" in done.stderr


def test_unknown_pid(place):
    """A doorbell device is not detached if QEMU's pid is not known or KVM is not used."""
    vm = StandIn(place, models=["doorbell"])
    done = vm.run("detach", "--domain", "no-such-vm", "shmem0")
    assert done.returncode == 1 and "it is not known whether a server has told" in done.stderr
    assert "QEMU's pid is not known either" in done.stderr
    vm = StandIn(place, kind="qemu", models=["doorbell"])
    done = vm.run("detach", "--domain", "vm", "shmem0")
    assert done.returncode == 1 and "the domain runs without KVM (type 'qemu')" in done.stderr
    assert "detach-device" not in vm.calls()


def test_plain_is_detached(place):
    """The tool passes the device's element to virsh as libvirt prints it."""
    vm = StandIn(place, models=["doorbell", "plain"])
    done = vm.run("detach", "--domain", "vm", "shmem1", "--json")
    assert json.loads(done.stdout) == {"id": "shmem1", "driver": "ivshmem-plain", "pending": False}
    assert (vm.dir / "unplugged").read_text() == _SHMEM.format(model="plain",
                                                               alias="shmem1").strip()
    done = vm.run("detach", "--domain", "vm", "shmem1")
    assert done.returncode == 1 and 'no shared memory with the alias "shmem1"' in done.stderr


def test_killed_and_repeated(place):
    """A request outlives the command. The next run reports that QEMU refuses a second request
    because the first one is pending, or that the device is gone."""
    vm = StandIn(place)
    (vm.dir / "kept").touch()
    words = ["detach", "--domain", "vm", "shmem0"]
    process = vm.start(*words)
    process.signal(signal.SIGKILL)
    process.wait()
    (vm.dir / "pending").touch()
    done = vm.run(*words, "--timeout", "1")
    assert done.returncode == 3 and "an earlier request to release shmem0 is still pending" in \
        done.stderr and "the guest has not released it in time" in done.stderr
    (vm.dir / "kept").unlink()
    done = vm.run(*words)
    assert done.returncode == 0 and done.stdout == "detached shmem0\n", done
    done = vm.run(*words)
    assert done.returncode == 1 and "If its unplug was requested earlier, the guest has " \
        "released it, and nothing is left to do" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(place, number):
    """After an interruption, the request stays pending, and the command says so."""
    vm = StandIn(place)
    (vm.dir / "kept").touch()
    process = vm.start("detach", "--domain", "vm", "shmem0", "--timeout", "600")
    process.signal(number)
    assert process.wait() == -number
    assert "interrupted: the unplug of shmem0 was requested" in process.err.text()


def test_virsh_fails(place):
    """Another failure of virsh is shown, and the command does not wait."""
    vm = StandIn(place)
    (vm.dir / "virsh").write_text((vm.dir / "virsh").read_text().replace(
        "detach-device)", "detach-device) echo 'error: no\n\nerror: luck' >&2; exit 1;;\nx)"))
    done = vm.run("detach", "--domain", "vm", "shmem0", "--timeout", "600")
    assert done.returncode == 1 and "virsh: error: no; error: luck\n" in done.stderr
    assert vm.calls() == ["dumpxml", "detach-device"]


def test_mistakes(place):
    """Actions that libvirt lacks are refused; if virsh is missing, the reason names its package."""
    vm = StandIn(place)
    make_region(place)
    done = vm.run("attach", "--domain", "vm", "--region", place.shm, path="/nonexistent")
    assert done.returncode == 127 or "install the package libvirt-clients" in done.stderr
    for words, reason in [
            (["attach", "--domain", "vm", "--region", place.shm, "--id", "x"], "libvirt chooses"),
            (["attach", "--domain", "vm", "--region", place.shm, "--bus", "x"], "index of a "),
            (["attach", "--domain", "-x", "--region", place.shm], 'invalid domain "-x"'),
            (["attach", "--domain", "vm", "--region", f"{place.dir}/xml"], "power of two"),
            (["detach", "--domain", "a/b", "shmem0"], 'invalid domain "a/b"')]:
        done = vm.run(*words)
        assert done.returncode in (1, 2) and reason in done.stderr, done.stderr
    assert set(vm.calls()) <= {"dumpxml"}


@pytest.fixture(name="libvirt")
def libvirt_fixture():
    """A private libvirtd."""
    with tempfile.TemporaryDirectory(prefix="ivs-lv-") as path:
        made = Libvirt(path)
        try:
            yield made
        finally:
            made.close()


def test_with_libvirt(place, libvirt):
    """libvirt plugs both kinds of devices into root ports of a running domain. Without an operating
    system, a plain device is not released. The unplug of a doorbell device is not requested,
    because the domain has no KVM."""
    libvirt.define("vm", PORT.format(16) + PORT.format(17))
    libvirt.shell("virsh start vm")
    make_region(place).chmod(0o666)
    place.dir.chmod(0o755)
    start_server(place, "--socket-mode", "0666")
    tool = libvirt.dir / "ivshmem"
    tool.write_bytes(TOOL.read_bytes())
    tool.chmod(0o755)
    said = libvirt.shell(f"{tool} attach --domain vm --region {place.shm}")
    assert said == f"attached shmem0: ivshmem-plain, {place.shm_path}\n"
    assert libvirt.shell(f"{tool} attach --domain vm --server {place.socket}") == \
        f"attached shmem1: ivshmem-doorbell, {place.socket}\n"
    found = libvirt.shell("virsh qemu-monitor-command vm --hmp info qtree")
    assert found.count("dev: ivshmem-plain") == found.count("dev: ivshmem-doorbell") == 1
    said = libvirt.shell(f"{tool} attach --domain vm --region {place.shm}", check=False)
    assert "no port of the domain is free: add a controller" in said or "attached" in said
    said = libvirt.shell(f"{tool} detach --domain vm shmem1", check=False)
    assert "the domain runs without KVM" in said
    said = libvirt.shell(f"{tool} detach --domain vm shmem0 --timeout 1; echo status $?")
    assert said in ("status 3\n", "detached shmem0\nstatus 0\n")
