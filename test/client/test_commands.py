# SPDX-License-Identifier: BSD-3-Clause
"""Test the commands of ivshmem-client, how the client exits, and transports other than unix."""
import os
import signal
import socket
import subprocess
import sys

import pytest

from support.py.clients import join
from support.py.programs import cpu_ticks
from support.py.wire import BadServer, readable


def check(done, status, out="", err=""):
    """Check the exit status of a program, and that its output contains these strings."""
    assert done.returncode == status, done.stderr
    assert out in done.stdout
    assert err in done.stderr
    assert bool(done.stderr) == bool(err), done.stderr


# Commands

def test_dump_shows_transport_region_and_peers(place):
    """dump shows the transport, the region's size, and how many vectors the client and each other
    peer have."""
    place.server("-n", "3", "-l", "2M")
    clients = [join(place, 3), join(place, 3)]
    done = place.run_client("-c", "dump")
    check(done, 0)
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["transport", "unix:", "cached", "memory,", "3", "vectors"], ["region", "2M"],
        ["peer", "2", "3", "vectors", "(this", "one)"],
        ["peer", "0", "3", "vectors"], ["peer", "1", "3", "vectors"]]
    for client in clients:
        client.read_until(lambda: client.history[-1] == (2, False), "2 has left")


@pytest.mark.parametrize("vectors", [0, 1, 2, 64])
def test_dump_of_the_only_client(place, vectors):
    """A server's only client gets all of its vectors, although the server does not say how many
    there are."""
    place.server("-n", vectors)
    check(place.run_client("-c", "dump"), 0, f"peer     0  {vectors} vectors (this one)")


@pytest.mark.parametrize("assigned, has, message", [
    (2, 1, "this peer has 1 vectors and the server assigns 2: doorbells on vector 1 and above are "
           "lost; start QEMU with vectors=2"),
    (1, 3, "this peer has 3 vectors and the server assigns 1: no peer can ring vector 1 and above; "
           "start the server with -n 3"),
    (0, 1, "this peer has 1 vectors and the server assigns 0: no peer can ring vector 0 and above; "
           "start the server with -n 1"),
    (2, 2, None),
])
def test_dump_shows_surplus_vectors(place, assigned, has, message):
    """If, according to the roster page, the server assigns this peer more or fewer vectors than the
    peer has, dump says which doorbells are lost. (The peer here is a client of a different server,
    which sends the same region.)"""
    place.server("-n", assigned, "--roster", "-l", "1M")
    join(place, assigned)
    region = place.add(place.shm_path.open("r+b")).fileno()
    doorbells = [place.add(os.fdopen(os.eventfd(0, os.EFD_NONBLOCK), "rb")).fileno()
                 for _ in range(has)]
    other = place.dir / "other"
    place.add(BadServer(str(other), [(0, []), (0, []), (-1, [region]),
                                     *((0, [fd]) for fd in doorbells)]))
    done = place.run(place.client_program, "-S", other, "-c", "dump")
    lines = [line for line in done.stdout.splitlines() if line.startswith("surplus")]
    assert lines == ([f"surplus     {message}"] if message else []), done.stdout


@pytest.mark.parametrize("option", ["-c", "--command"])
def test_commands_run_in_order(place, option):
    """The commands from several -c options are run in order, and then the client exits."""
    place.server("-n", "2")
    client = join(place, 2)
    done = place.run_client("-v", option, "int 0 1", option, "int 0 0", option, "help")
    check(done, 0, "rang peer 0 vector 1\nrang peer 0 vector 0\nhelp ")
    assert readable(client.own) == [0, 1]


def test_failed_command_ends_the_client(place):
    """If a command fails, the client exits without running the commands in later -c options."""
    place.server()
    done = place.run_client("-c", "nonsense", "-c", "dump")
    check(done, 1, "", "ivshmem-client: nonsense: unknown command: try help")
    assert done.stdout == ""


@pytest.mark.parametrize("command, expected", [
    ("int 0 0", [[0], []]), ("int 1 2", [[], [2]]), ("int 0 all", [[0, 1, 2], []]),
    ("int all", [[0, 1, 2], [0, 1, 2]]), ("  int\t1   1  ", [[], [1]]), ("int 2 all", [[], []]),
    ("help", [[], []]), ("?", [[], []]), ("quit", [[], []]), ("", [[], []]),
    pytest.param("# int all", [[], []], id="comment"),
])
def test_int_rings_the_named_vectors(place, command, expected):
    """int rings exactly the vectors given to it. Other commands ring none."""
    place.server("-n", "3")
    clients = [join(place, 3), join(place, 3)]
    check(place.run_client("-c", command), 0)
    assert [readable(client.own) for client in clients] == expected


