# SPDX-License-Identifier: BSD-3-Clause
"""The units: as systemd's own tools judge them, and under a real systemd."""
import grp
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from support.py import with_unit_filter
from support.py.programs import is_sanitized, wait_until
from support.py.systemd import Absent, UserManager, install_units
from support.py.vfio_user import Client
from support.py.wire import RawClient, accepts

#: "systemd-analyze security": 0 is best, 10 worst. The documentation says what it is now.
EXPOSURE_MAX = 1.0
WITH_UNIT_FILTER = pathlib.Path(with_unit_filter.__file__)


def needs(program):
    """Skip, unless it is installed."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def exec_start(place, more=""):
    """The command of the service, with the program where it is."""
    service = (place.build / "packaging" / "ivshmem@.service").read_text()
    command = re.search(r"^ExecStart=\S+(.*)$", service, re.MULTILINE)[1]
    return f"{place.server_program} {more}{command}"


@pytest.fixture
def unit_files(place):
    """Our units in a directory, with the program where it is."""
    directory = place.dir / "units"
    directory.mkdir()
    service = (place.build / "packaging" / "ivshmem@.service").read_text()
    (directory / "ivshmem@.service").write_text(
        re.sub("^ExecStart=.*$", f"ExecStart={exec_start(place)}", service, flags=re.MULTILINE))
    shutil.copy(place.source / "packaging" / "systemd" / "ivshmem@.socket", directory)
    device = (place.build / "packaging" / "ivshmem-device@.service").read_text()
    (directory / "ivshmem-device@.service").write_text(
        re.sub(r"^ExecStart=\S+", f"ExecStart={place.build / 'tools/ivshmem-device'}", device,
               flags=re.MULTILINE))
    return directory


def test_units_verify(unit_files, place):
    needs("systemd-analyze")
    done = place.run("systemd-analyze", "verify", "--man=no", unit_files / "ivshmem@demo.service",
                     unit_files / "ivshmem@demo.socket",
                     unit_files / "ivshmem-device@vm1.service")
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


def run_device_unit(place, *prefix):
    """Its own command, with the example's settings, but for directories and groups of the machine."""
    unit = (place.build / "packaging" / "ivshmem-device@.service").read_text()
    command = re.search(r"^ExecStart=\S+(.*)$", unit, re.MULTILINE)[1]
    example = (place.source / "packaging" / "systemd" / "device-example.conf").read_text()
    settings = re.search(r"^DEVICE=(.*)$", example, re.MULTILINE)[1]
    words = command.replace("$DEVICE", settings.replace("looking-glass", place.shm))
    words = words.replace("%t", str(place.dir)).replace("%i", "vm1")
    words = words.replace("-group kvm", f"-group {grp.getgrgid(os.getgid()).gr_name}")
    directory = place.dir / "ivshmem-device-vm1"
    directory.mkdir()
    program = place.start(*prefix, place.build / "tools/ivshmem-device", *words.split())
    wait_until(lambda: accepts(directory / "control") or program.popen.poll() is not None, "it listens")
    asked = place.run(place.build / "tools/ivshmem-device", "--status", directory / "control")
    assert f"32M of shm:{place.shm}" in asked.stdout, (
        asked.stdout + asked.stderr + program.err.text(), program.popen.poll())
    assert place.shm_path.stat().st_mode & 0o777 == 0o660
    with Client(directory / "vmm.sock") as client:
        client.start()
        assert client.map_memory().size() == 32 << 20
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


def test_the_device_unit_serves(place):
    run_device_unit(place)


def test_the_device_unit_lets_it_do_what_it_has_to(place):
    """Its filter of system calls allows what its own command needs."""
    needs("systemd-analyze")
    if is_sanitized(place.device_program):
        pytest.skip("built with a sanitizer, whose code makes system calls of its own")
    run_device_unit(place, "/usr/bin/python3", WITH_UNIT_FILTER,
                    place.build / "packaging" / "ivshmem-device@.service")


def test_the_unit_lets_the_server_do_what_it_has_to(place):
    """Likewise, also give its region to a group."""
    needs("systemd-socket-activate")
    if is_sanitized(place.server_program):
        pytest.skip("built with a sanitizer, whose code makes system calls of its own")
    service = place.build / "packaging" / "ivshmem@.service"
    group = grp.getgrgid(os.getgid()).gr_name
    words = exec_start(place, "--verbose").replace(" --sandbox strict", "").replace("%t/ivshmem-%i", str(place.dir))
    for name, value in (("REGION", f"shm:{place.shm}"), ("SIZE", "1M"), ("VECTORS", "2")):
        words = words.replace("${%s}" % name, value)
    words = words.replace("$OPTIONS", f"--region-mode 0660 --region-group {group} --roster")
    program = place.start("systemd-socket-activate", "-l", place.socket, "/usr/bin/python3", WITH_UNIT_FILTER,
                          service, *words.split())
    wait_until(lambda: accepts(place.socket), "it listens")
    with RawClient(str(place.socket), vectors=2) as client:
        client.greeting()
        asked = place.run_server("--status", place.dir / "control")
        assert (asked.returncode, asked.stderr) == (0, "")
    assert place.shm_path.stat().st_mode & 0o777 == 0o660
    program.signal(signal.SIGTERM)
    assert program.wait() == 0, program.err.text()


