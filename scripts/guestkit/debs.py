# SPDX-License-Identifier: BSD-3-Clause
"""Download and unpack the distribution's packages, without installing them."""

import os
import re

from .proc import KitError, find_program, run_tool, wait_until

#: Seconds before each retry
PAUSES = (3, 15, 45)

#: This option must be false: "apt-get update" of apt 2.6 sometimes hangs if apt pauses before it
#: retries.
NO_DELAYS = "Acquire::Retries::Delay"

_APT = ["apt-get", "-q", "-o", f"{NO_DELAYS}=false"]


def why_not(error):
    """Return: the line of a KitError that states the reason: apt's first error or, if there is
    none, the last line."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line.startswith("E: ")), lines[-1])


def patiently(attempt, pauses):
    """Call attempt(), and retry after each pause if it raises KitError: the mirror may be busy, or
    another apt-get may hold the lock. apt itself retries only requests without a reply."""
    for seconds in pauses:
        try:
            return attempt()
        except KitError as e:
            print(f"{why_not(e)}; retrying in {seconds} s", flush=True)
            wait_until(lambda: False, seconds)
    return attempt()


def need_apt(otherwise):
    """Raise KitError if packages cannot be downloaded. @otherwise: says what the user can do
    instead."""
    if not find_program("apt-get") or not find_program("dpkg-deb"):
        raise KitError(f"apt-get is missing, so no package can be downloaded: {otherwise}")


def parts_of(package, pattern):
    """Return: names of the packages that a package depends on, if they match the regex."""
    try:
        shown = run_tool(["apt-cache", "show", "--no-all-versions", package], 60)
    except KitError:
        return []
    depends = " ".join(re.findall(r"^(?:Pre-)?Depends: (.*)$", shown, re.M))
    # Use the first of several alternatives (signed | unsigned), which is the default.
    firsts = [entry.split("|")[0].split() for entry in depends.split(",")]
    return [words[0] for words in firsts if words and re.fullmatch(pattern, words[0])]


def all_parts_of(package, pattern):
    """Like parts_of(), but recursively."""
    found, more = [], parts_of(package, pattern)
    while more:
        found += more
        more = [p for part in more for p in parts_of(part, pattern) if p not in found]
    return list(dict.fromkeys(found))


def is_known(package):
    """Return: whether apt's lists contain the package."""
    try:
        return bool(run_tool(["apt-cache", "show", "--no-all-versions", package], 60))
    except KitError:
        return False


def update_lists(why):
    """Run apt-get update as root. For other users, raise KitError with the command to run."""
    if os.geteuid() != 0:
        raise KitError(f"{why}. Run this once: sudo apt-get update")

    def update(*options):
        run_tool([*_APT, *options, "update"], 600, "apt-get update ...")

    try:
        patiently(lambda: update("-o", "APT::Update::Error-Mode=any"), PAUSES)
    except KitError:
        update()  # even if some lists cannot be fetched, the others may suffice


def download(packages, into, what):
    """Download packages into a directory. @packages is a function that returns their names, because
    these may change after an update. @what is a name for messages."""
    # As root, apt would switch to its own user, which cannot write to the cache directory.
    command = [*_APT, "-o", "APT::Sandbox::User=root", "download"]

    def so_far():
        size = sum(f.stat().st_size for f in into.rglob("*") if f.is_file())
        return f"downloading {what}: {size / 1e6:.0f} MB so far"

    def attempt():
        for other in into.glob("*.deb"):  # these may belong to an older version
            other.unlink()
        run_tool(command + packages(), 900, so_far, cwd=into)

    try:
        patiently(attempt, PAUSES[:1])
    except KitError as e:
        # The mirror may have replaced the version named in apt's lists.
        update_lists(str(e))
        patiently(attempt, PAUSES)


def unpack(directory, into):
    """Unpack all packages in @directory into the directory @into."""
    for deb in sorted(directory.glob("*.deb")):
        run_tool(["dpkg-deb", "-x", str(deb), str(into)], 300, f"unpacking {deb.name} ...")