@pytest.mark.parametrize("command, message", [
    ("nonsense", "nonsense: unknown command: try help"),
    ("INT 0 0", "INT: unknown command: try help"),
    ("int", "int: use int PEER VECTOR, int PEER all or int all"),
    ("int 0", "int: use int PEER VECTOR, int PEER all or int all"),
    ("int 0 0 0", "int: use int PEER VECTOR, int PEER all or int all"),
    ("int x 0", "x: not the id of a peer: use 0 to 65535"),
    ("int -1 0", "-1: not the id of a peer: use 0 to 65535"),
    ("int 65536 0", "65536: not the id of a peer: use 0 to 65535"),
    ("int 0 x", "x: not the number of a vector: use 0 to 65535, or all"),
    ("int 0 65536", "65536: not the number of a vector: use 0 to 65535, or all"),
    ("int 7 0", "cannot ring peer 7 vector 0: no such peer is connected (see dump)"),
    ("int 7 all", "cannot ring peer 7 vector 0: no such peer is connected (see dump)"),
    ("int 0 1", "cannot ring peer 0 vector 1: the peer has no such vector (see dump)"),
    ("dump all", "dump: takes no arguments"),
    ("x" * 300, "command: too long"),
], ids=lambda text: text[:20])
def test_bad_command_is_an_error(place, command, message):
    """A bad command results in status 1 and an error message, whether it is given as an option or
    in a script. The rest of the script still runs."""
    place.server()
    client = join(place)
    check(place.run_client("-c", command), 1, "", f"ivshmem-client: {message}\n")
    done = place.run_client(text=f"{command}\nhelp\n")
    assert done.returncode == 1
    assert f"ivshmem-client: {message}\n" in done.stderr
    assert done.stdout.startswith("help ")
    assert readable(client.own) == []


def test_ringing_a_missing_own_vector_is_an_error(place):
    """Ringing a vector that the client itself does not have is also an error."""
    place.server()
    check(place.run_client("-c", "int 0 1"), 1, "",
          "ivshmem-client: cannot ring peer 0 vector 1: the peer has no such vector (see dump)\n")


def test_commands_from_standard_input(place):
    """Without -c the client reads commands from standard input, and exits at the end of the input.
    """
    place.server()
    client = join(place)
    done = place.run_client("-v", text="# a script\n\nint 0 0\ndump")
    check(done, 0, "rang peer 0 vector 0\ntransport   unix: cached memory, ")
    assert readable(client.own) == [0]
    check(place.run_client(text="help\nquit\nnonsense\n"), 0, "quit ")


def test_long_line_is_one_command(place):
    """The rest of a line that is too long is not executed as another command."""
    place.server()
    client = join(place)
    done = place.run_client(text="#".ljust(255) + "int all\nhelp\n")
    assert readable(client.own) == []
    assert done.stdout.startswith("help ")


@pytest.mark.parametrize("given", ["</dev/null", "<&-", "</", "<pipe"])
def test_empty_input_ends_the_client(place, given):
    """If its standard input is empty or closed, the client exits immediately."""
    place.server()
    script = f'exec "$@" {given}' if given != "<pipe" else 'true | "$@"'
    done = place.run("sh", "-c", script, "sh", place.client_program, "-S", place.socket,
                     timeout=8)
    assert done.returncode in ([0, 1] if given == "</" else [0])