@pytest.mark.parametrize("call, status", [("os.getpid()", 0), ("os.chown('.', -1, -1)", -signal.SIGSYS)])
def test_a_unit_that_lets_it_do_too_little(place, call, status):
    """That the filter of a unit is in force then."""
    needs("systemd-analyze")
    unit = place.dir / "unit"
    unit.write_text("[Service]\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged\n")
    done = subprocess.run(["/usr/bin/python3", WITH_UNIT_FILTER, unit, "/usr/bin/python3", "-c", f"import os; {call}"],
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr


def test_socket_activation(place):
    needs("systemd-socket-activate")
    program = place.start("systemd-socket-activate", "-l", place.socket, place.server_program,
                          "-F", "-v", "-r", "memfd:", "-l", "1M", "-n", "2")
    wait_until(lambda: accepts(place.socket), "it listens")
    with RawClient(str(place.socket), vectors=2) as client:
        client.greeting()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert place.socket.exists(), "the socket is not the server's to remove"


@pytest.fixture
def manager(place):
    """A real systemd with our units."""
    try:
        started = UserManager(place)
    except Absent as reason:
        pytest.skip(str(reason))
    # The unit's own command, but for where the program is and what a build with sanitizers lacks.
    command = exec_start(place, "--verbose").replace(" --sandbox strict", "")
    install_units(place, started.units, f"""
StandardError=append:{started.dir}/server.log
WatchdogSec=2
Environment=VECTORS=2
EnvironmentFile=
ExecStart=
ExecStart={command}
ExecReload=/bin/kill -USR2 $MAINPID
""")
    started.run("daemon-reload")
    started.run("start", "ivshmem@demo.socket")
    started.unit = "ivshmem@demo.service"
    started.socket = str(started.dir / "ivshmem" / "demo.sock")
    return started


def restarted(manager, former):
    """Wait until another process serves. Return: its id."""
    wait_until(lambda: manager.pid(manager.unit) not in (0, former) and
               manager.show(manager.unit, "ActiveState") == "active", "the service is back")
    return manager.pid(manager.unit)


def crash(manager, pid):
    """As a bug would."""
    manager.run("kill", "--signal=KILL", manager.unit)
    return restarted(manager, pid)


def hang(manager, pid):
    """The watchdog ends it."""
    manager.run("kill", "--signal=STOP", manager.unit)
    return restarted(manager, pid)


def restart(manager, pid):
    """As an administrator does, or the installation of a package."""
    manager.run("restart", manager.unit)
    return restarted(manager, pid)


def upgrade(manager, pid):
    """In place: the process stays."""
    log = manager.dir / "server.log"
    before = log.read_text().count("going on with 2 clients of 2")
    manager.run("reload", manager.unit)
    wait_until(lambda: log.read_text().count("going on with 2 clients of 2") > before, "it goes on")
    assert manager.pid(manager.unit) == pid
    return pid


@pytest.mark.parametrize("how", [crash, hang, restart, upgrade])
def test_clients_do_not_notice(manager, how):
    with RawClient(manager.socket, vectors=2) as first, \
            RawClient(manager.socket, vectors=2) as second:
        first.read_until_knows([1])
        second.read_until_knows([0])
        pid = manager.pid(manager.unit)
        for _ in range(2):
            pid = how(manager, pid)
        with RawClient(manager.socket, vectors=2) as third:
            third.read_until_knows([0, 1])
            assert third.id == 2
            first.read_until_knows([1, 2])
            second.read_until_knows([0, 2])
        first.read_until_knows([1])
        second.read_until_knows([0])
        wait_until(lambda: "2 clients" in manager.show(manager.unit, "StatusText"),
                   "the status is up to date")


def test_strict(place, manager):
    """The command as it is: nothing can be executed, and a restart is an upgrade all the same."""
    if is_sanitized(place.server_program):
        pytest.skip("a build with sanitizers has no filter")
    change = manager.units / "ivshmem@.service.d" / "strict.conf"
    change.write_text(f"[Service]\nExecStart=\nExecStart={exec_start(place, '--verbose')}\n")
    manager.run("daemon-reload")
    with RawClient(manager.socket, vectors=2) as client:
        client.greeting()
        restart(manager, manager.pid(manager.unit))
        with RawClient(manager.socket, vectors=2) as other:
            other.read_until_knows([0])
            client.read_until_knows([1])
        control = manager.dir / "ivshmem-demo" / "control"
        shown = place.run(place.server_program, "--status", control)
        assert "1 now" in shown.stdout, shown.stdout + shown.stderr


def test_a_stop_is_the_end(manager):
    with RawClient(manager.socket, vectors=2) as client:
        client.greeting()
        manager.run("stop", "ivshmem@demo.socket", manager.unit)
        client.read_to_end()
        assert client.ended
    assert not accepts(manager.socket)
