# SPDX-License-Identifier: BSD-3-Clause
"""The examples in docs/coming-from.md, as written, and the options that the page mentions.

Each section's example runs in its own mount, network and process namespaces. A process of the host
stands in for the guest: "pci:" is replaced with the address of the server."""
import os
import re
import shlex
import subprocess

import pytest

from support.py.paths import BUILD, SOURCE

PAGE = (SOURCE / "docs" / "coming-from.md").read_text(encoding="utf-8")
SERVER = "/run/demo.sock"
PROGRAMS = ("ivshmem", "ivshmem-server", "ivshmem-device", "ivshmem-client")

#: Section -> texts that the commands of its example print
PRINTED = {
    "Coming from another program": ["ivshmem-doorbell"],
    "QEMU's ivshmem-server": ["listening at"],
    "Looking Glass": ["shm:looking-glass   64M  alice  kvm    0660"],
    "kvmfr": ['OWNER="alice"', "<size unit='M'>64</size>"],
    "uio_ivshmem": ["vector 0", "OPERATION"],
    "ACRN": ["mem-path=/dev/shm/shm_region_0,size=2M"],
    "DPDK's ivshmem library": ["queue: received: a message"],
    "Cloud Hypervisor": ["0        2", "1        2"],
    "Proxmox VE": ["mem-path=/dev/shm/shared,size=32M", "ivshmem-doorbell"],
    "KubeVirt": ["vfio-user-pci"],
    "Jailhouse": ["ready"],
    "Zephyr": ["vector 0", "hello world"],
    "Xen vchan": ["hello from the guest"],
    "memif": ["first", "second"],
    "vsock": ["Directory listing"],
}

#: Begins the script of an example. Commands that stay in the background print to log.N; a command
#: in the foreground is repeated while what it needs is not ready, but not after a usage error.
BEGIN = """
set -e
ip link set lo up
mount -t tmpfs own-shm /dev/shm
mount -t tmpfs own-run /run
cp /etc/passwd /etc/group .
echo alice:x:4711:4711::/tmp:/bin/sh >> passwd
echo kvm:x:4712: >> group
mount --bind passwd /etc/passwd
mount --bind group /etc/group
printf '#!/bin/sh\\nexec "$@"\\n' > sudo
chmod +x sudo
PATH=$PWD:$PATH
wait_until() {
	i=0
	until eval "$1"; do
		i=$((i + 1))
		[ $i -le 200 ] || { echo "not within 20 s: $1"; tail log.* >&2; exit 1; }
		sleep 0.1
	done
}
done_well() {
	sh -c "$1" > output 2>&1 && return
	[ $? -ne 2 ] || { cat output; exit 2; }
	false
}
"""


def examples():
    """Return: {section: [line]} of the fenced blocks of the page."""
    found, section, inside = {}, None, False
    for line in PAGE.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside:
            found.setdefault(section, []).append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
            found.setdefault(section, [])
    return found


def commands(section):
    """Return: [command] of a section's example. It uses the page's server, unless it starts one."""
    lines = [re.fullmatch(r"(?:host\$|guest#) (.*)", line)[1] for line in examples()[section]]
    others = [line for line in lines if not line.startswith(f"ivshmem-server -F -S {SERVER} ")]
    if lines == others and any(SERVER in line for line in lines):
        lines.insert(0, examples()["Coming from another program"][0].partition(" ")[2])
    return lines


def printed(section):
    """Return: a shell condition: the commands of a section have printed what they should."""
    return " && ".join(f"cat log.* | grep -qF {shlex.quote(text)}" for text in PRINTED[section])


def script(section, directory):
    """Return: a shell script that runs a section's example."""
    lines = commands(section)
    own = next((re.search(r"-S (\S+)", line)[1] for line in lines if "ivshmem-server" in line), "")
    own = own.replace("/tmp/", f"{directory}/")
    text = [BEGIN]
    for number, line in enumerate(lines):
        line = line.replace("/tmp/", f"{directory}/").replace("pci:", f"unix:{own}")
        line = line.replace("--apply", f"--apply --root {directory}")
        if line.endswith(" &"):
            text.append(f"sh -c {shlex.quote('exec ' * ('|' not in line) + line[:-2])} "
                        f"> log.{number} 2>&1 &\n")
            if line.startswith("ivshmem-server"):
                text.append(f"wait_until '[ -S {own} ]'\n")
            elif line.startswith("ivshmem wait"):  # prints its id, which the next command needs
                text.append(f"wait_until '[ -s log.{number} ]'\n")
        else:
            condition = f"done_well {shlex.quote(line)} && mv output log.{number}"
            if line.startswith("ivshmem peers"):  # the peers may join later
                condition += f" && {printed(section)}"
            text.append(f"wait_until {shlex.quote(condition)}\n")
    text.append(f"wait_until {shlex.quote(printed(section))}\n")
    return "".join(text) + "cat log.*\n"


def test_every_section_is_listed():
    """Each section has an example, which this test runs."""
    found = examples()
    assert list(found) == list(PRINTED)
    assert all(found.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount file systems")
@pytest.mark.parametrize("section", PRINTED)
def test_example(place, section):
    """The example runs as written, and prints what it should."""
    path = f"{BUILD / 'tools'}:{BUILD / 'examples'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh",
         "-c", script(section, place.dir)], cwd=place.dir, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=120, check=False, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    for text in PRINTED[section]:
        assert text in done.stdout, done.stdout


def words_of(text):
    """Return: [[word]] of the commands of this project in a line of shell, or in inline code."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    found = [[]]
    for word in lexer:
        if re.fullmatch(r"[|&;()]+", word):
            found.append([])
        elif word != "sudo":
            found[-1].append(word)
    return [words for words in found if words and words[0] in PROGRAMS]


def mentioned():
    """Return: [[word]] of all commands in the page's examples and in its inline code."""
    texts = [line.split(" ", 1)[1] for lines in examples().values() for line in lines]
    prose = re.sub(r"^```$.*?^```$", "", PAGE, flags=re.S | re.M)
    texts += re.findall(r"`([^`\n]+)`", prose)
    return [words for text in texts for words in words_of(text)]


COMMANDS = sorted({tuple(words) for words in mentioned()})


def test_commands_are_found():
    """The page mentions commands, in examples and in its text."""
    assert ("ivshmem", "create", "--backend", "hugetlb") in COMMANDS
    assert ("ivshmem-device", "--server") in COMMANDS
    assert ("ivshmem", "pipe", "pci:", "bytes") in COMMANDS
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_options_exist(words):
    """Each option of a command that the page mentions is in the help of this command."""
    base = words[:2] if words[0] == "ivshmem" and len(words) > 1 else words[:1]
    if base[1:] == ("looking-glass",) and "test" in words:
        base = (*base, "test")
    done = subprocess.run([BUILD / "tools" / base[0], *base[1:], "--help"], capture_output=True,
                          text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    for word in words[len(base):]:
        if re.match(r"--?[A-Za-z]", word):
            option = word.partition("=")[0]
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", done.stdout), option


def test_functions_exist():
    """Each function that the page mentions is part of the library."""
    exported = (SOURCE / "src" / "libivshmem.map").read_text(encoding="utf-8")
    functions = re.findall(r"`(ivs_\w+)\(\)`", PAGE)
    assert len(functions) > 5
    for function in functions:
        assert f"\t{function};" in exported, function
