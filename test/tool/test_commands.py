# SPDX-License-Identifier: BSD-3-Clause
"""The command line of ivshmem: how the command is found, and every command's help."""
import re
import subprocess

import pytest

from support.py.paths import BUILD

TOOL = BUILD / "tools" / "ivshmem"


def run(*arguments):
    """Run ivshmem. Return: the completed process."""
    return subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=20,
                          check=False)


def commands():
    """Return: the names of the commands in the help text."""
    return re.findall(r"^  (\S+) +\S", run("--help").stdout, re.M)


def test_help_has_groups_with_commands():
    """The help text groups the commands, and each command has one line that fits on a terminal."""
    done = run("--help")
    assert done.returncode == 0 and not done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert re.search(r"^[A-Z].*:\n  \S", done.stdout, re.M)


@pytest.mark.parametrize("name", commands())
def test_help_of_a_command(name):
    """Each command's help describes the command, and has an example."""
    done = run(name, "--help")
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith(f"usage: ivshmem {name}")
    assert re.search(r"^Examples?:", done.stdout, re.M)
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", commands())
def test_man_page_of_a_command(name):
    """"man ivshmem-COMMAND" shows a page that describes the command."""
    text = (BUILD / "man" / f"ivshmem-{name}.1").read_text()
    if text.startswith(".so man1/"):
        text = (BUILD / "man" / text.split("\n")[0].split("/")[1]).read_text()
    assert f"ivshmem {name}" in text


@pytest.mark.parametrize("name", commands())
def test_unknown_option(name):
    """An unknown option is a usage error; the message names the option."""
    done = run(name, "--no-such-option")
    assert done.returncode == 2 and not done.stdout
    assert f"ivshmem {name}: " in done.stderr and "--no-such-option" in done.stderr


@pytest.mark.parametrize("arguments, message", [
    ((), "no command"),
    (("no-such-command",), 'no such command "no-such-command"'),
    (("",), 'no such command ""'),
])
def test_mistakes(arguments, message):
    """A missing or unknown command is reported, and the exit status is that of a usage error."""
    done = run(*arguments)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"ivshmem: {message}") and "--help" in done.stderr
