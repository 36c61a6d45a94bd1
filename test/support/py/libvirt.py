# SPDX-License-Identifier: BSD-3-Clause
"""A private instance of libvirt's daemon: a session daemon of an unprivileged user, in its own
directory."""
import json
import os
import pathlib
import shlex
import shutil
import subprocess

import pytest

from guestkit import cache
from support.py.programs import TIMEOUT, Process, wait_until

NOBODY = 65534
EMULATOR = "/usr/bin/qemu-system-x86_64"

#: QEMU loads modules from a directory that is compiled in. Hide those of this machine's QEMU from a
#: different QEMU, because libvirt makes it load all of them. Only root can do that.
_WITHOUT_MODULES = ["unshare", "--mount", "sh", "-ec",
                    "for dir in /usr/lib/*/qemu; do [ ! -d $dir ] || mount -t tmpfs none $dir; "
                    f"done; exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "
                    "--pdeathsig KILL \"$@\"", "sh"]


def _script(directory, qemu):
    """Write a script that runs a QEMU. A QEMU from our cache, which other users cannot read, is
    copied into the directory. Return: the path of the script."""
    ours = cache.directory("vfio-user-qemu")
    if len(qemu) > 1:
        if os.getuid():
            pytest.skip("only root can hide the modules of this machine's QEMU from a different "
                        "QEMU")
        entry = ours / pathlib.Path(qemu[0]).relative_to(ours).parts[0]
        shutil.copytree(entry, directory / "qemu", symlinks=True)
        qemu = [word.replace(str(entry), str(directory / "qemu")) for word in qemu]
    script = directory / "emulator"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(qemu)} "$@"\n')
    script.chmod(0o755)
    return script


class Libvirt:
    """A running libvirtd, and virsh; close() ends its domains and the daemon.

    uid:      the user of the daemon and of its VMs
    emulator: the program that libvirt runs as QEMU: EMULATOR, or a script that runs @qemu, the
              first words of the command line of a different QEMU
    """

    def __init__(self, directory, qemu=None):
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
        self.emulator = _script(self.dir, qemu) if qemu else EMULATOR
        daemon = [shutil.which("libvirtd", path=f"{os.environ['PATH']}:/usr/sbin")]
        alone = qemu and len(qemu) > 1
        self.daemon = Process([*_WITHOUT_MODULES, *daemon] if alone else daemon,
                              user=None if os.getuid() or alone else NOBODY,
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
  <features><acpi/></features>
  <devices>
    <emulator>{self.emulator}</emulator>
    <memballoon model='none'/>
{devices}  </devices>
{others}</domain>
"""
        path = self.file(f"{name}.xml", xml)
        self.shell(f"virt-xml-validate {path} domain")
        self.shell(f"virsh define {path}")
        self.domains.append(name)
        return xml

    def qmp(self, name, command):
        """Run a command without arguments in a domain's monitor. Return: QEMU's reply."""
        request = shlex.quote(json.dumps({"execute": command}))
        return json.loads(self.shell(f"virsh qemu-monitor-command {name} {request}"))["return"]

    def argv(self, name):
        """Return: the arguments that libvirt passes to QEMU for a domain."""
        text = self.shell(f"virsh domxml-to-native qemu-argv --domain {name}")
        done = subprocess.run(["sh", "-c", f'set -- {text.split(str(self.emulator), 1)[1]}\n'
                               'printf "%s\\0" "$@"'], capture_output=True, text=True, check=True,
                              timeout=TIMEOUT)
        return done.stdout.split("\0")[:-1]

    def close(self):
        """End the domains and the daemon."""
        for name in self.domains:
            self.shell(f"virsh destroy {name}", check=False)
            self.shell(f"virsh undefine {name}", check=False)
        self.daemon.end()
