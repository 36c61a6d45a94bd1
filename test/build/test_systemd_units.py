# SPDX-License-Identifier: BSD-3-Clause
"""Test the systemd units with systemd's own tools, and the system call filter that other tests
derive from a unit."""
import re
import shlex
import shutil
import signal
import subprocess

import pytest

from support.py.systemd import WITH_UNIT_FILTER, exec_start, needs

#: Limit on the result of "systemd-analyze security": 0 is best, 10 is worst. SECURITY.md states the
#: current value.
EXPOSURE_MAX = 1.0


@pytest.fixture
def unit_files(place):
    """A directory with the project's units, changed to run the programs in the build directory."""
    directory = place.dir / "units"
    directory.mkdir()
    service = (place.build / "packaging" / "ivshmem@.service").read_text()
    (directory / "ivshmem@.service").write_text(
        re.sub("^ExecStart=.*$", f"ExecStart={exec_start(place)}", service, flags=re.MULTILINE))
    for name in ("ivshmem@.socket", "ivshmem-user@.service"):
        shutil.copy(place.source / "packaging" / "systemd" / name, directory)
    device = (place.build / "packaging" / "ivshmem-device@.service").read_text()
    (directory / "ivshmem-device@.service").write_text(
        re.sub(r"^ExecStart=\S+", f"ExecStart={place.build / 'tools/ivshmem-device'}", device,
               flags=re.MULTILINE))
    return directory


def test_units_verify(unit_files, place):
    needs("systemd-analyze")
    done = place.run("systemd-analyze", "verify", "--man=no", unit_files / "ivshmem@demo.service",
                     unit_files / "ivshmem@demo.socket",
                     unit_files / "ivshmem-device@vm1.service",
                     unit_files / "ivshmem-user@demo.service")
    complaints = [line for line in done.stderr.splitlines() if "ivshmem" in line]
    assert done.returncode == 0 and not complaints, done.stderr


@pytest.mark.parametrize("unit", ["ivshmem@.service", "ivshmem-device@.service"])
def test_exposure_is_low_and_as_documented(unit_files, place, unit):
    needs("systemd-analyze")
    done = place.run("systemd-analyze", "security", "--offline=true", "--no-pager",
                     unit_files / unit)
    exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    assert exposure <= EXPOSURE_MAX, done.stdout
    documented = re.search(r"exposure ([0-9.]+)", (place.source / "SECURITY.md").read_text())
    assert documented and float(documented[1]) == exposure, f"SECURITY.md does not say {exposure}"


@pytest.mark.parametrize("unit, instance", [("ivshmem@.service", "demo"),
                                            ("ivshmem-device@.service", "device-demo")])
def test_each_instance_has_a_user(place, unit, instance):
    """Each server and each device runs as its own user, so that they do not share the kernel's
    limits per user. The unit in Wants= creates the user."""
    needs("systemd-sysusers")
    lines = (place.build / "packaging" / unit).read_text().replace("%i", "demo").splitlines()
    user = f"ivshmem-user@{instance}.service"
    assert f"Wants={user}" in lines and f"User=ivshmem-{instance}" in lines
    assert any(line.startswith("After=") and user in line for line in lines)
    config = place.source / "packaging" / "systemd" / "ivshmem-user@.service"
    command = re.search(r"^ExecStart=(.*)$", config.read_text(), re.MULTILINE)[1]
    program, *words = shlex.split(command.replace("%i", instance))
    (place.dir / "etc").mkdir()
    done = place.run(program, f"--root={place.dir}", *words)
    assert done.returncode == 0, done.stderr
    assert f"\nivshmem-{instance}:x:" in "\n" + (place.dir / "etc" / "passwd").read_text()


@pytest.mark.parametrize("unit", ["ivshmem@.service", "ivshmem-device@.service"])
def test_memory_is_bounded(place, unit):
    """A large number of clients cannot use up the host's memory."""
    assert "MemoryMax=50%" in (place.build / "packaging" / unit).read_text().splitlines()


@pytest.mark.parametrize("call, status", [("os.getpid()", 0),
                                          ("os.chown('.', -1, -1)", -signal.SIGSYS)])
def test_filter_of_a_unit_is_enforced(place, call, status):
    """A system call that is not allowed by the unit kills the process."""
    needs("systemd-analyze")
    unit = place.dir / "unit"
    unit.write_text("[Service]\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged\n")
    done = subprocess.run(["/usr/bin/python3", WITH_UNIT_FILTER, unit, "/usr/bin/python3", "-c",
                           f"import os; {call}"],
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
