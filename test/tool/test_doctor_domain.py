# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem doctor: the rules about domains of libvirt, each proven by a fault, and by its cure, with
libvirt itself."""
import os
import pathlib
import signal
import subprocess
import tempfile

import pytest

from support.py.doctor import TOOL, examine, proves, prove
from support.py.libvirt import Libvirt
from support.py.listing import MIB, make
from support.py.programs import Daemon, wait_until

NOBODY = 65534
PLAIN = """    <shmem name='{name}'{role}>
      <model type='ivshmem-plain'/>
      <size unit='M'>{size}</size>
    </shmem>
"""
DOORBELL = """    <shmem name='{name}'>
      <model type='ivshmem-doorbell'/>
{server}    </shmem>
"""
GLOBAL = """  <qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <qemu:arg value='-global'/>
    <qemu:arg value='ivshmem-doorbell.master=on'/>
  </qemu:commandline>
"""


@pytest.fixture(scope="module", name="libvirt")
def _libvirt():
    """A Libvirt object for all tests in this file."""
    with tempfile.TemporaryDirectory(prefix="ivs-lv-") as path:
        made = Libvirt(path)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(name="domain")
def _domain(libvirt, place):
    """A Domain, which is undefined after the test."""
    made = Domain(libvirt, place)
    try:
        yield made
    finally:
        libvirt.shell(f"virsh undefine {made.name}", check=False)


class Domain:
    """A domain with shared memory, and the doctor as libvirt's user."""

    def __init__(self, libvirt, place):
        self.libvirt = libvirt
        self.name = place.shm.replace("ivs-test-", "d")
        self.region = place.shm
        self.options = {"env": {**os.environ, **libvirt.env}, "cwd": libvirt.dir}
        if not os.getuid():
            self.options |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def define(self, devices, others=""):
        """Define the domain, or change it."""
        self.libvirt.shell(f"virsh undefine {self.name}", check=False)
        self.libvirt.define(self.name, devices, others)

    def plain(self, size=1, role="master"):
        """Define the domain with plain shared memory."""
        role = f" role='{role}'" if role else ""
        self.define(PLAIN.format(name=self.region, size=size, role=role))

    def doorbell(self, path=None, master=True):
        """Define the domain with shared memory of a server."""
        server = f"      <server path='{path}'/>\n" if path else "      <server/>\n"
        self.define(DOORBELL.format(name=self.region, server=server), GLOBAL if master else "")

    def make_old(self):
        """Define the domain as an old libvirt has left it: this one refuses to define such a
        domain, but loads it."""
        self.plain()
        path = self.libvirt.dir / "xdg_config_home" / "libvirt" / "qemu" / f"{self.name}.xml"
        path.write_text(path.read_text().replace("ivshmem-plain", "ivshmem"))
        self.libvirt.daemon.signal(signal.SIGHUP)
        wait_until(lambda: "type='ivshmem'" in self.libvirt.shell(f"virsh dumpxml {self.name}"),
                   "libvirt has loaded the domain again")

    def prove(self, rule, cure=None):
        """Prove a rule about the domain. Return: the finding."""
        return prove(rule, "--domain", self.name, cure=cure, **self.options)

    def examine(self):
        """Examine the domain. Return: the Report."""
        return examine("--domain", self.name, **self.options)


def make_region(place, libvirt, size=MIB):
    """Create the region for libvirt's user."""
    make(place.shm_path, size, 0o660)
    if not os.getuid():
        os.chown(place.shm_path, libvirt.uid, libvirt.uid)


@proves("domain-model")
def test_model(domain):
    """The model that QEMU has removed is replaced with virsh edit."""
    domain.make_old()

    def edit(finding):
        assert "<model type='ivshmem-plain'/>" in finding["advice"]
        domain.plain()

    domain.prove("domain-model", edit)


@proves("domain-size")
@pytest.mark.parametrize("size", [MIB, 4 * MIB])
def test_size(place, domain, size):
    """A region that is smaller or larger than the domain says is resized."""
    make_region(place, domain.libvirt, size)
    domain.plain(size=2)
    finding = domain.prove("domain-size")
    assert finding["command"] == f"ivshmem resize --size 2M shm:{place.shm}"
    assert place.shm_path.stat().st_size == 2 * MIB


@proves("domain-socket")
def test_socket(place, domain):
    """A device whose server does not run: the printed command starts one."""
    place.dir.chmod(0o777)
    path = place.dir / f"{place.shm}.sock"
    domain.doorbell(path)
    finding = domain.prove("domain-socket")
    assert f"--socket {path} --shm {place.shm}" in finding["command"]
    place.add(Daemon(int(pathlib.Path(f"{path}.pid").read_text())))


@proves("domain-socket")
def test_default_socket(place, domain):
    """A device without a path connects to libvirt's default path, where no server listens."""
    path = place.dir / "socket"
    place.server()
    place.dir.chmod(0o755)
    path.chmod(0o777)
    domain.doorbell()

    def edit(finding):
        assert f"/var/lib/libvirt/shmem-{place.shm}-sock" in finding["found"]
        assert "<server path='SOCKET'/>" in finding["advice"]
        domain.doorbell(path)

    domain.prove("domain-socket", edit)


@proves("domain-denied")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be other users")
def test_denied(place, domain):
    """A region of root, which libvirt's user may use after the printed command."""
    make(place.shm_path, MIB, 0o600)
    domain.plain()
    finding = domain.prove("domain-denied")
    path = place.shm_path
    assert finding["command"] == f"chgrp {NOBODY} {path} && chmod g+rw {path}"


@proves("domain-role")
@pytest.mark.parametrize("doorbell", [False, True])
def test_role(place, domain, doorbell):
    """A device without the role "master" prevents saving and migrating."""
    if doorbell:
        place.server()
        place.dir.chmod(0o755)
        place.socket.chmod(0o777)
        domain.doorbell(place.socket, master=False)
    else:
        domain.plain(role=None)

    def edit(_finding):
        if doorbell:
            domain.doorbell(place.socket)
        else:
            domain.plain()

    domain.prove("domain-role", edit)


def test_healthy(place, domain):
    """A domain that starts has no faults, before and while it runs."""
    make_region(place, domain.libvirt)
    domain.plain()
    assert not domain.examine().findings
    domain.libvirt.shell(f"virsh start {domain.name}")
    try:
        assert not domain.examine().findings
    finally:
        domain.libvirt.shell(f"virsh destroy {domain.name}")


@pytest.mark.parametrize("name", ["", "-c", "ivs-absent", "a\nb"])
def test_wrong_names(domain, name):
    """A domain that does not exist, or cannot, is reported."""
    done = subprocess.run([TOOL, "doctor", "--domain", name], capture_output=True, text=True,
                          timeout=60, check=False, **domain.options)
    assert done.returncode == 2 and not done.stdout
    assert ("virsh: " if name == "ivs-absent" else "invalid domain") in done.stderr


def test_without_virsh(place):
    """Without virsh, the doctor says what is missing."""
    done = subprocess.run([TOOL, "doctor", "--domain", "vm"], capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, "PATH": str(place.dir)})
    assert done.returncode == 2 and "virsh is not installed" in done.stderr
