# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures for the tests in Python, and the TAP output by which `meson test` counts them."""
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

TEST = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(TEST), str(TEST.parent / "scripts")]

# pylint: disable=wrong-import-position
from support.py import huge
from support.py.faults import Tally
from support.py.manager import Manager
from support.py.paths import BUILD
from support.py.programs import Place

# A background job of a shell ignores these signals, and so would the programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


class TapReporter:
    """Prints a TAP line for each test, so that meson counts tests and not files."""

    def __init__(self, stream):
        self.stream = stream
        self.count = 0

    def line(self, text):
        print(text, file=self.stream, flush=True)

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.outcome == "passed":
            return
        if report.when == "teardown" and report.failed:
            self.result("not ok", report.nodeid + " (teardown)")
        elif report.when == "setup" or report.when == "call":
            # A test reports cases by record_property("case", "ok NAME") or "not ok NAME".
            for name, value in report.user_properties:
                if name == "case":
                    verdict, _, what = value.partition("ok ")
                    self.result(verdict + "ok", f"{report.nodeid}: {what}")
            if report.skipped:
                reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "skipped"
                self.result("ok", report.nodeid, " # SKIP " + reason.replace("Skipped: ", ""))
            else:
                self.result("ok" if report.passed else "not ok", report.nodeid)
            for name, value in report.user_properties:
                if name != "case":
                    self.line(f"# {name}: {value}")
        if report.failed:
            for text in report.longreprtext.splitlines() + report.capstdout.splitlines():
                self.line("# " + text)
            for text in report.capstderr.splitlines():
                self.line("# " + text)

    def result(self, verdict, name, suffix=""):
        self.count += 1
        self.line(f"{verdict} {self.count} - {name}{suffix}")

    def pytest_collectreport(self, report):
        if report.failed:
            self.result("not ok", report.nodeid + " (collection)")
            for text in str(report.longrepr).splitlines():
                self.line("# " + text)
        elif report.skipped:  # the whole file was skipped: print one line for all its tests
            self.result("ok", report.nodeid,
                        " # SKIP " + report.longrepr[2].replace("Skipped: ", ""))

    def pytest_sessionfinish(self, session):
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.count:
            session.exitstatus = pytest.ExitCode.OK  # each skipped file has been reported
        self.line(f"1..{self.count}")


def pytest_addoption(parser):
    parser.addoption("--tap-lines", action="store_true", help="print TAP instead of dots")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    # meson sends SIGTERM at a test's timeout. Fixtures must still stop and remove what they have
    # created.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "qemu_device(reason): only with QEMU's own device")
    config.addinivalue_line(
        "markers", "driver_alone(reason): only with QEMU's own device, except in check-slow")
    config.addinivalue_line("markers", "proves(rule): proves a rule of ivshmem doctor")
    config.addinivalue_line("markers", "served_device(reason): only with ivshmem-device's device")
    if config.getoption("--tap-lines"):
        config.pluginmanager.unregister(config.pluginmanager.get_plugin("terminalreporter"))
        stream = os.fdopen(os.dup(1), "w")
        config.pluginmanager.register(TapReporter(stream), "tap-reporter")


def pytest_collection_modifyitems(config, items):
    """Deselect tests that cannot run with the device that IVSHMEM_GUEST_DEVICE selects for the
    guests (support/py/guest_device.py)."""
    served = os.environ.get("IVSHMEM_GUEST_DEVICE", "qemu") != "qemu"
    other = ["qemu_device"] if served else ["served_device"]
    if served and "IVSHMEM_GUEST_ALL" not in os.environ:
        other.append("driver_alone")
    left_out = [item for item in items if any(map(item.get_closest_marker, other))]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def build():
    """The build directory under test."""
    return BUILD


@pytest.fixture
def tmp_path():
    """An empty directory, removed after the test. pytest would keep the directory that it
    creates."""
    with tempfile.TemporaryDirectory(prefix="ivs-") as path:
        yield pathlib.Path(path)


@pytest.fixture
def place(build):
    """A Place for the programs and files of a test, cleaned up even if the test fails."""
    made = Place(build)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def tally(place, record_property):
    """A Tally, which counts the faults that a test injects."""
    return Tally(place, record_property)


@pytest.fixture
def manager(place):
    """A Manager, which plays the part of the service manager and has not started anything yet."""
    return place.add(Manager(place))


@pytest.fixture
def huge_pages():
    """Set aside two huge pages of 2 MiB for a test."""
    with huge.set_aside():
        yield


@pytest.fixture
def fast_clock(build, tmp_path, monkeypatch):
    """Make time pass ten times as fast for the programs that a test starts (fast_clock.c)."""
    library = shutil.copy(build / "test" / "libfast-clock.so", tmp_path)
    tmp_path.chmod(0o755)  # programs run by other users must be able to enter it
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("IVS_CLOCK_RATE", "10")
    options = os.environ.get("ASAN_OPTIONS", "")
    monkeypatch.setenv("ASAN_OPTIONS", f"{options}:verify_asan_link_order=0".strip(":"))
