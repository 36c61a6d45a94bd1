# SPDX-License-Identifier: BSD-3-Clause
"""`ivshmem config`: its output is correct for the programs that read it."""
import grp
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import xml.etree.ElementTree as ET

import pytest

from support.py.config import NAMES, TOOL, Pieces, run, shell_words, succeed
from support.py.programs import TIMEOUT
from support.py.systemd import needs

MIB = 1 << 20
ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
TARGETS = ["qemu", "libvirt", "tmpfiles", "systemd", "udev", "apparmor"]


def values(text):
    """Return: the values in <qemu:commandline>."""
    root = ET.fromstring(text)
    assert root.tag == "{http://libvirt.org/schemas/domain/qemu/1.0}commandline"
    return [argument.get("value") for argument in root]


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_words_of_a_shell(name):
    """A shell passes the name to QEMU unchanged, except that commas are doubled."""
    object_, memory, device, plain = shell_words(
        Pieces("config", "qemu", name, "--size", "64M", "--id", "x").text("shell"))
    assert (object_, device) == ("-object", "-device")
    assert memory == ("memory-backend-file,id=x-mem,share=on,"
                      f"mem-path=/dev/shm/{name.replace(',', ',,')},size=64M")
    assert plain == "ivshmem-plain,id=x,memdev=x-mem"


@pytest.mark.parametrize("name", NAMES)
def test_xml_has_the_name(name):
    """An XML parser finds the unchanged name in elements and in <qemu:commandline>."""
    shmem = ET.fromstring(Pieces("config", "libvirt", name, "--size", "64M").text("xml"))
    assert shmem.get("name") == name and shmem.get("role") is None
    assert shmem.find("model").get("type") == "ivshmem-plain"
    assert shmem.find("size").text == "64" and shmem.find("size").get("unit") == "M"
    pieces = Pieces("config", "libvirt", f"file:/srv/{name}", "--size", "2G", "--id", "x")
    assert values(pieces.text("xml")) == [
        "-object", "memory-backend-file,id=x-mem,share=on,"
        f"mem-path=/srv/{name.replace(',', ',,')},size=2G",
        "-device", "ivshmem-plain,id=x,memdev=x-mem"]


@pytest.mark.parametrize("name", NAMES)
def test_commands_have_the_name(name):
    """QMP commands are JSON that contains the name. The same is true of virsh commands, which a
    shell splits."""
    path = f"/dev/shm/{name}"
    pieces = Pieces("config", "qemu", name, "--size", "64M", "--hotplug")
    backend, device = map(json.loads, pieces.text("qmp", "to plug in").splitlines())
    assert backend["execute"] == "object-add" and backend["arguments"]["mem-path"] == path
    assert backend["arguments"]["size"] == 64 * MIB
    assert device["arguments"]["memdev"] == backend["arguments"]["id"]
    pieces = Pieces("config", "libvirt", f"file:/srv/{name}", "--size", "64M", "--hotplug",
                    "--domain", name)
    first, second = (shell_words(line) for line in
                     pieces.text("shell", "to plug it").splitlines())
    assert first[:3] == second[:3] == ["virsh", "qemu-monitor-command", name]
    assert json.loads(first[3])["arguments"]["mem-path"] == f"/srv/{name}"
    assert json.loads(second[3])["arguments"]["bus"] == "pci.16"


@pytest.mark.parametrize("name", NAMES)
def test_tmpfiles_makes_the_file(place, name):
    """From the printed line, systemd-tmpfiles creates exactly this file, with its owner and
    mode."""
    needs("systemd-tmpfiles")
    path = place.dir / name
    line = Pieces("config", "tmpfiles", f"file:{path}", "--owner", ME, "--group", MY_GROUP,
                  "--mode", "0640").text("tmpfiles")
    (place.dir / "file.conf").write_text(line)
    done = place.run("systemd-tmpfiles", "--create", place.dir / "file.conf")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert sorted(os.listdir(place.dir)) == sorted(["file.conf", name])
    st = path.stat()
    assert stat.S_ISREG(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o640
    assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid())


def test_tmpfiles_makes_the_directory_of_a_socket(place):
    """For a device with a server, the line creates the directory for the server's socket."""
    assert Pieces("config", "tmpfiles", "unix:/run/a b/c.sock").text("tmpfiles") == \
        'd "/run/a b" 0755 root root -\n'


