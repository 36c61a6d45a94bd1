# SPDX-License-Identifier: BSD-3-Clause
"""Start the project's programs as processes, read their output, and end them, no matter how a test
ends."""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
import uuid

from support.py.paths import SOURCE

TIMEOUT = 60  # seconds; for a slow and loaded machine, and sanitizers
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
SHM = pathlib.Path("/dev/shm")


def wait_until(condition, what, timeout=TIMEOUT):
    """Poll until condition() is true, for states that no event reports."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.005)


def _schedule(pid):
    """Return: the state of a process and how often it has been scheduled."""
    fields = dict(line.split(":\t", 1) for line in
                  pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return [fields.get(name) for name in (
        "State", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")]


def is_blocked(pid):
    """Return: true while the first thread of a process is blocked in a system call."""
    return pathlib.Path(f"/proc/{pid}/syscall").read_text() != "running\n"


def fd_count(pid, patience=1):
    """Return: the number of a process's open fds. They are counted while the process is asleep,
    because a working process may temporarily have one more or one fewer. If it does not sleep
    within @patience seconds, return the current number."""
    deadline = time.monotonic() + patience
    while True:
        before = _schedule(pid)
        count = len(os.listdir(f"/proc/{pid}/fd"))
        # A process that waits is sleeping or stopped. In state "D" (waiting for a disk or for
        # memory) it is working.
        waits = before == _schedule(pid) and before[0][0] in "ST"
        if waits or time.monotonic() >= deadline:
            return count
        time.sleep(0.0005)


def rss_kib(pid):
    """Return: the resident memory of a process, without mapped files, because how much of a program
    file is resident depends on the kernel and on the code that has run."""
    fields = dict(line.split(":", 1) for line in
                  pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    assert "RssAnon" in fields, f"process {pid} has no memory"
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))


def cpu_ticks(pid):
    """Return: the processor time that a process has used, in hundredths of a second."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def is_sanitized(program):
    """Return: whether a program was built with AddressSanitizer, which does not reuse freed memory
    immediately."""
    return b"__asan_init" in pathlib.Path(program).read_bytes()


class KernelLog:
    """The kernel's log records of processes that a seccomp filter has killed since this object was
    created. There are none if the log cannot be read."""

    def __init__(self):
        try:
            self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            self._fd = None
        self._seen = []

    def killed(self):
        """Return: (pid, program, number of the system call) of each process that was killed."""
        while self._fd is not None:
            try:
                line = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except OSError:
                continue  # lines were overwritten before they could be read
            found = re.search(r'type=1326 .* pid=(\d+) .* exe="([^"]*)" sig=31 .* syscall=(\d+)',
                              line)
            if found:
                self._seen.append((int(found[1]), found[2], int(found[3])))
        return self._seen

    def close(self):
        """Close the log."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Lines:
    """The output of a process, read by a thread so that the process never blocks."""

    def __init__(self, stream):
        self.ended = False
        self._seen = []
        self._part = b""  # an incomplete line
        self._fd = stream.fileno()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self):
        ready = select.poll()
        ready.register(self._fd, select.POLLIN)
        while not self.ended:
            ready.poll()
            with self._changed:
                self._take(os.read(self._fd, 65536))
                self._changed.notify_all()

    def _take(self, data):
        self.ended = not data
        *whole, self._part = (self._part + data).split(b"\n")
        if self.ended and self._part:
            whole.append(self._part)
        self._seen += [line.decode(errors="replace") for line in whole]

    def _unread(self):
        """Return: the number of bytes that have not been read from the pipe."""
        return not self.ended and struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD,
                                                                 bytes(4)))[0]

    @property
    def seen(self):
        """Return: all lines printed so far."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unread(), TIMEOUT)
            return list(self._seen)

    def count(self, text):
        """Return: the number of lines that contain this text."""
        return sum(text in line for line in self.seen)

    def wait(self, text, times=1, timeout=TIMEOUT):
        """Wait until this many lines contain this text. Return: the last of them."""
        assert times > 0, "times must be positive"

        def found():
            return [line for line in self._seen if text in line]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= times or self.ended, timeout)
            lines = found()
            assert len(lines) >= times, \
                f"fewer than {times} lines contain {text!r}: {self._seen[-20:]}"
            return lines[times - 1]

    def text(self):
        """Wait until the process has ended. Return: its whole output."""
        self._thread.join(TIMEOUT)
        return "\n".join(self._seen)


