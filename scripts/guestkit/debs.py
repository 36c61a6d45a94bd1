# SPDX-License-Identifier: BSD-3-Clause
"""The distribution's packages as files: downloaded and unpacked somewhere, never installed."""

import os
import re

from .proc import KitError, find_program, run_tool


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
    run_tool(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", "update"], 600,
             "apt-get update ...")


def download(packages, into, what):
    """Put packages' files into a directory. packages is a function: after an update there may be
    others. what: for people."""
    # As root apt would drop to its own user, who cannot write into somebody's cache directory.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"]

    def so_far():
        size = sum(f.stat().st_size for f in into.rglob("*") if f.is_file())
        return f"downloading {what}: {size / 1e6:.0f} MB so far"

    try:
        run_tool(command + packages(), 900, so_far, cwd=into)
    except KitError as e:
        # Perhaps a new version has replaced the one that the lists name.
        update_lists(str(e))
        run_tool(command + packages(), 900, so_far, cwd=into)


def unpack(directory, into):
    """Unpack all packages of a directory."""
    for deb in sorted(directory.glob("*.deb")):
        run_tool(["dpkg-deb", "-x", str(deb), str(into)], 300, f"unpacking {deb.name} ...")
