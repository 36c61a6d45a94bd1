# SPDX-License-Identifier: BSD-3-Clause
"""Host programs with a guaranteed end, signals that cannot come at a bad moment, bounded waits.

Everything a program prints goes to a log file, never to a pipe: nobody has to read it, it is there
after a failure, and a program that is left running (KEEP=1) does not lose its standard output.

Signals: after catch_signals() an INT, TERM or HUP only sets a flag; pause(), which every wait in
this package goes through, raises Interrupted. So no signal can hit between the start of a program
and the moment somebody is responsible for ending it.
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
    """What went wrong and what to do about it, for people."""


class Interrupted(BaseException):
    """A signal asked for the end. Not an Exception: nothing but the top should catch it."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


def catch_signals():
    """From now on INT, TERM and HUP end the next pause() with Interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # An ignored HUP is nohup and means it; an ignored INT is only the shell's "&".
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda got, _frame: _caught.append(got))


def die_of(number):
    """End this process by that signal, so that make and the shell see what happened."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def pause(seconds=TICK):
    if _caught:
        raise Interrupted(_caught[0])
    time.sleep(seconds)
    if _caught:
        raise Interrupted(_caught[0])


def wait_until(condition, timeout):
    """Return the first true value of condition(), or its last false value after the timeout."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() >= end:
            return value
        pause()


def find_program(*names):
    """Path of the first of these programs that exists; also looks where only root's PATH leads."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + os.pathsep.join(SBIN)
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None


def tail_of(path, lines=15):
    """The last lines of a text file, as a list; empty if there is none."""
    try:
        with open(path, "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - 64 * 1024))
            text = f.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [clean(line) for line in text.splitlines() if clean(line)][-lines:]


def clean(line):
    """A console line without carriage returns and terminal escapes."""
    return re.sub(r"\x1b(\[[0-9;?=]*[A-Za-z]|c)", "", line).replace("\r", "").rstrip()


class Lines:
    """The lines of a growing file: take() gives those completed since the last call."""

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
    """A program of ours: started here, ended here, by its pid.

    name      for messages
    argv      the command
    log       path of the file for its output (standard error too); appended to
    keep      False: it ends with this process, even if that is killed with signal 9.
              True: it may outlive this process; detach() then gives it away.
    on_death  the signal it then gets; SIGTERM for who must tidy up
    """

    def __init__(self, name, argv, log, keep=False, on_death=signal.SIGKILL, env=None):
        self.name = name
        self.argv = list(argv)
        self.log = log
        parent = os.getpid()

        def prepare():
            # Own session (below): a Ctrl-C reaches only the demo, which ends all in good order.
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
        """None while it runs, then the exit status; negative: the signal that ended it."""
        return self._popen.poll()

    def wait(self, timeout):
        """Wait for its end; the status, or None if it still runs after the timeout."""
        wait_until(lambda: self.status() is not None, timeout)
        return self.status()

    def text(self):
        """All its output so far."""
        with open(self.log, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def tail(self, lines=15):
        return tail_of(self.log, lines)

    def wait_for(self, regex, timeout, start=0):
        """Wait until its output has the regex (re.M) at or after start; returns the match.

        KitError when it did not come in time, or the program ended without.
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
        """End it: a polite signal, after the grace SIGKILL. Never raises, may be called again."""
        if self.status() is not None:
            return
        # No pause() here: the clean-up has to be finished after a signal, too.
        self._popen.send_signal(first)
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            try:
                self._popen.wait(10)
            except subprocess.TimeoutExpired:
                pass  # in the kernel, uninterruptible: the kernel ends it when it can

    def detach(self):
        """Let it go on after this process. Only for keep=True."""
        self._popen.returncode = 0  # no "still running" warning when this object is dropped

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def wait_for_text(program, regex, timeout, start=0):
    """Process.wait_for() for all that has name, log, text(), status(), tail(), describe_end()."""
    pattern = re.compile(regex, re.M)
    end = time.monotonic() + timeout
    while True:
        ended = program.status() is not None  # asked first: what it printed last is seen below
        match = pattern.search(program.text(), start)
        if match:
            return match
        if ended:
            why = f"{program.describe_end()} without saying /{regex}/"
        elif time.monotonic() >= end:
            why = f"did not say /{regex}/ within {timeout:g} s"
        else:
            pause()
            continue
        raise KitError("\n".join([f"{program.name} {why}; the end of {program.log}:"]
                                 + [f"    {line}" for line in program.tail()]))


def run_tool(argv, timeout, note=None, cwd=None, lines=8, every=2):
    """Run a helper program to its end and return its standard output.

    note: a text that is shown when it takes more than two seconds, or a function that gives one then
    and again whenever so many seconds (every) have gone by. KitError with the last lines of its
    output when it fails or takes too long.
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
                os.killpg(tool.pid, signal.SIGKILL)  # its helpers, too: it leads its own session
                tool.wait()
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
        if tool.returncode == 0:
            return text
        err.seek(0)
        said = (text + err.read().decode("utf-8", "replace")).strip().splitlines()[-lines:]
        what = f"took more than {timeout} s" if late else f"failed with status {tool.returncode}"
        raise KitError("\n".join([f"{' '.join(argv)} {what}:"] + [f"    {s}" for s in said]))
