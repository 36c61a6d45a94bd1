# SPDX-License-Identifier: BSD-3-Clause
"""Test the commands get and put of ivshmem-client, with a plain region."""
import os
import pty
import subprocess

import pytest

SIZE = 1 << 20
USE_GET = "get: use get [-x] OFFSET LEN"
USE_PUT = "put: use put [-x] OFFSET TEXT, or put [-x] OFFSET - for standard input"
NO_OFFSET = "not an offset: use a number of bytes, such as 4096, 4K or 0x1000"


@pytest.fixture(name="region")
def region_fixture(place):
    """Create a region in which the value of each byte is its offset modulo 251."""
    place.shm_path.write_bytes((bytes(range(251)) * (SIZE // 251 + 1))[:SIZE])
    return place.shm_path


def run(place, *commands, data=b"", script=False):
    """Run ivshmem-client with these commands, and @data as its standard input."""
    words = [place.client_program, "-a", f"shm:{place.shm}"]
    if script:
        data = "".join(f"{command}\n" for command in commands).encode()
    else:
        words += [word for command in commands for word in ("-c", command)]
    return subprocess.run(words, input=data, capture_output=True, timeout=20, check=False)


def written(before, region):
    """Return: (offset, bytes) of the part of the region that differs from @before."""
    after = region.read_bytes()
    changed = [i for i, (a, b) in enumerate(zip(before, after)) if a != b]
    return (changed[0], after[changed[0]:changed[-1] + 1]) if changed else None


@pytest.mark.parametrize("script", [False, True], ids=["option", "script"])
@pytest.mark.parametrize("offset, at", [("0", 0), ("4097", 4097), ("4K", 4096), ("0x10", 16),
                                        (str(SIZE - 1), SIZE - 1)])
def test_get_prints_exactly_these_bytes(place, region, offset, at, script):
    """get prints the bytes as they are; get -x prints hexadecimal digits, 32 bytes per line."""
    n = min(100, SIZE - at)
    wanted = region.read_bytes()[at:at + n]
    done = run(place, f"get {offset} {n}", script=script)
    assert (done.returncode, done.stdout, done.stderr) == (0, wanted, b"")
    lines = run(place, f"get -x {offset} {n}", script=script).stdout.decode().split("\n")
    assert lines == [wanted[i:i + 32].hex() for i in range(0, n, 32)] + [""]


def test_get_prints_the_whole_region(place, region):
    """LEN may reach to the end of the region, and may be 0."""
    assert run(place, f"get 0 {SIZE}").stdout == region.read_bytes()
    assert run(place, "get 0 0").stdout == b""


@pytest.mark.parametrize("script", [False, True], ids=["option", "script"])
@pytest.mark.parametrize("command, wanted", [
    ("put 0 hello", (0, b"hello")), ("put 0x100  a  b c", (256, b" a  b c")),
    (f"put {SIZE - 2} XY", (SIZE - 2, b"XY")), ("put -x 4K fffe FD", (4096, b"\xff\xfe\xfd")),
], ids=["text", "blanks", "end", "hex"])
def test_put_writes_exactly_these_bytes(place, region, command, wanted, script):
    """put writes its argument, without a NUL or newline at the end, and prints nothing."""
    before = region.read_bytes()
    done = run(place, command, script=script)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert written(before, region) == wanted


@pytest.mark.parametrize("n", [0, 1, 4096, 4097, SIZE])
def test_put_of_standard_input(place, region, n):
    """put OFFSET - writes all of its standard input; put -x OFFSET - reads what get -x prints."""
    data = bytes(255 - i % 251 for i in range(n))
    rest = region.read_bytes()[n:]
    assert run(place, f"put {SIZE - n if n else 0} -", data=data).returncode == 0
    if n < SIZE:
        assert run(place, "put 0 -", data=data).returncode == 0
        assert region.read_bytes()[:n] == data
        assert region.read_bytes()[n:] == rest[:SIZE - 2 * n] + data if n else rest
    digits = run(place, f"get -x 0 {n}").stdout
    region.write_bytes(bytes(SIZE))
    done = run(place, "put -x 0 -", data=digits)
    assert (done.returncode, done.stderr) == (0, b"")
    assert region.read_bytes()[:n] == data


@pytest.mark.parametrize("script", [False, True], ids=["option", "script"])
@pytest.mark.parametrize("command, message", [
    ("get", "no OFFSET: use get [-x] OFFSET LEN"), ("get -x", "no OFFSET: use get"),
    ("get 0", USE_GET), ("get 0 1 2", USE_GET), ("put", "no OFFSET: use put"),
    ("put 0", USE_PUT), ("get x 1", f"x: {NO_OFFSET}"), ("get -1 1", f"-1: {NO_OFFSET}"),
    ("get 0x 1", f"0x: {NO_OFFSET}"), ("get 0x1g 1", f"0x1g: {NO_OFFSET}"),
    ("get 0x10000000000000000 1", f"0x10000000000000000: {NO_OFFSET}"), ("get 0x-1 1", NO_OFFSET),
    ("get 18446744073709551616 1", NO_OFFSET),
    ("get 1M 1", f"1M: not an offset within the {SIZE} bytes that the region has"),
    ("put 18446744073709551615 x", f"not an offset within the {SIZE} bytes that the region has"),
    ("get 0 x", "x: not a length: use a number of bytes"), ("get 0 -1", "-1: not a length"),
    ("get 1 1M", f"1M: too long: {SIZE - 1} bytes follow the offset"),
    ("get 1 18446744073709551615", "18446744073709551615: too long"),
    (f"put {SIZE - 1} xy", "put: the data does not fit: only 1 bytes can be written at this "
     "offset"),
    ("put -x 0 f", "put -x: the number of hexadecimal digits is odd"),
    ("put -x 0 12 3", "put -x: the number of hexadecimal digits is odd"),
    ("put -x 0 0x12", "put -x: the data is not hexadecimal"),
    ("put 0 " + "x" * 300, "command: too long"),
])
def test_bad_get_or_put_is_an_error(place, region, command, message, script):
    """A mistake results in status 1 and a message that quotes the value; nothing is read or
    written."""
    before = region.read_bytes()
    done = run(place, command, script=script)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"ivshmem-client: {message}" in done.stderr.decode() or \
        f": {message}" in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert written(before, region) is None


@pytest.mark.parametrize("command, data, message", [
    ("put 1M -", b"x", "not an offset within"),
    (f"put {SIZE - 1} -", b"xy", "the data does not fit"),
    (f"put {SIZE - 4096} -", b"x" * 4097, "does not fit"),
    ("put -x 0 -", b"12\n3\n", "the number of hexadecimal digits is odd"),
    ("put -x 0 -", b"hello", "the data is not hexadecimal"),
    ("put -x 0 -", b"12\x0034", "the data is not hexadecimal"),
])
@pytest.mark.usefixtures("region")
def test_bad_standard_input_is_an_error(place, command, data, message):
    """Data that is too long or not hexadecimal results in status 1; nothing is written beyond the
    region."""
    done = run(place, command, data=data)
    assert done.returncode == 1 and message in done.stderr.decode()


@pytest.mark.usefixtures("region")
def test_put_of_standard_input_in_a_script(place):
    """If commands are read from standard input, put does not also read its data from there."""
    done = run(place, "put 0 -", "get 0 2", script=True)
    assert done.returncode == 1 and done.stdout == b"\x00\x01"
    assert b"commands are read from standard input: use -c 'put ...'" in done.stderr


def test_get_does_not_send_control_characters_to_a_terminal(place, region):
    """On a terminal, get prints unprintable bytes as \\xNN, and ends the line."""
    region.write_bytes(b"a\x1b[2J\\\n" + bytes(SIZE - 7))
    ours, terminal = pty.openpty()
    place.add(os.fdopen(ours, "rb", buffering=0))
    subprocess.run([place.client_program, "-a", f"shm:{place.shm}", "-c", "get 0 7"],
                   stdout=terminal, timeout=20, check=True)
    os.close(terminal)
    assert os.read(ours, 100) == b"a\\x1b[2J\\x5c\\x0a\r\n"


LOST = "a process has truncated the region: these pages no longer exist"


@pytest.mark.parametrize("command", ["get 0 1M", "put 1020K x"])
def test_lost_pages_are_an_error(place, region, command):
    """If the region has been truncated, get and put fail with a message instead of being killed by
    SIGBUS."""
    client = place.start(place.client_program, "-a", f"shm:{place.shm}", stdin=subprocess.PIPE)
    client.write("get -x 1 1\n")
    client.out.wait("01")
    os.truncate(region, 4096)
    client.write(f"{command}\nget -x 2 1\n")
    client.err.wait(f"{command[:3]}: {LOST}")
    client.out.wait("02")
    client.popen.stdin.close()
    assert client.wait() == 1


def test_lost_roster_page_ends_the_client(place):
    """If a client loses the roster page, which the library reads, it exits with a message and
    status 1 instead of being killed by SIGBUS."""
    place.server("-n", "1", "-l", "1M", "--roster")
    client = place.start(place.client_program, "-a", f"shm:{place.shm}", stdin=subprocess.PIPE)
    client.write("get -x 0 1\n")
    client.out.wait("00")
    os.truncate(place.shm_path, 4096)
    assert client.wait() == 1
    assert f"ivshmem-client: the region: {LOST}" in client.err.text()


def test_bytes_travel_between_clients_of_a_server(place):
    """With a server, a client reads what another client has written. The roster page can be read,
    but not written."""
    place.server("-n", "1", "-l", "1M", "--roster")
    assert place.run_client("-c", "put 100 hello", "-c", "int 0 0").returncode == 0
    assert place.run_client("-c", "get 100 5").stdout == "hello"
    assert place.run_client("-c", "get -x 1020K 4").returncode == 0
    done = place.run_client("-c", "put 1020K x")
    assert done.returncode == 1 and "bytes that put may write (see dump)" in done.stderr
