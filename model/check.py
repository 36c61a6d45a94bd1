#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Search all states of roster.pml, and check that the search finds planted errors. Prints TAP.

    model/check.py [--slow] [--memory MIB] [--list] [NAME...]

Each NAME is a run that --list shows. Without a NAME, all runs are performed except those marked
slow; with --slow, those marked slow are performed instead. README.md explains the runs.
"""
import argparse
import dataclasses
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

MODEL = pathlib.Path(__file__).resolve().with_name("roster.pml")
MEMORY_MIB = 2000
SECONDS_MAX = 900
SEARCH = ["-DSAFETY", "-DNOREDUCE", "-DNOFAIR"]
LIVE = ["-DNOREDUCE", "-DNOFAIR"]


@dataclasses.dataclass
class Run:
    """One search. rule: the rule whose violation it must find, or None if it must find no
    violation."""
    name: str
    what: str
    defines: str
    rule: str = None
    size: str = ""


#: Defines with enough peers and ids for the runs that must find an error
SMALL = "PEERS=3 IDS=4 "

PROOFS = [
    Run("all", "3 peers of 2 vectors, 3 ids; joins in the order of the cursor",
        "PEERS=3 IDS=3 VECTORS=2 CURSOR"),
    Run("four-ids", "3 peers of 1 vector, 4 ids", "PEERS=3 IDS=4 VECTORS=1 GREETING=1"),
    Run("none-quiet", "3 peers of 2 vectors, none of them quiet, 4 ids",
        "PEERS=3 IDS=4 VECTORS=2 NONE_QUIET"),
    Run("all-quiet", "3 peers of 2 vectors, all of them quiet, 4 ids",
        "PEERS=3 IDS=4 VECTORS=2 GREETING=1 ALL_QUIET"),
    Run("many-ids", "3 peers of 1 vector, 6 ids, up to 5 joins before the server is empty again",
        "PEERS=3 IDS=6 VECTORS=1 GREETING=1 JOINS=5"),
    Run("silent", "3 peers of 0 or 1 vectors, 3 ids", "PEERS=3 IDS=3 VECTORS=1 SILENT"),
    Run("live", "3 peers of 1 vector, 3 ids: a client that reads receives everything eventually",
        "PEERS=3 IDS=3 VECTORS=1 GREETING=1 LIVE"),
    Run("live-cursor", "the same, with joins in the order of the cursor, for 2 peers of 2 vectors",
        "PEERS=2 IDS=3 VECTORS=2 GREETING=1 LIVE CURSOR"),
    Run("all-4", "3 peers of 2 vectors, 4 ids", "PEERS=3 IDS=4 VECTORS=2 GREETING=1",
        size="slow"),
    Run("cursor-4", "3 peers of 1 vector, 4 ids; joins in the order of the cursor",
        "PEERS=3 IDS=4 VECTORS=1 GREETING=1 CURSOR", size="slow"),
    Run("silent-4", "3 peers of 0 or 1 vectors, 4 ids",
        "PEERS=3 IDS=4 VECTORS=1 GREETING=1 SILENT", size="slow"),
    Run("live-2", "3 peers of 2 vectors, 3 ids: a client that reads receives everything eventually",
        "PEERS=3 IDS=3 VECTORS=2 GREETING=1 LIVE", size="slow"),
    Run("four-peers", "4 peers of 1 vector, 4 ids, up to 5 joins before the server is empty again",
        "PEERS=4 IDS=4 VECTORS=1 GREETING=1 JOINS=5", size="slow"),
]

BREAKS = [
    Run("bug-1", "a quiet client is sent leaves", SMALL + "BUG=1", "R_quiet"),
    Run("bug-2", "a leave in the middle of a peer's vectors is lost",
        SMALL + "BUG=2", "R_all_announced"),
    Run("bug-3", "a client is visible before its greeting was sent", SMALL + "BUG=3", "R_public"),
    Run("bug-4", "the next owner of a known id replaces the previous one without a leave",
        SMALL + "BUG=4", "R_leave_before_return"),
    Run("bug-4b", "the same, found by another rule", SMALL + "BUG=4", "R_all_announced"),
    Run("bug-5", "a seat stays vacant after the last quiet client that knew it has left",
        SMALL + "BUG=5", "R_seat_is_needed"),
    Run("bug-5b", "the same, found by another rule", SMALL + "BUG=5", "R_first_id_is_0"),
    Run("bug-6", "joins are sent before leaves", SMALL + "BUG=6", "R_leaves_before_joins"),
    Run("bug-7", "a client's own vectors are sent first", SMALL + "BUG=7", "R_own_vectors_last"),
    Run("bug-8", "leaves are sent in the middle of another peer's vectors", SMALL + "BUG=8",
        "R_nothing_between"),
    Run("bug-9", "the search for joins does not wrap around at the last id",
        SMALL + "CURSOR BUG=9", "R_something_to_send"),
    Run("bug-10", "a quiet client forgets a seat that was given up", SMALL + "BUG=10",
        "R_one_seat"),
    Run("bug-11", "peers without vectors are visible", SMALL + "SILENT BUG=11", "R_public"),
    Run("bug-12", "the lowest id without a seat is assigned, even if it is known",
        SMALL + "BUG=12", "R_lowest_unknown_id"),
    Run("bug-13", "a leave does not wake the clients that must receive it",
        "PEERS=3 IDS=3 GREETING=1 LIVE BUG=13", "acceptance cycle"),
    Run("bug-14", "joins are sent in the middle of the greeting", SMALL + "BUG=14",
        "R_greeted_first"),
    Run("bug-15", "the position in a peer's vectors is kept after the peer's leave was sent",
        SMALL + "BUG=15", "R_vector_order"),
    Run("bug-16", "a leave is sent again and again", SMALL + "BUG=16", "R_leave_of_known"),
    Run("bug-17", "every client is refused when all ids are known", SMALL + "BUG=17",
        "R_refused_only_full"),
    Run("bug-18", "when all ids are known, the lowest one without a seat is assigned",
        SMALL + "BUG=18", "R_fewest_know"),
    Run("bug-19", "the position in a seat's vectors is kept after the seat was given up",
        SMALL + "BUG=19", "R_one_seat"),
    Run("bug-20", "a quiet client is not sent the rest of a vacant seat", SMALL + "BUG=20",
        "R_all_announced"),
    Run("bug-21", "a seat that a quiet client knows is given up at once", SMALL + "BUG=21",
        "R_seat_stays"),
    Run("bug-22", "when all ids are known, a vacant seat's id is assigned with other eventfds",
        SMALL + "BUG=22", "R_id_is_free"),
    Run("bug-23", "a quiet client is sent the vectors of a seat's next owner", SMALL + "BUG=23",
        "R_vector_order"),
    Run("bug-24", "an id stays outdated after the leave was sent", SMALL + "BUG=24",
        "R_something_to_send"),
    Run("bug-24b", "the same, found by another rule", SMALL + "BUG=24", "R_leave_of_gone"),
    Run("bug-25", "a seat can be taken after it was given up", SMALL + "BUG=25",
        "R_seat_is_vacant"),
    Run("bug-26", "the leave of a partly announced peer is sent after leaves of lower ids",
        SMALL + "BUG=26", "R_nothing_between"),
    Run("bug-27", "a vacant seat stays visible", SMALL + "BUG=27", "R_public"),
    Run("bug-28", "a client that takes a seat is told only what the previous client was not",
        SMALL + "BUG=28", "R_all_announced"),
    Run("bug-29", "the greeting is sent in another order", SMALL + "BUG=29", "R_greeting_order"),
    Run("bug-30", "a seat is kept although quiet clients have other eventfds for its id",
        SMALL + "BUG=30", "R_seat_is_whole"),
]

REACHES = [
    Run("reach-1", "a vacant seat is taken", SMALL + "REACH=1", "REACHED"),
    Run("reach-2", "all ids are known, so a client gets an id that others know",
        SMALL + "REACH=2", "REACHED"),
    Run("reach-3", "a peer leaves in the middle of its vectors", SMALL + "REACH=3", "REACHED"),
    Run("reach-4", "a client is refused", "PEERS=3 IDS=3 VECTORS=1 GREETING=1 REACH=4", "REACHED"),
    Run("reach-5", "an id's next owner is not announced to a quiet client that knows the id",
        SMALL + "REACH=5", "REACHED"),
    Run("reach-6", "a quiet client is sent the rest of a vacant seat", SMALL + "REACH=6",
        "REACHED"),
    Run("reach-7", "a quiet client is sent the rest of a seat whose next owner is not visible yet",
        SMALL + "REACH=7", "REACHED"),
    Run("reach-8", "a partly announced peer's leave is sent when the id's next owner is visible",
        SMALL + "REACH=8", "REACHED"),
    Run("reach-9", "a seat is not kept, as quiet clients that know its id have other eventfds",
        SMALL + "REACH=9", "REACHED"),
]

RUNS = PROOFS + BREAKS + REACHES


class Broken(Exception):
    """Raised if a search could not be run."""


def command(args, directory, what):
    try:
        done = subprocess.run(args, cwd=directory, capture_output=True, text=True,
                              timeout=SECONDS_MAX, check=False)
    except OSError as error:
        raise Broken(f"{args[0]}: {error.strerror}: run scripts/install-packages test") from error
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{what} took more than {SECONDS_MAX} s") from error
    if done.returncode:
        raise Broken(f"{what}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def source_for(run):
    """Return: the model's source. If the run must find an error, all other rules are ignored."""
    text = MODEL.read_text(encoding="utf-8")
    if run.rule and run.rule.startswith("R"):
        if f"RULE({run.rule}," not in text:
            raise Broken(f"{MODEL.name}: rule {run.rule} does not exist")
        text = re.sub(rf"\bRULE\((?!{run.rule},|name,)", "IGNORED(", text)
    return text