@pytest.mark.parametrize("name", NAMES)
def test_apparmor_accepts_the_line(place, name):
    """AppArmor's parser accepts the line, and finds no globs in the path."""
    needs("apparmor_parser")
    line = Pieces("config", "apparmor", name).text("apparmor")
    profile = place.dir / "profile"
    profile.write_text("profile ivshmem-test {\n" + line + "}\n")
    done = place.run("apparmor_parser", "--skip-kernel-load", "--skip-cache", "--debug", profile)
    assert done.returncode == 0, done.stderr
    pattern = re.search(r"Name:\t\((.*)\)$", done.stdout, re.M)[1]
    assert not re.search(r"(?<!\\)(\\\\)*[*?[\]{}^]", pattern), "a glob remains"
    assert re.sub(r"\\(.)", r"\1", pattern) == f"/dev/shm/{name}"


def test_units_do_not_run_a_program_that_others_can_replace(place):
    """A unit runs this program only if no user except root can replace it; otherwise, it
    runs the installed one."""
    place.dir.chmod(0o777)
    done = place.run(shutil.copy(TOOL, place.dir), "config", "systemd", "demo", "--size", "1M")
    assert "\nExecStart=/usr/bin/ivshmem create shm:demo " in done.stdout, done


def test_units_verify(place):
    """systemd-analyze verify accepts the units for plain regions, and the drop-in for a socket."""
    needs("systemd-analyze")
    units = []
    for name in NAMES:
        pieces = Pieces("config", "systemd", name, "--size", "64M", "--owner", "daemon", "--mode",
                        "0600")
        file = pieces.all[0]["where"].removeprefix("In /etc/systemd/system/")
        assert shell_words(pieces.text("shell").splitlines()[1])[-1] == file
        units.append(place.dir / file)
        units[-1].write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={TOOL}", pieces.text("unit"),
                                    flags=re.M))
    pieces = Pieces("config", "systemd", "demo", "--kind", "doorbell", "--size", "4M", "--group",
                    "daemon", "--mode", "0600", "--owner", "daemon")
    drop_in = place.dir / "ivshmem@demo.socket.d" / "access.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(pieces.text("unit"))
    for file in ("ivshmem@.socket", "ivshmem-user@.service"):
        shutil.copy(place.source / "packaging" / "systemd" / file, place.dir)
    service = (place.build / "packaging" / "ivshmem@.service").read_text()
    (place.dir / "ivshmem@.service").write_text(
        re.sub(r"^ExecStart=\S+", f"ExecStart={place.server_program}", service, flags=re.M))
    done = place.run("systemd-analyze", "verify", "--man=no", *units,
                     place.dir / "ivshmem@demo.socket")
    complaints = [line for line in done.stderr.splitlines() if "ivshmem" in line]
    assert done.returncode == 0 and not complaints, done.stderr


def test_socket_has_no_drop_in_if_none_is_needed():
    """The socket unit already contains the defaults."""
    pieces = Pieces("config", "systemd", "demo", "--kind", "doorbell", "--size", "4M", "-n", "3")
    assert not pieces.texts("unit")
    assert pieces.text("environment") == "REGION=memfd:\nSIZE=4M\nVECTORS=3\n"
    assert "ivshmem@demo.socket" in pieces.text("shell")


def test_server_of_a_named_region():
    """With --kind doorbell, an address specifies the server's region, and a plain name specifies
    the server."""
    pieces = Pieces("config", "systemd", "shm:demo", "--kind", "doorbell", "--size", "4M")
    assert "REGION=shm:demo\n" in pieces.text("environment")


def test_udev_rules():
    """The rule for the guest matches the name that the guest can see; the rule for the host matches
    the device node of kvmfr."""
    rule = Pieces("config", "udev", "demo", "--kind", "vfio-user", "--group", "video").text("udev")
    assert rule == ('SUBSYSTEM=="ivshmem", KERNEL=="ivshmem[0-9]*", ATTR{name}=="demo", '
                    'GROUP="video", MODE="0660"\n')
    pieces = Pieces("config", "udev", "demo")
    assert pieces.text("udev") == ('SUBSYSTEM=="ivshmem", KERNEL=="ivshmem[0-9]*", '
                                   'GROUP="ivshmem", MODE="0660"\n')
    assert "all devices" in pieces.all[0]["where"]
    pieces = Pieces("config", "udev", "file:/dev/kvmfr0", "--owner", "me", "--mode", "0600")
    assert pieces.text("udev") == \
        'SUBSYSTEM=="kvmfr", KERNEL=="kvmfr0", OWNER="me", GROUP="kvm", MODE="0600"\n'
    assert "On the host" in pieces.all[0]["where"]


