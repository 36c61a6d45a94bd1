# SPDX-License-Identifier: BSD-3-Clause
"""A private instance of libvirt's daemon: a session of an unprivileged user, in its own
directory."""
import os
import pathlib
import shutil
import subprocess

import pytest

from support.py.programs import TIMEOUT, Process, wait_until

NOBODY = 65534
EMULATOR = "/usr/bin/qemu-system-x86_64"


class Libvirt:
    """A running libvirtd, and virsh; close() ends its domains and the daemon.

    uid: the user of the daemon and of its VMs
    """

    def __init__(self, directory):
        for program in ("libvirtd", "virsh", "virt-xml-validate"):
            if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
                pytest.skip(f"{program} is not installed: scripts/install-packages test")
        self.dir = pathlib.Path(directory)
        self.uid = os.getuid() or NOBODY
        self.env = {"LIBVIRT_DEFAULT_URI": "qemu:///session", "LC_ALL": "C"}
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
                     "HOME"):
            path = self.dir / name.lower()
            path.mkdir()
            if not os.getuid():
                os.chown(path, NOBODY, NOBODY)
            self.env[name] = str(path)
        self.dir.chmod(0o755)
        self.domains = []
        self.daemon = Process([shutil.which("libvirtd", path=f"{os.environ['PATH']}:/usr/sbin")],
                              user=None if os.getuid() else NOBODY,
                              environment=self.env)
        socket = self.dir / "xdg_runtime_dir" / "libvirt" / "libvirt-sock"
        try:
            wait_until(lambda: self.daemon.popen.poll() is not None or socket.exists(),
                       "libvirtd listens")
            assert self.daemon.popen.poll() is None, self.daemon.err.text()
        except AssertionError:
            self.daemon.end()
            raise

    def shell(self, command, check=True):
        """Run a shell command as the user of the daemon. Return: what it prints."""
        def prepare():
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

        done = subprocess.run(["sh", "-c", command], env={**os.environ, **self.env}, text=True,
                              preexec_fn=None if os.getuid() else prepare, timeout=3 * TIMEOUT,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              cwd=self.dir)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def file(self, name, text):
        """Write a file that the daemon's user can read. Return: its path."""
        path = self.dir / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        return path

    def define(self, name, devices, others=""):
        """Define a domain of type qemu. Return: its validated XML."""
        xml = f"""<domain type='qemu'>
  <name>{name}</name>
  <memory unit='M'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>{EMULATOR}</emulator>
    <memballoon model='none'/>
{devices}  </devices>
{others}</domain>
"""
        path = self.file(f"{name}.xml", xml)
        self.shell(f"virt-xml-validate {path} domain")
        self.shell(f"virsh define {path}")
        self.domains.append(name)
        return xml

    def argv(self, name):
        """Return: the arguments that libvirt passes to QEMU for a domain."""
        text = self.shell(f"virsh domxml-to-native qemu-argv --domain {name}")
        done = subprocess.run(["sh", "-c", f'set -- {text.split(EMULATOR, 1)[1]}\n'
                               'printf "%s\\0" "$@"'], capture_output=True, text=True, check=True,
                              timeout=TIMEOUT)
        return done.stdout.split("\0")[:-1]

    def close(self):
        """End the domains and the daemon."""
        for name in self.domains:
            self.shell(f"virsh destroy {name}", check=False)
            self.shell(f"virsh undefine {name}", check=False)
        self.daemon.end()
