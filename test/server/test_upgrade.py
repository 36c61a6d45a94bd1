# SPDX-License-Identifier: BSD-3-Clause
"""SIGUSR2: the server executes another program in the same process, and clients do not notice."""
import os
import shutil
import signal
import threading

import pytest

from support.py.clients import join
from support.py.crowd import Storm, all_know_all, all_ring_all, read_what_is_there, same_memory
from support.py.programs import Daemon, fd_count, is_sanitized, rss_kib, wait_until
from support.py.wire import RawClient, accepts, connect

VECTORS = 2
# A filter would stay active in the new program, so start the server without one.
ANY_PROGRAM = ("--sandbox", "off")
RESUMED = "resumed"


@pytest.fixture
def program(place):
    """Run the server from a copy of its program, which the test may replace."""
    place.server_program = shutil.copy(place.server_program, place.dir / "ivshmem-server")
    return place.server_program


def replace(program, content, mode=0o755):
    """Replace the program with another file by renaming, because a running program cannot be
    overwritten."""
    new = f"{program}.new"
    if isinstance(content, str):
        with open(new, "w", encoding="ascii") as file:
            file.write(content)
    else:
        shutil.copy(content, new)
    os.chmod(new, mode)
    os.rename(new, program)


def upgrade(server, times=1):
    """Send SIGUSR2, and wait until the new program has resumed."""
    before = server.err.count(RESUMED)
    for at in range(times):
        server.signal(signal.SIGUSR2)
        server.err.wait(RESUMED, times=before + at + 1)


def three(place, *options):
    """Start a server and three clients, and wait until the clients know each other."""
    server = place.server("-n", str(VECTORS), *options)
    clients = [join(place, VECTORS) for _ in range(3)]
    all_know_all(clients)
    return server, clients


def one_more(place, clients):
    """Have another client join. Check that all clients can ring each other, and have the same
    memory."""
    clients.append(join(place, VECTORS))
    all_know_all(clients)
    all_ring_all(clients)
    same_memory(clients)
    assert all(client.hears_nothing(0.02) for client in clients)


def test_clients_do_not_notice_an_upgrade(place):
    """An upgrade keeps the process and the ids, and sends no messages to clients; afterwards
    another client can join."""
    server, clients = three(place)
    heard = [list(client.history) for client in clients]
    inode = place.socket.lstat().st_ino
    upgrade(server)
    assert server.popen.poll() is None
    assert all(client.hears_nothing(0.05) for client in clients)
    assert [client.history for client in clients] == heard
    assert place.socket.lstat().st_ino == inode
    one_more(place, clients)
    assert clients[3].id == 3
    clients.pop(0).close()
    all_know_all(clients)


def test_end_after_upgrades_removes_all_files(place):
    """When the server exits after upgrades, the last program removes the files that the first
    created; doorbells still work (W-13)."""
    server, clients = three(place)
    upgrade(server, 2)
    server.stop()
    assert not place.socket.exists() and not place.shm_path.exists()
    assert read_what_is_there(clients) == []
    all_ring_all(clients)


def test_existing_region_is_kept_after_an_upgrade(place):
    """A region that the server did not create is not removed at exit, even after an upgrade."""
    place.shm_path.write_bytes(bytes(1 << 20))
    server = place.server("-l", "1M")
    upgrade(server)
    server.stop()
    assert place.shm_path.exists() and not place.socket.exists()


@pytest.mark.parametrize("region", [["-r", "memfd:"], ["-m", "/dev/shm"]], ids=["memfd", "dir"])
def test_upgrade_with_an_unnamed_region(place, region):
    """An upgrade hands over a region that has no name."""
    server = place.server("-n", str(VECTORS), region=region)
    clients = [join(place, VECTORS)]
    upgrade(server)
    one_more(place, clients)


def test_upgrades_while_clients_join_and_leave(place):
    """Upgrades while clients join and leave lose no client, and all clients have the correct
    peers."""
    server, clients = three(place)
    deaf = place.add(RawClient(str(place.socket), VECTORS, keep=False))
    with Storm(place.socket, VECTORS) as storm:
        storm.wait(5)
        for _ in range(8):
            upgrade(server)
            storm.wait(3)
            assert read_what_is_there(clients) == clients
    deaf.greeting()
    all_know_all([*clients, deaf])
    deaf.close()
    all_know_all(clients)
    one_more(place, clients)


