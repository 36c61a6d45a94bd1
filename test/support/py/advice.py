# SPDX-License-Identifier: BSD-3-Clause
"""Do what a message advises. A test makes a state, reads the message, runs the command that the
message prints, and sees that it helps."""
import os
import re
import shutil
import subprocess


def command_in(text, pattern):
    """The command in a message: the first group of @pattern, which the message must match."""
    found = re.search(pattern, text)
    assert found, f"no {pattern!r} in {text!r}"
    return found[1]


def do(text, pattern, user=None):
    """Run the command that a message contains, as root or as @user."""
    command = command_in(text, pattern)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20,
                          check=False, user=user, group=user, extra_groups=[] if user else None)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def copy_for_users(place, program):
    """Copy a program to where every user can execute it. Return: its path."""
    place.dir.chmod(0o777)
    copy = place.dir / os.path.basename(program)
    return copy if copy.exists() else shutil.copy(program, place.dir)


def run_as(place, user, program, *words):
    """Run a program as a user until it exits. Return: (status, standard error)."""
    process = place.start(copy_for_users(place, program), *words, user=user)
    return process.wait(), process.err.text()