def test_idle_client_does_not_spin(place):
    """A client that is waiting for input uses no processor time."""
    place.server()
    client = place.start_client()
    before = cpu_ticks(client.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        client.popen.wait(0.5)
    assert cpu_ticks(client.pid) - before <= 5


def test_two_clients_see_and_ring_each_other(place):
    """Two clients receive each other's doorbells, and the first sees the second join and leave."""
    place.server("-n", "2")
    first, second = place.start_client(), place.start_client()
    first.out.wait("peer 1 joined with 2 vectors")
    second.write("int 0 1\n")
    first.out.wait("doorbell on vector 1")
    first.write("int 1 0\n")
    second.out.wait("doorbell on vector 0")
    first.write("int 0 0\n")
    first.out.wait("doorbell on vector 0")
    second.write("quit\n")
    assert second.wait() == 0
    first.out.wait("peer 1 left")
    first.popen.stdin.close()
    assert first.wait() == 0
    assert first.err.text() == second.err.text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_death_of_the_server_is_reported_once(place, number):
    """After the server has died, known doorbells continue to work, and dump lists the capabilities
    that have been lost."""
    server = place.server()
    clients = [place.start_client(), place.start_client()]
    clients[0].out.wait("peer 1 joined")
    server.signal(number)
    server.wait()
    for client in clients:
        client.err.wait("ivshmem-client: the server is gone; known doorbells continue to work")
    clients[0].write("int 1 0\n")
    clients[1].out.wait("doorbell on vector 0")
    clients[1].write("int 0 0\ndump\n")
    clients[0].out.wait("doorbell on vector 0")
    clients[1].out.wait("no roster: the server is gone")
    for client in clients:
        assert client.out.count(" left") == 0
        client.popen.stdin.close()
        assert client.wait() == 0
        assert client.err.count("the server is gone") == 1


def test_full_doorbell_does_not_block_others(place):
    """If a peer fills the counter of its doorbell and makes the fd blocking, ringing that peer does
    not block."""
    place.server()
    client = join(place)
    os.set_blocking(client.own[0], True)
    os.write(client.own[0], b"\xfe" + b"\xff" * 7)
    check(place.run_client("-c", "int 0 0"), 0)


RING_FOREVER = "import os\nwhile True: os.eventfd_write(0, 1)"


def test_continuous_doorbells_do_not_block_commands(place):
    """A client executes its commands even if a peer rings it continuously."""
    place.server()
    rung = place.start_client()
    hostile = join(place)
    hostile.read_until_knows({0})
    place.start(sys.executable, "-c", RING_FOREVER, stdin=hostile.peers[0][0])
    rung.out.wait("doorbell on vector 0", 100)
    rung.write("quit\n")
    assert rung.wait(8) == 0


# Other transports

@pytest.mark.parametrize("way", ["shm", "file"])
@pytest.mark.parametrize("option", ["-a", "--address"])
def test_plain_region(place, way, option):
    """Without a server there is only memory. dump lists the reasons for missing capabilities."""
    with open(place.shm_path, "wb") as file:
        file.truncate(1 << 20)
    name = place.shm if way == "shm" else place.shm_path
    done = place.run(place.client_program, option, f"{way}:{name}", "-c", "dump")
    check(done, 0, f"transport   {way}: cached memory, no interrupts\nregion      1M\n")
    reasons = done.stdout.splitlines()[2:]
    assert [line.split(":")[0] for line in reasons] == ["no id", "no ring", "no wait", "no roster"]
    assert all("a plain region has neither ids nor doorbells: use a server" in line
               for line in reasons)
    for command in ["int 0 0", "int all", "int 0 all"]:
        done = place.run(place.client_program, option, f"{way}:{name}", "-c", command)
        check(done, 1, "", "a plain region has neither ids nor doorbells")
    check(place.run(place.client_program, option, f"{way}:{name}", text="help\n"), 0, "help ")


def test_unix_address(place):
    """The option -a unix:PATH is the same as -S PATH."""
    place.server()
    done = place.run(place.client_program, "-a", f"unix:{place.socket}", "-c", "dump")
    check(done, 0, "transport   unix")


def test_server_without_vectors(place):
    """If the server assigns no vectors, dump says that the client cannot wait, and why."""
    place.server("-n", "0")
    check(place.run_client("-c", "dump"), 0,
          "no wait: the server assigns no vectors: start it with")


def test_no_server(place):
    """If there is no socket, or no process listens on it, the message gives the path and says how
    to start a server."""
    message = (f"no server is listening at {place.socket}: start it with "
               f"ivshmem-server -S {place.socket}")
    check(place.run_client(), 1, "", message)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place.socket))
    check(place.run_client(), 1, "", message)


def test_socket_is_a_file(place):
    """If the path given for the socket is that of a file, the message contains the path."""
    place.socket.touch()
    check(place.run_client(), 1, "", str(place.socket))
