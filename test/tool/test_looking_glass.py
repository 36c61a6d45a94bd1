# SPDX-License-Identifier: BSD-3-Clause
"""`ivshmem looking-glass WIDTHxHEIGHT`: what it shows, what it notes about the host, and what it
creates. The unit test looking_glass/size.c has the sizes for all modes."""
import grp
import os
import pwd
import shutil
import stat
import subprocess
import xml.etree.ElementTree as ET

import pytest

from support.py.config import TOOL, Pieces, run, shell_words, succeed
from support.py.programs import TIMEOUT

MIB = 1 << 20
#: The owner and group of the test's regions: those of this process, or those of nobody if it runs
#: as root, because a region that root owns causes a note
USER = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
GROUP = grp.getgrgid(USER.pw_gid).gr_name
KVMFR = "/dev/kvmfr0"

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


@pytest.fixture
def root(place):
    """A directory for the files that create the region at boot."""
    made = place.dir / "root"
    made.mkdir()
    return made


@pytest.fixture
def words(place):
    """The command line for the test's region, which belongs to USER."""
    return ["looking-glass", "1920x1080", "--name", place.shm, "--user", USER.pw_name, "--group",
            GROUP]


def make_file(place, size):
    """Create a file in place of the region, with the right owner."""
    place.shm_path.write_bytes(bytes(size))
    os.chown(place.shm_path, USER.pw_uid, USER.pw_gid)


@pytest.mark.parametrize("options, mib", [
    (["3840x2160"], 128), (["3840x2160", "--hdr"], 256), (["3840x2160", "--release", "idd"], 128),
    (["3840x1600", "--release", "idd", "--hdr"], 128), (["1366x768", "--release", "IDD"], 32),
    (["1280x720", "--release", "b7"], 32), (["--hdr", "7680x4320"], 1024)])
def test_size(options, mib):
    """Each piece contains the size for the mode, in the notation of the piece's target."""
    pieces = Pieces("looking-glass", *options, "--name", "no-such-region")
    assert pieces.json["size"] == mib * MIB and pieces.json["region"] == "shm:no-such-region"
    shown = f"{mib}M" if mib < 1024 else "1G"
    assert f"--size {shown} " in pieces.text("shell", "create the region")
    assert shell_words(pieces.text("shell", "In the command"))[1].endswith(f",size={shown}")
    assert ET.fromstring(pieces.text("xml")).find("size").text == str(mib)
    assert f"a region of {shown}\n" in succeed("looking-glass", *options, "--name",
                                               "no-such-region")


def test_order_of_the_steps(place, words):
    """The pieces are printed in the order in which the user needs them."""
    make_file(place, MIB)
    place.shm_path.chmod(0o660)
    pieces = Pieces(*words)
    assert [piece["language"] for piece in pieces.all] == [
        "shell", "shell", "tmpfiles", "shell", "xml", "shell", "shell"]
    begin = [piece["text"].split()[:2] for piece in pieces.all]
    assert begin == [["ivshmem", "resize"], ["ivshmem", "create"], ["f", str(place.shm_path)],
                     ["ivshmem", "looking-glass"], ["<shmem", f"name='{place.shm}'>"],
                     ["-object", begin[5][1]],
                     ["looking-glass-client", "-f"]]
    text = succeed(*words)
    places = [text.index(piece["text"]) for piece in pieces.all]
    assert places == sorted(places)


def test_dry_run_changes_nothing(place, root, words):
    """Nothing is created by default or with --dry-run."""
    for options in ([], ["--dry-run"]):
        succeed(*words, *options, "--root", root)
        assert not place.shm_path.exists() and not list(root.iterdir())


def test_create_command_makes_what_is_shown(place, root, words):
    """The command in the first piece creates the region; after that, there are no notes."""
    command = shell_words(Pieces(*words).text("shell", "create the region"))
    assert command.pop(0) == "ivshmem" and command[-1] == "--boot"
    succeed(*command, "--root", root)
    st = place.shm_path.stat()
    assert st.st_size == 32 * MIB and stat.S_IMODE(st.st_mode) == 0o660
    assert not Pieces(*words).notes