def search(run, memory, directory):
    """Run a search, with @memory MiB at most. Return: the output of the search."""
    live = "LIVE" in run.defines.split()
    (directory / MODEL.name).write_text(source_for(run), encoding="utf-8")
    command(["spin", *(f"-D{word}" for word in run.defines.split()), "-a", MODEL.name], directory,
            "spin")
    command(["gcc", "-w", "-O2" if run.size else "-O0" if run.rule else "-O1", f"-DMEMLIM={memory}",
             *(LIVE if live else SEARCH), "-o", "pan", "pan.c"], directory, "gcc")
    depth = 4000000 if run.size else 600000 if run.rule else 1500000
    return command(["./pan", f"-m{depth}", "-w18" if run.rule else "-w22", "-n",
                    *(["-a"] if live else [])], directory, "pan")


def judge(run, output):
    """Return: (whether the output of a search is as the run expects, a summary of the output)."""
    states = re.search(r"(\S+) states, stored", output)
    errors = re.search(r"errors: (\d+)", output)
    found = re.search(r"pan:\d+: (?:assertion violated )?([^(\n]+?) *\(at depth (\d+)", output)
    if not states or not errors:
        raise Broken(f"pan ended early\n{output}")
    for bad in ("max search depth too small", "out of memory", "reached -DMEMLIM bound"):
        if bad in output:
            raise Broken(f"pan: {bad}\n{output}")
    count = f"{int(float(states.group(1)))} states"
    if found:
        count += f", {found.group(1)} at depth {found.group(2)}"
    if run.rule:
        return bool(found) and found.group(1) == run.rule, count
    complete = "Search not completed" not in output and "Full statespace search" in output
    return complete and errors.group(1) == "0" and not found, count