def changed_environment(changes):
    """Return: our environment with some changes; None removes a variable."""
    changed = {**os.environ, **(changes or {})}
    return {name: str(value) for name, value in changed.items() if value is not None}


class Process:
    """A running program.

    environment: changes to our environment; None as a value removes a variable
    fds:         fds that the program inherits with the same numbers
    """

    def __init__(self, arguments, nofile=None, user=None, stdin=subprocess.DEVNULL,
                 environment=None, fds=()):
        def prepare():
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # kill the program if the tests are killed
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        self.popen = subprocess.Popen([str(word) for word in arguments], stdin=stdin,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      text=True, errors="replace", preexec_fn=prepare,
                                      pass_fds=fds, env=changed_environment(environment))
        self.pid = self.popen.pid
        self.out = Lines(self.popen.stdout)
        self.err = Lines(self.popen.stderr)

    def write(self, text):
        """Write to the program's standard input."""
        self.popen.stdin.write(text)
        self.popen.stdin.flush()

    def wait(self, timeout=TIMEOUT):
        """Wait until the program has ended. Return: its status."""
        status = self.popen.wait(timeout)
        self.out.text()
        self.err.text()
        return status

    def signal(self, number):
        """Send a signal to this process, unless it has ended."""
        self.popen.send_signal(number)

    def end(self):
        """Kill the program without checking its status."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.out.text()
        self.err.text()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # the program has ended without reading the input


class Server(Process):
    """An ivshmem-server in the foreground that accepts connections."""

    def __init__(self, place, *options, region=None, socket=None, nofile=None, user=None):
        self.socket = str(socket or place.socket)
        region = region or ["-M", place.shm]
        program = place.server_program
        if nofile and not user and os.geteuid() == 0:
            # The kernel counts fds in flight per user: use a user that no concurrent test uses.
            user = 200000 + os.getpid()
            place.dir.chmod(0o777)
        if user:  # the user may lack permission to enter the build directory
            program = shutil.copy(program, place.dir)
        super().__init__([program, "-F", "-v", "-S", self.socket, *region, *options],
                         nofile=nofile, user=user)
        try:
            self.wait_until_it_listens()
        except AssertionError:
            self.end()
            raise

    def wait_until_it_listens(self):
        """Wait until the server has logged that it listens."""
        self.err.wait("ivshmem-server: listening at")

    def fds(self):
        """Return: the number of the server's open fds."""
        return fd_count(self.pid)

    def stop(self, number=signal.SIGTERM):
        """Stop the server with SIGTERM, and check for status 0."""
        self.signal(number)
        status = self.wait()
        assert status == 0, f"the server ended with {status}: {self.err.text()}"


