# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-server as its systemd units start it, including tests under a real systemd."""
import grp
import os
import signal

import pytest

from support.py.programs import is_sanitized, wait_until
from support.py.stuck_epoll import StuckEpoll, blocked_n
from support.py.systemd import (WITH_UNIT_FILTER, Absent, UserManager, exec_start, install_units,
                                needs)
from support.py.wire import RawClient, accepts


def test_the_unit_allows_all_needed_system_calls(place):
    """The unit's system call filter permits every system call that the unit's command needs, even
    if a group is configured for the region."""
    needs("systemd-socket-activate")
    if is_sanitized(place.server_program):
        pytest.skip("built with a sanitizer, whose code makes additional system calls")
    service = place.build / "packaging" / "ivshmem@.service"
    group = grp.getgrgid(os.getgid()).gr_name
    words = exec_start(place, "--verbose").replace(" --sandbox strict", "").replace("%t/ivshmem-%i",
                                                                                    str(place.dir))
    for name, value in (("REGION", f"shm:{place.shm}"), ("SIZE", "1M"), ("VECTORS", "2")):
        words = words.replace("${%s}" % name, value)
    words = words.replace("$OPTIONS", f"--region-mode 0660 --region-group {group} --roster")
    program = place.start("systemd-socket-activate", "-l", place.socket, "/usr/bin/python3",
                          WITH_UNIT_FILTER,
                          service, *words.split())
    wait_until(lambda: accepts(place.socket), "the server is listening")
    with RawClient(str(place.socket), vectors=2) as client:
        client.greeting()
        asked = place.run_server("--status", place.dir / "control")
        assert (asked.returncode, asked.stderr) == (0, "")
    assert place.shm_path.stat().st_mode & 0o777 == 0o660
    program.signal(signal.SIGTERM)
    assert program.wait() == 0, program.err.text()


def test_socket_activation(place):
    needs("systemd-socket-activate")
    program = place.start("systemd-socket-activate", "-l", place.socket, place.server_program,
                          "-F", "-v", "-r", "memfd:", "-l", "1M", "-n", "2")
    wait_until(lambda: accepts(place.socket), "the server is listening")
    with RawClient(str(place.socket), vectors=2) as client:
        client.greeting()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert place.socket.exists(), "the server has removed a socket that it did not create"


@pytest.fixture
def manager(place):
    """Start a real systemd with our units."""
    try:
        started = UserManager(place)
    except Absent as reason:
        pytest.skip(str(reason))
    # Use the unit's command without --sandbox strict, which prevents upgrades.
    command = exec_start(place, "--verbose").replace(" --sandbox strict", "")
    install_units(place, started.units, f"""
StandardError=append:{started.dir}/server.log
WatchdogSec=2
RestartSec=100ms
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
    """Wait until systemd has started a new process for the service. Return: its process id."""
    wait_until(lambda: manager.pid(manager.unit) not in (0, former) and
               manager.show(manager.unit, "ActiveState") == "active",
               "the service is running again")
    return manager.pid(manager.unit)


def crash(manager, pid):
    """Kill the server with a signal, as a crash would."""
    manager.run("kill", "--signal=KILL", manager.unit)
    return restarted(manager, pid)


def hang(manager, pid):
    """Stop the server with a signal, so that the watchdog restarts it."""
    manager.run("kill", "--signal=STOP", manager.unit)
    return restarted(manager, pid)


def restart(manager, pid):
    """Restart the service, as an administrator or a package installation would."""
    manager.run("restart", manager.unit)
    return restarted(manager, pid)


def upgrade(manager, pid):
    """Reload the service: the server executes its program again in the same process."""
    log = manager.dir / "server.log"
    before = log.read_text().count("resumed 2 of 2 clients")
    manager.run("reload", manager.unit)
    wait_until(lambda: log.read_text().count("resumed 2 of 2 clients") > before, "it has resumed")
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


def test_strict_unit_upgrades_on_restart(place, manager):
    """With the unit's unmodified command line, exec() is forbidden, but a restart still keeps all
    clients."""
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


def test_crashes_in_a_row_end_nothing(manager):
    """However often the server crashes, systemd starts it again, the socket stays open, and clients
    stay connected."""
    with RawClient(manager.socket, vectors=2) as client:
        client.greeting()
        pid = manager.pid(manager.unit)
        for _ in range(8):
            pid = crash(manager, pid)
        with RawClient(manager.socket, vectors=2) as other:
            other.read_until_knows([0])
            client.read_until_knows([1])
    assert manager.show("ivshmem@demo.socket", "ActiveState") == "active"


def test_wrong_options_are_not_retried(manager):
    """If the server's options are invalid, systemd does not start it again and again, even if each
    start is slow: the socket is closed, so that programs that connect get an error."""
    change = manager.units / "ivshmem@.service.d" / "wrong.conf"
    change.write_text("[Service]\nEnvironment=OPTIONS=--no-such-option\n"
                      "ExecStartPre=/bin/sleep 0.2\n")
    manager.run("daemon-reload")
    with RawClient(manager.socket, vectors=2) as client:
        client.read_to_end()
    wait_until(lambda: manager.show("ivshmem@demo.socket", "ActiveState") == "failed",
               "the socket is closed")
    assert manager.show(manager.unit, "ActiveState") == "failed"
    assert not accepts(manager.socket)


def test_stop_disconnects_all(manager):
    with RawClient(manager.socket, vectors=2) as client:
        client.greeting()
        manager.run("stop", "ivshmem@demo.socket", manager.unit)
        client.read_to_end()
        assert client.ended
    assert not accepts(manager.socket)


def hold_doorbells(place, client):
    """Make the last close() of a client's doorbells block, and close the client's copies."""
    stuck = place.add(StuckEpoll(*client.own))
    while client.own:
        os.close(client.own.pop())
    return stuck


def answers(manager):
    """Check that systemd responds, which it could not do if it had made the last close()."""
    assert manager.run("show", "-p", "Version").stdout


def test_clients_cannot_block_systemd(place, manager):
    """The last close() of a client's doorbells blocks, and copies of them are in the fd store.
    systemd is not the last to close them, either when the client leaves or when the service is
    stopped."""
    first = place.add(RawClient(manager.socket, 2)).greeting()
    last = place.add(RawClient(manager.socket, 2)).greeting()
    stored = int(manager.show(manager.unit, "NFileDescriptorStore"))
    held = [hold_doorbells(place, client) for client in (first, last)]
    first.close()
    wait_until(lambda: int(manager.show(manager.unit, "NFileDescriptorStore")) == stored - 3,
               "systemd has dropped its copies")
    answers(manager)
    manager.run("stop", "ivshmem@demo.socket", manager.unit)
    assert manager.show(manager.unit, "ActiveState") == "inactive"
    answers(manager)
    for each in held:
        each.release()


def test_blocked_helper_process_does_not_delay_a_restart(place, manager):
    """A client blocks a helper process, which then cannot be killed. The service restarts
    immediately."""
    client = place.add(RawClient(manager.socket, 2)).greeting()
    pid = manager.pid(manager.unit)
    stuck = hold_doorbells(place, client)
    client.close()
    wait_until(lambda: blocked_n(pid), "a helper process is blocked")
    restart(manager, pid)
    with RawClient(manager.socket, 2) as newcomer:
        newcomer.greeting()
    stuck.release()