def test_node_needs_an_entry_in_qemu_conf():
    """libvirt lets QEMU open a device node only if qemu.conf lists it."""
    pieces = Pieces("config", "libvirt", "file:/dev/kvmfr0", "--size", "64M")
    text = pieces.text("qemu.conf")
    listed = json.loads(text.split("=", 1)[1])
    assert listed[-1] == "/dev/kvmfr0" and "/dev/kvm" in listed
    assert not Pieces("config", "libvirt", "file:/dev/hugepages/x", "--size",
                      "64M").texts("qemu.conf")


def test_vfio_user():
    """A vfio-user device is a JSON argument to QEMU, even in libvirt's XML; ivshmem-device is
    started beforehand, either manually or by its unit."""
    words = ["vm1", "--kind", "vfio-user", "--size", "64M", "--role", "master"]
    socket = "/run/ivshmem-device-vm1/vmm.sock"
    expected = {"driver": "vfio-user-pci", "id": "vm1", "socket": {"type": "unix", "path": socket}}
    pieces = Pieces("config", "qemu", *words)
    option, argument = shell_words(pieces.text("shell", "In the command"))
    assert option == "-device" and json.loads(argument) == expected
    option, argument = values(Pieces("config", "libvirt", *words).text("xml"))
    assert option == "-device" and json.loads(argument) == expected
    started = ("--region shm:vm1 --size 64M --region-mode 0660 --region-group kvm --role master "
               "--name vm1")
    assert shell_words(pieces.text("shell", "before the VM").replace("&", "")) == [
        "ivshmem-device", "--socket", socket, "--socket-group", "kvm", "--socket-mode", "0660",
        *started.split()]
    pieces = Pieces("config", "systemd", *words)
    assert pieces.text("environment") == f'DEVICE="{started}"\n'
    assert "ivshmem-device@vm1.service" in pieces.text("shell")


def test_vfio_user_with_a_server():
    """An ivshmem-device that is a client of a server has vectors, but no region option."""
    pieces = Pieces("config", "qemu", "vm1", "--kind", "vfio-user", "--server", "/run/s.sock", "-n",
                    "4", "--socket", "/run/my.sock")
    words = shell_words(pieces.text("shell", "before the VM").replace("&", ""))
    assert words[1:3] == ["--socket", "/run/my.sock"]
    assert words[-6:] == ["--server", "/run/s.sock", "--vectors", "4", "--name", "vm1"]


def test_roles():
    """libvirt has an attribute for the role; for QEMU, it is master=on. libvirt 9.0 does not pass
    the role to QEMU for a doorbell device."""
    for role, argument in (("master", ",master=on"), ("peer", "")):
        words = ["demo", "--size", "64M", "--role", role]
        plain = shell_words(Pieces("config", "qemu", *words).text("shell"))[-1]
        assert plain == "ivshmem-plain,id=demo,memdev=demo-mem" + argument
        assert ET.fromstring(Pieces("config", "libvirt", *words).text("xml")).get("role") == role
    pieces = Pieces("config", "libvirt", "demo", "--kind", "doorbell", "--role", "master")
    assert values(pieces.text("xml", "In <domain>")) == ["-global", "ivshmem-doorbell.master=on"]


def test_several_devices():
    """Options before the first name apply to all devices, and options after a name apply to that
    device."""
    words = shell_words(Pieces("config", "qemu", "--size", "32M", "a", "b", "--size", "64M", "c",
                               "--kind", "doorbell", "--vectors", "3").text("shell"))
    assert [re.search("size=(.*)", word)[1] for word in words if "size=" in word] == ["32M", "64M"]
    assert words[-4:] == ["-chardev", "socket,id=c-server,path=/run/ivshmem/c.sock", "-device",
                          "ivshmem-doorbell,id=c,chardev=c-server,vectors=3"]


@pytest.mark.parametrize("name, expected", [
    ("demo", "demo"), ("a b", "a_b"), ("1", "ivshmem-1"), ("é", "ivshmem-__"),
    ("x" * 200, "x" * 40)])
