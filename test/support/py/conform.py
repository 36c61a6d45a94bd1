# SPDX-License-Identifier: BSD-3-Clause
"""Run the suite in test/library/conform/: list its cases, start its partner on the host, and parse
its output."""
import re
import signal
import subprocess

import pytest

TAP = re.compile(r"^(?P<bad>not )?ok \d+ - (?P<text>.*)$")
TAKE_AWAY = "conform: take it away"
VECTORS = 4
SIZE = 4 << 20
LIMIT = 120  # seconds for a whole run; normally about ten


def cases(build):
    """Return: the names of the cases. The list is empty if the suite is not built; one of the tests
    then fails."""
    try:
        return subprocess.run([build / "test/conform", "--list"], capture_output=True, text=True,
                              check=True, timeout=60).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


def make_file(path):
    """Create a region without a server: a file of SIZE bytes."""
    with open(path, "wb") as file:
        file.truncate(SIZE)


def start_partner(place, address):
    """Start the partner on the host and wait until it has joined."""
    partner = place.start(place.build / "test/conform", "--partner", address)
    partner.out.wait("partner: ready")
    return partner


def tell(partner):
    """Tell the partner that the device, the server or the region's name has been removed."""
    partner.signal(signal.SIGUSR1)


class Report:
    """The output of a run: the result of each case, and how the run ended.

    status      exit status of the program; None: it did not end
    unfinished  the last output of an earlier run that did not end; "": there was none
    """

    def __init__(self, text, status):
        self.text = text.replace("\r", "")
        self.status = status
        self.unfinished = ""
        self.verdicts = {}

    def check(self, name, names):
        """Fail the test unless this case has run and passed."""
        if not self.verdicts:
            self._read(names)
        assert name in self.verdicts, "the case did not run:\n" + self.text[-3000:]
        failure = self.verdicts[name]
        if failure is not None:
            pytest.fail(failure, pytrace=False)

    def _read(self, names):
        """Parse the results. A failure has the form "name: reason", and names may contain
        colons."""
        for match in filter(None, map(TAP.match, self.text.splitlines())):
            name = next((name for name in names if match["text"] == name
                         or match["bad"] and match["text"].startswith(name + ": ")), None)
            if name:
                self.verdicts[name] = match["text"][len(name) + 2:] if match["bad"] else None

    def check_end(self, names):
        """Check that each case has run once, and that the exit status agrees with the results."""
        plans = re.findall(r"^1\.\.(\d+)$", self.text, re.MULTILINE)
        assert sum(map(int, plans)) == len(names), self.text[-3000:]
        bad = re.findall(r"^not ok ", self.text, re.MULTILINE)
        assert self.status == bool(bad), f"status {self.status} with {len(bad)} failures"
