# SPDX-License-Identifier: BSD-3-Clause
"""The examples in README, as shell scripts that run them as README writes them."""
import re
import shlex

from support.py.paths import SOURCE

#: Before an example. Its user is alice, and may use sudo(8): the root directory has neither.
BEGIN = """
set -e
cd /
mount -t tmpfs own-shm /dev/shm
echo alice:x:4711:4711::/tmp:/bin/sh >> /etc/passwd
echo alice:x:4711: >> /etc/group
printf '#!/bin/sh\\nSUDO_USER=alice exec "$@"\\n' > /usr/local/bin/sudo
chmod +x /usr/local/bin/sudo
wait_until() {
	i=0
	until eval "$1"; do
		i=$((i + 1))
		[ $i -le 200 ] || { echo "not within 20 s: $1"; cat /tmp/log.*; exit 1; }
		sleep 0.1
	done
}
"""

AS_ALICE = "setpriv --reuid alice --regid alice --clear-groups sh -c"


def example(before):
    """Return: [(command, comment)] of the example after a line of README that begins with these
    words."""
    lines = (SOURCE / "README.md").read_text().split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(before) or
              line.endswith(before)) + 1
    while not lines[at].startswith("    "):
        at += 1
    found = []
    while lines[at].startswith("    "):
        command, _, comment = lines[at].strip().partition("  # ")
        found.append((command.rstrip(), comment.strip()))
        at += 1
    return found


def user_script(install, commands, endless):
    """Return: a script that installs, as root, and runs commands as alice, or as root if they begin
    with "sudo". @endless: for commands that do not end by themselves, {beginning of the command:
    shell condition}; once the condition is true, the command is interrupted, and its output is
    printed."""
    script = [BEGIN, install + "\n"]
    for command in commands:
        word = shlex.quote(command)
        until = next((endless[start] for start in endless if command.startswith(start)), None)
        if until:
            script.append(f"{AS_ALICE} {shlex.quote('exec ' + command)} > /tmp/log.1 2>&1 &\n"
                          f"wait_until {shlex.quote(until)}\nkill -INT $!\nwait $! || :\n"
                          "cat /tmp/log.1\n")
        else:
            script.append(f"{'sh -c' if command.startswith('sudo ') else AS_ALICE} {word}\n")
    return "".join(script)


def shell_script(commands, keyboard):
    """Return: a script that runs commands in one shell, as root. After each command that remains in
    the background, it waits until it has printed something. @keyboard: what is typed at the last
    command."""
    script = [BEGIN]
    for number, command in enumerate(commands):
        if command.endswith("&"):
            script.append(f"{{ {command}\n}} > /tmp/log.{number} 2>&1\n"
                          f"pids=\"$pids $!\"\nwait_until '[ -s /tmp/log.{number} ]'\n")
        elif number < len(commands) - 1:
            script.append(command + "\n")
        else:
            script.append(f"printf {shlex.quote(keyboard)} | {command}\n")
    return "".join(script) + "kill $pids 2> /dev/null || :\nwait\ncat /tmp/log.*\n"


def alternative(comment):
    """Return: the command in a comment "or: COMMAND"."""
    return re.fullmatch(r"or: (.*)", comment)[1]
