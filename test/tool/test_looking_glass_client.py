# SPDX-License-Identifier: BSD-3-Clause
"""Test "ivshmem looking-glass test" with the real Looking Glass B7 client, and test each failure
that the client reports."""
import os
import signal

import pytest

from support.py.looking_glass import BARS
from support.py.looking_glass_screen import PATIENCE, Screen
from support.py.paths import BUILD

TOOL = BUILD / "tools" / "ivshmem"
WIDTH, HEIGHT = 320, 240


@pytest.fixture(name="region")
def region_fixture(place):
    """A region of 1 MiB that everybody may use."""
    make(place.shm_path)
    return place.shm_path


@pytest.fixture(name="screen")
def screen_fixture(place):
    """A screen on which no client is running yet."""
    return Screen(place, WIDTH, HEIGHT)


def make(path, size=1 << 20, mode=0o666):
    """Create a file of this size."""
    path.touch()
    os.truncate(path, size)
    path.chmod(mode)


def publish(place):
    """Start publishing in the test's region."""
    process = place.start(TOOL, "looking-glass", "test", place.shm, "--mode", f"{WIDTH}x{HEIGHT}",
                          "--fps", "10")
    process.out.wait("start the client")
    return process


def run(place):
    """Run the command "test", which must fail. Return: its error message."""
    done = place.run(TOOL, "looking-glass", "test", place.shm)
    assert done.returncode == 1 and done.stdout == ""
    return done.stderr


def end(client):
    """Terminate a client."""
    client.signal(signal.SIGTERM)
    client.wait(PATIENCE)


def test_the_client_shows_the_pattern(place, screen, region):
    """The client waits for the publisher, shows the pattern, waits while there is no publisher, and
    shows the pattern again."""
    client = screen.client(region)
    client.err.wait("Waiting for the host application to start", timeout=PATIENCE)
    publisher = publish(place)
    publisher.out.wait("client 0 is taking frames", timeout=PATIENCE)
    client.err.wait("Version  : ivshmem test pattern", timeout=PATIENCE)
    client.err.wait("FRAME_TYPE_BGRA 320x240 (320x240) stride:320", timeout=PATIENCE)
    screen.wait_for(BARS)
    for times, number in ((1, signal.SIGTERM), (2, signal.SIGKILL)):
        publisher.signal(number)
        publisher.wait()
        client.err.wait("Waiting for the host to restart", times, timeout=PATIENCE)
        screen.wait_for_end(BARS)
        publisher = publish(place)
        publisher.out.wait("client 0 is taking frames", timeout=PATIENCE)
        client.err.wait("FRAME_TYPE_BGRA 320x240", times + 1, timeout=PATIENCE)
        screen.wait_for(BARS)
    end(client)
    publisher.out.wait("client 0 has detached; it took")
    publisher.signal(signal.SIGINT)
    assert publisher.wait() == 0, publisher.err.text()


def test_the_other_renderer(place, screen, region):
    """The pattern is also correct with OpenGL, and the box moves."""
    publisher = publish(place)
    client = screen.client(region, "opengl")
    screen.wait_for(BARS)
    screen.wait_for_motion(0xffffff)
    publisher.out.wait("client 0 is taking frames")
    end(client)


def test_no_such_region(place, screen):
    """Neither the client nor the test finds a region that does not exist."""
    client = screen.client(place.shm_path)
    client.wait(PATIENCE)
    assert "Invalid path to the ivshmem file specified" in client.err.text()
    assert "there is no region" in run(place)


def test_no_rights(place, screen, region):
    """The client cannot open a region that belongs to another user; the publisher has warned about
    that."""
    region.chmod(0o600)
    publisher = publish(place)
    client = screen.client(region)
    assert client.wait(PATIENCE) == 255
    assert "Permission denied" in client.err.text()
    publisher.err.wait(f"warning: only root can open {region}")


def test_an_empty_file(place, screen):
    """The client cannot map an empty file; the error message of the publisher says why it is
    empty."""
    make(place.shm_path, 0)
    client = screen.client(place.shm_path)
    assert client.wait(PATIENCE) == 255
    assert "Failed to map the shared memory device" in client.err.text()
    assert "is empty, because its VM has not been started yet" in run(place)


def test_a_file_that_is_too_small(place, screen):
    """The client needs room for the header; the publisher says how much is needed."""
    make(place.shm_path, 4096)
    client = screen.client(place.shm_path)
    assert client.wait(PATIENCE) == 255
    assert "LGMP_ERR_INVALID_SIZE" in client.err.text()
    assert "is 4K, which is too small for 1920x1080" in run(place)


def test_a_stale_file(place, screen, region):
    """The client keeps the file that it has opened, even after a different file has taken its name.
    The publisher then exits, and a new client shows what is published in the new file."""
    client = screen.client(region)
    client.err.wait("Waiting for the host application to start", timeout=PATIENCE)
    publisher = publish(place)
    publisher.out.wait("client 0 is taking frames", timeout=PATIENCE)
    region.unlink()
    make(region)
    assert publisher.wait() == 1
    client.err.wait("Waiting for the host to restart", timeout=PATIENCE)
    publisher = publish(place)
    screen.client(region)
    publisher.out.wait("client 0 is taking frames", timeout=PATIENCE)
    assert client.err.count("FRAME_TYPE_BGRA") == 1
