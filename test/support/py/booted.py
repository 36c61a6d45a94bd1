# SPDX-License-Identifier: BSD-3-Clause
"""Boots systemd as the first process in a container that has this machine's /usr, its own /etc, and
its own /dev, /run and cgroups. A boot takes a second or two on an idle machine."""
import os
import shutil
import subprocess

import pytest

from support.py.systemd import MANAGER, own_cgroups, remove_cgroups

#: Time limit for a boot, in seconds, long enough for a loaded machine
BOOT_TIMEOUT = 120

#: Mounts the container's root directory at $1, and starts systemd there. $2: the directory with the
#: parts that outlive a boot. Kernel settings are read-only, as in any container, because systemd
#: would change them for the whole machine. Device nodes can be used, but not created.
START = f"""
set -e
root=$1 kept=$2
mount -t tmpfs -o mode=755 root "$root"
cd "$root"
mkdir dev etc opt proc report run sys tmp usr var
for name in bin sbin lib lib32 lib64; do
	if [ -L "/$name" ]; then cp -P "/$name" .
	elif [ -d "/$name" ]; then mkdir "$name"; mount --bind "/$name" "$name"; fi
done
mount --bind /usr usr
mount -o remount,bind,ro usr
for name in etc opt report; do mount --bind "$kept/$name" "$name"; done
mkdir var/tmp
touch var/.updated

mount -t proc proc proc
for name in sys sysrq-trigger; do
	[ -e "proc/$name" ] || continue
	mount --bind "proc/$name" "proc/$name"
	mount -o remount,bind,ro "proc/$name"
done
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 dev dev
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for name in full null random tty urandom zero; do
	: > "dev/$name"
	mount --bind "/dev/$name" "dev/$name"
done
exec env -i container=ivshmem-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
	setpriv --bounding-set=-mknod,-sys_module,-sys_rawio,-sys_time,-syslog \\
	chroot . {MANAGER} --unit=report.service --log-target=console --show-status=no
"""

#: Enters the cgroups in $1, separated by colons, and runs the script in $2 in new namespaces.
ENTER = """
for path in $(echo "$1" | tr : ' '); do echo $$ > "$path/cgroup.procs"; done
shift
exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --cgroup --ipc --net \\
	--uts sh -c "$@"
"""

#: Runs the test's commands at the end of the boot, and then ends the container.
REPORT = """[Unit]
Requires=multi-user.target
After=multi-user.target
SuccessAction=exit-force
FailureAction=exit-force

[Service]
Type=oneshot
ExecStart=/bin/sh -e /report/commands
StandardOutput=file:/report/out
StandardError=inherit
"""


class Container:
    """A container that can be booted repeatedly. Its files in @etc are kept.

    etc: the path of its /etc on this machine
    """

    def __init__(self, place):
        if os.geteuid():
            pytest.skip("only root can boot systemd in a container")
        if not os.path.exists(MANAGER):
            pytest.skip("systemd is not installed")
        self._has_booted = False
        self.etc = place.dir / "kept" / "etc"
        self._kept = place.dir / "kept"
        self._root = place.dir / "container"
        self._root.mkdir()
        for name in ("etc", "opt", "report"):
            (self._kept / name).mkdir(parents=True)
        self.write("systemd/system/report.service", REPORT)
        # Without an id, systemd would assume that this is the first boot, and enable all units.
        self.write("machine-id", "0123456789abcdef0123456789abcdef\n")
        self.write(".updated", "")  # newer than /usr, so caches are up to date
        for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache"):
            shutil.copy(f"/etc/{name}", self.etc)

    def write(self, name, text):
        """Write a file in /etc."""
        path = self.etc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def enable(self, target, name, text):
        """Write a unit that a target wants."""
        self.write(f"systemd/system/{name}", text)
        wants = self.etc / "systemd" / "system" / f"{target}.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / name).symlink_to(f"../{name}")

    def install(self, program):
        """Copy a program to /opt. Return: its path in the container."""
        shutil.copy(program, self._kept / "opt")
        return f"/opt/{program.name}"

    def boot(self, commands):
        """Boot, run shell commands when multi-user.target is reached, and end the container.
        Return: the output of the commands, all of which must succeed. If the first boot fails, the
        test is skipped: this machine does not permit such containers."""
        out = self._kept / "report" / "out"
        out.unlink(missing_ok=True)
        (self._kept / "report" / "commands").write_text("echo booted\n" + commands)
        done = self._run()
        said = out.read_text() if out.exists() else ""
        if not self._has_booted and not said.startswith("booted\n"):
            pytest.skip(f"systemd does not boot in a container here: {done.stdout[-300:]!r}")
        self._has_booted = True
        assert done.returncode == 0 and said.startswith("booted\n"), f"{said}{done.stdout}"
        return said.removeprefix("booted\n")

    def _run(self):
        cgroup = f"ivshmem-boot-{os.getpid()}"
        try:
            paths = own_cgroups(cgroup)
            return subprocess.run(["sh", "-c", ENTER, "sh", ":".join(map(str, paths)), START, "sh",
                                   self._root, self._kept], stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                  errors="replace", timeout=BOOT_TIMEOUT)
        except OSError as error:
            pytest.skip(f"cannot create a cgroup: {error}")
        finally:
            remove_cgroups(cgroup)
