# SPDX-License-Identifier: BSD-3-Clause
"""Bash completion for ivshmem."""
import os
import subprocess

import pytest

from support.py.paths import BUILD, SOURCE

COMPLETION = SOURCE / "packaging" / "completion" / "ivshmem"


def complete(*words):
    """Return: the completions of the last word of "ivshmem WORD..."."""
    script = """source "$0"; COMP_WORDS=(ivshmem "$@"); COMP_CWORD=$#; _ivshmem
        printf '%s\\n' "${COMPREPLY[@]}" """
    done = subprocess.run(["bash", "--norc", "-c", script, COMPLETION, *words], text=True,
                          capture_output=True, timeout=20, check=True,
                          env={**os.environ, "PATH": f"{BUILD / 'tools'}:{os.environ['PATH']}"})
    assert not done.stderr
    return set(done.stdout.split("\n")) - {""}


def test_commands():
    """The first word is a command or a general option."""
    assert complete("cr") == {"create"} and complete("res") == {"resize", "restore"}
    assert complete("--") == {"--help", "--version"}
    assert {"create", "list", "config", "looking-glass", "get", "wait"} <= complete("")


@pytest.mark.parametrize("words, expected", [
    (("create", "x", "--si"), {"--size"}), (("wait", "x", "--t"), {"--timeout"}),
    (("pipe", "x", "y", "--li"), {"--listen"}), (("recv", "x", "y", "--c"), {"--count"}),
    (("config", "lib"), {"libvirt"}), (("looking-glass", "te"), {"test"}),
    (("forward", "pci:", "--li"), {"--listen"}), (("forward", "x", "--listen", "u"), {"unix:"}),
    (("attach", "--qm"), {"--qmp"}), (("detach", "--no"), {"--no-rings"}),
    (("doctor", "--explain", "region-si"), {"region-size"}),
    (("top", "--js"), {"--json"}), (("top", "--sort", "b"), {"behind"}),
    (("create", "x", "--owner", "roo"), {"root"}), (("create", "x", "--group", "roo"), {"root"}),
])
def test_options(words, expected):
    """Options are taken from the command's help; the values of some options are completed, too."""
    assert complete(*words) == expected


@pytest.mark.parametrize("words", [("get",), ("forward",), ("pipe",), ("remove",),
                                   ("config", "qemu"), ("list",), ("save",), ("restore", "file"),
                                   ("attach", "--region")])
def test_names_of_regions(place, words):
    """A region's name is completed, and quoted if it contains a blank."""
    path = place.shm_path.with_name(place.shm + " a")
    path.write_bytes(b"")
    try:
        assert complete(*words, place.shm) == {place.shm + "\\ a"}
    finally:
        path.unlink()