def test_many_upgrades_leak_nothing(place):
    """Many upgrades increase neither the number of fds nor the memory of the process."""
    server, clients = three(place)
    upgrade(server, 3)
    all_know_all(clients)
    with RawClient(str(place.socket), VECTORS) as client:  # once served, the server is in its loop
        client.greeting()
    clients[0].read_until(lambda: clients[0].history[-1] == (3, False))
    fds, rss = server.fds(), rss_kib(server.pid)
    upgrade(server, 50)
    wait_until(lambda: server.fds() == fds, "the server has as many fds as before")
    assert rss_kib(server.pid) < rss + 512
    one_more(place, clients)


def test_upgrade_during_a_greeting(place):
    """If not all of a client's vectors fit into its socket before an upgrade, the new program sends
    the rest."""
    server = place.server("-n", "40")
    clients = [place.add(RawClient(str(place.socket), 40)) for _ in range(3)]
    server.err.wait("client 2 joined")
    upgrade(server)
    clients[0].read_until(lambda: len(clients[0].own) == 10)
    upgrade(server)
    all_know_all([client.greeting() for client in clients])


def test_client_that_connects_during_an_upgrade(place):
    """A client that connects during an upgrade waits in the backlog and is served by the next
    program."""
    server, clients = three(place)
    server.signal(signal.SIGSTOP)
    waiting = [place.add(RawClient(str(place.socket), VECTORS)) for _ in range(3)]
    server.signal(signal.SIGUSR2)
    server.signal(signal.SIGCONT)
    server.err.wait(RESUMED)
    all_know_all(clients + [client.greeting() for client in waiting])


def test_leave_during_an_upgrade_is_announced(place):
    """If a client leaves at the moment of an upgrade, its leave is announced."""
    server, clients = three(place)
    for _ in range(10):
        server.signal(signal.SIGSTOP)
        server.signal(signal.SIGUSR2)
        clients.pop().close()
        clients.append(place.add(RawClient(str(place.socket), VECTORS)))
        server.signal(signal.SIGCONT)
        clients[2].greeting()
        all_know_all(clients)
        wait_until(lambda: fd_count(server.pid) < 40, "the fds of former clients are closed")


def test_other_signal_does_not_delay_announcements(place, program):
    """If a leave arrives together with a request for an upgrade that fails, the leave is announced
    immediately."""
    server, clients = three(place, *ANY_PROGRAM)
    replace(program, "#!/bin/sh\nexit 1\n")
    for _ in range(10):
        server.signal(signal.SIGSTOP)
        server.signal(signal.SIGUSR2)
        clients.pop().close()
        server.signal(signal.SIGCONT)
        all_know_all(clients)
        clients.append(join(place, VECTORS))
        all_know_all(clients)


def test_signals_in_quick_succession(place):
    """Repeated signals cause one or more upgrades, and no client is lost."""
    server, clients = three(place)
    for _ in range(20):
        server.signal(signal.SIGUSR2)
    server.err.wait(RESUMED)
    one_more(place, clients)
    upgrade(server)
    all_ring_all(clients)