def test_ids_are_made_of_names(name, expected):
    """QEMU accepts only a few characters in an id."""
    words = shell_words(Pieces("config", "qemu", name, "--size", "4M").text("shell"))
    assert words[-1] == f"ivshmem-plain,id={expected},memdev={expected}-mem"


@pytest.mark.parametrize("address, path", [
    ("demo", "/dev/shm/demo"), ("shm:demo", "/dev/shm/demo"), ("file:/a/demo", "/a/demo"),
    ("/a/demo", "/a/demo")])
def test_addresses(address, path):
    """A region can be given by its name, an address or a path."""
    assert Pieces("config", "apparmor", address).text("apparmor") == path + " rw,\n"


def test_file_in_dev_shm_is_shared_memory():
    """libvirt has an element for a region in /dev/shm, even if the region is given by its path."""
    for address in ("file:/dev/shm/demo", "/dev/shm/demo"):
        text = Pieces("config", "libvirt", address, "--size", "4M").text("xml")
        assert ET.fromstring(text).get("name") == "demo"
    assert values(Pieces("config", "libvirt", "file:/dev/shm/a/demo", "--size", "4M").text("xml"))


def test_address_of_a_server():
    """If the address refers to a server's socket, the device is a doorbell device named after the
    socket."""
    shmem = ET.fromstring(Pieces("config", "libvirt", "unix:/run/x/net.sock").text("xml"))
    assert shmem.get("name") == "net" and shmem.find("server").get("path") == "/run/x/net.sock"
    assert Pieces("config", "apparmor", "unix:/run/x/net.sock").text("apparmor") == \
        "/run/x/net.sock rw,\n"


@pytest.mark.parametrize("size, text", [("1M", "1M"), ("64m", "64M"), ("1G", "1G"), ("2048M", "2G"),
                                        ("512K", "512K"), ("4096", "4K")])
def test_sizes_of_qemu(size, text):
    """QEMU accepts the size 64M, but not 64MB."""
    words = shell_words(Pieces("config", "qemu", "demo", "--size", size).text("shell"))
    assert words[1].endswith(f",size={text}")


@pytest.mark.parametrize("size, window", [("1M", "2M"), ("64M", "64M"), ("4G", "4G")])
def test_window_of_a_port(size, window):
    """The port into which a device is plugged has a window of the region's size."""
    pieces = Pieces("config", "qemu", "demo", "--size", size, "--hotplug")
    port = shell_words(pieces.text("shell"))[1]
    assert port.endswith(f"pref64-reserve={window}")
    assert ("Linux may fail to assign an address" in pieces.all[0]["where"]) == (size == "4G")
    pieces = Pieces("config", "libvirt", "demo", "--size", size, "--hotplug")
    assert values(pieces.text("xml", "In <domain>")) == [
        "-global", f"pcie-root-port.pref64-reserve={window}"]


def test_device_with_vectors_is_not_unplugged():
    """QEMU may crash when a device with vectors is unplugged, so no printed piece unplugs one."""
    for target in ("qemu", "libvirt"):
        pieces = Pieces("config", target, "demo", "--kind", "doorbell", "--size", "4M", "--hotplug")
        assert any("Do not unplug" in piece["where"] for piece in pieces.all)
        assert not any("device_del" in piece["text"] or "detach" in piece["text"]
                       for piece in pieces.all)


@pytest.mark.parametrize("target", TARGETS)
def test_each_piece_says_where_it_goes(target):
    """In text output, each piece begins with a comment in the syntax of the piece."""
    words = ["config", target, "--size", "4M", "demo", "b", "--kind", "doorbell", "c", "--kind",
             "vfio-user"]
    text = succeed(*words)
    pieces = Pieces(*words)
    for piece in pieces.all:
        comment = "<!-- {} -->" if piece["language"] == "xml" else "# {}"
        assert f"{comment.format(piece['where'])}\n{piece['text']}" in text
        assert len(piece["where"]) > 10 and "\n" not in piece["where"]
        if piece["language"] == "xml":
            ET.fromstring(f"<x>{comment.format(piece['where'])}{piece['text']}</x>")
    assert len(text) == sum(len(piece["where"]) + len(piece["text"]) + 1 +
                            (9 if piece["language"] == "xml" else 2)
                            for piece in pieces.all) + len(pieces.all) - 1


