#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Search all states of a model, and check that the search finds planted errors. Prints TAP.

    model/check.py [--model MODEL] [--slow] [--memory MIB] [--list] [NAME...]

MODEL is roster (the default) or lane. Each NAME is a run that --list shows. Without a NAME, all
runs of the model are performed except those marked slow; with --slow, those marked slow are
performed instead. README.md explains the runs.
"""
import argparse
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import runs  # pylint: disable=wrong-import-position

FOLDER = pathlib.Path(__file__).resolve().parent
MEMORY_MIB = 2000
SECONDS_MAX = 900


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


def source_for(model, run):
    """Return: the model's source. If the run must find an error, all other rules are ignored."""
    text = (FOLDER / f"{model}.pml").read_text(encoding="utf-8")
    if run.rule and run.rule.startswith("R"):
        if f"RULE({run.rule}," not in text:
            raise Broken(f"{model}.pml: rule {run.rule} does not exist")
        text = re.sub(rf"\bRULE\((?!{run.rule},|name,)", "IGNORED(", text)
    elif run.rule == runs.ASLEEP:
        text = re.sub(r"\bRULE\((?!name,)", "IGNORED(", text)
    return text


def flags(run):
    """Return: the options of the search, for gcc and for the program that it makes."""
    build, search_for = ["-DNOREDUCE"], []
    # The default, 2, is for at most 6 processes.
    build += ["-DNFAIR=3"] if run.fair else ["-DNOFAIR"]
    if "LIVE" in run.defines.split():
        search_for += ["-a", "-f"] if run.fair else ["-a"]
    else:
        build += ["-DSAFETY"]
    if run.rule and run.rule.startswith("R"):
        search_for += ["-E"]  # do not report peers that wait for each other
    return build, search_for


def search(model, run, memory, directory):
    """Run a search, with @memory MiB at most. Return: the output of the search."""
    build, search_for = flags(run)
    source = f"{model}.pml"
    (directory / source).write_text(source_for(model, run), encoding="utf-8")
    command(["spin", *(f"-D{word}" for word in run.defines.split()), "-a", source], directory,
            "spin")
    command(["gcc", "-w", "-O2" if run.size else "-O0" if run.rule else "-O1", f"-DMEMLIM={memory}",
             *build, "-o", "pan", "pan.c"], directory, "gcc")
    depth = 4000000 if run.size else 600000 if run.rule else 1500000
    return command(["./pan", f"-m{depth}", "-w18" if run.rule else "-w22", "-n", *search_for],
                   directory, "pan")


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


def test(model, run, memory):
    """Run a search. Return: (whether its output is as expected, a summary or an error)."""
    with tempfile.TemporaryDirectory(prefix="ivshmem-model-") as directory:
        try:
            good, count = judge(run, search(model, run, memory, pathlib.Path(directory)))
            want = f"expected {run.rule}" if run.rule else "expected no error"
            return good, count if good else f"{count}; {want}: see {FOLDER.name}/README.md"
        except Broken as error:
            return False, str(error)


def chosen(args):
    all_runs = runs.RUNS[args.model]
    if not args.name:
        return [run for run in all_runs if run.size == ("slow" if args.slow else "")]
    by_name = {run.name: run for run in all_runs}
    for name in args.name:
        if name not in by_name:
            sys.exit(f"check.py: unknown run \"{name}\": --list shows all")
    return [by_name[name] for name in args.name]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", choices=list(runs.RUNS), default="roster")
    parser.add_argument("--slow", action="store_true", help="run the long searches instead")
    parser.add_argument("--memory", type=int, default=MEMORY_MIB, help="MiB per search")
    parser.add_argument("--list", action="store_true", help="list all runs")
    parser.add_argument("name", nargs="*")
    args = parser.parse_args()
    if args.list:
        for run in runs.RUNS[args.model]:
            print(f"{run.name:16} {run.size or '-':5} {run.what}\n{'':22} {run.defines}")
        return 0
    selected = chosen(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that pan is killed
    print(f"1..{len(selected)}", flush=True)
    failed = False
    for number, run in enumerate(selected, 1):
        began = time.monotonic()
        good, found = test(args.model, run, args.memory)
        first, *rest = found.split("\n")
        failed = failed or not good
        print(f"{'ok' if good else 'not ok'} {number} - {run.name}: {run.what}: {first}, "
              f"{time.monotonic() - began:.1f} s")
        print("".join(f"# {line}\n" for line in rest), end="", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