def test(run, memory):
    """Run a search. Return: (whether its output is as expected, a summary or an error)."""
    with tempfile.TemporaryDirectory(prefix="ivshmem-model-") as directory:
        try:
            good, count = judge(run, search(run, memory, pathlib.Path(directory)))
            want = f"expected {run.rule}" if run.rule else "expected no error"
            return good, count if good else f"{count}; {want}: see {MODEL.parent.name}/README.md"
        except Broken as error:
            return False, str(error)


def chosen(args):
    if not args.name:
        return [run for run in RUNS if run.size == ("slow" if args.slow else "")]
    by_name = {run.name: run for run in RUNS}
    for name in args.name:
        if name not in by_name:
            sys.exit(f"check.py: unknown run \"{name}\": --list shows all")
    return [by_name[name] for name in args.name]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--slow", action="store_true", help="run the long searches instead")
    parser.add_argument("--memory", type=int, default=MEMORY_MIB, help="MiB per search")
    parser.add_argument("--list", action="store_true", help="list all runs")
    parser.add_argument("name", nargs="*")
    args = parser.parse_args()
    if args.list:
        for run in RUNS:
            print(f"{run.name:16} {run.size or '-':5} {run.what}\n{'':22} {run.defines}")
        return 0
    runs = chosen(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that pan is killed
    print(f"1..{len(runs)}", flush=True)
    failed = False
    for number, run in enumerate(runs, 1):
        began = time.monotonic()
        good, found = test(run, args.memory)
        first, *rest = found.split("\n")
        failed = failed or not good
        print(f"{'ok' if good else 'not ok'} {number} - {run.name}: {run.what}: {first}, "
              f"{time.monotonic() - began:.1f} s")
        print("".join(f"# {line}\n" for line in rest), end="", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
