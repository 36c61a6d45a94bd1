#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Search all states of roster.pml, and check that the search finds planted errors. Prints TAP.

    model/check.py [--slow] [--memory MIB] [--list] [NAME...]

Each NAME is a run that --list shows. Without a NAME, all runs are performed except those marked
slow or huge; with --slow, those marked slow are performed instead. README.md explains the runs.
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
SMALL = "PEERS=3 IDS=4 MAY_REFUSE "

PROOFS = [
    Run("all", "3 peers of 2 vectors, 4 ids", "PEERS=3 IDS=4 VECTORS=2 MAY_REFUSE"),
    Run("many-ids", "3 peers of 2 vectors, 6 ids, up to 5 joins before the server is empty again",
        "PEERS=3 IDS=6 VECTORS=2 GREETING=1 JOINS=5"),
    Run("silent", "3 peers of 0 or 1 vectors, 3 ids",
        "PEERS=3 IDS=3 VECTORS=1 SILENT MAY_REFUSE"),
    Run("never-refused", "2 peers, 3 ids: no client is refused for lack of an id",
        "PEERS=2 IDS=3 VECTORS=2"),
    Run("live", "3 peers of 2 vectors, 3 ids: a client that reads receives everything eventually",
        "PEERS=3 IDS=3 VECTORS=2 GREETING=1 MAY_REFUSE LIVE"),
    Run("five-ids", "3 peers of 1 vector, 5 ids", "PEERS=3 IDS=5 VECTORS=1 MAY_REFUSE",
        size="slow"),
    Run("silent-4", "3 peers of 0 or 1 vectors, 4 ids",
        "PEERS=3 IDS=4 VECTORS=1 SILENT MAY_REFUSE", size="slow"),
    Run("live-4", "3 peers of 1 vector, 4 ids: a client that reads receives everything eventually",
        "PEERS=3 IDS=4 VECTORS=1 GREETING=1 MAY_REFUSE LIVE", size="slow"),
    Run("never-refused-3", "3 peers, 6 ids: no client is refused for lack of an id",
        "PEERS=3 IDS=6 VECTORS=1 GREETING=1", size="huge"),
]

BREAKS = [
    Run("too-few-ids-2", "2 peers, 2 ids: a client is refused", "PEERS=2 IDS=2", "R_ids_suffice"),
    Run("too-few-ids-3", "3 peers, 5 ids: a client is refused",
        "PEERS=3 IDS=5 VECTORS=1 GREETING=1", "R_ids_suffice"),
    Run("bug-1", "an id is assigned and announced again once every client has received the leave",
        SMALL + "BUG=1", "R_no_second_owner"),
    Run("bug-2", "a leave in the middle of a peer's vectors is lost",
        SMALL + "BUG=2", "R_all_announced"),
    Run("bug-3", "a client is visible before its greeting was sent", SMALL + "BUG=3", "R_public"),
    Run("bug-4", "an id is assigned again immediately", SMALL + "BUG=4", "R_leave_before_return"),
    Run("bug-4b", "the same, found by another rule", SMALL + "BUG=4", "R_id_not_believed"),
    Run("bug-5", "ids that a client had heard of stay reserved after it has left", SMALL + "BUG=5",
        "R_first_id_is_0"),
    Run("bug-6", "joins are sent before leaves", SMALL + "BUG=6", "R_leaves_before_joins"),
    Run("bug-7", "a client's own vectors are sent first", SMALL + "BUG=7", "R_own_vectors_last"),
    Run("bug-8", "leaves are sent in the middle of another peer's vectors", SMALL + "BUG=8",
        "R_nothing_between"),
    Run("bug-9", "the search for joins does not wrap around at the last id", SMALL + "BUG=9",
        "R_something_to_send"),
    Run("bug-10", "when ids are used up, clients that have heard of an id receive its new owner",
        SMALL + "BUG=10", "R_no_second_owner"),
    Run("bug-11", "peers without vectors are visible", SMALL + "SILENT BUG=11", "R_public"),
    Run("bug-12", "the lowest id that no client knows now is assigned, even if heard",
        SMALL + "BUG=12", "R_lowest_unseen_id"),
    Run("bug-13", "a leave does not wake the clients that must receive it",
        "PEERS=3 IDS=3 GREETING=1 MAY_REFUSE LIVE BUG=13", "acceptance cycle"),
    Run("bug-14", "joins are sent in the middle of the greeting", SMALL + "BUG=14",
        "R_greeted_first"),
    Run("bug-15", "the position in a peer's vectors is kept after the peer has left",
        SMALL + "BUG=15", "R_vector_order"),
    Run("bug-16", "a leave is sent again and again", SMALL + "BUG=16", "R_leave_of_known"),
    Run("bug-17", "every client is refused when ids are used up", SMALL + "BUG=17",
        "R_refused_only_full"),
    Run("bug-18", "when ids are used up, the lowest id that no client knows now is assigned",
        SMALL + "BUG=18", "R_fewest_seen"),
]

REACHES = [
    Run("reach-1", "an id gets a second owner that can be announced to all", SMALL + "REACH=1",
        "REACHED"),
    Run("reach-2", "ids are used up, so a client gets an id that others have seen",
        SMALL + "REACH=2", "REACHED"),
    Run("reach-3", "a peer leaves in the middle of its vectors", SMALL + "REACH=3", "REACHED"),
    Run("reach-4", "a client is refused", SMALL + "REACH=4", "REACHED"),
    Run("reach-5", "a new owner is not announced to a client that has seen the old one",
        SMALL + "REACH=5", "REACHED"),
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
    command(["gcc", "-w", "-O0" if run.rule else "-O2", f"-DMEMLIM={memory}",
             *(LIVE if live else SEARCH), "-o", "pan", "pan.c"], directory, "gcc")
    depth = 4000000 if run.size == "huge" else 1500000
    return command(["./pan", f"-m{depth}", "-w22" if run.rule else "-w24", "-n",
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