def test_size_of_an_existing_region(place):
    """Without --size, the size of the existing region is used; if --size differs from it, a note
    reports this and the consequences."""
    os.truncate(os.open(place.shm_path, os.O_CREAT | os.O_RDWR, 0o600), 8 * MIB)
    pieces = Pieces("config", "qemu", place.shm)
    assert pieces.text("shell").count("size=8M") == 1 and not pieces.notes
    for size, effect in (("16M", "QEMU would not start"), ("4M", "only the first part of it")):
        done = run("config", "qemu", place.shm, "--size", size)
        assert done.returncode == 0 and f"size={size}" in done.stdout
        assert f'note: "{place.shm_path}" has the size 8M and not {size}' in done.stderr
        assert effect in done.stderr
        assert f"ivshmem resize shm:{place.shm} --size {size}" in done.stderr
        assert Pieces("config", "qemu", place.shm, "--size", size).notes[0]["command"] == \
            f"ivshmem resize shm:{place.shm} --size {size}"


def test_access_of_an_existing_region(place):
    """The owner, group and mode in the pieces are compared with the region, and the commands in the
    notes correct the region."""
    place.shm_path.write_bytes(bytes(MIB))
    place.shm_path.chmod(0o600)
    words = ["config", "tmpfiles", place.shm, "--owner", "4321", "--group", "4322"]
    notes = Pieces(*words).notes
    assert [note["command"].split()[0] for note in notes] == ["chown", "chgrp", "chmod"]
    assert [note["command"].split()[1] for note in notes][:2] == ["-h", "-h"]
    assert not Pieces("config", "qemu", place.shm).notes, "no owner, group or mode was requested"
    if os.getuid():
        pytest.skip("needs root to change the owner of files")
    for note in notes:
        assert place.run("sh", "-c", note["command"]).returncode == 0
    st = place.shm_path.stat()
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (4321, 4322, 0o660)
    assert not Pieces(*words).notes


def test_missing_server_is_noted(place):
    """A VM needs a running server; without one, a note is printed."""
    words = ["config", "qemu", f"unix:{place.socket}"]
    assert "no server has the socket" in Pieces(*words).notes[0]["text"]
    place.server()
    assert not Pieces(*words).notes


