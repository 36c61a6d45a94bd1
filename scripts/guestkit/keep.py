# SPDX-License-Identifier: BSD-3-Clause
"""What KEEP=1 leaves behind: running guests, the commands to try, and the script that ends it."""

import os
import pathlib
import shlex

#: How long a guest may take until it listens.
READY = 30

_STOP = """#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Ends what KEEP=1 left running and removes what it made. Made by the demo.

# A number alone may meanwhile be another process: its start time must be the same, too.
is_ours() {{
	[ -r "/proc/$1/stat" ] &&
		[ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)" = "$2" ]
}}

end() {{
	is_ours "$1" "$2" || return 0
	kill "$1"
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		is_ours "$1" "$2" || return 0
		sleep 0.2
	done
	kill -9 "$1"
}}

{ends}
rm -f {shm}
rm -rf {directory}
"""


def leave(meeting):
    """Give the server and the guests away; returns lines that say what one can do with them."""
    programs = [peer.program for peer in meeting.result.peers if peer.exit_regex]
    for guest in programs:
        guest.wait_for(r"^peer \d+ through", READY)  # before that a doorbell is lost
    for peer in meeting.result.peers:
        if not peer.exit_regex:
            peer.program.stop()
    programs.append(meeting.server)
    stop = pathlib.Path(meeting.path("stop"))
    stop.write_text(_STOP.format(
        ends="\n".join(f"end {p.pid} {_start_time(p.pid)}  # {p.name}" for p in programs),
        shm=shlex.quote(f"/dev/shm/{meeting.shm}"), directory=shlex.quote(meeting.directory)))
    stop.chmod(0o700)
    for program in programs:
        program.detach()
    return _commands(meeting)


def _commands(meeting):
    client = os.path.abspath(os.path.join(meeting.config.build, "tools/ivshmem-client"))
    client = shlex.join([client, "-S", meeting.socket])
    lines = []
    for number, peer in enumerate(meeting.result.peers):
        if peer.exit_regex:
            lines.append((f"ring vector 1 of {peer.name}:", f"{client} -c 'int {number} 1'"))
    for peer in meeting.result.peers:
        if peer.exit_regex:
            lines.append((f"watch {peer.name}:", f"tail -f {shlex.quote(peer.program.log)}"))
    lines.append(("be a peer yourself:", client))
    lines.append(("watch the server:", f"tail -f {shlex.quote(meeting.server.log)}"))
    lines.append(("stop everything:", shlex.quote(meeting.path("stop"))))
    width = max(len(what) for what, _ in lines)
    return [f"{what:<{width}}  {command}" for what, command in lines]


def _start_time(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(") ")[2].split()[19]