def children(pid):
    """Return the process ids of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_end_during_an_upgrade(place, program, number):
    """If a signal ends the server during an upgrade, all files are removed, and the child that is
    trying the new program also exits."""
    server, _ = three(place, *ANY_PROGRAM)
    os.mkfifo(f"{program}.fifo")
    replace(program, f"#!/bin/sh\nread -r _ < {program}.fifo\n")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: children(server.pid), "the trial is running")
    trial = Daemon(children(server.pid)[0])
    try:
        server.signal(number)
        assert server.popen.wait(20) == 0
        assert not place.socket.exists() and not place.shm_path.exists()
        trial.wait(timeout=5)  # otherwise it would run for 10 s
    finally:
        trial.close()


@pytest.mark.parametrize("content, mode, said", [
    (None, 0, "cannot execute"),
    ("#!/bin/sh\nexit 3\n", 0o755, "status 3"),
    ("#!/bin/sh\nexit 0\n", 0o755, "status 0"),
    ("#!/bin/sh\nkill -SEGV $$\n", 0o755, "signal 11"),
    ("#!/bin/sh\nexit 0\n", 0o644, "cannot execute"),
    ("not a program", 0o755, "cannot execute"),
    ("", 0o755, "cannot execute"),
    ("#!/no/such/interpreter\n", 0o755, "cannot execute"),
], ids=["deleted", "fails", "something-else", "crashes", "not-executable", "no-program", "empty",
        "no-interpreter"])
def test_program_that_cannot_serve_is_not_used(place, program, content, mode, said):
    """If the new program cannot serve, the server detects this and continues; a good program is
    used the next time."""
    server, clients = three(place, *ANY_PROGRAM)
    kept = shutil.copy(program, place.dir / "good")
    if content is None:
        os.unlink(program)
    else:
        replace(program, content, mode)
    server.err.wait("client 2 joined")
    fds = server.fds()
    server.signal(signal.SIGUSR2)
    assert said in server.err.wait("no upgrade: ")
    assert not server.err.count(RESUMED)
    one_more(place, clients)
    wait_until(lambda: server.fds() == fds + 1 + VECTORS, "no fd is left open")
    replace(program, kept)
    upgrade(server)
    all_ring_all(clients)


def test_program_killed_by_the_filter_is_not_used(place, program):
    """If the filter kills the new program during its trial, the server detects this and continues.
    """
    if is_sanitized(program):
        pytest.skip("a build with sanitizers has no filter")
    server, clients = three(place)
    kept = shutil.copy(program, place.dir / "good")
    replace(program, "#!/bin/sh\nexit 93\n")
    server.signal(signal.SIGUSR2)
    assert f"signal {int(signal.SIGSYS)}" in server.err.wait("no upgrade: ")
    one_more(place, clients)
    assert place.pardon_violators() == []  # the server itself has not violated the filter
    replace(program, kept)
    upgrade(server)
    one_more(place, clients)


def test_no_upgrade_with_a_strict_filter(place):
    """With --sandbox strict the filter forbids exec(), so SIGUSR2 only causes a line in the log."""
    if is_sanitized(place.server_program):
        pytest.skip("a build with sanitizers has no filter")
    server, clients = three(place, "--sandbox", "strict")
    server.signal(signal.SIGUSR2)
    server.err.wait("no upgrade: with --chroot or --sandbox strict")
    one_more(place, clients)


@pytest.mark.usefixtures("fast_clock")
def test_program_that_hangs_is_not_used(place, program):
    """A new program that hangs is killed after 10 s; until then clients are served by the old
    one."""
    server, clients = three(place, *ANY_PROGRAM)
    os.mkfifo(f"{program}.fifo")
    replace(program, f"#!/bin/sh\nread -r _ < {program}.fifo\n")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: children(server.pid), "the trial is running")
    one_more(place, clients)
    assert "signal 14" in server.err.wait("no upgrade: ")
    assert not children(server.pid)


def test_upgrade_to_another_build(place, program):
    """An upgrade executes the file that has replaced the program."""
    server, clients = three(place)
    old = os.stat(program).st_ino
    replace(program, program)
    assert os.stat(program).st_ino != old
    upgrade(server)
    assert os.stat(f"/proc/{server.pid}/exe").st_ino == os.stat(program).st_ino
    one_more(place, clients)
    replace(program, program)
    upgrade(server)
    one_more(place, clients)


def test_upgrade_in_the_background(place):
    """In the background as well, an upgrade keeps the process and its pidfile, although the parent
    has exited."""
    pidfile = place.dir / "pid"
    done = place.run_server("-S", place.socket, "-M", place.shm, "-n", VECTORS, "-p", pidfile)
    assert done.returncode == 0, done.stderr
    pid = int(pidfile.read_text())
    daemon = place.add(Daemon(pid))
    clients = [join(place, VECTORS) for _ in range(3)]
    all_know_all(clients)
    before, ino = fd_count(pid), pidfile.stat().st_ino
    for _ in range(5):
        daemon.signal(signal.SIGUSR2)
        wait_until(lambda: b"IVSHMEM_SERVER_LIST" in
                   open(f"/proc/{pid}/environ", "rb").read(), "the server has been upgraded")
        one_more(place, clients)
        clients.pop().close()
        all_know_all(clients)
        wait_until(lambda: fd_count(pid) <= before, "no fd is left open")
    assert pidfile.stat().st_ino == ino and int(pidfile.read_text()) == pid
    busy = place.run_server("-S", f"{place.socket}2", "-M", f"{place.shm}2", "-p", pidfile)
    assert busy.returncode == 1 and "belongs to a running server" in busy.stderr
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    assert not pidfile.exists() and not place.socket.exists() and not place.shm_path.exists()


def test_upgrades_while_clients_connect(place):
    """Clients connect during repeated upgrades, and no connected client loses anything."""
    server, clients = three(place)
    done = threading.Event()

    def upgrades():
        while not done.is_set():
            upgrade(server)

    thread = threading.Thread(target=upgrades, daemon=True)
    thread.start()
    try:
        for _ in range(40):
            with RawClient(str(place.socket), VECTORS) as client:
                client.greeting()
            assert read_what_is_there(clients) == clients
    finally:
        done.set()
        thread.join()
    one_more(place, clients)


def garbage_fd(place, content):
    """Return an fd of an unlinked file with these contents."""
    path = place.dir / "garbage"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDWR)
    os.unlink(path)
    return fd


@pytest.mark.parametrize("value", ["999", "x", "", "-1", "0", "2", "99999999999999999999"])
def test_garbage_in_the_environment_is_ignored(place, value):
    """IVSHMEM_SERVER_LIST is not meant for users, but a wrong value does no harm."""
    server = place.start(place.server_program, "-F", "-v", "-S", place.socket, "-M", place.shm,
                         environment={"IVSHMEM_SERVER_LIST": value})
    server.err.wait("listening at")
    with RawClient(str(place.socket), 1) as client:
        assert client.greeting().id == 0
    server.err.wait("client 0 left")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not place.socket.exists() and not place.shm_path.exists()


@pytest.mark.parametrize("content", [
    b"", b"\0" * 100, b"\xff" * 5000, b"3", b"3 ", b"0 ivshmem.state\n", b"2 ivshmem.state\n",
    b"-5 ivshmem.state\n", b"999 ivshmem.state\n", b"LIST ivshmem.state\n" * 3,
    b"LIST ivshmem.region\nLIST ivshmem.listener\n", b"99999999999999999999 x\n",
    b"4 " + b"y" * 200, b"-2 ivshmem.state\n", b"-2 ivshmem.region\n-2 ivshmem.listener\n",
], ids=range(15))
@pytest.mark.parametrize("magic", [b"", b"ivshmem-list 1\n"], ids=["no-list", "list"])
def test_bad_list_of_fds(place, magic, content):
    """A bad list of fds does no harm: it may be malformed, or contain fds that do not exist or do
    not belong in it."""
    fd = garbage_fd(place, b"")
    os.pwrite(fd, magic + content.replace(b"LIST", str(fd).encode()), 0)
    try:
        server = place.start(place.server_program, "-F", "-v", "-S", place.socket, "-M", place.shm,
                             environment={"IVSHMEM_SERVER_LIST": str(fd)}, fds=(fd,))
    finally:
        os.close(fd)
    server.err.wait("listening at")
    with RawClient(str(place.socket), 1) as client:
        assert client.greeting().id == 0
    server.err.wait("client 0 left")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "ivshmem-server: " in server.err.text()


def test_list_without_an_end(place):
    """If the fd passed as the list of fds is an open pipe, the server does not wait for end of
    file."""
    reads, writes = os.pipe()
    try:
        server = place.start(place.server_program, "-F", "-v", "-S", place.socket, "-M", place.shm,
                             environment={"IVSHMEM_SERVER_LIST": str(reads)}, fds=(reads,))
        server.err.wait("listening at")
    finally:
        os.close(reads)
        os.close(writes)
    assert accepts(place.socket)
    connect(str(place.socket)).close()


def remove_region_directory(place):
    os.rmdir(place.dir / "regions")


def remove_metrics_directory(place):
    shutil.rmtree(place.dir / "metrics")


def occupy_metrics(place):
    shutil.rmtree(place.dir / "metrics")
    (place.dir / "metrics").write_text("")


def remove_control(place):
    os.unlink(place.dir / "control")


def remove_sockets(place):
    remove_control(place)
    os.unlink(place.socket)


@pytest.mark.parametrize("change", [remove_region_directory, remove_metrics_directory,
                                    occupy_metrics, remove_control, remove_sockets])
def test_files_renamed_since_the_start(place, change):
    """Clients lose nothing in an upgrade if a file or directory has been removed since startup."""
    (place.dir / "regions").mkdir()
    (place.dir / "metrics").mkdir()
    server = place.server("-n", str(VECTORS), "--control", place.dir / "control", "--metrics",
                          place.dir / "metrics" / "m.prom", "--roster",
                          region=["-r", f"dir:{place.dir}/regions", "-l", "1M"])
    clients = [join(place, VECTORS) for _ in range(3)]
    all_know_all(clients)
    change(place)
    upgrade(server)
    clients.pop().close()
    all_know_all(clients)
    all_ring_all(clients)
    same_memory(clients)
    if place.socket.exists():
        one_more(place, clients)


@pytest.mark.parametrize("size", [(1 << 22) + 1, 4096])
def test_region_resized_by_a_client(place, size):
    """If a client changes the size of a named region, the server continues, even after an
    upgrade."""
    server, clients = three(place)
    os.truncate(place.shm_path, size)
    upgrade(server)
    server.err.wait("a client has changed the size of the region")
    os.truncate(place.shm_path, 1 << 22)
    one_more(place, clients)
