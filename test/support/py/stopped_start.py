# SPDX-License-Identifier: BSD-3-Clause
"""Stop a program at a chosen point during its startup, where an attacker might win a race, and let
it continue."""
import os
import pathlib
import signal

from support.py.programs import wait_until


def is_stopped(pid):
    """Return whether the process is stopped."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return text.rsplit(")", 1)[1].split()[0] in "tT"


def start_stopped(place, after, made, program, *arguments):
    """Start a program, and stop it after its n-th call of a given system call, which must create
    the file @made. @after: (call, n). Return: the process; SIGCONT lets it continue."""
    call, nth = after
    process = place.start(
        "env", "ASAN_OPTIONS=detect_leaks=0",  # do not trace the leak check's vfork()
        "strace", "-D", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
        f"inject={call}:signal=STOP:when={nth}", program, *arguments)
    # strace itself also stops the process, before the program starts.
    wait_until(lambda: process.popen.poll() is not None
               or os.path.lexists(made) and is_stopped(process.pid),
               f"the program is stopped after {call}")
    assert process.popen.poll() is None, process.err.text()
    return process


def swap_socket_for_link(place, process, socket):
    """While the process is stopped, replace its socket by a symbolic link to a file that only its
    owner may read, and let the process continue. Return: that file."""
    precious = place.dir / "precious"
    precious.write_text("secret", encoding="ascii")
    precious.chmod(0o600)
    assert socket.is_socket()
    socket.unlink()
    socket.symlink_to(precious)
    process.signal(signal.SIGCONT)
    return precious


def check_link_not_followed(process, precious, socket):
    """The program must fail to start, say why, and change neither the file nor the link."""
    def attributes():
        there = precious.stat()
        return oct(there.st_mode), there.st_uid, there.st_gid

    before = ("0o100600", 0, 0)
    wait_until(lambda: process.popen.poll() is not None or attributes() != before, "it fails")
    assert attributes() == before
    assert process.wait() == 1
    assert "another process has replaced the socket" in process.err.text()
    assert socket.is_symlink()
