# SPDX-License-Identifier: BSD-3-Clause
"""Run host processes. Each one is stopped eventually, signals are handled only at safe points, and
every wait has a timeout.

All output of a process is written to a log file, never to a pipe: a log need not be drained, it is
available after a failure, and a process that is left running (KEEP=1) keeps its standard output.

Signals: after catch_signals(), INT, TERM and HUP only set a flag, and the next pause(), which every
wait in this package uses, raises Interrupted. So no signal can take effect between the start of a
process and the point at which an object owns the process.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
TICK = 0.02
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")

_libc = ctypes.CDLL(None, use_errno=True)
_caught = []


class KitError(Exception):
    """An error whose message also says how to fix it."""


class Interrupted(BaseException):
    """Raised because of a termination signal. Not an Exception, so that only the top level catches
    it."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


def catch_signals():
    """Make INT, TERM and HUP only set a flag, which makes the next pause() raise Interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # If HUP is ignored, nohup started this process, so keep ignoring it. An ignored INT (shells
        # ignore it for commands started with "&") is handled nevertheless.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda got, _frame: _caught.append(got))


def die_of(number):
    """Terminate this process with the signal @number, so that make and the shell see the cause."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def pause(seconds=TICK):
    if _caught:
        raise Interrupted(_caught[0])
    time.sleep(seconds)
    if _caught:
        raise Interrupted(_caught[0])


def wait_until(condition, timeout):
    """Call condition() until its result is true or the timeout has expired. Return: its last
    result."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() >= end:
            return value
        pause()


def find_program(*names):
    """Return: the path of the first of these programs that exists in PATH or in an sbin directory,
    or None."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + os.pathsep.join(SBIN)
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None


def tail_of(path, lines=15):
    """Return: a list of the last lines of a text file, empty if the file does not exist."""
    try:
        with open(path, "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - 64 * 1024))
            text = f.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [clean(line) for line in text.splitlines() if clean(line)][-lines:]


def clean(line):
    """Return: a console line without carriage returns and terminal escapes."""
    return re.sub(r"\x1b(\[[0-9;?=]*[A-Za-z]|c)", "", line).replace("\r", "").rstrip()


class Lines:
    """Reads the lines of a growing file. take() returns the lines completed since its last call."""

    def __init__(self, path):
        self.path = path
        self._offset = 0
        self._rest = b""

    def take(self):
        try:
            with open(self.path, "rb") as f:
                f.seek(self._offset)
                data = f.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [clean(line.decode("utf-8", "replace")) for line in whole]


class Process:
    """A child process, owned by this object.

    name      the child's name, for messages
    argv      the command
    log       path of the file to which the child's output and errors are appended
    keep      False: the child is killed when this process dies, even if by SIGKILL.
              True: the child can outlive this process after detach().
    on_death  the signal that the child gets when this process dies; use SIGTERM for a child that
              has to clean up
    """

    def __init__(self, name, argv, log, keep=False, on_death=signal.SIGKILL, env=None):
        self.name = name
        self.argv = list(argv)
        self.log = log
        parent = os.getpid()

        def prepare():
            # Because of start_new_session, Ctrl-C reaches only the demo, which stops its children.
            if not keep:
                _libc.prctl(PR_SET_PDEATHSIG, int(on_death), 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(127)

        with open(log, "ab") as out:
            try:
                self._popen = subprocess.Popen(
                    self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                    start_new_session=True, preexec_fn=prepare, env=env)
            except OSError as e:
                raise KitError(f"{name}: cannot start {self.argv[0]}: {e.strerror}") from e
        self.pid = self._popen.pid

    def status(self):
        """Return: None while the child runs, then its exit status, or the negated number of the
        signal that killed it."""
        return self._popen.poll()

    def wait(self, timeout):
        """Wait until the child exits. Return: its status(), which is None after the timeout."""
        wait_until(lambda: self.status() is not None, timeout)
        return self.status()

    def text(self):
        """Return: all output of the child so far."""
        with open(self.log, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def tail(self, lines=15):
        return tail_of(self.log, lines)

    def wait_for(self, regex, timeout, start=0):
        """Wait until the child's output matches the regex (re.M) at or after offset @start. Return:
        the match.

        Raises KitError on a timeout, or if the child exits first.
        """
        return wait_for_text(self, regex, timeout, start)

    def describe_end(self):
        status = self.status()
        if status is None:
            return "still running"
        if status < 0:
            return f"ended by signal {-status}"
        return f"ended with status {status}"

    def stop(self, grace=5.0, first=signal.SIGTERM):
        """Send the signal @first and, after @grace seconds, SIGKILL. Never raises an exception; may
        be called repeatedly."""
        if self.status() is not None:
            return
        # Do not call pause() here, because the clean-up must complete even after a signal.
        self._popen.send_signal(first)
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            try:
                self._popen.wait(10)
            except subprocess.TimeoutExpired:
                pass  # the child is in an uninterruptible sleep; the kernel kills it later

    def detach(self):
        """Let the child outlive this process. Allowed only with keep=True."""
        self._popen.returncode = 0  # no "still running" warning when this object is deleted

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def wait_for_text(program, regex, timeout, start=0):
    """The same as Process.wait_for(), for any object that has name, log, text(), status(), tail()
    and describe_end()."""
    pattern = re.compile(regex, re.M)
    end = time.monotonic() + timeout
    while True:
        ended = program.status() is not None  # read before text(), which then has all output
        match = pattern.search(program.text(), start)
        if match:
            return match
        if ended:
            why = f"{program.describe_end()} without printing /{regex}/"
        elif time.monotonic() >= end:
            why = f"did not print /{regex}/ within {timeout:g} s"
        else:
            pause()
            continue
        raise KitError("\n".join([f"{program.name} {why}; last lines of {program.log}:"]
                                 + [f"    {line}" for line in program.tail()]))


def run_tool(argv, timeout, note=None, cwd=None, lines=8, every=2):
    """Run a helper program until it exits. Return: its standard output.

    note: a text to print once the program has run for two seconds, or a function that returns the
    text; the function's text is printed again every @every seconds. Raises KitError with the last
    lines of the program's output if it fails or exceeds the timeout.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            tool = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                start_new_session=True,
                env=dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive"))
        except OSError as e:
            raise KitError(f"cannot run {argv[0]}: {e.strerror}") from e
        begin = time.monotonic()
        next_note = 2 if note else timeout
        try:
            while tool.poll() is None:
                pause()
                took = time.monotonic() - begin
                if took > timeout:
                    break
                if took > next_note:
                    print(note() if callable(note) else note, flush=True)
                    next_note = took + every if callable(note) else timeout
        finally:
            late = tool.poll() is None
            if late:
                os.killpg(tool.pid, signal.SIGKILL)  # also its children, because it leads a session
                tool.wait()
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
        if tool.returncode == 0:
            return text
        err.seek(0)
        said = (text + err.read().decode("utf-8", "replace")).strip().splitlines()[-lines:]
        what = f"took more than {timeout} s" if late else f"failed with status {tool.returncode}"
        raise KitError("\n".join([f"{' '.join(argv)} {what}:"] + [f"    {s}" for s in said]))
