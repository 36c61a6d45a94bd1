# SPDX-License-Identifier: BSD-3-Clause
"""The distribution's packages as files: downloaded and unpacked somewhere, never installed."""

import os
import re

from .proc import KitError, find_program, run_tool, wait_until

#: Seconds before what could not be had is asked for again.
PAUSES = (3, 15, 45)

#: With delays of its own between tries "update" was seen to wait for ever (apt 2.6).
NO_DELAYS = "Acquire::Retries::Delay"

_APT = ["apt-get", "-q", "-o", f"{NO_DELAYS}=false"]


def why_not(error):
    """The line of a KitError that says what was wrong: of apt's errors the first, else the last."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line.startswith("E: ")), lines[-1])


def patiently(attempt, pauses):
    """attempt(), and after each pause again if it ends with a KitError: a mirror may have been too busy, or
    another apt-get have locked the lists. apt itself repeats only what got no answer."""
    for seconds in pauses:
        try:
            return attempt()
        except KitError as e:
            print(f"{why_not(e)}; again in {seconds} s", flush=True)
            wait_until(lambda: False, seconds)
    return attempt()


def need_apt(otherwise):
    """KitError, with what to do otherwise, where packages cannot be had."""
    if not find_program("apt-get") or not find_program("dpkg-deb"):
        raise KitError(f"no apt-get here to download packages with: {otherwise}")


def parts_of(package, pattern):
    """Names of the packages that a package depends on and that the regex matches wholly."""
    try:
        shown = run_tool(["apt-cache", "show", "--no-all-versions", package], 60)
    except KitError:
        return []
    depends = " ".join(re.findall(r"^(?:Pre-)?Depends: (.*)$", shown, re.M))
    # Of alternatives (signed | unsigned) the first is the usual one.
    firsts = [entry.split("|")[0].split() for entry in depends.split(",")]
    return [words[0] for words in firsts if words and re.fullmatch(pattern, words[0])]


def all_parts_of(package, pattern):
    """The same, with the parts of the parts."""
    found, more = [], parts_of(package, pattern)
    while more:
        found += more
        more = [p for part in more for p in parts_of(part, pattern) if p not in found]
    return list(dict.fromkeys(found))


def is_known(package):
    """Whether apt's lists have it."""
    try:
        return bool(run_tool(["apt-cache", "show", "--no-all-versions", package], 60))
    except KitError:
        return False


def update_lists(why):
    """apt-get update, for root; for others a KitError that asks for it."""
    if os.geteuid() != 0:
        raise KitError(f"{why}. Run this once: sudo apt-get update")

    def update(*options):
        run_tool([*_APT, *options, "update"], 600, "apt-get update ...")

    try:
        patiently(lambda: update("-o", "APT::Update::Error-Mode=any"), PAUSES)
    except KitError:
        update()  # without the lists that cannot be had; the others may do


def download(packages, into, what):
    """Put packages' files into a directory. packages is a function: after an update there may be
    others. what: for people."""
    # As root apt would drop to its own user, who cannot write into somebody's cache directory.
    command = [*_APT, "-o", "APT::Sandbox::User=root", "download"]

    def so_far():
        size = sum(f.stat().st_size for f in into.rglob("*") if f.is_file())
        return f"downloading {what}: {size / 1e6:.0f} MB so far"

    def attempt():
        for other in into.glob("*.deb"):  # perhaps of another version
            other.unlink()
        run_tool(command + packages(), 900, so_far, cwd=into)

    try:
        patiently(attempt, PAUSES[:1])
    except KitError as e:
        # Perhaps a new version has replaced the one that the lists name.
        update_lists(str(e))
        patiently(attempt, PAUSES)


def unpack(directory, into):
    """Unpack all packages of a directory."""
    for deb in sorted(directory.glob("*.deb")):
        run_tool(["dpkg-deb", "-x", str(deb), str(into)], 300, f"unpacking {deb.name} ...")
