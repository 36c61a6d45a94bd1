# SPDX-License-Identifier: BSD-3-Clause
"""A Debian release other than this machine's in a directory of the cache, created by mmdebstrap
with the mirror and the proxies of this machine's apt.
"""

import hashlib
import os
import re
import shutil
import time

from . import cache, debs
from .proc import KitError, find_program, run_tool


class Unavailable(KitError):
    """The directory cannot be created on this machine. The caller skips what needs it."""


def folder(where, recipe, what, make):
    """Return: the path of the directory for this recipe (a string) in the directory @where. If it
    is missing, make(new, final) creates it in the directory @new and renames it to @final;
    directories of other recipes are then removed. @what is a name for messages."""
    final = where / hashlib.sha256(recipe.encode()).hexdigest()[:8]
    if not final.is_dir():
        with cache.locked(where, what):
            if not final.is_dir():
                for old in where.glob("[!.]*"):
                    shutil.rmtree(old, ignore_errors=True)
                if not find_program("mmdebstrap"):
                    raise Unavailable("mmdebstrap is missing: install the package mmdebstrap")
                print(f"creating {what} in {where}", flush=True)
                with cache.new(where) as new:
                    make(new, final)
    return final


def debian(suites, packages, directory, options):
    """Install packages in a directory, from the archives of @suites, of which the first is the
    release. @options are further options of mmdebstrap. Raises KitError on failure."""
    command = ["mmdebstrap", f"--include={','.join(packages)}",
               *[f"--aptopt={line}" for line in _settings()], *options, suites[0], str(directory),
               *[f"deb {mirror()} {suite} main" for suite in suites]]
    if os.geteuid() == 0:
        # In a mount namespace of its own, so that no mount remains even if it is killed.
        command = ["unshare", "--mount", *command]
    begin = time.monotonic()

    def so_far():
        return f"installing Debian {suites[-1]}: {time.monotonic() - begin:.0f} s so far"

    def attempt():
        shutil.rmtree(directory, ignore_errors=True)
        run_tool(command, 900, so_far, every=10)

    debs.patiently(attempt, debs.PAUSES[:2])


def mirror():
    """Return: the Debian mirror in this machine's apt sources."""
    try:
        listed = run_tool(["apt-get", "indextargets", "--format", "$(REPO_URI)",
                           "Created-By: Packages"], 60).splitlines()
    except KitError as e:
        raise Unavailable("apt-get, which knows the Debian mirror, is missing") from e
    for uri in listed:
        if re.search(r"/debian/*$", uri):
            return uri
    raise Unavailable("apt's sources have no Debian mirror")


def _settings():
    """Return: configuration lines for the new apt: the proxies and the check of list ages of this
    machine's apt."""
    dumped = run_tool(["apt-config", "dump"], 60).splitlines()
    wanted = re.compile(r"Acquire::(https?::Proxy\S*|Check-\S+|Max-\S+) \"[^\"]+\"")
    return [f"{debs.NO_DELAYS} \"false\"", *filter(wanted.match, dumped)]
