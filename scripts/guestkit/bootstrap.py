# SPDX-License-Identifier: BSD-3-Clause
"""Debian of a release that this machine need not be of, in a folder of the cache directory: made by
mmdebstrap, from the mirror and through the proxies that this machine's apt has.
"""

import hashlib
import os
import re
import shutil
import time

from . import cache, debs
from .proc import KitError, find_program, run_tool


class Unavailable(KitError):
    """This machine cannot have the folder, and why: what needs it is then left out."""


def folder(where, recipe, what, make):
    """Path of the folder for this recipe (a string) in the directory where, put there now if it is
    not there: make(new, final) makes it in the new directory and renames it to final. Those of other
    recipes are removed. what: for people."""
    final = where / hashlib.sha256(recipe.encode()).hexdigest()[:8]
    if not final.is_dir():
        with cache.locked(where, what):
            if not final.is_dir():
                for old in where.glob("[!.]*"):
                    shutil.rmtree(old, ignore_errors=True)
                if not find_program("mmdebstrap"):
                    raise Unavailable("mmdebstrap is missing: install the package mmdebstrap")
                print(f"making {what} in {where}", flush=True)
                with cache.new(where) as new:
                    make(new, final)
    return final


def debian(suites, packages, directory, options):
    """Debian with these packages in the directory, from the suites' archives; the first is the
    release. options: of mmdebstrap. KitError if that fails."""
    command = ["mmdebstrap", f"--include={','.join(packages)}",
               *[f"--aptopt={line}" for line in _settings()], *options, suites[0], str(directory),
               *[f"deb {mirror()} {suite} main" for suite in suites]]
    if os.geteuid() == 0:
        # In a mount namespace of its own: whatever ends it, no mount is left in the directory.
        command = ["unshare", "--mount", *command]
    begin = time.monotonic()

    def so_far():
        return f"making a folder with Debian {suites[-1]}: {time.monotonic() - begin:.0f} s so far"

    def attempt():
        shutil.rmtree(directory, ignore_errors=True)
        run_tool(command, 900, so_far, every=10)

    debs.patiently(attempt, debs.PAUSES[:2])


def mirror():
    """Where this machine gets Debian from."""
    try:
        listed = run_tool(["apt-get", "indextargets", "--format", "$(REPO_URI)",
                           "Created-By: Packages"], 60).splitlines()
    except KitError as e:
        raise Unavailable("no apt-get here to ask for a mirror of Debian") from e
    for uri in listed:
        if re.search(r"/debian/*$", uri):
            return uri
    raise Unavailable("apt has no mirror of Debian in its sources")


def _settings():
    """For the folder's apt, as lines of a configuration: the way out is that of this machine's apt, and so is
    how old a mirror may be."""
    dumped = run_tool(["apt-config", "dump"], 60).splitlines()
    wanted = re.compile(r"Acquire::(https?::Proxy\S*|Check-\S+|Max-\S+) \"[^\"]+\"")
    return [f"{debs.NO_DELAYS} \"false\"", *filter(wanted.match, dumped)]