def test_apply(place, root, words):
    """--apply creates the region and the boot files; it reports that on standard error, and prints
    the remaining steps on standard output."""
    done = run(*words, "--apply", "--root", root)
    assert done.returncode == 0, done.stderr
    st = place.shm_path.stat()
    assert st.st_size == 32 * MIB and stat.S_IMODE(st.st_mode) == 0o660
    assert st.st_blocks * 512 == 32 * MIB, "the memory is reserved"
    assert (st.st_uid, st.st_gid) == (USER.pw_uid, USER.pw_gid)
    assert f"{place.shm_path} created: 32M" in done.stderr
    assert "ivshmem create" not in done.stdout and "<shmem" in done.stdout
    files = sorted(path.name for path in root.rglob("*") if path.is_file()
                   and not path.is_symlink())
    assert len(files) == 2 and files[0].endswith(".conf") and files[1].endswith(".service"), files
    again = Pieces(*words, "--apply", "--root", root)
    assert again.json["applied"] is True
    assert [piece["language"] for piece in again.all] == \
        ["shell", "xml", "shell", "shell"]


def test_apply_does_not_change_another_region(place, root, words):
    """A region of a different size is not changed: a message says what differs and how to fix
    it."""
    make_file(place, MIB)
    done = run(*words, "--apply", "--root", root)
    assert done.returncode == 1 and not done.stdout
    assert f"ivshmem resize {place.shm} --size 32M" in done.stderr
    assert place.shm_path.stat().st_size == MIB and not list(root.iterdir())


def test_apply_with_an_unknown_group(place, root, words):
    """If the group does not exist, as may be true of the default, nothing is created, and the
    message names the option. Without --apply a note says so."""
    done = run(*words, "--group", "no-such-group", "--apply", "--root", root)
    assert done.returncode == 2
    assert 'no such group "no-such-group": name the group' in done.stderr
    assert "with --group" in done.stderr and not place.shm_path.exists()
    assert [note["text"] for note in Pieces(*words, "--group", "no-such-group").notes
            if 'no group "no-such-group" on this host' in note["text"]]


def test_existing_region_is_compared(place, words):
    """Differences in size, owner and mode are noted first, and the commands in the notes fix them.
    If nothing differs, there are no notes."""
    make_file(place, MIB)
    place.shm_path.chmod(0o600)
    pieces = Pieces(*words)
    commands = [note["command"] for note in pieces.notes]
    assert commands == [f"ivshmem resize shm:{place.shm} --size 32M",
                        f"chmod 0660 {place.shm_path}"]
    assert [piece["text"].strip() for piece in pieces.all[:2]] == commands
    assert "QEMU would not start" in pieces.all[0]["where"]
    for command in commands:
        first, *others = shell_words(command)
        done = place.run(TOOL if first == "ivshmem" else first, *others)
        assert done.returncode == 0, done.stderr
    assert not Pieces(*words).notes


def test_empty_file_is_noted(place, words):
    """A file that tmpfiles.d has created is empty, so the client cannot map it."""
    make_file(place, 0)
    place.shm_path.chmod(0o660)
    assert any("is empty: the client cannot map it" in note["text"]
               for note in Pieces(*words).notes)


