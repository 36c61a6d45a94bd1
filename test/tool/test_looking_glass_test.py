# SPDX-License-Identifier: BSD-3-Clause
"""Test "ivshmem looking-glass test" with simulated clients (support/py/looking_glass.py)."""
import grp
import json
import os
import re
import shutil
import signal

import pytest

from support.py.looking_glass import BARS, Client
from support.py.paths import BUILD
from support.py.programs import SHM

TOOL = BUILD / "tools" / "ivshmem"
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
NOBODY = 65534
MODE = ("--mode", "128x96", "--fps", "100")


@pytest.fixture(name="region")
def region_fixture(place):
    """A region of 1 MiB that everybody may use."""
    place.shm_path.touch()
    os.truncate(place.shm_path, 1 << 20)
    place.shm_path.chmod(0o666)
    return place.shm_path


def publish(place, *options, region=None, **keywords):
    """Start publishing in the test's region, and wait until the pattern is published."""
    words = keywords.pop("program", TOOL), "looking-glass", "test", *MODE, *options
    process = place.start(*words, region or place.shm, **keywords)
    process.out.wait('"started"' if "--json" in options else "start the client")
    return process


def run(place, *words, **keywords):
    """Run the command until it ends."""
    return place.run(TOOL, "looking-glass", "test", *words, **keywords)


def client_of(place):
    """Return: a client that has subscribed."""
    return place.add(Client(place.shm_path)).attach()


def stop(process, status=0, number=signal.SIGTERM):
    """Terminate the publisher with a signal, and check its exit status."""
    process.signal(number)
    assert process.wait() == status, process.err.text()


