# SPDX-License-Identifier: BSD-3-Clause
"""The options of ivshmem-device: the devices that result from them, and the messages about invalid
values."""
import os
import re

import pytest

from support.py.control import ask_once
from support.py.device import Devices
from support.py.paths import SOURCE

UUID = "01234567-89ab-cdef-0123-456789abcdef"
LONG = "x" * 200

# Placeholders in all rows: {S}, {R} and {D} become the options for a socket, for a new region of
# 1M, and for a server that is not running; {dir} is an empty directory, {shm} an unused name.


def words(place, text, **more):
    """Return: the options of a row as words, with the placeholders replaced."""
    return [word.replace("~", " ") for word in text.format(
        S=f"--socket {place.dir}/vmm", R=f"--region shm:{place.shm} --size 1M", dir=place.dir,
        shm=place.shm, D=f"--server {place.dir}/server", **more).split()]


def nothing_left(place):
    """Return: whether the program has left neither a socket nor a region."""
    return os.listdir(place.dir) == [] and not list(place.shm_path.parent.glob(place.shm + "*"))


def check_refused(place, options, status, message):
    """Run ivshmem-device with these options. Check its exit status and its one-line error message,
    and that it leaves no files."""
    done = place.run_device(*options)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert message in done.stderr
    assert done.stderr.startswith("ivshmem-device: ") and done.stderr.count("\n") == 1
    assert nothing_left(place)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_succeeds(place, option):
    """--help prints the usage, every option and an example, and the exit status is 0."""
    done = place.run_device(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ivshmem-device ")
    assert "\n  ivshmem-device -" in done.stdout[done.stdout.index("\nExample"):]
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_one_line(place, option):
    """--version prints the program's name and the version that all programs share."""
    done = place.run_device(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["ivshmem-device",
                                   place.run_server("--version").stdout.split()[1]]


def option_names(text):
    """Return: every long option that @text mentions."""
    return set(re.findall(r"--[a-z][a-z-]*", text))


def test_help_and_man_page_agree(place):
    """Every option in the help is in the man page, and vice versa."""
    helped = option_names(place.run_device("--help").stdout)
    page = (SOURCE / "man" / "ivshmem-device.1.scd").read_text(encoding="utf-8")
    begin, end = page.index("# OPTIONS OF A DEVICE"), page.index("# CONNECTION TO A SERVER")
    described = option_names("\n".join(
        line for line in page[begin:end].splitlines() if line.startswith("*-")))
    assert len(helped) > 25
    assert helped == described


@pytest.mark.parametrize("option", [
    "-Z", "--nonsense", "-S", "--socket", "--socket-path", "--fd", "--model", "-r", "--region",
    "-l",
    "--size", "--server", "-n", "--vectors", "--legacy", "--window", "--role", "--name", "--uuid",
    "--socket-mode", "--region-owner", "--user", "--sandbox", "--control", "--status",
    "--help=yes", "--json=1"])
def test_unknown_or_incomplete_option(place, option):
    """An unknown or incomplete option results in exit status 2 and a message with the option's name
    and a pointer to --help."""
    done = place.run_device(option)
    assert (done.returncode, done.stdout) == (2, "")
    assert option.strip("-").split("=")[0] in done.stderr
    assert 'Try "ivshmem-device --help".' in done.stderr


USAGE = [
    ("", 'a device without "--socket": name the socket where the VMM connects'),
    ("-v", 'a device without "--socket"'),
    ("{R}", 'a device without "--socket"'),
    ("--model plain {R} --name a", 'a device without "--socket"'),
    ("surplus", 'surplus argument "surplus": use options only'),
    ("{S} {R} surplus", 'surplus argument "surplus"'),
    ("{S} {R} -- -v", 'surplus argument "-v"'),
    ("--json", 'option without --status "--json": use --status PATH --json'),
    ("{S} {R} --json", 'option without --status "--json"'),
    # Missing and conflicting options
    ("{S}", 'a device without "--region": name its memory, such as --region shm:NAME, --server'),
    ("{S} --model plain", 'a plain device without "--region"'),
    ("{S} --size 1M", 'a device without "--region"'),
    ("{S} --region nonsense",
     'not the address of a region "nonsense": use shm:NAME, file:PATH or dir:PATH'),
    ("{S} --region=", 'not the address of a region ""'),
    ("{S} --region unix:/x", 'not the address of a region "unix:/x"'),
    ("{S} --server unix:/x", 'not the path of a socket "unix:/x": omit "unix:"'),
    ("--socket unix:vmm {R}", 'not the path of a socket "unix:vmm": omit "unix:"'),
    ("{S} --server {dir}/vmm", 'the same path for --socket and --server: "{dir}/vmm"'),
    ("{S} --vectors 2", 'a device without "--region"'),
    ("{S} --model doorbell", 'a doorbell device without "--server": name the socket'),
    ("{S} --model doorbell {R}", 'a doorbell device without "--server"'),
    ("{S} {D} {R}", 'a doorbell device with "--region": the server provides its memory'),
    ("{S} {D} --size 1M", 'a doorbell device with "--size": the server provides its memory'),
    ("{S} {D} --model plain", 'a plain device without "--region"'),
    ("{S} {D} --model plain {R}", 'a plain device with "--server": it has no doorbells'),
    ("{S} {R} --vectors 2", 'a plain device with "--vectors": it has no interrupts'),
    ("{S} {R} -n 1", 'a plain device with "--vectors"'),
    ("{S} --region memfd:", 'no other process could share "memfd:": use shm:NAME or file:PATH'),
    ("{S} --region memfd:2M --size 2M", 'no other process could share "memfd:2M"'),
    # Values
    ("{S} --model ivshmem", 'invalid model "ivshmem": use plain or doorbell'),
    ("{S} --model Plain", 'invalid model "Plain"'),
    ("{S} --model legacy",
     'invalid model "legacy": use plain or doorbell, or --legacy for the device of revision 0'),
    ("{S} {D} --vectors 0", 'invalid number of vectors "0": use 1 to 2048'),
    ("{S} {D} --vectors 2049", 'invalid number of vectors "2049": use 1 to 2048'),
    ("{S} {D} --vectors -1", 'invalid number of vectors "-1"'),
    ("{S} {D} --vectors 1k", 'invalid number of vectors "1k"'),
    ("{S} {D} --vectors=", 'invalid number of vectors ""'),
    ("{S} {D} --vectors 18446744073709551617", 'invalid number of vectors "18446744073709551617"'),
    ("{S} {R} --size 0",
     'invalid size of a region "0": use a number with K, M, G or T, such as 4M'),
    ("{S} {R} --size=", 'invalid size of a region ""'),
    ("{S} {R} --size 4X", 'invalid size of a region "4X"'),
    ("{S} {R} --size 4MiB", 'invalid size of a region "4MiB"'),
    ("{S} {R} --size -1", 'invalid size of a region "-1"'),
    ("{S} {R} --size 0x1000", 'invalid size of a region "0x1000"'),
    ("{S} {R} --size 1.5M", 'invalid size of a region "1.5M"'),
    ("{S} {R} --size 16777216T", 'invalid size of a region "16777216T"'),
    ("{S} {R} --read-only=yes", 'invalid kind of --read-only "yes": use map or trap'),
    ("{S} {R} --read-only=", 'invalid kind of --read-only ""'),
    ("{S} {R} --read-only=MAP", 'invalid kind of --read-only "MAP"'),
    ("{S} {R} --read-only map", 'surplus argument "map"'),
    ("{S} {R} --role slave", 'invalid role "slave": use peer or master'),
    ("{S} {R} --role=", 'invalid role ""'),
    ("{S} {R} --fd -1", 'not an inherited socket "-1": use the number of an open fd'),
    ("--fd 0 {R}", 'not an inherited socket "0"'),
    ("--fd 2 {R}", 'not an inherited socket "2"'),
    ("--fd x {R}", 'not an inherited socket "x"'),
    ("--fd 2147483648 {R}", 'not an inherited socket "2147483648"'),
    ("--fd=", 'not an inherited socket ""'),
    # Windows of BAR 2
    ("{S} {R} --window 0",
     'invalid window "0": use OFFSET,LENGTH or OFFSET,LENGTH,ro, such as 4M,1M'),
    ("{S} {R} --window=", 'invalid window ""'),
    ("{S} {R} --window 0,", 'invalid window "0,"'),
    ("{S} {R} --window ,4K", 'invalid window ",4K"'),
    ("{S} {R} --window 0,0", 'invalid window "0,0"'),
    ("{S} {R} --window 0,4K,rw", 'invalid window "0,4K,rw"'),
    ("{S} {R} --window 0,4K,", 'invalid window "0,4K,"'),
    ("{S} {R} --window 0,4K,,ro", 'invalid window "0,4K,,ro"'),
    ("{S} {R} --window 0,4K,ro,", 'invalid window "0,4K,ro,"'),
    ("{S} {R} --window 0,4K,rox", 'invalid window "0,4K,rox"'),
    ("{S} {R} --window 0,4K,RO", 'invalid window "0,4K,RO"'),
    ("{S} {R} --window 0,4K,~ro", 'invalid window "0,4K, ro"'),
    ("{S} {R} --window 0,4K,ro~", 'invalid window "0,4K,ro "'),
    ("{S} {R} --window 0,~4K", 'invalid window "0, 4K"'),
    ("{S} {R} --window -4K,4K", 'invalid window "-4K,4K"'),
    ("{S} {R} --window 4K-8K", 'invalid window "4K-8K"'),
    ("{S} {R} --window 0:4K", 'invalid window "0:4K"'),
    ("{S} {R} --window 0,16777216T", 'invalid window "0,16777216T"'),
    ("{S} {R} --window 16777216T,4K", 'invalid window "16777216T,4K"'),
    ("{S} {R} --window 0,4096B", 'invalid window "0,4096B"'),
    ("{S} {R} --window 0," + "0" * 70 + "4K", 'invalid window "0,000'),
    # UUIDs
    ("{S} {R} --uuid=", 'invalid UUID "": use the form 01234567-89ab-cdef-0123-456789abcdef'),
    ("{S} {R} --uuid 0123456789abcdef0123456789abcdef", 'invalid UUID "0123456789abcdef01234567'),
    (f"{{S}} {{R}} --uuid {UUID[:-1]}", 'invalid UUID "01234567-'),
    (f"{{S}} {{R}} --uuid {UUID}0", 'invalid UUID "01234567-'),
    (f"{{S}} {{R}} --uuid {UUID[:-1]}g", 'invalid UUID "01234567-'),
    (f"{{S}} {{R}} --uuid g{UUID[1:]}", 'invalid UUID "g1234567-'),
    ("{S} {R} --uuid 01234567-89ab-cdef-01234-56789abcdef", 'invalid UUID "01234567-'),
    ("{S} {R} --uuid 01234567-89ab-cdef-0123~456789abcdef", 'invalid UUID "01234567-'),
    ("{S} {R} --uuid 01234567-89ab-cdef-0123-456789abcd-f", 'invalid UUID "01234567-'),
    # Permissions and roles
    ("{S} {R} --socket-mode 8", 'invalid mode "8": use permission bits in octal, such as 0660'),
    ("{S} {R} --socket-mode 0", 'invalid mode "0"'),
    ("{S} {R} --socket-mode 1777", 'invalid mode "1777"'),
    ("{S} {R} --socket-mode u+rw", 'invalid mode "u+rw"'),
    ("{S} {R} --socket-mode=", 'invalid mode ""'),
    ("{S} {R} --region-mode -660", 'invalid mode "-660"'),
    ("{S} {R} --region-mode 0660x", 'invalid mode "0660x"'),
    ("--control {dir}/c --control-mode 9 {S} {R}", 'invalid mode "9"'),
    ("{S} {R} --socket-owner nobody-of-this-name", 'no such user "nobody-of-this-name": use an '
     'existing name or a number'),
    ("{S} {R} --socket-owner=", 'no such user ""'),
    ("{S} {R} --socket-owner -1", 'no such user "-1"'),
    ("{S} {R} --socket-owner 4294967295", 'no such user "4294967295"'),
    ("{S} {R} --socket-group none-of-this-name", 'no such group "none-of-this-name"'),
    ("{S} {R} --socket-group 4294967295", 'no such group "4294967295"'),
    ("{S} {R} --region-owner nobody-of-this-name", 'no such user "nobody-of-this-name"'),
    ("{S} {R} --region-group none-of-this-name", 'no such group "none-of-this-name"'),
    ("{S} {R} --control-owner nobody-of-this-name", 'no such user "nobody-of-this-name"'),
    ("{S} {R} --control-group none-of-this-name", 'no such group "none-of-this-name"'),
    ("{S} {R} --user nobody-of-this-name", 'no such user "nobody-of-this-name": use a name'),
    ("{S} {R} --user 4294967294", 'no such user "4294967294"'),
    ("{S} {R} --user=", 'no such user ""'),
    ("{S} {R} --sandbox strict", 'invalid kind of sandbox "strict": use on or off'),
    ("{S} {R} --sandbox=", 'invalid kind of sandbox ""'),
    ("{S} {R} --name a~b", "a b of the region contains the byte 0x20: only letters"),
    ("{S} {R} --name a/b", "a/b of the region contains the byte 0x2f"),
    ("{S} {R} --name " + "n" * 64, "of the region has 64 bytes: use at most 63"),
    ("{S} {R} --name \x1b[2J", "of the region contains the byte 0x1b"),
    ("{S} {R} --window 0,3K",
     'invalid LENGTH of --window: "3K": use a power of two and at least 4K'),
    ("{S} {R} --window 0,12K",
     'invalid LENGTH of --window: "12K": use a power of two and at least 4K'),
    ("{S} {R} --window 0,2K", 'invalid LENGTH of --window: "2K"'),
    ("{S} {R} --window 2K,4K", 'invalid OFFSET of --window: "2K": use a multiple of 4K'),
    ("{S} {R} --window 1,4K,ro", 'invalid OFFSET of --window: "1": use a multiple of 4K'),
    ("{S} {D} --window 5K,4K", 'invalid OFFSET of --window: "5K"'),
    # Paths
    ("{S} {R} --control {dir}/vmm",
     'the same path for --socket and --control: "{dir}/vmm": use different'),
    ("{S} {R} --socket {dir}/b {R} --socket {dir}/vmm {R}",
     '{dir}/vmm: two devices use the socket "{dir}/vmm"'),
    ("{S} {R} --socket {dir}/b {R} --control {dir}/b",
     '{dir}/b: the same path for --socket and --control'),
    # Several devices
    ("{S} {R} --socket {dir}/b", 'ivshmem-device: {dir}/b: a device without "--region"'),
    ("{S} --socket {dir}/b {R}", 'ivshmem-device: {dir}/vmm: a device without "--region"'),
    ("{S} {R} --fd 5", 'not an inherited socket "5": use the number of an open fd'),
    ("--fd 999 {R}", 'not an inherited socket "999": use the number of an open fd'),
    ("{S} {R} --read-only --role master", 'a read-only device with "--role master"'),
    ("{S} {R} --window 0,4K,ro --role master", 'a read-only device with "--role master"'),
    ("{S} --read-only=trap --legacy shm=a,role=master", 'a read-only device with "--role master"'),
    ("{R} {S} --socket {dir}/b {R} --vectors 2", '{dir}/b: a plain device with "--vectors"'),
    ("{S} {R} --socket {dir}/b {D} --size 1M", '{dir}/b: a doorbell device with "--size"'),
    ("{S} {R} --socket {dir}/b --model x", 'invalid model "x"'),
    ("{S} {R} " + "--socket {dir}/b {R} " * 64, 'too many devices, at "'),
    ("{S} {R} " + "--socket {dir}/b {R} " * 63 + "--socket c",
     'too many devices, at "c": one process serves up to 64'),
    # Combined with --legacy
    ("{S} --legacy shm={shm} --vectors 2", 'not allowed with --legacy: "--vectors": use --legacy'),
    ("{S} --vectors 2 --legacy shm={shm}", 'not allowed with --legacy: "--vectors"'),
    ("{S} --legacy shm={shm} --region shm:{shm}", 'not allowed with --legacy: "--region"'),
    ("{S} --region shm:{shm} --legacy shm={shm}", 'not allowed with --legacy: "--region"'),
    ("{S} --legacy shm={shm} {D}", 'not allowed with --legacy: "--server"'),
    ("{S} {D} --legacy shm={shm}", 'not allowed with --legacy: "--server"'),
    ("{S} --legacy shm={shm} --size 8M", 'not allowed with --legacy: "--size"'),
    ("{S} --size 8M --legacy shm={shm}", 'not allowed with --legacy: "--size"'),
    ("{S} --size 8M --legacy chardev={dir}/s", 'not allowed with --legacy: "--size"'),
    ("{S} --legacy shm={shm} --model plain", 'not allowed with --legacy: "--model"'),
    ("{S} --model doorbell --legacy shm={shm}", 'not allowed with --legacy: "--model"'),
    ("{S} --legacy size=4M,shm={shm} --window 0,1M", 'not allowed with --legacy: "--window"'),
    ("{S} --window 0,8M --legacy size=4M,shm={shm}", 'not allowed with --legacy: "--window"'),
]


@pytest.mark.parametrize("options, message", USAGE, ids=range(len(USAGE)))
def test_wrong_usage(place, options, message):
    """Incorrect usage results in exit status 2 and one line that quotes the offending value and
    says what to use instead."""
    check_refused(place, words(place, options), 2, message.replace("{dir}", str(place.dir)))


FAILURES = [
    ("{S} --region shm:{shm}",
     "/{shm} does not exist: first start the program that creates it, or give a size"),
    ("{S} {R} --size 3M", "region size 3M is not a power of two; use 2M or 4M"),
    ("{S} {R} --size 2K", "region size 2K is less than one page; use 4K or more"),
    ("{S} {R} --size 8388608T", "exceeds the maximum file size"),
    ("{S} {R} --size 4194304T", "no room for a region of 4194304T"),
    ("{S} --region shm:a/b", '"a/b" is a path, not a name for POSIX shared memory: use file:a/b'),
    ("{S} --region file:", 'a path must follow "file:"'),
    ("{S} --region file:/dev/null", "/dev/null is not a file"),
    ("{S} --region file:/nonexistent/x --size 1M",
     "cannot open /nonexistent/x: the directory /nonexistent does not exist: mkdir"),
    ("{S} --region dir:/nonexistent --size 1M", "/nonexistent"),
    ("{S} {R} --window 0,2M", "cannot map 2M from offset 0 of a region of 1M: that is beyond"),
    ("{S} {R} --window 1M,4K",
     "cannot map 4K from offset 1048576 of a region of 1M: that is beyond"),
    ("{S} {R} --window 16777215T,4K", "of a region of 1M: that is beyond"),
    ("--socket= {R}", "the socket's path has 0 bytes, but must have 1 to 107"),
    ("--socket /tmp/" + LONG + " {R}", "the socket's path has 205 bytes, but must have 1 to 107"),
    ("--socket /nonexistent/vmm {R}", "cannot create the socket /nonexistent/vmm: No such file"),
    ("--socket-path /proc/vmm {R}", "cannot create the socket /proc/vmm"),
    ("{S} --server /etc/passwd", "/etc/passwd is not a socket"),
    ("{S} --server {dir}", "{dir} is not a socket"),
    ("{S} {D}",
     "no server is listening at {dir}/server: start it with ivshmem-server -S {dir}/server"),
    ("{S} --server=", "the socket's path has 0 bytes, but must have 1 to 107"),
    ("{S} --server " + LONG, "the socket's path has 200 bytes"),
    ("{S} {R} --control /nonexistent/c", "cannot create the socket /nonexistent/c: No such file"),
    ("{S} {R} --socket {dir}/b --region shm:{shm}-b", "{dir}/b: /dev/shm/{shm}-b does not exist"),
    ("{S} {R} --socket /nonexistent/b {R}",
     "/nonexistent/b: cannot create the socket /nonexistent/b"),
    ("{S} --legacy size=1K,shm={shm}", "region size 1K is less than one page"),
    ("--status {dir}/none",
     "there is no socket {dir}/none: is the program running, with --control"),
    ("--status {dir}/none --json", "there is no socket {dir}/none"),
    ("--status=", "the socket's path has 0 bytes"),
]


@pytest.mark.parametrize("options, message", FAILURES, ids=range(len(FAILURES)))
def test_resource_that_cannot_be_opened(place, options, message):
    """If a resource cannot be opened, the exit status is 1, and one line names the resource and
    gives the reason. Files that were created before the error are removed."""
    check_refused(place, words(place, options), 1, message.format(dir=place.dir, shm=place.shm))


# Options in any order, and repeated

def status_of(place, options):
    """Start a process with these options. Return: the status of its devices."""
    options = words(place, options)
    n = max(1, sum(word in ("-S", "--socket", "--socket-path") for word in options))
    running = Devices(place, "--control", place.dir / "control", *options, n=n)
    status = ask_once(place.dir / "control")
    running.stop()
    assert os.listdir(place.dir) == []
    return status["devices"]


GOOD = [
    ("{S} {R}", {}),
    ("-S {dir}/vmm -r shm:{shm} -l 1M", {}),
    ("--socket-path {dir}/vmm --region shm:{shm} --size 1024K", {}),
    ("--socket-path={dir}/vmm --region=shm:{shm} --size=1048576", {}),
    ("{R} {S}", {}),
    ("{R} --name early {S} --uuid " + UUID, {"name": "early"}),
    ("{S} {R} --model plain", {}),
    ("-v {S} -v {R} -v", {}),
    ("{S} {R} --name region-1_a.B", {"name": "region-1_a.B"}),
    ("{S} {R} --name " + "n" * 63, {"name": "n" * 63}),
    ("{S} {R} --name=", {}),
    ("{S} {R} --uuid " + UUID.upper(), {}),
    ("{S} {R} --role peer", {"role": "peer"}),
    ("{S} {R} --role master", {"role": "master"}),
    ("{S} {R} --role master --role peer", {"role": "peer"}),
    ("{S} {R} --read-only", {"read_only": True}),
    ("{S} {R} --read-only=map", {"read_only": True}),
    ("{S} {R} --read-only=trap", {"read_only": True}),
    ("{S} {R} --window 0,1M", {}),
    ("{S} {R} --window 4K,8K", {"offset": 4096, "size": 8192}),
    ("{S} {R} --window 512K,512K,ro", {"offset": 1 << 19, "size": 1 << 19, "read_only": True}),
    ("{S} {R} --window 0,4096,ro --read-only=trap", {"size": 4096, "read_only": True}),
    ("{S} {R} --window 1044480,4k", {"offset": 1044480, "size": 4096}),
    ("--window 0,4K {R} {S}", {"size": 4096}),
    ("{S} {R} --socket-mode 0600 --region-mode 0640", {}),
    ("{S} {R} --socket-mode 777 --control-mode 7", {}),
    ("{S} --region dir:{dir} --size 1M", {"region": "dir:{dir}"}),
    ("{S} {R} --sandbox off", {}),
    ("{S} --legacy chardev=/nonexistent --legacy shm={shm},size=1M",
     {"revision": 0, "role": "master"}),
]


@pytest.mark.parametrize("options, differs", GOOD, ids=range(len(GOOD)))
def test_device_has_the_configured_properties(place, options, differs):
    """Options give the device its properties. Each row lists options, and how the device differs
    from a plain one."""
    one, = status_of(place, options)
    memory = one.pop("memory")
    for key in ("totals", "vmm", "server"):
        one.pop(key)
    assert {**one, **memory} == {
        "socket": f"{place.dir}/vmm", "model": "plain", "revision": 1, "vectors": 0, "intx": False,
        "name": one["name"], "role": one["role"], "region": f"shm:{place.shm}", "offset": 0,
        "size": 1 << 20, "read_only": False, "attached": True, "changes": [],
        **{key: value.format(dir=place.dir) if isinstance(value, str) else value
           for key, value in differs.items()}}
    assert one["role"] == differs.get("role", "peer")
    assert one["name"] in (differs.get("name"), "" if "--name=" in options else None)


def test_several_devices(place):
    """Each device has the options that follow its socket. The first device also has those before
    its socket."""
    devices = status_of(place,
                        "--name one {R} --socket {dir}/1 --role master --socket {dir}/2 --name two "
                               "--region shm:{shm} --window 4K,4K,ro --socket-path {dir}/3 "
                               "--legacy shm={shm}-3,size=1M --sandbox off -S {dir}/4 {R}")
    assert [(one["socket"], one["name"], one["role"], one["revision"], one["memory"]["size"],
             one["memory"]["read_only"]) for one in devices] == [
        (f"{place.dir}/1", "one", "master", 1, 1 << 20, False),
        (f"{place.dir}/2", "two", "peer", 1, 4096, True),
        (f"{place.dir}/3", None, "master", 0, 1 << 20, False),
        (f"{place.dir}/4", None, "peer", 1, 1 << 20, False)]


def test_maximum_number_of_devices(place):
    """One process can serve up to 64 devices."""
    devices = status_of(place, "{R} " + " ".join(
        f"--socket {{dir}}/{at} --region shm:{{shm}}" for at in range(64)))
    assert [one["socket"] for one in devices] == [f"{place.dir}/{at}" for at in range(64)]
