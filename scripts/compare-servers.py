#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measure how hostile, slow and unlucky clients affect a server, and print the results in Markdown.

    scripts/compare-servers.py [--server PATH] [--qemu-server PATH] [--build DIR] [--case NAME]...
                               [--quick] [--json]

Each case is run against ivshmem-server (the one in the build directory, or --server) and against
QEMU's server of the same name, if --qemu-server gives its path (no Debian package contains it).
Without --qemu-server, the output has recorded results of QEMU 7.2's server instead.
docs/comparison.md contains such output. --quick uses smaller numbers. The exit status is 1 if our
server fails a case. The packages that `make check` needs must be installed.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import textwrap

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SOURCE / "test"))

try:
    from support.py import hostile
    from support.py.programs import Place, Server, wait_until
except ModuleNotFoundError as missing:
    sys.exit(f"compare-servers: {missing}: run scripts/install-packages test")

#: Results of this script with the unmodified server of QEMU 7.2.0, also listed in
#: docs/comparison.md.
RECORDED = {
    "connect-and-close": "terminates after 11 connections",
    "silent": "a client gets 278 of 331 messages; a lost one shifts its vector numbers for good",
    "idle-34": "13 ghosts, 2 connected peers missing",
    "idle-1000": "a newcomer's greeting is cut short",
    "out-of-fds": "terminates",
    "crowd": "aborts (SIGABRT)",
    "size": "a region of 1 GiB, without a warning",
    "truncate-sealed": "does not have such regions",
    "truncate-named": "possible: SIGBUS in every VM and process",
    "crimes": "never notices that a client has stopped reading",
    "stopped": "afterwards the client still waits for messages that it was never sent",
    "in-flight": "terminates",
}
LISTENS = 0x10000  # flag of a listening socket in /proc/net/unix


class QemuServer(Server):
    """QEMU's server, which does not report that it is ready. It cannot be probed, because a
    connection would disturb it."""

    def wait_until_it_listens(self):
        wait_until(lambda: self.popen.poll() is not None or self._listens(), "it listens")
        assert self.popen.poll() is None, self.err.text()

    def _listens(self):
        lines = pathlib.Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()
        return any(line.split()[-1] == self.socket and int(line.split()[3], 16) & LISTENS
                   for line in lines)


class QemuPlace(Place):
    """A Place whose servers are QEMU's."""

    ours = False
    server_kind = QemuServer


def servers_end(place):
    """Return: how one of the servers ended ("by signal 6"), or None if all of them are still
    running.
    """
    for server in place.servers():
        try:
            status = server.popen.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
        return f"by signal {-status}" if status < 0 else f"with status {status}"
    return None


def run_case(case, place, quick):
    """Run a case. Return: whether the server passed (None if the case could not be run), and a
    description of what happened."""
    try:
        return True, case.run(place, **case.numbers(quick))
    except hostile.CannotRun as reason:
        return None, f"not run: {reason}"
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        text = textwrap.shorten(text, 90, placeholder=" ...")
        end = servers_end(place)
        return False, f"FAILED: the server ended {end}: {text}" if end else f"FAILED: {text}"
    finally:
        place.close()


def measure(case, options):
    """Run a case against our server and, with --qemu-server, QEMU's. Return: the row of results, a
    dict."""
    ours = Place(options.build)
    ours.server_program = options.server or ours.server_program
    holds, seen = run_case(case, ours, options.quick)
    row = {"case": case.name, "title": case.title.format(**case.numbers(options.quick)),
           "holds": holds, "ours": seen, "qemu": RECORDED.get(case.name, "not recorded"),
           "qemu_holds": None}
    if options.qemu_server:
        place = QemuPlace(options.build)
        place.server_program = options.qemu_server
        row["qemu_holds"], row["qemu"] = run_case(case, place, options.quick)
    return row


def markdown(rows, qemu):
    """Return: the rows as a list in Markdown. @qemu: a phrase that says how the results of QEMU's
    server were obtained."""
    lines = [f"QEMU's server ({qemu}) and ours (measured now):", ""]
    for row in rows:
        lines += [f"- **{row['title']}**", f"  - QEMU's: {row['qemu']}", f"  - ours: {row['ours']}"]
    return "\n".join(lines)


def existing(path):
    """Return: the absolute path of a program, which must exist; the path works from any
    directory."""
    found = pathlib.Path(path).resolve()
    if not found.is_file():
        raise argparse.ArgumentTypeError(f"{path} does not exist")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", type=existing, help="ours (BUILD/tools/ivshmem-server)")
    parser.add_argument("--qemu-server", type=existing, help="QEMU's, to measure it too")
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build",
                        help="the build directory (build)")
    names = [case.name for case in hostile.CASES]
    parser.add_argument("--case", action="append", choices=names, metavar="NAME",
                        help="run only this case; may be given several times: " + ", ".join(names))
    parser.add_argument("--quick", action="store_true", help="use smaller numbers")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if not options.server:
        try:
            existing(options.build / "tools" / "ivshmem-server")
        except argparse.ArgumentTypeError as error:
            parser.error(f"{error}: run make, or use --build or --server")
    rows = [measure(case, options) for case in hostile.CASES
            if not options.case or case.name in options.case]
    if options.json:
        print(json.dumps({"quick": options.quick, "recorded": not options.qemu_server,
                          "rows": rows}, indent=2))
    else:
        qemu = "measured now" if options.qemu_server else "recorded: QEMU 7.2"
        print(markdown(rows, qemu))
    return 1 if any(row["holds"] is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