def test_help(place):
    """The help text contains an example, and --version prints the name."""
    done = run(place, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: ivshmem looking-glass test ")
    assert "\nExample:\n" in done.stdout
    assert run(place, "-V").stdout.startswith("ivshmem looking-glass test ")


@pytest.mark.parametrize("words, message", [
    (["--mode", "1920"], 'not a mode "1920": use WIDTHxHEIGHT'),
    (["--mode", "1920x"], 'not a mode "1920x"'), (["--mode", "x1080"], 'not a mode "x1080"'),
    (["--mode", "63x64"], 'not a mode "63x64"'), (["--mode", "64x16385"], 'not a mode "64x16385"'),
    (["--mode", "-64x64"], "not a mode"), (["--mode", "64x64x64"], "not a mode"),
    (["--mode", "99999999999x64"], "not a mode"), (["--mode", ""], "not a mode"),
    (["--mode", "16384x16384"], 'the mode is too large "16384x16384": it needs 2G or more'),
    (["--fps", "0"], 'not a number of frames per second "0": use 1 to 240'),
    (["--fps", "241"], "frames per second"), (["--fps", "x"], "frames per second"),
    (["--frames", "0"], 'not a number of frames "0": use 1 or more'), (["--frames"], "--frames"),
    (["a", "b"], 'surplus argument "b": give only one region'), ([""], 'invalid address ""'),
    (["a\nb"], 'invalid address "a?b": use UTF-8'), (["--what"], "--what"),
    (["x" * 5000], "it is too long"),
])
def test_mistakes(place, words, message):
    """Mistakes are reported, with status 2 and nothing on standard output."""
    done = run(place, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "ivshmem looking-glass test: " in done.stderr and message in done.stderr


@pytest.mark.parametrize("form", ["{name}", "shm:{name}", "file:{path}", "{path}"])
def test_forms_of_a_region(place, region, form):
    """A region can be given by name, address or path."""
    words = form.format(name=place.shm, path=region)
    process = publish(place, region=words)
    assert str(region) in process.out.wait("publishing")
    stop(process, 1)


def test_a_client_takes_frames(place, region):
    """A client gets frames in the selected mode, and the pattern in them moves; the command prints
    what the client does."""
    process = publish(place)
    assert process.out.wait("looking-glass-client") == \
        f"    looking-glass-client -s -f {region}"
    client = client_of(place)
    process.out.wait("client 0 has attached")
    frames = [client.take() for _ in range(20)]
    process.out.wait("client 0 is taking frames")
    first = frames[0]
    assert (first.type, first.rotation, first.rectangles, first.flags) == (1, 0, 0, 0)
    assert first.screen == first.data == first.shown == (128, 96)
    assert (first.pitch, first.stride) == (512, 128)
    assert {frame.written for frame in frames} == {512 * 96}
    assert [frame.serial for frame in frames] == list(range(1, 21))
    boxes = [frame.box() for frame in frames]
    assert boxes[0] == (0, 0) and len(set(boxes)) == 20
    assert frames[-1].row(4)[8::16] == BARS
    client.detach()
    printed = process.out.wait("client 0 has detached; it took")
    assert int(re.search(r"took (\d+) frames", printed)[1]) >= 20
    stop(process)
    assert re.search(r"ended: clients have taken \d+ frames", process.out.text())
    assert process.err.text() == "" and not client.is_published()


def test_two_clients(place, region):
    """The output tells clients apart."""
    process = publish(place)
    clients = [client_of(place), client_of(place)]
    process.out.wait("client 1 has attached")
    for _ in range(5):
        for client in clients:
            client.take()
    clients[0].detach()
    process.out.wait("client 0 has detached; it took")
    clients[1].take()
    stop(process, number=signal.SIGINT)
    assert region.exists() and process.out.count("client 1 has detached") == 0


def test_json(place, region):
    """--json prints an object for each event."""
    process = publish(place, "--json", "--frames", "3")
    client = client_of(place)
    for _ in range(3):
        client.take()
    assert process.wait() == 0
    events = [json.loads(line) for line in process.out.text().splitlines()]
    assert events[0] == {
        "event": "started", "path": str(region), "size": 1 << 20, "width": 128, "height": 96,
        "fps": 100, "command": f"looking-glass-client -s -f {region}"}
    assert events[1] == {"event": "attached", "client": 0}
    assert events[2] == {"event": "taking", "client": 0}
    assert events[-1]["event"] == "ended" and events[-1]["frames"] >= 3


def test_frames_ends_the_test(place, region):
    """--frames ends the test with status 0 when clients have taken this number of frames."""
    process = publish(place, "--frames", "1")
    client_of(place).take()
    assert process.wait() == 0
    assert "clients have taken 1 frame\n" in process.out.text() + "\n"
    assert region.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_client(place, region, number):
    """If no client takes a frame, the status is 1; afterwards nothing in the region looks
    published."""
    process = publish(place)
    stop(process, 1, number)
    assert process.err.text() == "ivshmem looking-glass test: no client has taken a frame"
    assert not place.add(Client(region)).is_published()


def test_restart(place, region):
    """After the publisher has been killed, it can be started again immediately, with a new
    session."""
    process = publish(place)
    client = client_of(place)
    client.take()
    process.signal(signal.SIGKILL)
    process.wait()
    assert client.is_published()
    publish(place)
    session = client.session
    client.attach()
    assert client.session != session
    assert client.take().serial == 1 and region.exists()


def test_absent(place):
    """The advice about a region that does not exist contains a size for the mode."""
    done = run(place, place.shm, "--mode", "3840x2160")
    assert (done.returncode, done.stdout) == (1, "")
    assert f'there is no region "shm:{place.shm}"' in done.stderr
    assert f'"ivshmem create shm:{place.shm} --size 128M"' in done.stderr
    assert f'"ivshmem looking-glass 3840x2160 --name {place.shm} --apply"' in done.stderr
    assert not place.shm_path.exists()
    follow(place, run(place, place.shm, "--mode", "64x64").stderr)


@pytest.mark.parametrize("form", ["{name} it's", "shm:{name}:2", "/dev/shm/{name} it's"])
def test_advice_makes_this_region(place, form):
    """The commands that are recommended if the region does not exist create it, whatever its name
    is."""
    address = form.format(name=place.shm)
    path = SHM / address.removeprefix("/dev/shm/").removeprefix("shm:")
    commands = re.findall(r'"ivshmem ([^"]*)"', run(place, address, "--mode", "64x64").stderr)
    assert [command.split()[0] for command in commands] == ["create", "looking-glass"]
    group = f"--group {os.getegid()} --root {place.dir}"
    for command, options in zip(commands, ["", group]):
        try:
            done = place.run("sh", "-c", f"{TOOL} {command} {options}")
            assert done.returncode == 0 and path.stat().st_size == 16 << 20, done.stderr
        finally:
            path.unlink(missing_ok=True)


def test_advice_for_a_file(place):
    """The command looking-glass cannot create a file, so it is not recommended."""
    done = run(place, place.dir / "a b", "--mode", "64x64")
    assert f"\"ivshmem create 'file:{place.dir}/a b' --size 16M\"" in done.stderr
    assert "--apply" not in done.stderr


def follow(place, advice):
    """Run the recommended command, which creates or resizes the region. Then check that the test
    can publish there."""
    command = re.search(r"ivshmem (create|resize) \S+ --size 16M", advice)[0]
    assert place.run("sh", "-c", f"{BUILD}/tools/{command}").returncode == 0
    stop(publish(place), 1)


def test_empty(place):
    """A file that tmpfiles.d has created for a VM that has not been started yet stays empty."""
    place.shm_path.touch()
    done = run(place, place.shm)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{place.shm_path} is empty, because its VM has not been started yet" in done.stderr
    assert f"ivshmem resize shm:{place.shm} --size 32M" in done.stderr
    assert place.shm_path.stat().st_size == 0
    follow(place, run(place, place.shm, "--mode", "64x64").stderr)


@pytest.mark.parametrize("mode, needed, fits", [
    ("256x504", 1 << 20, True), ("256x505", 1056768, False), ("1920x1080", 16605184, False)])
def test_too_small(place, region, mode, needed, fits):
    """A region that is too small for the mode is refused, with the size that is needed."""
    if fits:
        stop(publish(place, "--mode", mode), 1)
        return
    done = run(place, place.shm, "--mode", mode)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"is 1M, which is too small for {mode} ({needed} bytes)" in done.stderr
    assert f'"ivshmem looking-glass {mode}" says how' in done.stderr
    assert region.read_bytes() == bytes(1 << 20)


def test_too_large(place, region):
    """The client cannot map 2 GiB."""
    os.truncate(region, 2 << 30)
    done = run(place, place.shm)
    assert done.returncode == 1
    assert "is 2G, and Looking Glass cannot use 2G or more" in done.stderr
    assert region.stat().st_blocks == 0


@pytest.mark.parametrize("address, message", [
    ("/dev/null", "/dev/null is a device, but the test publishes only in regions"),
    ("/", "/ is not a file"), ("shm:a/b", "is a path"), ("file:", "a path must follow"),
    ("/no-such-directory/x", 'there is no region "file:/no-such-directory/x"'),
])
def test_not_a_region(place, address, message):
    """A file that is not a region is refused."""
    done = run(place, address)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_publishing_twice(place, region):
    """A region in which another program publishes is refused."""
    first = publish(place)
    done = run(place, place.shm, *MODE)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"another program publishes in shm:{place.shm}" in done.stderr
    client_of(place).take()
    stop(first)
    assert region.exists()


def test_a_development_version_publishes(place, region):
    """Later versions of the protocol have the magic number and the heartbeat at other offsets; they
    are recognised, too."""
    other = place.add(Client(region))
    other.put(8064, 0x504d474c)
    beats = place.start("/usr/bin/python3", "-c", f"""
import struct, time
for n in range(1, 4000):
    with open("{region}", "r+b") as f:
        f.write(struct.pack("<Q", n))
    if n == 1: print("beats", flush=True)
    time.sleep(0.005)
""")
    beats.out.wait("beats")
    done = run(place, place.shm, *MODE)
    assert done.returncode == 1 and "another program publishes in" in done.stderr


def test_force(place, region):
    """--force publishes nevertheless, and the other publisher gives up."""
    first = publish(place)
    second = publish(place, "--force")
    assert first.wait() == 1
    assert "another program publishes in" in first.err.text()
    client_of(place).take()
    stop(second)
    assert region.exists()


def test_truncated(place, region):
    """Truncating the file ends the test with a message, not with a signal."""
    process = publish(place)
    os.truncate(region, 0)
    assert process.wait() == 1
    assert f"another process has truncated shm:{place.shm}" in process.err.text()


@pytest.mark.parametrize("change, message", [("remove", "name was removed"),
                                             ("replace", "name was"), ("grow", "size")])
def test_changed(place, region, change, message):
    """The test ends once new clients would no longer open this region."""
    process = publish(place)
    if change == "grow":
        os.truncate(region, 2 << 20)
    else:
        region.unlink()
    if change == "replace":
        region.write_bytes(bytes(1 << 20))
    assert process.wait() == 1
    assert f"shm:{place.shm}: " in process.err.text() and message in process.err.text()


def test_overwritten(place, region):
    """If the header is overwritten, the pattern is published again, and clients connect again."""
    process = publish(place)
    client = client_of(place)
    client.take()
    client.memory[:8192] = bytes(8192)
    process.out.wait("another process has overwritten the region: published again")
    assert process.out.count("client 0 has lost its session") == 1
    client.attach().take()
    stop(process)
    assert region.exists()


def test_a_client_dies_with_the_lock(place, region, fast_clock):
    """A lock that is not released does not stop the publisher."""
    process = publish(place)
    client = client_of(place)
    client.lock()
    process.out.wait("a client held a lock for 1 s, or died while holding it: published again")
    client.attach().take()
    stop(process)
    assert region.exists()


def test_a_client_that_does_not_read(place, region, fast_clock):
    """A client that does not read is dropped after 10 s."""
    process = publish(place)
    client_of(place)
    process.out.wait("client 0 is dropped: it has not read a frame for 10 s")
    client_of(place).take()
    process.out.wait("client 1 is taking frames")
    stop(process)
    assert region.exists()


def test_an_inconsistent_queue(place, region):
    """A queue with an impossible count is recreated."""
    process = publish(place)
    client = client_of(place)
    client.put(client.queue + 440, 0xffffffff)
    process.out.wait("another process has made a queue inconsistent: published again")
    client.attach().take()
    stop(process)
    assert region.exists()


def test_a_path_with_blanks_is_quoted(place):
    """The client's command can be pasted into a shell."""
    path = place.dir / "it's one"
    path.write_bytes(bytes(1 << 20))
    process = publish(place, region=path)
    command = process.out.wait("looking-glass-client").strip()
    stop(process, 1)
    shown = place.run("sh", "-c", command.replace("looking-glass-client -s -f", "printf %s"))
    assert shown.stdout == str(path)


@NEEDS_ROOT
@pytest.mark.parametrize("owner, group, mode, words", [
    (NOBODY, 0, 0o600, "start the client as user nobody:"),
    (NOBODY, NOBODY, 0o660, "start the client as nobody, or as a user of group {group}:"),
    (0, NOBODY, 0o660, "start the client as a user of group {group}:"),
    (0, 0, 0o666, "start the client as a user other than root:"),
    (54321, 54322, 0o660, "start the client as 54321, or as a user of group 54322:"),
])
def test_users_of_the_region(place, region, owner, group, mode, words):
    """The message says which users can start the client."""
    os.chown(region, owner, group)
    region.chmod(mode)
    process = publish(place)
    process.out.wait(words.format(group=grp.getgrgid(NOBODY).gr_name))
    stop(process, 1)
    assert "warning" not in process.err.text()


@NEEDS_ROOT
def test_a_region_of_root_alone(place, region):
    """The client does not run as root, so a region that only root can open causes a warning."""
    region.chmod(0o600)
    process = publish(place)
    process.err.wait(f"warning: only root can open {region} (owner 0:0, mode 0600)")
    stop(process, 1)


@NEEDS_ROOT
def test_no_rights(place, region):
    """If a different user has no access, the message gives the reason, and the command that grants
    access."""
    region.chmod(0o600)
    place.dir.chmod(0o755)
    program = shutil.copy(TOOL, place.dir)
    process = place.start(program, "looking-glass", "test", place.shm, user=NOBODY)
    assert process.wait() == 1
    assert f"cannot open {region} for reading and writing: Permission denied" in process.err.text()
    assert "mode 0600" in process.err.text() and SHM in region.parents