class Place:
    """A test's private directory, the names of its socket and region, and the processes that it
    has started.

    ours: whether the server is this project's
    """

    ours = True
    server_kind = Server

    def __init__(self, build):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ivs-"))
        self.build = pathlib.Path(build)
        self.source = SOURCE
        self.socket = self.dir / "socket"
        self.shm = "ivs-test-" + uuid.uuid4().hex[:12]
        self.shm_path = SHM / self.shm
        self.server_program = self.build / "tools" / "ivshmem-server"
        self.client_program = self.build / "tools" / "ivshmem-client"
        self.device_program = self.build / "tools" / "ivshmem-device"
        self._processes = []
        self._closers = []
        self._kernel_log = KernelLog()
        self._violators = []

    def add(self, thing):
        """Close an object when the test ends. Objects are closed in reverse order."""
        self._closers.append(thing)
        return thing

    def server(self, *options, **keywords):
        """Start a server."""
        server = self.server_kind(self, *options, **keywords)
        self._processes.append(server)
        return server

    def adopt(self, process):
        """End a process when the test ends, as if start() had started it."""
        self._processes.append(process)
        return process

    def servers(self):
        """Return: the servers that server() has started."""
        return [process for process in self._processes if isinstance(process, Server)]

    def start(self, *arguments, **keywords):
        """Start any program."""
        process = Process(arguments, **keywords)
        self._processes.append(process)
        return process

    def run(self, *arguments, timeout=TIMEOUT, text=None, preexec_fn=None):
        """Run any program until it ends. Return: an object with returncode, stdout and stderr."""
        given = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        given["preexec_fn"] = preexec_fn
        done = subprocess.run([str(word) for word in arguments], capture_output=True, text=True,
                              errors="replace", timeout=timeout, check=False, **given)
        if done.returncode == -signal.SIGSYS:
            self._violators.append(f"{arguments[0]}")
        return done

    def run_server(self, *options, **keywords):
        """Run a server that is expected to exit on its own."""
        return self.run(self.server_program, *options, **keywords)

    def run_device(self, *options, **keywords):
        """Run an ivshmem-device that is expected to exit on its own."""
        return self.run(self.device_program, *options, **keywords)

    def run_client(self, *options, **keywords):
        """Run ivshmem-client with the test's socket."""
        return self.run(self.client_program, "-S", self.socket, *options, **keywords)

    def start_client(self, *options):
        """Start ivshmem-client with a pipe as its standard input, and wait until it has joined."""
        client = self.start(self.client_program, "-v", "-S", self.socket, *options,
                            stdin=subprocess.PIPE)
        client.write("dump\n")
        client.out.wait("(this one)")
        return client

    def end_all(self):
        """End every process, and close everything that was added."""
        while self._processes:
            process = self._processes.pop()
            process.end()
            if process.popen.returncode == -signal.SIGSYS:
                self._violators.append(f"{process.popen.args[0]} (pid {process.pid})")
        while self._closers:
            self._closers.pop().close()
        self.end_strays()

    def pardon_violators(self):
        """Forget the programs that the filter has killed, for tests that make forbidden system
        calls. Return: these programs."""
        pardoned, self._violators = self._violators, []
        return pardoned

    def _check_violators(self):
        """Check that the filter has killed no program of the test, even one that the test does not
        watch."""
        killed = [(pid, call) for pid, exe, call in self._kernel_log.killed()
                  if exe in (str(self.server_program), str(self.device_program))
                  or exe.startswith(f"{self.dir}/")]
        self._kernel_log.close()
        assert not self._violators and not killed, (
            f"killed for a forbidden system call: {self._violators}; the kernel's log says (pid, "
            f"number of the call): {killed}")

    def strays(self):
        """Return: the pids of servers in the background, found by the test's directory in their
        command line."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "exe") == str(self.server_program) and \
                        f"{self.dir}/".encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass  # the process has ended, or belongs to another user
        return found

    def end_strays(self):
        """Kill all servers in the background; some may exit in the meantime."""
        for pid in self.strays():
            with contextlib.suppress(ProcessLookupError):
                Daemon(pid).close()

    def close(self):
        """End all processes, and remove every file."""
        self.end_all()
        for path in SHM.glob(self.shm + "*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.rmtree(self.dir)
        self._check_violators()


class Daemon:
    """A background process, given by its pid. A pidfd ensures that a signal never reaches another
    process with the same pid."""

    def __init__(self, pid):
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def signal(self, number):
        """Send a signal to the process."""
        signal.pidfd_send_signal(self._pidfd, number)

    def wait(self, timeout=TIMEOUT):
        """Wait until the process has ended."""
        assert select.select([self._pidfd], [], [], timeout)[0], "the daemon did not end"

    def close(self):
        """Kill the process without checking its status."""
        try:
            self.signal(signal.SIGKILL)
            self.wait()
        except ProcessLookupError:
            pass  # the process has ended
        os.close(self._pidfd)
