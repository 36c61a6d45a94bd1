# SPDX-License-Identifier: BSD-3-Clause
"""The conformance suite (test/library/conform/) over every transport available to a host process.
"""
import signal
import time

import pytest

from support.py import conform
from support.py.paths import BUILD
from support.py.programs import Place

CASES = conform.cases(BUILD)


class Host:
    """The region and the server of a run on the host, and how to remove them."""

    def __init__(self, place):
        self.place = place
        self.file = place.dir / "region"
        self.server = None

    def serve(self, *options, region=None):
        """Start a server."""
        self.server = self.place.server("-n", str(conform.VECTORS), "-l", str(conform.SIZE),
                                        *options, region=region)
        return f"unix:{self.server.socket}"

    def shm(self):
        """Create a region in /dev/shm, without a server. Return: its address."""
        conform.make_file(self.place.shm_path)
        return f"shm:{self.place.shm}"

    def plain_file(self):
        """Create a region that is a file, without a server. Return: its address."""
        conform.make_file(self.file)
        return f"file:{self.file}"

    def take_away(self):
        """Stop the server; remove the region's name."""
        if self.server:
            self.server.stop()
        for path in (self.place.shm_path, self.file):
            path.unlink(missing_ok=True)

    def run(self, partner_address, *arguments):
        """Run the suite and its partner to completion. Return: the report."""
        partner = conform.start_partner(self.place, partner_address)
        suite = self.place.start(self.place.build / "test/conform", "--vectors", conform.VECTORS,
                                 "--size", conform.SIZE, "--dir", self.place.dir, *arguments)
        end = time.monotonic() + conform.LIMIT
        while not suite.out.count(conform.TAKE_AWAY) and suite.popen.poll() is None:
            time.sleep(0.005)
            if time.monotonic() > end:
                suite.signal(signal.SIGKILL)  # only the output up to this point is evaluated
        self.take_away()
        if suite.popen.poll() is None and partner.popen.poll() is None:
            conform.tell(partner)
        status = suite.wait(conform.LIMIT)
        text = suite.out.text() + "\n" + suite.err.text()
        if status in (0, 1) and partner.wait():  # the partner was sent SIGTERM
            return conform.Report(text + "\nthe partner: " + partner.err.text(), None)
        return conform.Report(text, status)


def over_unix(host, *options, arguments=()):
    """Run over unix:, as a client of a server."""
    address = host.serve(*options)
    return host.run(address, "--transport", "unix", *arguments, address)


def killed(host):
    """Run over unix:, as a client of a server that is then killed and so cannot announce its
    exit."""
    address = host.serve(region=["-r", "memfd:"])
    host.take_away = lambda: (host.server.signal(signal.SIGKILL), host.server.wait())
    return host.run(address, "--transport", "unix", address)


def beside_server(host, kind, path, region):
    """Run over shm: or file: without a connection to the server, which publishes a roster page."""
    socket = host.serve("--roster", region=region)
    return host.run(socket, "--transport", kind, "--roster", f"{kind}:{path}")


def alone(host, address):
    """Run without a server."""
    return host.run(address, "--transport", address.split(":")[0], address)


TRANSPORTS = {
    "unix": over_unix,
    "unix-roster": lambda host: over_unix(host, "--roster", arguments=["--roster"]),
    "unix-memfd-killed": killed,
    "shm": lambda host: alone(host, host.shm()),
    "shm-roster": lambda host: beside_server(host, "shm", host.place.shm,
                                             ["-M", host.place.shm]),
    "file": lambda host: alone(host, host.plain_file()),
    "file-roster": lambda host: beside_server(host, "file", host.file,
                                              ["-r", f"file:{host.file}"]),
}


@pytest.fixture(scope="module", params=TRANSPORTS)
def report(request):
    """Run the suite over one of the transports. Return: the report."""
    place = Place(BUILD)
    try:
        made = TRANSPORTS[request.param](Host(place))
    finally:
        place.close()
    yield made


def test_there_are_enough_cases():
    """The program lists at least 60 cases, all with different names."""
    assert len(CASES) >= 60
    assert len(set(CASES)) == len(CASES)


@pytest.mark.parametrize("case", CASES)
def test_case(report, case):
    """The suite's program has run this case, and the case has passed."""
    report.check(case, CASES)


def test_the_end(report):
    """Each case has run once, and the exit status agrees with the results."""
    report.check_end(CASES)
