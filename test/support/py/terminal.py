# SPDX-License-Identifier: BSD-3-Clause
"""A terminal of a given size with a shell, in tmux."""
import contextlib
import os
import select
import signal
import subprocess

from support.py.programs import wait_until
from support.py.wire import TIMEOUT

PROMPT = "ready$"


class Terminal:
    """A shell in a tmux of its own, which the test's directory has the socket of."""

    def __init__(self, place, width=80, height=24):
        self._socket = place.dir / "tmux"
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("TMUX", "TMUX_PANE")}
        environment.update(LC_ALL="C.UTF-8", HISTFILE="")
        self._environment = environment
        # If root has started it, a shell does not take PS1 from the environment.
        (place.dir / "bashrc").write_text(f"PS1='{PROMPT} '\n", encoding="ascii")
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height,
                   f"bash --rcfile {place.dir / 'bashrc'}")
        place.add(self)
        self.wait(PROMPT)

    def _tmux(self, *words):
        return subprocess.run(["tmux", "-u", "-S", self._socket, *map(str, words)], text=True,
                              capture_output=True, timeout=30, check=True,
                              env=self._environment).stdout

    def close(self):
        """End the shell and all its programs."""
        programs = []
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                programs.append(os.pidfd_open(pid))
        self._tmux("kill-server")
        for program in programs:  # SIGHUP ends it
            ended = select.select([program], [], [], TIMEOUT)[0]
            if not ended:
                signal.pidfd_send_signal(program, signal.SIGKILL)
            os.close(program)
            assert ended, "a program has not ended with its terminal"

    def _children(self, *options):
        """Return: the pids of the programs that the shell has started and that still run."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        done = subprocess.run(["pgrep", "-P", shell, *options], text=True, capture_output=True,
                              timeout=30, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def keys(self, *names):
        """Press keys, given by their names in tmux."""
        self._tmux("send-keys", *names)

    def type(self, text):
        """Type a text."""
        self._tmux("send-keys", "-l", text)

    def command(self, *words):
        """Let the shell run a command."""
        self.type(" ".join(map(str, words)))
        self.keys("Enter")

    def resize(self, width, height):
        """Change the size."""
        self._tmux("resize-window", "-x", width, "-y", height)

    def text(self):
        """Return: what the terminal shows."""
        return self._tmux("capture-pane", "-p")

    def wait(self, *texts, without=None):
        """Wait until the terminal shows all these texts, and not another one."""
        def shown():
            text = self.text()
            return all(each in text for each in texts) and (without is None or without not in text)
        try:
            wait_until(shown, f"{texts} without {without!r}")
        except AssertionError:
            raise AssertionError(f"not {texts} without {without!r}:\n{self.text()}") from None

    def is_alternate(self):
        """Return: whether a program uses the whole terminal, and will restore its content."""
        return self._tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def pid(self, name):
        """Return: the process id of a program that the shell has started."""
        pid, = self._children("-x", name)
        return pid