@needs_root
def test_user_is_the_caller_of_sudo():
    """The region is for the user who ran sudo. The client refuses to run as root, and no step
    tells root to run it."""
    for sudo, options, owner, user in (("nobody", [], "nobody", "nobody"),
                                       ("", [], "root", "a user of group kvm"),
                                       ("", ["--group", "root"], "root", "the user to be named"),
                                       ("", ["--user", "nobody"], "nobody", "nobody")):
        pieces = Pieces("looking-glass", "1920x1080", "--name", "no-such-region", *options,
                        env={**os.environ, "SUDO_USER": sudo})
        assert f"--owner {owner} --group " in pieces.text("shell", "create the region")
        assert any("refuses to run as root" in note["text"] for note in pieces.notes) == \
            (owner == "root")
        for step in ("test pattern", "once the VM is running"):
            assert [piece["where"].startswith(f"As {user}") for piece in pieces.all
                    if step in piece["where"]] == [True]


@needs_root
@pytest.mark.parametrize("make, said", [
    (f"echo >{KVMFR}", f"{KVMFR} is a file and not a device"),
    (f"mknod {KVMFR} c 1 3",
     f"{KVMFR} exists: the client opens it unless it is given the option -f"),
    (f"ln -s null {KVMFR}", None),
    (":", None)])
def test_kvmfr_is_noted(make, said):
    """A regular file in place of the driver's device node causes a note, and so does the node
    itself."""
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    script = (f"mount -t tmpfs none /dev && mkdir /dev/shm && {make} && "
              f'exec "$@"')
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", TOOL, "looking-glass",
                           "1920x1080", "--user", "nobody"], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    assert (KVMFR in done.stdout) == bool(said) and (said or "") in done.stdout
    assert (f"rm {KVMFR}" in done.stdout) == (make.startswith("echo"))


@pytest.mark.parametrize("arguments, message", [
    ([], "no resolution: give WIDTHxHEIGHT"),
    (["1920"], 'invalid resolution "1920": give WIDTHxHEIGHT'),
    (["1920X1080"], 'invalid resolution "1920X1080"'),
    (["1920x1080p"], 'invalid resolution "1920x1080p"'),
    (["-1920x1080"], 'invalid resolution "-1920x1080"'),
    (["1920x-1080"], 'invalid resolution "1920x-1080"'),
    (["1920x\x1b"], 'invalid resolution "1920x?"'),
    ([""], 'invalid resolution ""'),
    (["0x1080"], 'the resolution has a side of 0 "0x1080"'),
    (["1920x0"], 'the resolution has a side of 0 "1920x0"'),
    (["16385x1"], 'the resolution is too large "16385x1": each side can have up to 16384 pixels'),
    (["4294967297x1080"], 'the resolution is too large "4294967297x1080": each side'),
    (["18446744073709551617x2"], "each side can have up to 16384 pixels"),
    (["16384x16384"], "it needs a region of 2G or more"),
    (["12288x10816", "--hdr"], "leave out --hdr"),
    (["1920x1080", "1280x720"], 'surplus argument "1280x720": one resolution'),
    (["1920x1080", "--release", "b6"], 'no such release "b6": use b7 or idd'),
    (["1920x1080", "--user", "no-such-user"], 'no such user "no-such-user"'),
    (["1920x1080", "--name", "a/b"], 'invalid name "a/b"'),
    (["1920x1080", "--name", "/a"], 'invalid name "/a": use a name without "/"'),
    (["1920x1080", "--name", "file:a"], 'invalid name "file:a": use a name without "/"'),
    (["1920x1080", "--name", ".."], 'invalid name ".."'),
    (["1920x1080", "--name", "a\n"], 'invalid address "a?"'),
    (["1920x1080", "--name", ""], 'invalid address ""'),
    (["1920x1080", "--group", "a b"], 'invalid user or group "a b"'),
    (["1920x1080", "--root", "/no/such"], 'invalid root "/no/such": use an existing directory'),
    (["1920x1080", "--dry-run", "--apply"], "both --dry-run and --apply"),
])
def test_mistakes(arguments, message):
    """A mistake is reported with a way to fix it, and nothing else is printed or created."""
    done = run("looking-glass", *arguments)
    assert done.returncode == 2 and not done.stdout, done
    assert done.stderr.startswith("ivshmem looking-glass: ") and message in done.stderr, done.stderr
