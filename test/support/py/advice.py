# SPDX-License-Identifier: BSD-3-Clause
"""Follow the advice in a message. A test causes an error, reads the message, runs the command that
the message contains, and checks that the command helps."""
import os
import re
import shutil
import subprocess


def command_in(text, pattern):
    """Return: the command in a message, as matched by the first group of @pattern."""
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
    """Copy a program to a place where every user can execute it. Return: the path of the copy."""
    place.dir.chmod(0o777)
    copy = place.dir / os.path.basename(program)
    return copy if copy.exists() else shutil.copy(program, place.dir)


def run_as(place, user, program, *words):
    """Run a program as a user until it exits. Return: (status, standard error)."""
    process = place.start(copy_for_users(place, program), *words, user=user)
    return process.wait(), process.err.text()
