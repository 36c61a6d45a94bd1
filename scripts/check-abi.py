#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Whether programs that were built with the last release work with the library as it is now.

    scripts/check-abi.py BUILD_DIR                        against the last release
    scripts/check-abi.py --old LIB HEADERS --new LIB HEADERS

The last release is the last tag v*; as long as there is none, the commit in src/libivshmem.baseline.
It is built in a temporary directory. New functions and new enumerators at the end are no change to
programs that know nothing of them; anything else is, and is printed. With another soname everything
may be different.

Prints TAP. Exit status: 0 compatible, or skipped with the reason; 8 not; 1 if it cannot be told.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINE = ROOT / "src" / "libivshmem.baseline"
INCOMPATIBLE = 8
ABIDIFF_ERROR = 1 | 2
ABIDIFF_CHANGE = 4 | 8  # 8: certainly; 4: "may be", which a moved field is

#: What programs built before do not notice.
SUPPRESSED = """[suppress_function]
change_kind = added-function
name_regexp = .*
"""


class Skip(Exception):
    """It cannot be told here, and that is nobody's fault."""


class Trouble(Exception):
    """It cannot be told, and somebody has to look."""


def run(*words, **keywords):
    """Run something. Return: the finished process."""
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          check=False, **keywords)


def insist(*words):
    """Run something that must succeed. Return: what it printed."""
    done = run(*words)
    if done.returncode:
        raise Trouble(f"{' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def git(*words):
    """Run git on this repository."""
    return run("git", "-C", ROOT, *words)


def find_baseline():
    """What to compare with. Return: its commit, and what to call it."""
    here = git("rev-parse", "--git-dir")
    if here.returncode:
        raise Skip(f"the last release is not known: {here.stderr.splitlines()[0]}")
    tag = git("describe", "--tags", "--abbrev=0", "--match", "v*").stdout.strip()
    if tag:
        commit = name = tag
    else:
        lines = BASELINE.read_text(encoding="utf-8").splitlines()
        commit = next(line for line in lines if line and not line.startswith("#"))
        name = f"commit {commit}"
    if git("cat-file", "-e", commit + "^{commit}").returncode:
        raise Skip(f"{name} is not in this clone: git fetch --unshallow --tags")
    return commit, name


def build_library(source, build):
    """Build the shared library of a source tree, and nothing else. Return: its path."""
    insist("meson", "setup", build, source, "-Dtests=disabled", "-Dstatic=false",
           "-Dseccomp=disabled", "-Dbuildtype=debugoptimized")
    insist("meson", "compile", "-C", build, "ivshmem:shared_library")
    return build / "src" / "libivshmem.so"


def build_baseline(commit, where):
    """The library of a commit. An archive, not a worktree: nothing stays in .git if we are killed."""
    source = where / "source"
    source.mkdir()
    insist("git", "-C", ROOT, "archive", "-o", where / "source.tar", commit)
    insist("tar", "-x", "-C", source, "-f", where / "source.tar")
    return build_library(source, where / "build"), source / "include" / "ivshmem"


def soname(library):
    """The name that programs look for."""
    found = re.search(r"SONAME.*\[(.*)\]", insist("readelf", "-d", library))
    if not found:
        raise Trouble(f"{library} has no soname")
    return found[1]


def check_debug_info(library):
    """Without it only names could be compared, and all would seem well."""
    if ".debug_info" not in insist("readelf", "-S", "-W", library):
        raise Skip(f"{library} has no debug information: use buildtype=debugoptimized")


def compare(old, new, where):
    """Compare two (library, directory of public headers). Return: (compatible, report)."""
    for library, _ in (old, new):
        check_debug_info(library)
    suppressions = where / "suppressions"
    suppressions.write_text(SUPPRESSED, encoding="utf-8")
    words = ["abidiff", "--no-default-suppression", "--drop-private-types",
             "--headers-dir1", old[1], "--headers-dir2", new[1], old[0], new[0]]
    verdict = run(*words, "--suppressions", suppressions)
    everything = run(*words)
    for done in (verdict, everything):
        if done.returncode & ABIDIFF_ERROR or done.returncode < 0:
            raise Trouble(f"abidiff: {done.stdout}{done.stderr}")
    return not verdict.returncode & ABIDIFF_CHANGE, everything.stdout.strip()


def report(old, new, name, where):
    """Print the verdict. Return: the exit status."""
    names = soname(old[0]), soname(new[0])
    compatible, text = compare(old, new, where)
    for line in text.splitlines():
        print("#", line)
    if names[0] != names[1]:
        print(f"ok 1 - abi: {names[1]} instead of {names[0]}: no promise to programs of {name}")
        return 0
    if not compatible:
        print(f"not ok 1 - abi: programs built with {name} do not work any more (see above): undo "
              "that, or raise soversion in src/meson.build")
        return INCOMPATIBLE
    print(f"ok 1 - abi: programs built with {name} go on working")
    return 0


def check(options, where):
    """Do what the options say. Return: the exit status."""
    if options.old:
        return report(options.old, options.new, "the old one", where)
    commit, name = find_baseline()
    old = build_baseline(commit, where)
    new = options.build / "src" / "libivshmem.so", ROOT / "include" / "ivshmem"
    return report(old, new, name, where)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build", nargs="?", type=pathlib.Path, metavar="BUILD_DIR")
    for which in ("--old", "--new"):
        parser.add_argument(which, nargs=2, type=pathlib.Path, metavar=("LIB", "HEADERS"))
    options = parser.parse_args()
    if bool(options.old) != bool(options.new) or bool(options.build) == bool(options.old):
        parser.error("either BUILD_DIR, or --old and --new")
    print("1..1")
    with tempfile.TemporaryDirectory(prefix="ivs-abi-") as where:
        try:
            return check(options, pathlib.Path(where))
        except Skip as reason:
            print(f"ok 1 - abi # SKIP {reason}")
            return 0
        except (OSError, Trouble) as error:
            for line in str(error).splitlines():
                print("#", line)
            print("not ok 1 - abi: cannot compare (see above)")
            return 1


if __name__ == "__main__":
    sys.exit(main())
