# SPDX-License-Identifier: BSD-3-Clause
"""Test the options of ivshmem-client: --help, --version, and values that are refused."""
import pytest

from support.py.options import check_help, check_help_and_man_page, check_refused, check_version


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_succeeds(place, option):
    """--help prints the usage, every option and an example, and exits with status 0."""
    check_help(place, "ivshmem-client", option)


def test_help_and_man_page_agree(place):
    """The help and the man page list the same options."""
    check_help_and_man_page(place, "ivshmem-client")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_one_line(place, option):
    """--version prints the program's name and a version."""
    check_version(place, "ivshmem-client", option)


@pytest.mark.parametrize("option", ["-Z", "--nonsense", "-S", "--socket", "--help=yes"])
def test_unknown_or_incomplete_option(place, option):
    """A bad option results in status 2, a message that quotes the option, and a pointer to --help.
    """
    check_refused(place, "ivshmem-client", option)


@pytest.mark.parametrize("options, status, message", [
    (["surplus"], 2, 'surplus argument "surplus": put commands after -c'),
    (["-c", "dump"] * 65, 2, "more than 64 commands: use standard input"),
    (["-S", "x" * 5000], 2, "the address has 5005 bytes; at most 4095 fit"),
    (["-a", "x" * 5000], 2, "the address has 5000 bytes; at most 4095 fit"),
    (["-S", "x" * 200], 1, "the socket's path has 200 bytes, but must have 1 to 107"),
    (["-S", ""], 1, "the socket's path has 0 bytes"),
    (["-a", "foo:bar"], 1, '"foo:bar" is not a valid address: use unix:PATH, shm:NAME'),
    (["-a", ""], 1, '"" is not a valid address'),
    (["--address", "shm:"], 1, '"" is not a valid name for POSIX shared memory'),
    (["-a", "shm:a/b"], 1, '"a/b" is a path, not a name for POSIX shared memory: use file:a/b'),
    (["-a", "shm:ivs-no-such"], 1, "there is no region shm:ivs-no-such"),
    (["-a", "file:/nonexistent/x"], 1, "there is no region file:/nonexistent/x"),
    (["-a", "file:/tmp"], 1, "/tmp is not a file"),
    (["-a", "pci:nonsense"], 1, "ivshmem device"),
    (["-a", "pci:ffff:ff:1f.7"], 1, "ivshmem device"),
])
def test_bad_value_for_the_client(place, options, status, message):
    """A bad value results in a one-line error message that quotes the value and gives the reason or
    a way to fix it."""
    done = place.run(place.client_program, *options)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.startswith("ivshmem-client: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