@pytest.mark.parametrize("arguments, message", [
    ([], "no target: give qemu, libvirt"),
    (["qemu"], "no name: give"),
    (["kvm", "demo"], 'no such target "kvm": use qemu'),
    (["qemu", ""], 'invalid address "": use a name'),
    (["qemu", "a\nb", "--size", "4M"], 'invalid address "a?b": use UTF-8 without control'),
    (["qemu", "a\x1b", "--size", "4M"], 'invalid address "a?"'),
    (["qemu", "a\udcff", "--size", "4M"], 'invalid address "a?"'),
    (["qemu", "file:/a\x7f", "--size", "4M"], 'invalid address "file:/a?"'),
    (["qemu", "a/b", "--size", "4M"], 'invalid path "a/b": give the absolute path'),
    (["qemu", "shm:a/b", "--size", "4M"], 'invalid name "a/b": use a name without "/"'),
    (["qemu", "a:b", "--size", "4M"], 'invalid address "a:b": put shm: before it'),
    (["qemu", "shm:..", "--size", "4M"], 'invalid name ".."'),
    (["qemu", "shm:", "--size", "4M"], 'invalid name ""'),
    (["qemu", "x" * 256, "--size", "4M"], "name too long"),
    (["qemu", "file:a", "--size", "4M"], 'invalid path "a": give the absolute path'),
    (["qemu", "file:/a/", "--size", "4M"], 'invalid path "/a/"'),
    (["qemu", "file:/a/..", "--size", "4M"], 'invalid path "/a/.."'),
    (["qemu", "file:/" + "x/" * 2100 + "x", "--size", "4M"], "it is too long"),
    (["qemu", "file:/" + "x" * 256, "--size", "4M"], "path too long"),
    (["qemu", "memfd:", "--size", "4M"], 'a VM cannot open the region "memfd:": only a server'),
    (["qemu", "dir:/tmp", "--size", "4M"], 'a VM cannot open the region "dir:/tmp"'),
    (["qemu", "pci:"], 'invalid address "pci:": this is a device in a guest'),
    (["qemu", "no-such-region-of-a-test"], "does not exist yet: give --size"),
    (["qemu", "demo", "--size", "3M"], 'invalid size "3M": use a power of two'),
    (["qemu", "demo", "--size", "2K"], 'invalid size "2K": use a power of two, at least 4K'),
    (["qemu", "demo", "--size", "0"], 'invalid size "0": use a power of two'),
    (["qemu", "demo", "--size", "64MB"], 'invalid size "64MB": use a power of two with K, M or G'),
    (["libvirt", "demo", "--size", "512K"], 'invalid size "512K": libvirt\'s minimum is 1M'),
    (["qemu", "demo", "--kind", "x"], 'no such kind "x": use plain'),
    (["qemu", "demo", "--role", "x"], 'no such role "x": use master or peer'),
    (["qemu", "demo", "--vectors", "0"], 'invalid number of vectors "0": use 1 to 2048'),
    (["qemu", "demo", "--vectors", "2049"], 'invalid number of vectors "2049"'),
    (["qemu", "demo", "--size", "4M", "--vectors", "2"], 'no server for --vectors of "demo"'),
    (["qemu", "demo", "--size", "4M", "--server", "/s"], 'a plain device has no server "demo"'),
    (["qemu", "unix:/s", "--kind", "plain"], 'a plain device has no server "unix:/s"'),
    (["qemu", "demo", "--size", "4M", "--socket", "/s"], 'unexpected --socket "/s"'),
    (["qemu", "a b", "--kind", "doorbell"], 'a server\'s unit cannot have the name "a b"'),
    (["qemu", "a b", "--kind", "vfio-user", "--size", "4M"],
     'a device\'s unit cannot have the name "a b": give the path of its socket with --socket'),
    (["systemd", "x" * 24, "--kind", "doorbell", "--size", "4M"], "use up to 23 letters"),
    (["systemd", "x" * 17, "--kind", "vfio-user", "--size", "4M"], "use up to 16 letters"),
    (["systemd", "unix:/s", "--size", "4M"], 'invalid address "unix:/s": give the name'),
    (["systemd", "demo", "--kind", "doorbell"], "no size for"),
    (["systemd", "demo", "--kind", "vfio-user", "--size", "4M", "--owner", "me"],
     'unexpected --owner "me"'),
    (["systemd", "demo", "--kind", "vfio-user", "--size", "4M", "--socket", "/s"],
     'unexpected --socket "/s": the unit chooses the socket'),
    (["tmpfiles", "file:/dev/kvmfr0"], 'the kvmfr driver creates the region "/dev/kvmfr0"'),
    (["qemu", "demo", "--kind", "doorbell", "--server", "s"], 'invalid path "s"'),
    (["qemu", "demo", "--kind", "doorbell", "--server", "/" + "s" * 107], "has 108 bytes"),
    (["tmpfiles", "demo", "--owner", "a b"], 'invalid user or group "a b"'),
    (["tmpfiles", "demo", "--group", ""], 'invalid user or group ""'),
    (["tmpfiles", "demo", "--mode", "999"], 'invalid mode "999"'),
    (["qemu", "demo", "--size", "4M", "--id", "1"], 'invalid id "1": use a letter'),
    (["qemu", "demo", "--size", "4M", "--id", "x" * 64], "63 at most"),
    (["qemu", "--size", "4M", "a b", "a_b"], 'two devices have the id "a_b"'),
    (["qemu", "demo", "--size", "4M", "--domain", "a\n"], 'invalid domain "a?"'),
    (["tmpfiles", "demo", "--hotplug"], 'unexpected --hotplug for "tmpfiles"'),
    (["qemu", "--size", "4M", *["demo"] * 65], 'surplus device "demo": give up to 64'),
])
def test_mistakes(arguments, message):
    """A mistake is reported with a way to fix it, and nothing else is printed."""
    done = run("config", *arguments)
    assert done.returncode == 2 and not done.stdout, done
    assert done.stderr.startswith("ivshmem config: ") and message in done.stderr, done.stderr


def test_name_that_begins_with_a_dash():
    """After "--", a word that looks like an option is treated as a name."""
    assert "/dev/shm/-x" in succeed("config", "apparmor", "--", "-x")


def test_full_output_is_an_error():
    """The command fails if its output cannot be written to a pipe or a disk."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([TOOL, "config", "apparmor", "demo"], stdout=full, text=True,
                              stderr=subprocess.PIPE, check=False, timeout=TIMEOUT)
    assert done.returncode == 1 and "cannot write to standard output" in done.stderr
