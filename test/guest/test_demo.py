# SPDX-License-Identifier: BSD-3-Clause
"""Run scripts/demo.py on the host and with guests, interrupt it, and keep its guests with
KEEP=1."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from support.py.doctor import examine

BOOT = 120


def run_demo(build, **environment):
    return subprocess.Popen(
        [sys.executable, os.path.join(os.path.dirname(__file__), "../../scripts/demo.py"), build],
        env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)


def read_until(demo, regex, seconds=60):
    """Read lines of the demo's output until one matches. Return: these lines."""
    end = time.monotonic() + seconds
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if re.search(regex, line):
            return lines
        assert time.monotonic() < end, "".join(lines)
    raise AssertionError(f"the demo ended without {regex}:\n" + "".join(lines))


def joined(demo, number):
    """Wait until the server has admitted the client with this number. Return: the client's pid."""
    line = read_until(demo, rf"client {number} joined")[-1]
    return int(re.search(r"\(pid (\d+)", line).group(1))


def test_demo_on_the_host(build):
    """DEMO=host runs three processes on the host and prints the two closing lines."""
    demo = run_demo(build, DEMO="host")
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    assert output.endswith(
        "demo: 3 peers: 0 peer-a, 1 peer-b, 2 peer-c; 12 of 12 doorbells arrived\n"
        "demo: region 4 MiB, every peer read what every other wrote\n")


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().split(") ")[1][0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing(build, number):
    """When the demo is interrupted, no process, no socket and no file in /dev/shm remains."""
    demo = run_demo(build)
    lines = read_until(demo, r"client 1 joined")
    text = "".join(lines)
    pids = [int(pid) for pid in re.findall(r"pid (\d+)", text)]
    shm = re.search(r"shm:(\S+) of", text).group(1)
    directory = re.search(r"listening at (\S+)/[^/]+:", text).group(1)
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert pids and all(gone(pid) for pid in pids)
    assert not os.path.exists(directory)
    assert not os.path.exists(f"/dev/shm/{shm}")


def test_demo_with_a_guest_that_dies(build):
    """If a guest dies, the demo exits with status 1, and prints the stage that each peer has
    reached and the last lines of that guest's console."""
    demo = run_demo(build)
    waits = joined(demo, 0)
    # While client 0 is stopped, no peer gets past the meeting, so there is time to kill client 1.
    os.kill(waits, signal.SIGSTOP)
    try:
        dies = joined(demo, 1)
        read_until(demo, r"^guest-b +\| I am peer 1", BOOT)
        os.kill(dies, signal.SIGKILL)
    finally:
        os.kill(waits, signal.SIGCONT)
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1
    assert re.search(r'guest-b got as far as "\w+", not "\w+" \(QEMU', output)
    assert "    meet: I am peer 1 of 3 through vfio" in output
    assert "12 of 12" not in output


def test_demo_that_keeps_its_guests(build):
    """KEEP=1 leaves the guests running. The doctor finds no fault, clients can ring the guests, and
    the script that the demo prints stops them."""
    demo = run_demo(build, KEEP="1")
    output, _ = demo.communicate(timeout=180)
    stop = re.search(r"\S+/stop\b", output)
    assert stop, output
    try:
        assert demo.returncode == 0, output
        directory = os.path.dirname(stop.group(0))
        region = re.search(r"shm:(\S+) of", output).group(1)
        assert not examine(region).findings
        assert not examine("--server", f"{directory}/ivshmem.sock").findings
        ring = subprocess.run([build / "tools/ivshmem-client", "-S", f"{directory}/ivshmem.sock",
                               "-c", "int 1 1"], timeout=30, check=False)
        assert ring.returncode == 0
        end = time.monotonic() + 30
        while True:
            with open(f"{directory}/guest-b.log") as log:
                if "doorbell on vector 1" in log.read():
                    break
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        subprocess.run(["sh", stop.group(0)], timeout=60, check=True)
    assert not os.path.exists(directory)
    assert not os.path.exists("/dev/shm/" + re.search(r"shm:(\S+) of", output).group(1))
